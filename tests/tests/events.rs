//! Events: what is told to whom, over a WebSocket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use aar_tests::{Connection, Daemon, Person};
use openssl::ssl::SslStream;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

const IMAGE: &str = "/1.0/applications/game/1?architecture=x86_64";

struct Listener(WebSocket<SslStream<TcpStream>>);

impl Listener {
    fn new(daemon: &Daemon, person: &Person, query: &str) -> Self {
        let stream = Connection::tls_stream(daemon.address(), Some(person)).unwrap();
        let request = format!("wss://registry/1.0/events{query}").into_client_request().unwrap();
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        Self(socket)
    }

    /// The next event, or what the registry says at the end.
    fn next(&mut self) -> Result<Value, Option<CloseCode>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(close)) => return Err(close.map(|close| close.code)),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The changes up to the removal of the application `last`, as action and path.
    fn changes_until_removed(&mut self, last: &str) -> Vec<(String, String)> {
        let mut changes = Vec::new();
        loop {
            let event = self.next().unwrap();
            assert_eq!(event["type"], "lifecycle");
            let timestamp: jiff::Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
            assert!(timestamp.duration_until(jiff::Timestamp::now()).as_secs().abs() < 60, "{event}");
            let text = |name: &str| event["metadata"][name].as_str().unwrap().to_owned();
            changes.push((text("action"), text("source")));
            if changes.last().unwrap() == &("application-removed".into(), format!("/1.0/applications/{last}"))
            {
                return changes;
            }
        }
    }
}

fn push(daemon: &Daemon, publisher: &Person, path: &str, request: &Value) {
    let headers = [("x-ams-request", &*request.to_string())];
    assert_eq!(daemon.connect(Some(publisher)).push(path, path.as_bytes(), &headers).status, 202);
}

fn listeners(daemon: &Daemon) -> u64 {
    let metrics = daemon.admin("GET", "/1.0/metrics", b"").body;
    let metrics = String::from_utf8(metrics).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("aar_listeners ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn eventually_nobody_listens(daemon: &Daemon) {
    let begun = Instant::now();
    while listeners(daemon) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(90), "somebody listens");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn changes_are_told_to_those_who_may_see_them() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    let mut of_publisher = Listener::new(&daemon, &publisher, "?type=lifecycle");
    let mut of_client = Listener::new(&daemon, &client, "?type=lifecycle");
    assert_eq!(listeners(&daemon), 2);

    push(&daemon, &publisher, IMAGE, &json!({}));
    push(&daemon, &publisher, IMAGE, &json!({}));
    push(&daemon, &publisher, "/1.0/applications/game/1?architecture=aarch64", &json!({}));
    push(
        &daemon,
        &publisher,
        "/1.0/applications/game/2?architecture=x86_64",
        &json!({"version": {"published": false}}),
    );
    push(
        &daemon,
        &publisher,
        "/1.0/applications/secret/1?architecture=x86_64",
        &json!({"version": {"published": false}}),
    );
    let send = |method: &str, path: &str, body: &str| {
        assert_eq!(daemon.request(&publisher, method, path, body.as_bytes()).status, 202, "{method} {path}");
    };
    send("PATCH", "/1.0/applications/game/2", r#"{"published":true}"#);
    send("PATCH", "/1.0/applications/game/1", r#"{"published":false}"#);
    send("PATCH", "/1.0/applications/game", r#"{"tags":["new"]}"#);
    send("PATCH", "/1.0/applications/game", r#"{"tags":["new"]}"#);
    send("PATCH", "/1.0/applications/secret", r#"{"tags":["new"]}"#);
    send("DELETE", "/1.0/applications/game/1?architecture=x86_64", "");
    send("DELETE", "/1.0/applications/game/1", "");
    send("DELETE", "/1.0/applications/secret", "");
    send("DELETE", "/1.0/applications/game/2", "");

    let all = [
        ("application-created", "game", true),
        ("application-version-added", "game/1", true),
        ("application-version-updated", "game/1", true),
        ("application-version-added", "game/2", false),
        ("application-created", "secret", false),
        ("application-version-added", "secret/1", false),
        ("application-version-published", "game/2", true),
        ("application-version-withdrawn", "game/1", true),
        ("application-updated", "game", true),
        ("application-updated", "secret", false),
        ("application-version-updated", "game/1", false),
        ("application-version-removed", "game/1", false),
        ("application-removed", "secret", false),
        ("application-version-removed", "game/2", true),
        ("application-removed", "game", true),
    ];
    let expected = |seen: &dyn Fn(bool) -> bool| -> Vec<(String, String)> {
        let seen = all.iter().filter(|(.., for_clients)| seen(*for_clients));
        seen.map(|(action, path, _)| ((*action).to_owned(), format!("/1.0/applications/{path}"))).collect()
    };
    assert_eq!(of_publisher.changes_until_removed("game"), expected(&|_| true));
    assert_eq!(of_client.changes_until_removed("game"), expected(&|for_clients| for_clients));
    drop((of_publisher, of_client));
    eventually_nobody_listens(&daemon);
}

#[test]
fn operations_are_told_from_their_beginning_to_their_end() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    let mut listener = Listener::new(&daemon, &client, "?type=operation");
    let answer = daemon.push(&publisher, IMAGE, b"image").json();
    let begun = listener.next().unwrap();
    assert_eq!((&begun["type"], &begun["metadata"]["status_code"]), (&"operation".into(), &103.into()));
    let ended = listener.next().unwrap();
    assert_eq!(ended["metadata"], answer["metadata"]);
    assert_eq!(ended["metadata"]["id"], begun["metadata"]["id"]);

    let refused = daemon.push(&publisher, IMAGE, b"another image");
    assert_eq!(refused.status, 409);
    assert_eq!(listener.next().unwrap()["metadata"]["status_code"], 103);
    let failed = listener.next().unwrap();
    assert_eq!(failed["metadata"]["status_code"], 400);
    assert_eq!(failed["metadata"]["err"], refused.error());
}

#[test]
fn without_a_choice_everything_is_told() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for query in ["", "?type=operation,lifecycle"] {
        let mut listener = Listener::new(&daemon, &publisher, query);
        let changes = json!({"tags": [query]}).to_string();
        push(&daemon, &publisher, IMAGE, &json!({}));
        daemon.request(&publisher, "PATCH", "/1.0/applications/game", changes.as_bytes());
        let mut kinds: Vec<_> = (0..5).map(|_| listener.next().unwrap()["type"].clone()).collect();
        kinds.sort_by_key(Value::to_string);
        assert_eq!(kinds.first().unwrap(), "lifecycle");
        assert_eq!(kinds.last().unwrap(), "operation");
        daemon.request(&publisher, "DELETE", "/1.0/applications/game", b"");
    }
}

#[test]
fn a_rebuild_tells_to_look_at_everything_again() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let mut listener = Listener::new(&daemon, &client, "");
    assert_eq!(daemon.admin("POST", "/1.0/maintenance/rebuild", b"").status, 200);
    let event = listener.next().unwrap();
    assert_eq!(
        event["metadata"],
        json!({"action": "registry-rebuilt", "source": "/1.0/registry/applications"})
    );
}

#[test]
fn whoever_is_revoked_hears_nothing_more() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    let mut listener = Listener::new(&daemon, &client, "");
    let fingerprint = client.fingerprint().to_string();
    assert!(daemon.aar(&["trust", "revoke", "--yes", &fingerprint]).status.success());
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    assert_eq!(listener.next(), Err(Some(CloseCode::Policy)));
    eventually_nobody_listens(&daemon);
}

#[test]
fn a_registry_that_stops_says_so_to_its_listeners() {
    let mut daemon = Daemon::spawn();
    let client = daemon.client("client");
    let mut listener = Listener::new(&daemon, &client, "");
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "a listener held up the stop");
    assert_eq!(listener.next(), Err(Some(CloseCode::Away)));
}

#[test]
fn a_listener_that_falls_behind_is_told_to_look_again_and_slows_no_push() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    push(&daemon, &publisher, IMAGE, &json!({}));
    let mut slow = Listener::new(&daemon, &client, "");
    // A refused push costs no writing, and tells of two operations.
    let mut connection = daemon.connect(Some(&publisher));
    let begun = Instant::now();
    for _ in 0..8000 {
        assert_eq!(connection.push(IMAGE, b"another image", &[]).status, 409);
        assert!(begun.elapsed() < Duration::from_secs(60), "pushes wait for the listener");
    }
    let end = loop {
        if let Err(end) = slow.next() {
            break end;
        }
    };
    assert_eq!(end, Some(CloseCode::Again));
}

#[test]
fn a_listener_that_does_not_listen_is_given_up() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let deaf = Listener::new(&daemon, &client, "");
    eventually_nobody_listens(&daemon);
    drop(deaf);
}

#[test]
fn what_is_no_handshake_is_refused_and_says_why() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let stranger = Person::new(daemon.scratch(), "stranger");
    let handshake = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let ask = |person: Option<&Person>, query: &str, headers: &[(&str, &str)]| {
        daemon.connect(person).request("GET", &format!("/1.0/events{query}"), headers, b"")
    };
    // The key and what it is answered with are those of RFC 6455, section 1.3.
    let accepted = ask(Some(&client), "", &handshake);
    assert_eq!(accepted.status, 101);
    assert_eq!(accepted.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));

    for without in ["connection", "upgrade"] {
        let rest: Vec<_> = handshake.into_iter().filter(|(name, _)| *name != without).collect();
        let refused = ask(Some(&client), "", &rest);
        assert_eq!((refused.status, refused.header("upgrade")), (426, Some("websocket")), "{without}");
    }
    let mut old = handshake;
    old[2].1 = "8";
    let refused = ask(Some(&client), "", &old);
    assert_eq!((refused.status, refused.header("sec-websocket-version")), (426, Some("13")));
    assert_eq!(ask(Some(&client), "", &handshake[..3]).status, 400);
    assert_eq!(ask(Some(&client), "?type=logging", &handshake).status, 400);
    for nobody in [None, Some(&stranger)] {
        assert_eq!(ask(nobody, "", &handshake).status, 401);
    }
    assert_eq!(daemon.request(&client, "POST", "/1.0/events", b"").status, 405);
}
