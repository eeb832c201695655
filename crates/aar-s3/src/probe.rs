//! One request to a signed URL, as a client of the registry sends it.

use std::time::Duration;

use hyper_0_14::body::HttpBody as _;
use hyper_0_14::header::{DATE, RANGE};
use hyper_0_14::{Body, Client, Request};
use tokio::time::timeout;

use crate::clock::seconds_ahead;
use crate::dispatch::connector;
use crate::error::{element, sanitised};

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read: errors are shorter.
const READ: usize = 4096;

/// What is answered to a signed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// HTTP's status.
    pub status: u16,
    /// The error's name and message, empty where the answer is none.
    pub code: String,
    /// The error's message.
    pub message: String,
    /// Whether it is S3 who answers an error: it numbers its requests, which CloudFront does not.
    pub is_from_s3: bool,
    /// How much this machine's clock is ahead of the answer's, where that has a date.
    pub seconds_ahead: Option<i64>,
}

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct ProbeError(String);

/// Asks for the first byte of what lies at `url`, and follows no redirect.
///
/// # Errors
/// No answer comes within 15 s. The error tells nothing of the URL.
pub async fn probe(url: &str) -> Result<Probe, ProbeError> {
    match timeout(PATIENCE, ask(url)).await {
        Ok(answer) => answer,
        Err(_) => Err(ProbeError(format!("nothing came for {} s", PATIENCE.as_secs()))),
    }
}

async fn ask(url: &str) -> Result<Probe, ProbeError> {
    let request = Request::get(url).header(RANGE, "bytes=0-0").body(Body::empty());
    let request = request.map_err(|_| ProbeError("the address makes no sense".into()))?;
    let client = Client::builder().pool_max_idle_per_host(0).build(connector());
    let failed = |error: hyper_0_14::Error| ProbeError(error.to_string());
    let answer = client.request(request).await.map_err(failed)?;
    let status = answer.status();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(seconds_ahead);
    let mut read = Vec::new();
    let mut body = answer.into_body();
    while !status.is_success() && read.len() < READ {
        let Some(chunk) = body.data().await else { break };
        read.extend_from_slice(&chunk.map_err(failed)?);
    }
    let document = String::from_utf8_lossy(&read);
    let text = |name| element(&document, name).map(sanitised).unwrap_or_default();
    Ok(Probe {
        status: status.as_u16(),
        code: text("Code"),
        message: text("Message"),
        is_from_s3: element(&document, "RequestId").is_some(),
        seconds_ahead: date,
    })
}
