//! The command line as a process: exit codes, messages, what goes to which stream. The daemon is a stand-in here.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aar_model::Digest;
use serde_json::json;

/// A base directory with a socket on which `answer` makes an answer of a request's method and path.
struct Daemon {
    base_dir: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Daemon {
    fn start(
        answer: impl Fn(&str) -> (u16, Vec<(&'static str, String)>, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let base_dir = tempfile::tempdir().unwrap();
        fs::create_dir(base_dir.path().join("run")).unwrap();
        let listener = UnixListener::bind(base_dir.path().join("run/aar.sock")).unwrap();
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = read_request(&mut stream) {
                    let (status, headers, bytes) = answer(&request.line);
                    seen.lock().unwrap().push(request);
                    respond(stream.get_mut(), status, &headers, &bytes);
                }
            }
        });
        Self { base_dir, requests }
    }

    fn refusing(status: u16) -> Self {
        Self::start(move |_| {
            (status, vec![], json!({"type": "error", "error": "no", "error_code": status}).to_string().into())
        })
    }

    fn aar(&self, arguments: &[&str]) -> Output {
        aar(self.base_dir.path(), arguments)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// A request: method and path, where its range begins, and its body.
#[derive(Debug, Clone)]
struct Request {
    line: String,
    offset: usize,
    body: String,
}

fn read_request(stream: &mut BufReader<UnixStream>) -> Option<Request> {
    let (mut line, mut offset, mut length) = (String::new(), 0, 0);
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        match header.trim().to_ascii_lowercase().split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("range", value)) => {
                offset = value.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, offset, body: String::from_utf8_lossy(&body).into_owned() })
}

fn respond(out: &mut UnixStream, status: u16, headers: &[(&str, String)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let _ = out.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| out.write_all(body));
}

fn sync(metadata: impl serde::Serialize) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
    let answer = json!({"type": "sync", "status": "Success", "status_code": 200, "metadata": metadata});
    (200, vec![], answer.to_string().into_bytes())
}

/// An application of which every version, published or not, has one image.
fn demo(versions: &[(i64, bool)], fingerprint: Digest, size: usize) -> serde_json::Value {
    let image = json!({"architecture": "x86_64", "fingerprint": fingerprint, "size": size, "media_type": "application/zip"});
    let version = |(number, published): &(i64, bool)| json!({"number": number, "status": "active", "status_code": 3, "published": published, "created_at": 0, "images": [image]});
    json!({
        "id": "demo", "name": "demo", "status": "ready", "status_code": 2, "published": true, "created_at": 0,
        "updated_at": 0, "architectures": ["x86_64"], "versions": versions.iter().map(version).collect::<Vec<_>>(),
    })
}

fn command(base_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aar"));
    command
        .args(arguments)
        .env_clear()
        .env("AAR_BASE_DIR", base_dir)
        .env("HOME", base_dir)
        .current_dir(base_dir);
    command.stdin(Stdio::null());
    command
}

fn aar(base_dir: &Path, arguments: &[&str]) -> Output {
    command(base_dir, arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_refusal_has_its_exit_code() {
    for (status, expected) in [(401, 4), (403, 4), (404, 3), (409, 5), (400, 1), (500, 1), (503, 1), (507, 8)]
    {
        let output = Daemon::refusing(status).aar(&["application", "show", "demo"]);
        assert_eq!((code(&output), stderr(&output).lines().next()), (expected, Some("aar: no")), "{status}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["nonsense"][..],
        &["trust", "remove", "abc"],
        &["application", "push", "Demo", "1", "file"],
        &["application", "--registry", "http://host", "list"],
        &["application", "list"], // neither a registry nor a daemon
        &["application", "delete", "demo", "--architecture", "x86_64"],
    ] {
        let output = aar(folder.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_registry_out_of_reach_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let pin = "ab".repeat(32);
    let registry = ["--registry", "https://127.0.0.1:1", "--fingerprint", &pin];
    let output = aar(folder.path(), &[&["application"][..], &registry, &["list"]].concat());
    assert_eq!(code(&output), 6);
    assert!(
        stderr(&output).starts_with("aar: cannot reach the registry at 127.0.0.1:1: "),
        "{}",
        stderr(&output)
    );
    let output = aar(folder.path(), &["maintenance", "verify"]);
    assert_eq!(code(&output), 6);
    assert!(stderr(&output).contains("\nhint: is the daemon running?"), "{}", stderr(&output));
}

#[test]
fn options_come_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let pin = "AB:".repeat(32);
    let file = format!("registry: https://127.0.0.1:1\nfingerprint: {}\n", pin.trim_end_matches(':'));
    fs::create_dir_all(folder.path().join(".config/aar")).unwrap();
    fs::write(folder.path().join(".config/aar/config.yaml"), &file).unwrap();
    fs::write(folder.path().join("named.yaml"), file.replace(":1\n", ":2\n")).unwrap();
    let tried = |environment: &[(&str, &str)], options: &[&str]| {
        let mut command = command(folder.path(), &["status"]);
        let output = command.args(options).envs(environment.iter().copied()).output().unwrap();
        let error = stderr(&output);
        assert_eq!(code(&output), 6, "{error}");
        error.split_once("registry at 127.0.0.1:").unwrap().1[..1].to_owned()
    };
    let variable = ("AAR_REGISTRY", "https://127.0.0.1:3");
    assert_eq!(tried(&[], &[]), "1");
    assert_eq!(tried(&[("AAR_CONFIG", "named.yaml")], &[]), "2");
    assert_eq!(tried(&[variable], &[]), "3");
    assert_eq!(tried(&[variable], &["--registry", "https://127.0.0.1:4"]), "4");
}

#[test]
fn an_empty_variable_of_sync_is_no_filter_and_else_refused() {
    let image = b"PK";
    let daemon = Daemon::start(move |_| sync([demo(&[(1, true)], Digest::of(image), image.len())]));
    let tried = |variable: &str| {
        let mut command = command(daemon.base_dir.path(), &["sync", "--dry-run", "--format", "csv"]);
        command.env("AAR_SYNC_DIR", "mirror").env(variable, "").output().unwrap()
    };
    let output = tried("AAR_SYNC_FILTER");
    assert!(stdout(&output).contains("transfer,demo,1,x86_64,2"), "{output:?}");
    for variable in [
        "DIR",
        "MODE",
        "AMS",
        "AMS_FINGERPRINT",
        "ARCHITECTURE",
        "INTERVAL",
        "LIMIT_RATE",
        "PARALLEL",
        "ON_CHANGE",
        "FROM_RELATION",
    ] {
        let output = tried(&format!("AAR_SYNC_{variable}"));
        assert_eq!(code(&output), 2, "{variable}: {output:?}");
    }
}

#[test]
fn what_cannot_be_undone_is_not_done_unasked() {
    let daemon = Daemon::refusing(500);
    let output = daemon.aar(&["application", "delete", "demo"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("add --yes"), "{}", stderr(&output));
    assert!(daemon.requests().is_empty());
}

#[test]
fn a_registry_without_a_pin_is_refused_with_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let identity = aar_tls::Identity::load_or_create(folder.path(), &["127.0.0.1".to_owned()]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = aar_tls::Acceptor::new(&identity).unwrap();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    let fingerprint = identity.certificate().fingerprint();
    let registry = format!("https://{address}");
    let output = aar(folder.path(), &["status", "--registry", &registry]);
    assert_eq!(code(&output), 2);
    let expected = format!(
        "aar: no fingerprint says which server at {address} is the right one; it shows {fingerprint}\nhint: compare it"
    );
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));

    let wrong = "ab".repeat(32);
    let output = aar(folder.path(), &["status", "--registry", &registry, "--fingerprint", &wrong]);
    assert_eq!(code(&output), 7);
    assert!(stderr(&output).contains(&format!("has the certificate {fingerprint}, not {wrong} as pinned")));
}

#[test]
fn a_pull_writes_the_image_under_its_proper_name() {
    let bytes = b"an image".to_vec();
    let fingerprint = Digest::of(&bytes);
    let application = demo(&[(1, true), (4, true), (5, false)], fingerprint, bytes.len());
    let daemon = Daemon::start(move |line| {
        if line.contains("/demo/") {
            (200, vec![("x-ams-fingerprint", fingerprint.to_string())], bytes.clone())
        } else {
            sync(&application)
        }
    });
    let output = daemon.aar(&["application", "pull", "demo"]);
    assert_eq!(
        stdout(&output),
        "pulled: demo version 4 for x86_64 to demo_4_x86_64.zip (8 B)\n",
        "{}",
        stderr(&output)
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(fs::read(daemon.base_dir.path().join("demo_4_x86_64.zip")).unwrap(), b"an image");
    let output = daemon.aar(&["application", "pull", "demo", "5", "-o", "elsewhere"]);
    assert_eq!(stdout(&output), "pulled: demo version 5 for x86_64 to elsewhere (8 B)\n");
    let lines: Vec<_> = daemon.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "GET /1.0/applications/demo",
            "GET /1.0/applications/demo/4?architecture=x86_64",
            "GET /1.0/applications/demo",
            "GET /1.0/applications/demo/5?architecture=x86_64",
        ]
    );
}

#[test]
fn an_interrupted_pull_is_gone_on_with() {
    const SIZE: usize = 2 * 1024 * 1024;
    let bytes: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    let fingerprint = Digest::of(&bytes);
    let base_dir = tempfile::tempdir().unwrap();
    fs::create_dir(base_dir.path().join("run")).unwrap();
    let listener = UnixListener::bind(base_dir.path().join("run/aar.sock")).unwrap();
    let image = bytes.clone();
    let resumed_at = std::thread::spawn(move || {
        let mut first = true;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = read_request(&mut stream) {
                if !request.line.contains("/demo/") {
                    let (status, headers, body) = sync(demo(&[(1, true)], fingerprint, SIZE));
                    respond(stream.get_mut(), status, &headers, &body);
                } else if std::mem::take(&mut first) {
                    // Half of it, and then nothing until the client has gone.
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nx-ams-fingerprint: {fingerprint}\r\ncontent-length: {SIZE}\r\n\r\n"
                    );
                    stream.get_mut().write_all(head.as_bytes()).unwrap();
                    stream.get_mut().write_all(&image[..SIZE / 2]).unwrap();
                } else {
                    let range = [
                        ("x-ams-fingerprint", fingerprint.to_string()),
                        ("content-range", format!("bytes {}-{}/{SIZE}", request.offset, SIZE - 1)),
                    ];
                    respond(stream.get_mut(), 206, &range, &image[request.offset..]);
                    return request.offset;
                }
            }
        }
        unreachable!("a listener has no end")
    });

    let mut pull = command(base_dir.path(), &["application", "pull", "demo", "-o", "image"]).spawn().unwrap();
    let part = base_dir.path().join("image.part");
    let arrived = || fs::metadata(&part).is_ok_and(|part| part.len() > 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !arrived() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &pull.id().to_string()]).status().unwrap().success());
    assert_eq!(pull.wait().unwrap().signal(), Some(2));

    let output = aar(base_dir.path(), &["application", "pull", "demo", "-o", "image"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(fs::read(base_dir.path().join("image")).unwrap() == bytes);
    assert!(!part.exists());
    assert!(resumed_at.join().unwrap() > 0);
}

#[test]
fn only_the_first_certificate_of_a_file_is_sent() {
    let daemon = Daemon::start(|line| {
        if line.starts_with("GET") {
            return sync(json!({
                "api_extensions": [], "api_status": "stable", "api_version": "1.0", "auth": "trusted", "auth_methods": [],
            }));
        }
        let certificate = json!({
            "certificate": "", "fingerprint": "ab".repeat(32), "role": "publisher", "name": "ci", "sources": ["operator"],
            "added_at": 0,
        });
        sync(json!({"change": "added", "certificate": certificate}))
    });
    let pems = ["leaf", "issuer"].map(|name| {
        let folder = daemon.base_dir.path().join(name);
        let identity = aar_tls::Identity::load_or_create(&folder, &[name.to_owned()]).unwrap();
        identity.certificate().to_pem()
    });
    let key = fs::read_to_string(daemon.base_dir.path().join("leaf/server.key")).unwrap();
    fs::write(daemon.base_dir.path().join("chain.pem"), format!("{key}{}{}", pems[0], pems[1])).unwrap();

    let output = daemon.aar(&["trust", "add", "chain.pem", "--publisher"]);
    let expected = format!(
        "only the first certificate counts; 1 after it passed over\ntrusted as publisher: ci ({})\n",
        "ab".repeat(32)
    );
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    let request = daemon.requests().pop().unwrap();
    assert_eq!(request.line, "POST /1.0/certificates");
    let sent: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(sent, json!({"certificate": pems[0], "role": "publisher", "source": "operator"}));

    let chain = File::open(daemon.base_dir.path().join("chain.pem")).unwrap();
    let output = command(daemon.base_dir.path(), &["trust", "add", "-q"]).stdin(chain).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str(), stderr(&output).as_str()), (0, "", ""));
}

#[test]
fn damaged_images_are_named_and_end_in_an_exit_code_of_their_own() {
    let daemon = Daemon::start(|_| {
        let damaged = json!({"fingerprint": "ab".repeat(32), "problem": "cut short", "applications": ["demo/3/x86_64"]});
        sync(json!({"images": 3, "bytes": 4096, "damaged": [damaged]}))
    });
    let output = daemon.aar(&["maintenance", "verify"]);
    assert_eq!(code(&output), 7);
    assert!(stdout(&output).contains("cut short  demo/3/x86_64"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "aar: 1 image is damaged\n");
    assert_eq!(daemon.requests()[0].line, "POST /1.0/maintenance/verify");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(folder.path(), &["completion", "bash"]).stdout(writer).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "fish", "zsh", "powershell"] {
        let script = stdout(&aar(folder.path(), &["completion", shell]));
        assert!(script.contains("collect-garbage") && script.contains("unpublished"), "{shell}");
    }
    assert_eq!(code(&aar(folder.path(), &["man", "pages"])), 0);
    for page in
        ["aar", "aar-trust", "aar-trust-add", "aar-application-pull", "aar-maintenance-collect-garbage"]
    {
        let text = fs::read_to_string(folder.path().join(format!("pages/{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!folder.path().join("pages/aar-man.1").exists());
}

#[test]
fn a_daemon_that_holds_its_lock_and_does_not_answer_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    let lock = File::create(folder.path().join("run/aard.lock")).unwrap();
    lock.lock().unwrap();
    let output = aar(folder.path(), &["trust", "list"]);
    assert_eq!(
        (code(&output), stderr(&output).as_str()),
        (1, "aar: the daemon is starting or stopping; try again\n")
    );
}

#[test]
fn trust_works_while_the_daemon_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = certificate(&folder.path().join("ams.crt"));
    let run = |arguments: &[&str]| {
        let output = aar(folder.path(), arguments);
        (code(&output), stdout(&output), stderr(&output))
    };
    let ok = |text: String| (0, text + "\n", String::new());
    let named = format!("ams.example ({fingerprint})");
    assert_eq!(run(&["trust", "add", "ams.crt"]), ok(format!("trusted as client: {named}")));
    assert_eq!(run(&["trust", "add", "ams.crt"]), ok(format!("already trusted as client: {named}")));
    assert_eq!(run(&["trust", "add", "-p", "ams.crt"]), ok(format!("role changed to publisher: {named}")));
    let (_, list, _) = run(&["trust", "ls", "--format", "csv"]);
    assert!(list.contains(&format!("\nams.example,publisher,{fingerprint},operator,")), "{list}");

    let prefix = &fingerprint[..8];
    assert_eq!(run(&["trust", "remove", prefix]), ok(format!("removed: {named}")));
    let (status, _, error) = run(&["trust", "remove", prefix]);
    assert_eq!(status, 3, "{error}");

    assert_eq!(run(&["trust", "add", "ams.crt", "--quiet"]), (0, String::new(), String::new()));
    let (status, _, error) = run(&["trust", "revoke", prefix]);
    assert_eq!(status, 2, "{error}");
    assert_eq!(run(&["trust", "revoke", prefix, "--yes"]), ok(format!("revoked for good: {named}")));
    let (status, _, error) = run(&["trust", "add", "ams.crt"]);
    assert_eq!(status, 5, "{error}");
    let (_, list, _) = run(&["trust", "list", "--revoked", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["fingerprint"], list.as_array().unwrap().len()), (&json!(fingerprint), 1));
}

#[test]
fn what_several_bring_stays_until_the_last_takes_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = certificate(&folder.path().join("ams.crt"));
    let run = |arguments: &[&str]| {
        let output = aar(folder.path(), arguments);
        assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{arguments:?}");
        stdout(&output).trim_end().to_owned()
    };
    let named = format!("ams.example ({fingerprint})");
    run(&["trust", "add", "ams.crt"]);
    let added = run(&["trust", "add", "ams.crt", "--publisher", "--source", "relation:3"]);
    assert_eq!(added, format!("role changed to publisher: {named}"));
    let left = run(&["trust", "remove", &fingerprint, "--source", "relation:3"]);
    assert_eq!(left, format!("still trusted as client for operator: {named}"));
    // A source that does not bring it takes nothing away.
    assert_eq!(run(&["trust", "remove", &fingerprint, "--source", "relation:4"]), left);
    assert_eq!(run(&["trust", "remove", &fingerprint, "--source", "operator"]), format!("removed: {named}"));
    assert_eq!(run(&["trust", "list", "--format", "json"]), "[]");
}

#[test]
fn what_root_adds_belongs_to_the_user_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = certificate(&folder.path().join("ams.crt"));
    // Only root can try this; for others there is nothing to hand over.
    if chown(folder.path(), Some(4321), Some(4321)).is_err() {
        return;
    }
    let output = aar(folder.path(), &["trust", "add", "ams.crt"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for path in
        ["run", "run/aard.lock", "certs", "certs/clients", &format!("certs/clients/{fingerprint}.crt")]
    {
        assert_eq!(fs::metadata(folder.path().join(path)).unwrap().uid(), 4321, "{path}");
    }
}

/// Writes a new certificate and answers its fingerprint.
fn certificate(path: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let identity = aar_tls::Identity::load_or_create(folder.path(), &["ams.example".to_owned()]).unwrap();
    fs::write(path, identity.certificate().to_pem()).unwrap();
    identity.certificate().fingerprint().to_string()
}
