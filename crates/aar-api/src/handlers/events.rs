//! Events: the handshake of the WebSocket over which they are told.

use std::sync::Arc;

use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::Answer;
use crate::api::{Api, Call};
use crate::body::ResponseBody;
use crate::error::ApiError;
use crate::events::{Kinds, Listener};
use crate::request::standard;

/// The version of the protocol, RFC 6455.
const VERSION: &str = "13";
const WEBSOCKET: &str = "websocket";

pub(super) fn listen(api: &Arc<Api>, call: &Call<'_>) -> Result<Answer, ApiError> {
    let kinds = kinds(call.query.get("type"))?;
    let headers = &call.head.headers;
    let names = |value: Option<&HeaderValue>, wanted: &str| {
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted))
    };
    // Absent on HTTP/2, too, whose streams cannot become something else.
    let upgrade = call.head.extensions.get::<OnUpgrade>().filter(|_| {
        names(headers.get(UPGRADE), WEBSOCKET)
            && headers.get_all(CONNECTION).iter().any(|it| names(Some(it), "upgrade"))
    });
    let Some(upgrade) = upgrade else {
        let told = "events are told over a WebSocket: ask with `Upgrade: websocket` over HTTP/1.1";
        return Err(ApiError::upgrade_required(told, UPGRADE, WEBSOCKET));
    };
    if standard(headers, &SEC_WEBSOCKET_VERSION)?.is_none_or(|version| version != VERSION) {
        let told = "the version of the WebSocket protocol is 13";
        return Err(ApiError::upgrade_required(told, SEC_WEBSOCKET_VERSION, VERSION));
    }
    let Some(key) = standard(headers, &SEC_WEBSOCKET_KEY)? else {
        return Err(ApiError::bad_request("the header Sec-WebSocket-Key is missing"));
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;

    let listener = Listener::new(api, call.caller, kinds, upgrade.clone());
    let mut answer = Response::new(ResponseBody::listener(listener));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

fn kinds(wanted: Option<&str>) -> Result<Kinds, ApiError> {
    let mut kinds = Kinds::default();
    for kind in wanted.unwrap_or("lifecycle,operation").split(',') {
        match kind {
            "lifecycle" => kinds.lifecycle = true,
            "operation" => kinds.operation = true,
            _ => {
                return Err(ApiError::bad_request(
                    "the parameter `type` is `lifecycle`, `operation`, or both with a comma",
                ));
            }
        }
    }
    Ok(kinds)
}
