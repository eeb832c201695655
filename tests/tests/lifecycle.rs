//! The daemon's life: configuration, reload, stop, restart, metrics, and the unit that systemd runs it by.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use aar_model::{Digest, Fingerprint};
use aar_tests::{Connection, Daemon, binary};
use rustix::process::Signal;

#[test]
fn a_wrong_configuration_ends_with_64_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let config = dir.path().join("config.yaml");
    fs::write(&config, "http:\n  adress: 127.0.0.1:0\n").unwrap();
    for arguments in [["--check-config"].as_slice(), &["--base-dir", base.to_str().unwrap(), "--config"]] {
        let output = Command::new(binary("aard")).args(arguments).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        for word in ["config.yaml", "http.adress", "config.yaml:2:", "addr"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert!(!base.exists());
    fs::write(&config, "http:\n  addr: 127.0.0.1:0\n").unwrap();
    let output = Command::new(binary("aard")).arg("--check-config").arg(&config).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_second_daemon_on_the_same_base_directory_is_refused() {
    let daemon = Daemon::spawn();
    let output = Command::new(binary("aard")).arg("--base-dir").arg(daemon.base()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
    assert_eq!(daemon.connect(None).request("GET", "/1.0/status", &[], b"").status, 200);
}

#[test]
fn a_reload_takes_over_what_is_right_and_nothing_of_what_is_wrong() {
    let mut daemon = Daemon::spawn();
    let config = daemon.base().join("config.yaml");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = daemon.client("client");
    let mut open = daemon.connect(Some(&client));

    fs::write(&config, "http: {addr: nonsense}\n").unwrap();
    daemon.signal(Signal::HUP);
    let failed = loop {
        let entries = daemon.log();
        if let Some(entry) =
            entries.iter().find(|e| e["message"].as_str().is_some_and(|m| m.starts_with("cannot reload")))
        {
            break entry["message"].as_str().unwrap().to_owned();
        }
    };
    assert!(failed.contains("http.addr"), "{failed}");
    assert_eq!(open.request("GET", "/1.0/applications", &[], b"").status, 200);
    assert_eq!(daemon.connect(Some(&client)).request("GET", "/1.0/applications", &[], b"").status, 200);

    fs::write(&config, format!("http: {{addr: '{free}'}}\nlog: {{level: info, format: json}}\n")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("reloaded");
    assert_eq!(
        Connection::tls(free, Some(&client)).request("GET", "/1.0/applications", &[], b"").status,
        200
    );
    // What was open stays, the old port is closed.
    assert_eq!(open.request("GET", "/1.0/applications", &[], b"").status, 200);
    assert!(Connection::try_tls(daemon.address(), Some(&client)).is_err());
    assert_eq!(daemon.admin("GET", "/1.0/summary", b"").metadata()["address"], free.to_string());
}

#[test]
fn a_new_certificate_is_shown_after_a_reload() {
    let mut daemon = Daemon::spawn();
    let before = daemon.fingerprint();
    let mut open = daemon.connect(None);
    let shown = |daemon: &Daemon| {
        let stream = Connection::tls_stream(daemon.address(), None).unwrap();
        Fingerprint::of(&stream.ssl().peer_certificate().unwrap().to_der().unwrap())
    };
    let expiry = |daemon: &Daemon| {
        let text = String::from_utf8(daemon.admin("GET", "/1.0/metrics", b"").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("aar_certificate_expiry_days "));
        line.unwrap().parse::<f64>().unwrap()
    };
    assert!(shown(&daemon) == before && expiry(&daemon) > 3650.0);

    let next = aar_tests::Person::new(daemon.scratch(), "next");
    fs::copy(&next.certificate_file, daemon.base().join("certs/server.crt")).unwrap();
    daemon.signal(Signal::HUP);
    let (certs, said) = (daemon.base().join("certs"), "cannot reload, nothing has changed");
    daemon.wait_for_log(&format!(
        "{said}: cannot load the server's certificate: the private key `{}` does not belong to the certificate `{}`",
        certs.join("server.key").display(),
        certs.join("server.crt").display()
    ));
    assert_eq!(shown(&daemon), before);

    fs::copy(&next.key_file, daemon.base().join("certs/server.key")).unwrap();
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.wait_for_log("reloaded")["fingerprint"], next.fingerprint().to_string());
    assert!(shown(&daemon) == next.fingerprint() && expiry(&daemon) < 1.1);
    assert_eq!(open.request("GET", "/1.0/status", &[], b"").status, 200);
}

#[test]
fn a_stop_finishes_what_runs() {
    let mut daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut running = daemon.connect(Some(&publisher));
    let fingerprint = Digest::of(b"slow image");
    let head = format!(
        "PUT /1.0/applications/slow/1?architecture=x86_64 HTTP/1.1\r\nhost: x\r\nx-ams-fingerprint: {fingerprint}\r\ncontent-length: 10\r\n\r\nslow "
    );
    running.send(head.as_bytes()).unwrap();
    while daemon.request(&publisher, "GET", "/1.0/operations", b"").metadata().as_array().unwrap().is_empty()
    {
    }
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopping");
    running.send(b"image").unwrap();
    assert_eq!(running.response(false).unwrap().status, 202);
    assert!(daemon.wait().success());
    daemon.start();
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/slow/1", b"").body, b"slow image");
}

#[test]
fn the_server_keeps_its_certificate() {
    let mut daemon = Daemon::spawn();
    let before = daemon.fingerprint();
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(daemon.fingerprint(), before);
    for file in ["certs/server.key", "certs/server.crt"] {
        let mode = fs::metadata(daemon.base().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(daemon.base().join("certs/server.crt"))
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for name in ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn an_operators_rsa_certificate_is_served() {
    let mut daemon = Daemon::spawn();
    assert!(daemon.stop().success());
    let own = aar_tests::Person::builder("own").rsa().build(daemon.scratch());
    fs::copy(&own.certificate_file, daemon.base().join("certs/server.crt")).unwrap();
    fs::copy(&own.key_file, daemon.base().join("certs/server.key")).unwrap();
    daemon.start();
    assert_eq!(daemon.fingerprint(), own.fingerprint());
    assert_eq!(daemon.connect(None).request("GET", "/1.0/status", &[], b"").status, 200);
}

#[test]
fn metrics_say_what_an_operator_watches() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = Daemon::builder().configuration(&format!("metrics:\n  addr: {free}\n")).start();
    let publisher = daemon.publisher("publisher");
    daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", &[1; 1000]);
    daemon.request(&publisher, "GET", "/1.0/applications/game/1", b"");
    daemon.connect(None).request("GET", "/1.0/applications", &[], b"");
    let plain = {
        let mut socket = std::net::TcpStream::connect(free).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut socket, &mut text).unwrap();
        text
    };
    let on_socket = String::from_utf8(daemon.admin("GET", "/1.0/metrics", b"").body).unwrap();
    for text in [plain, on_socket] {
        for line in [
            "aar_requests_total{method=\"PUT\",route=\"/1.0/applications/{name}/{version}\",status=\"202\"} 1",
            "aar_request_duration_seconds_count{route=\"/1.0/applications\"} 1",
            "aar_refusals_total{status=\"401\"} 1",
            "aar_body_bytes_total{direction=\"received\"}",
            "aar_body_bytes_total{direction=\"sent\"} 1000",
            "aar_images 1",
            "aar_image_bytes 1000",
            "aar_certificates{state=\"publisher\"} 1",
            "aar_index_generation",
            "aar_degraded 0",
            "aar_certificate_expiry_days 36",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

#[test]
fn the_unit_is_valid_and_confined() {
    let dir = tempfile::tempdir().unwrap();
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/aard.service");
    // The daemon is not installed here: its own binary stands where the unit will find it.
    let text = fs::read_to_string(unit).unwrap().replace("/usr/bin/aard", binary("aard").to_str().unwrap());
    let copy = dir.path().join("aard.service");
    fs::write(&copy, text).unwrap();
    let verify = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
    assert!(verify.status.success() && verify.stderr.is_empty(), "{verify:?}");
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&copy)
        .output()
        .unwrap();
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
}
