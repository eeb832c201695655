//! Paths, names, versions, architectures and queries that lead nowhere.

use aar_tests::{Connection, Daemon};
use serde_json::json;

use crate::{IMAGE, answer, assert_unharmed};

#[test]
fn names_that_break_the_rule_are_refused_wherever_they_stand() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut connection = daemon.connect(Some(&publisher));
    let long = "a".repeat(64);
    let very_long = "a".repeat(30_000);
    let names = [
        "..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%2f..%2fuploads",
        "a%2fb",
        "a%5cb",
        "%00",
        "game%00",
        "Game",
        "GAME",
        "g%c3%a4me",
        "%ef%bd%87ame",
        ".game",
        "-game",
        "_game",
        "ga me",
        "game%20",
        "%20game",
        "game%0a",
        "game%0d%0aset-cookie:x",
        "%7e",
        "game%3f",
        "game%23",
        "*",
        "%25",
        "game;x=1",
        &long,
        &very_long,
    ];
    for name in names {
        // A slash that is not encoded would be another path; a blank would end it.
        let name = name.replace(' ', "%20");
        for (method, path) in [
            ("GET", format!("/1.0/applications/{name}")),
            ("PATCH", format!("/1.0/applications/{name}")),
            ("DELETE", format!("/1.0/applications/{name}")),
            ("GET", format!("/1.0/applications/{name}/1")),
            ("HEAD", format!("/1.0/applications/{name}/1")),
            ("PUT", format!("/1.0/applications/{name}/1?architecture=x86_64")),
            ("GET", format!("/1.0/applications/{name}/1/manifest")),
            ("DELETE", format!("/1.0/registry/applications/{name}")),
        ] {
            let answer = connection.request(method, &path, &[], b"");
            assert_eq!(answer.status, 400, "{method} {path}");
            if method != "HEAD" {
                assert!(answer.error().contains("name has 1 to 63"), "{method} {path}: {}", answer.error());
            }
        }
    }
    for name in ["../../etc", "", "A", "a/b", "a\0", "ä", "\u{202e}a", &long] {
        let request =
            json!({ "application": { "name": name }, "version": { "number": 1, "architecture": "x86_64" } });
        let request = json_ascii(&request);
        let answer =
            connection.request("POST", "/1.0/applications", &[("x-ams-request", &request)], b"image");
        assert_eq!(answer.status, 400, "{name:?}");
        let ids = json!({ "ids": ["game", name] }).to_string();
        let answer = connection.request("DELETE", "/1.0/applications", &[], ids.as_bytes());
        assert_eq!(answer.status, 400, "{name:?}");
    }
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
    assert_unharmed(&daemon);
}

/// JSON in which nothing but ASCII stands.
fn json_ascii(value: &serde_json::Value) -> String {
    let escape = |c: char| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat()
    };
    value.to_string().chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect()
}

#[test]
fn versions_and_architectures_have_one_spelling() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    assert_eq!(daemon.push(&publisher, IMAGE, b"image").status, 202);
    let mut connection = daemon.connect(Some(&publisher));
    for version in [
        "-1",
        "-0",
        "+1",
        "01",
        "00",
        "1e3",
        "1.0",
        "0x1",
        "2147483648",
        "4294967297",
        "18446744073709551617",
        "%201",
        "1%20",
        "1%0a",
        "%D9%A1",
        "one",
        "latest",
        "..",
        "%2e",
        "application",
        "1.json",
    ] {
        for method in ["GET", "HEAD", "PATCH", "DELETE", "PUT"] {
            let answer = connection.request(method, &format!("/1.0/applications/game/{version}"), &[], b"");
            assert_eq!(answer.status, 400, "{method} {version}");
        }
        let answer =
            connection.request("GET", &format!("/1.0/applications/game/{version}/manifest"), &[], b"");
        assert!(answer.status == 400 && answer.error().contains("2147483647"), "{version}: {answer:?}");
    }
    for number in ["-1", "2147483648", "1.5", "1e2", "\"1\"", "null", "[1]", "1e400", "NaN"] {
        let request = format!(
            r#"{{"application":{{"name":"game"}},"version":{{"number":{number},"architecture":"arm64"}}}}"#
        );
        let answer =
            connection.request("POST", "/1.0/applications", &[("x-ams-request", &request)], b"image");
        assert_eq!(answer.status, 400, "{number}: {answer:?}");
    }
    let long = "a".repeat(20_000);
    for architecture in
        ["", "X86_64", "x86-64", "i386", "x86_64%00", "%20x86_64", "x86_64,aarch64", "..%2f", "%ff", &long]
    {
        for (method, path) in [("GET", "game/1"), ("DELETE", "game/1"), ("PUT", "game/2")] {
            let path = format!("/1.0/applications/{path}?architecture={architecture}");
            let answer = connection.request(method, &path, &[], b"");
            assert_eq!(answer.status, 400, "{method} {path}");
            assert!(answer.error().len() < 300, "{}", answer.error());
        }
    }
    let still = daemon.request(&publisher, "GET", "/1.0/applications?recursion=1", b"").metadata();
    assert_eq!(still[0]["versions"].as_array().unwrap().len(), 1);
    assert_unharmed(&daemon);
}

#[test]
fn queries_that_mean_nothing_are_refused() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let mut connection = daemon.connect(Some(&client));
    let many = (0..3000).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
    for query in [
        "unknown=1",
        "recursion=1&recursion=1",
        "recursion=1&%72ecursion=0",
        "recursion=2",
        "recursion",
        "recursion=",
        "recursion=yes",
        "RECURSION=1",
        "limit=-2",
        "limit=1e3",
        "limit=9223372036854775808",
        "limit=%31%00",
        "offset=-1",
        "offset=18446744073709551616",
        "published=maybe",
        "architecture=mips",
        "%ff=1",
        "=",
        "=1",
        "%00=1",
        "recursion%00=1",
        &many,
    ] {
        let refused = connection.request("GET", &format!("/1.0/applications?{query}"), &[], b"");
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.error().len() < 1000, "{}", refused.error());
    }
    let stars = format!("name={}", "*a".repeat(20_000));
    for query in [
        "",
        "&&&",
        "name=%",
        "name=%zz",
        "name=%ff",
        "name=%00",
        "tags=,,,",
        "limit=9223372036854775807",
        &stars,
    ] {
        let served = connection.request("GET", &format!("/1.0/applications?{query}"), &[], b"");
        assert_eq!(served.status, 200, "{query}: {served:?}");
    }
    for (path, query) in [
        ("/1.0/applications/game", "recursion=1"),
        ("/1.0/status", "x"),
        ("/1.0", "x=1"),
        ("/1.0/operations", "timeout=1"),
        ("/1.0/operations/x/wait", "timeout=soon"),
        ("/1.0/registry/applications", "name=x"),
    ] {
        let refused = connection.request("GET", &format!("{path}?{query}"), &[], b"");
        assert_eq!(refused.status, 400, "{path}?{query}");
    }
    assert_unharmed(&daemon);
}

#[test]
fn what_is_no_path_is_not_found_and_what_takes_no_method_names_those_it_takes() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let mut connection = daemon.connect(Some(&publisher));
    let slashes = "/".repeat(20_000);
    let deep = "/a".repeat(20_000);
    for path in [
        "//",
        "/1.0//applications",
        "//1.0/status",
        "/1.0/./status",
        "/1.0/../1.0/status",
        "/1.00",
        "/2.0",
        "/1.0/status/x",
        "/1.0/applications//",
        "/1.0/applications/game/1/2/3",
        "/1.0%2fstatus",
        "/1.0/%73tatus/..",
        "/etc/passwd",
        "/.git",
        "/index.html",
        "/1.0/certificates",
        "/1.0/maintenance/verify",
        &slashes,
        &deep,
    ] {
        let answer = connection.request("GET", path, &[], b"");
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.error().is_empty());
    }
    for path in ["/%ff", "/1.0/applications/%c3", "/1.0/%80status"] {
        assert_eq!(connection.request("GET", path, &[], b"").status, 400, "{path}");
    }
    for (path, allowed) in [
        ("/", "GET, HEAD"),
        ("/1.0/status", "GET, HEAD"),
        ("/1.0/applications", "GET, HEAD, POST, DELETE"),
        ("/1.0/applications/game", "GET, HEAD, PATCH, DELETE"),
        ("/1.0/applications/game/1", "GET, HEAD, PUT, PATCH, DELETE"),
        ("/1.0/applications/game/1/manifest", "GET, HEAD"),
        ("/1.0/registry/applications/game", "DELETE"),
        ("/1.0/operations", "GET, HEAD"),
    ] {
        for method in ["TRACE", "OPTIONS", "PROPFIND", "get", "X", "M-SEARCH", &"A".repeat(5000)] {
            let answer = connection.request(method, path, &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
    // Neither the methods nor the paths become metrics of their own.
    let metrics = String::from_utf8(daemon.admin("GET", "/1.0/metrics", b"").body).unwrap();
    assert!(
        metrics.len() < 50_000 && !metrics.contains("PROPFIND") && !metrics.contains("passwd"),
        "{metrics}"
    );
    assert_unharmed(&daemon);
}

#[test]
fn the_forms_of_a_target_that_are_not_a_path() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    for (line, statuses) in [
        ("GET https://registry/1.0/status HTTP/1.1", &[200][..]),
        ("GET http://other.example:80/1.0/applications HTTP/1.1", &[200]),
        ("GET https://user:secret@registry/1.0/status HTTP/1.1", &[200, 400]),
        ("GET ftp://x HTTP/1.1", &[200, 400, 404]),
        ("GET * HTTP/1.1", &[400, 404]),
        ("OPTIONS * HTTP/1.1", &[404, 405]),
        ("GET registry:443 HTTP/1.1", &[400, 404]),
        ("GET status HTTP/1.1", &[400, 404]),
        ("CONNECT other.example:443 HTTP/1.1", &[404, 405]),
        ("CONNECT /1.0/status HTTP/1.1", &[400, 404, 405]),
        ("GET /1.0/status#fragment HTTP/1.1", &[200, 400]),
        ("GET http:///1.0/status HTTP/1.1", &[400]),
        ("GET \\1.0\\status HTTP/1.1", &[400, 404]),
    ] {
        let mut connection: Connection = daemon.connect(Some(&client));
        connection.send(format!("{line}\r\nhost: registry\r\n\r\n").as_bytes()).unwrap();
        let answer = answer(&mut connection, line.as_bytes());
        assert!(statuses.contains(&answer.status), "{line}: {answer:?}");
    }
    assert_unharmed(&daemon);
}
