//! The harness of the tests on S3 keeps what the tests rely on: servers that check signatures and keep their data, a proxy
//! that sees and spoils what it is told to, and a metadata server that behaves as EC2's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aar_tests::Response;
use aar_tests::s3::{
    Call, Client, Fault, IamPolicy, InstanceCredentials, MetadataServer, Proxy, S3Server, Tokens, When,
};

// Servers

#[test]
fn juicefs_checks_signatures_and_keeps_its_data() {
    checks_signatures_and_keeps_its_data(S3Server::juicefs());
}

#[test]
fn seaweedfs_checks_signatures_and_keeps_its_data() {
    checks_signatures_and_keeps_its_data(S3Server::seaweedfs());
}

/// For `make test-ceph`, which installs what it needs.
#[test]
#[ignore = "needs Ceph: `make test-ceph`"]
fn ceph_checks_signatures_and_keeps_its_data() {
    checks_signatures_and_keeps_its_data(S3Server::ceph());
}

fn checks_signatures_and_keeps_its_data(mut server: S3Server) {
    let client = server.client();
    assert_eq!(client.list(""), [""; 0]);
    client.put("images/a b+c/ü", b"content");
    assert_eq!(client.get("images/a b+c/ü").unwrap(), b"content");
    let head = client.request("HEAD", Some("images/a b+c/ü"), &[], &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    assert_eq!(client.get("images/none"), None);

    let stranger = Client { secret_access_key: "not the secret".into(), ..client.clone() };
    for (method, key) in [("PUT", "images/b"), ("GET", "images/a b+c/ü")] {
        let answer = stranger.request(method, Some(key), &[], &[], b"");
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains("SignatureDoesNotMatch"), "{answer:?}");
    }

    // More than a page.
    let mut keys: Vec<_> = (10..35).map(|number| format!("many/{number}")).collect();
    for key in &keys {
        client.put(key, b"");
    }
    assert_eq!(client.list("many/"), keys);
    client.delete("many/20");
    keys.retain(|key| key != "many/20");
    assert_eq!(client.list("many/"), keys);

    let upload = client.begin_upload("images/parts");
    let etag = client.upload_part(&upload, 1, b"part");
    assert_eq!(client.uploads(), std::slice::from_ref(&upload));

    let pids = server.pids();
    server.stop();
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    assert!(client.try_request("GET", None, &[], &[], b"").is_err());
    server.start();
    assert_eq!(client.get("images/a b+c/ü").unwrap(), b"content");
    assert_eq!(client.list("many/"), keys);
    let completed = client.complete_upload(&upload, &[etag]);
    assert_eq!(completed.status, 200, "{completed:?}");
    assert_eq!(client.get("images/parts").unwrap(), b"part");

    let uploads: Vec<_> = (10..35).map(|number| client.begin_upload(&format!("u/{number}"))).collect();
    assert_eq!(client.uploads(), uploads);
    for upload in &uploads {
        client.abort_upload(upload);
    }
    assert_eq!(client.uploads(), []);
    let pids = server.pids();
    drop(server);
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn several_servers_run_at_once() {
    let servers = [S3Server::juicefs(), S3Server::juicefs()];
    let seaweeds = [S3Server::seaweedfs(), S3Server::seaweedfs()];
    for (number, server) in servers.iter().chain(&seaweeds).enumerate() {
        server.client().put("key", number.to_string().as_bytes());
    }
    for (number, server) in servers.iter().chain(&seaweeds).enumerate() {
        assert_eq!(server.client().get("key").unwrap(), number.to_string().as_bytes());
        assert!(!format!("{server:?} {:?}", server.client()).contains(&server.secret_access_key));
    }
    let arguments = |pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    for server in servers.iter().chain(&seaweeds) {
        assert!(server.pids().into_iter().map(arguments).all(|all| !all.contains(&server.secret_access_key)));
    }
}

/// Not a test of its own: [`servers_end_with_a_test_that_is_killed`] runs it in another process, and kills that.
#[test]
#[ignore = "part of another test"]
fn starts_a_server_and_waits() {
    let server = std::thread::spawn(S3Server::juicefs).join().unwrap();
    println!("pid {}", server.pids()[0]);
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn servers_end_with_a_test_that_is_killed_and_not_with_the_thread_that_started_them() {
    let scratch = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "starts_a_server_and_waits"])
        .env("TMPDIR", scratch.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = test.stdout.take().unwrap();
    let pid = loop {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{said}");
        said.push(byte[0].into());
        if let Some(pid) = said.split_once("pid ").and_then(|(_, pid)| pid.strip_suffix('\n')) {
            break pid.to_owned();
        }
    };
    let process = format!("/proc/{pid}/status");
    let runs = || std::fs::read_to_string(&process).is_ok_and(|status| !status.contains("State:\tZ"));
    std::thread::sleep(Duration::from_millis(100));
    assert!(runs());
    test.kill().unwrap();
    test.wait().unwrap();
    eventually(|| !runs());
}

// The proxy's knowledge of IAM

#[test]
fn every_operation_maps_to_what_it_needs() {
    let table = [
        ("GET /", "ListBuckets", "s3:ListAllMyBuckets *"),
        ("GET /b", "ListObjects", "s3:ListBucket arn:aws:s3:::b"),
        (
            "GET /b/?list-type=2&prefix=a%2Fb&continuation-token=x",
            "ListObjectsV2",
            "s3:ListBucket arn:aws:s3:::b",
        ),
        ("HEAD /b", "HeadBucket", "s3:ListBucket arn:aws:s3:::b"),
        ("GET /b?location", "GetBucketLocation", "s3:GetBucketLocation arn:aws:s3:::b"),
        (
            "GET /b?uploads=&prefix=p&key-marker=k",
            "ListMultipartUploads",
            "s3:ListBucketMultipartUploads arn:aws:s3:::b",
        ),
        ("GET /b?versions", "ListObjectVersions", "s3:ListBucketVersions arn:aws:s3:::b"),
        ("PUT /b", "CreateBucket", "s3:CreateBucket arn:aws:s3:::b"),
        ("DELETE /b", "DeleteBucket", "s3:DeleteBucket arn:aws:s3:::b"),
        ("POST /b?delete", "DeleteObjects", "s3:DeleteObject arn:aws:s3:::b/*"),
        ("PUT /b?policy", "PutBucketPolicy", "s3:PutBucketPolicy arn:aws:s3:::b"),
        ("GET /b?versioning", "GetBucketVersioning", "s3:GetBucketVersioning arn:aws:s3:::b"),
        ("GET /b/a%20b/c", "GetObject", "s3:GetObject arn:aws:s3:::b/a b/c"),
        ("GET /b/k?response-content-type=x&X-Amz-Signature=y", "GetObject", "s3:GetObject arn:aws:s3:::b/k"),
        ("HEAD /b/k", "HeadObject", "s3:GetObject arn:aws:s3:::b/k"),
        ("HEAD /b/k?partNumber=1", "HeadObject", "s3:GetObject arn:aws:s3:::b/k"),
        ("GET /b/k?versionId=1", "GetObjectVersion", "s3:GetObjectVersion arn:aws:s3:::b/k"),
        ("PUT /b/k", "PutObject", "s3:PutObject arn:aws:s3:::b/k"),
        ("PUT /b/k?x-id=PutObject", "PutObject", "s3:PutObject arn:aws:s3:::b/k"),
        ("DELETE /b/k", "DeleteObject", "s3:DeleteObject arn:aws:s3:::b/k"),
        ("DELETE /b/k?versionId=1", "DeleteObjectVersion", "s3:DeleteObjectVersion arn:aws:s3:::b/k"),
        ("POST /b/k?uploads", "CreateMultipartUpload", "s3:PutObject arn:aws:s3:::b/k"),
        ("PUT /b/k?partNumber=1&uploadId=u", "UploadPart", "s3:PutObject arn:aws:s3:::b/k"),
        ("POST /b/k?uploadId=u", "CompleteMultipartUpload", "s3:PutObject arn:aws:s3:::b/k"),
        ("DELETE /b/k?uploadId=u", "AbortMultipartUpload", "s3:AbortMultipartUpload arn:aws:s3:::b/k"),
        ("GET /b/k?uploadId=u&max-parts=2", "ListParts", "s3:ListMultipartUploadParts arn:aws:s3:::b/k"),
        ("GET /b/k?tagging", "GetObjectTagging", "s3:GetObjectTagging arn:aws:s3:::b/k"),
        ("PUT /b/k?acl", "PutObjectAcl", "s3:PutObjectAcl arn:aws:s3:::b/k"),
        ("POST /b/k?restore", "PostObjectRestore", "s3:PostObjectRestore arn:aws:s3:::b/k"),
        ("PATCH /b/k", "PatchObject", "s3:PatchObject arn:aws:s3:::b/k"),
    ];
    for (request, operation, needed) in table {
        let (method, target) = request.split_once(' ').unwrap();
        let call = Call::of(method, "127.0.0.1:9000", target, &[]);
        assert_eq!(
            (call.operation.as_str(), needs(&call)),
            (operation, vec![needed.to_owned()]),
            "{request}"
        );
    }
}

#[test]
fn headers_that_need_more_are_seen() {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let put = "s3:PutObject arn:aws:s3:::b/k";
    let table = [
        ("PUT", "/b/k", "x-amz-copy-source", "CopyObject", vec![put, "s3:GetObject arn:aws:s3:::other/a b"]),
        (
            "PUT",
            "/b/k?partNumber=1&uploadId=u",
            "x-amz-copy-source",
            "UploadPartCopy",
            vec![put, "s3:GetObject arn:aws:s3:::other/a b"],
        ),
        ("PUT", "/b/k", "x-amz-acl", "PutObject", vec![put, "s3:PutObjectAcl arn:aws:s3:::b/k"]),
        ("PUT", "/b/k", "x-amz-grant-read", "PutObject", vec![put, "s3:PutObjectAcl arn:aws:s3:::b/k"]),
        (
            "POST",
            "/b/k?uploads",
            "x-amz-tagging",
            "CreateMultipartUpload",
            vec![put, "s3:PutObjectTagging arn:aws:s3:::b/k"],
        ),
        ("PUT", "/b/k", "x-amz-meta-acl", "PutObject", vec![put]),
    ];
    for (method, target, name, operation, needed) in table {
        let call = Call::of(method, "127.0.0.1", target, &header(name, "/other/a%20b"));
        assert_eq!(
            (call.operation.as_str(), needs(&call)),
            (operation, needed.into_iter().map(String::from).collect())
        );
    }
    let presigned = Call::of("PUT", "127.0.0.1", "/b/k?X-Amz-Acl=private", &[]);
    assert_eq!(needs(&presigned), [put, "s3:PutObjectAcl arn:aws:s3:::b/k"]);
}

#[test]
fn buckets_in_host_names_are_seen() {
    let hosts = [
        "b.s3.eu-west-3.amazonaws.com",
        "b.s3-accelerate.amazonaws.com",
        "b.localhost:9000",
        "b.s3.example.org:80",
    ];
    for host in hosts {
        assert_eq!(needs(&Call::of("GET", host, "/a/k", &[])), ["s3:GetObject arn:aws:s3:::b/a/k"], "{host}");
        assert_eq!(
            needs(&Call::of("GET", host, "/?location", &[])),
            ["s3:GetBucketLocation arn:aws:s3:::b"],
            "{host}"
        );
    }
    for host in
        ["s3.eu-west-3.amazonaws.com", "localhost:9000", "127.0.0.1", "[::1]:9000", "store.example.org"]
    {
        assert_eq!(needs(&Call::of("GET", host, "/b/k", &[])), ["s3:GetObject arn:aws:s3:::b/k"], "{host}");
    }
}

fn needs(call: &Call) -> Vec<String> {
    call.permissions.iter().map(|needed| format!("{} {}", needed.action, needed.resource)).collect()
}

#[test]
fn the_policy_gives_what_it_says_and_no_more() {
    let policy = IamPolicy::of_registry("b");
    let permits = |policy: &IamPolicy, method, target| {
        Call::of(method, "127.0.0.1", target, &[]).permissions.iter().all(|needed| policy.permits(needed))
    };
    let inside = [
        "GET /b?list-type=2",
        "GET /b?uploads",
        "GET /b?location",
        "PUT /b/k",
        "GET /b/k",
        "HEAD /b/k",
        "DELETE /b/k",
        "POST /b/k?uploads",
        "PUT /b/k?partNumber=1&uploadId=u",
        "POST /b/k?uploadId=u",
        "DELETE /b/k?uploadId=u",
        "GET /b/k?uploadId=u",
        "HEAD /b",
    ];
    let outside = [
        "GET /",
        "PUT /b",
        "DELETE /b",
        "GET /b?acl",
        "GET /b/k?tagging",
        "PUT /b/k?acl",
        "GET /other/k",
        "GET /bb?list-type=2",
        "GET /b?versions",
        "DELETE /b/k?versionId=1",
        "GET /aar0/k",
    ];
    for (requests, expected) in [(&inside[..], true), (&outside[..], false)] {
        for request in requests {
            let (method, target) = request.split_once(' ').unwrap();
            assert_eq!(permits(&policy, method, target), expected, "{request}");
        }
    }
    let with_deny = r#"{"Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:delete?bject", "Resource": ["arn:aws:s3:::b/keep/*"]}
    ]}"#;
    let policy = IamPolicy::parse(with_deny);
    assert!(permits(&policy, "DELETE", "/b/k") && permits(&policy, "GET", "/b/keep/k"));
    assert!(!permits(&policy, "DELETE", "/b/keep/k"));
}

// The proxy

struct Setup {
    proxy: Proxy,
    client: Client,
    server: S3Server,
}

fn setup() -> Setup {
    let server = S3Server::juicefs();
    let proxy = Proxy::in_front_of(&server.endpoint);
    let client = Client { endpoint: proxy.endpoint(), ..server.client() };
    Setup { proxy, client, server }
}

impl Setup {
    fn put(&self, key: &str) -> Result<Response, String> {
        self.client.try_request("PUT", Some(key), &[], &[], b"content")
    }

    fn get(&self, key: &str) -> Result<Response, String> {
        self.client.try_request("GET", Some(key), &[], &[], b"")
    }

    fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.server.client().get(key)
    }
}

#[test]
fn the_proxy_passes_requests_on_and_remembers_them_without_secrets() {
    let it = setup();
    assert_eq!(it.put("images/a b").unwrap().status, 200);
    assert_eq!(it.get("images/a b").unwrap().body, b"content");
    assert_eq!(it.client.list("images/"), ["images/a b"]);
    let upload = it.client.begin_upload("images/m");
    let etag = it.client.upload_part(&upload, 1, b"part");
    assert_eq!(it.client.complete_upload(&upload, &[etag]).status, 200);
    assert_eq!(it.get("images/none").unwrap().status, 404);
    assert_eq!(it.client.request("HEAD", Some("images/none"), &[], &[], b"").status, 404);
    it.client.delete("images/m");

    let requests = it.proxy.requests();
    let seen: Vec<_> = requests.iter().map(|r| (r.call.operation.as_str(), r.status.unwrap())).collect();
    let expected = [
        ("PutObject", 200),
        ("GetObject", 200),
        ("ListObjectsV2", 200),
        ("CreateMultipartUpload", 200),
        ("UploadPart", 200),
        ("CompleteMultipartUpload", 200),
        ("GetObject", 404),
        ("HeadObject", 404),
        ("DeleteObject", 204),
    ];
    assert_eq!(seen, expected);
    let put = &requests[0];
    assert_eq!((put.method.as_str(), put.target.as_str()), ("PUT", "/aar-tests/images/a%20b"));
    assert_eq!(put.access_key.as_ref(), Some(&it.server.access_key));
    assert_eq!(put.header("content-length"), Some("7"));
    let all = format!("{requests:?}");
    assert!(!all.contains("Signature=") && !all.contains(&it.server.secret_access_key), "{all}");

    let policy = IamPolicy::of_registry(&it.server.bucket);
    it.proxy.assert_permitted(&policy);
    it.client.request("GET", None, &[("acl", "")], &[], b"");
    let outside =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| it.proxy.assert_permitted(&policy)));
    let said = *outside.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("s3:GetBucketAcl on arn:aws:s3:::aar-tests"), "{said}");
}

#[test]
fn virtual_hosted_requests_and_presigned_ones_pass_and_are_seen() {
    let it = setup();
    let port = it.proxy.endpoint().rsplit(':').next().unwrap().to_owned();
    let config = format!(
        "user = \"{}:{}\"\naws-sigv4 = \"aws:amz:us-east-1:s3\"\nresolve = \"aar-tests.localhost:{port}:127.0.0.1\"\n\
         url = \"http://aar-tests.localhost:{port}/images/k\"\n",
        it.server.access_key, it.server.secret_access_key
    );
    it.server.client().put("images/k", b"content");
    assert_eq!(curl(&["--config", "-"], &config), (200, "content".into()));
    let request = it.proxy.requests().pop().unwrap();
    assert_eq!(needs(&request.call), ["s3:GetObject arn:aws:s3:::aar-tests/images/k"]);

    let presigned = "/aar-tests/images/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20260101%2Fus-east-1%2Fs3\
                     %2Faws4_request&X-Amz-Security-Token=TOKEN&X-Amz-Signature=5167";
    assert!(curl(&[&format!("{}{presigned}", it.proxy.endpoint())], "").0 >= 400);
    let request = it.proxy.requests().pop().unwrap();
    assert_eq!((request.access_key.as_deref(), request.has_session_token), (Some("KEY"), true));
    assert!(!request.target.contains("5167") && !request.target.contains("TOKEN"), "{request:?}");
}

#[test]
fn resets_happen_before_or_after_the_store_has_heard() {
    let it = setup();
    it.proxy.misbehave(When::operation("PutObject").key("before"), Fault::ResetBefore);
    it.proxy.misbehave(When::operation("PutObject").key("after"), Fault::ResetAfter);
    for key in ["before", "after"] {
        let error = it.put(key).unwrap_err();
        assert!(error.contains("reset"), "{error}");
    }
    assert_eq!((it.stored("before"), it.stored("after")), (None, Some(b"content".to_vec())));
    let requests = it.proxy.requests();
    assert_eq!(requests[0].fault, Some(Fault::ResetBefore));
    assert!(requests.iter().all(|request| request.status.is_none()));
    assert_eq!(it.put("else").unwrap().status, 200);
}

#[test]
fn refusals_look_like_those_of_s3_and_do_not_reach_the_store() {
    let it = setup();
    let table = [
        (Fault::internal_error(), 500, "<Code>InternalError</Code>"),
        (Fault::slow_down(), 503, "<Code>SlowDown</Code>"),
        (Fault::access_denied(), 403, "<Code>AccessDenied</Code>"),
        (Fault::request_time_too_skewed(), 403, "<Code>RequestTimeTooSkewed</Code>"),
        (Fault::expired_token(), 400, "<Code>ExpiredToken</Code>"),
        (Fault::invalid_access_key_id(), 403, "<Code>InvalidAccessKeyId</Code>"),
        (Fault::authorization_header_malformed("eu-west-3"), 400, "<Region>eu-west-3</Region>"),
        (Fault::permanent_redirect("eu-west-3"), 301, "<Code>PermanentRedirect</Code>"),
        (Fault::no_such_bucket(), 404, "<Code>NoSuchBucket</Code>"),
    ];
    for (fault, status, part) in table {
        it.proxy.behave();
        it.proxy.misbehave(When::always(), fault.clone());
        let answer = it.put("key").unwrap();
        let body = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(body.starts_with("<?xml") && body.contains(part), "{body}");
        let names_region = matches!(status, 301) || part.contains("Region>");
        assert_eq!(answer.header("x-amz-bucket-region"), names_region.then_some("eu-west-3"));
        let head = it.client.request("HEAD", Some("key"), &[], &[], b"");
        assert_eq!((head.status, head.body.len()), (status, 0));
        assert_eq!(it.proxy.requests().pop().unwrap().fault, Some(fault));
    }
    assert_eq!(it.stored("key"), None);
}

#[test]
fn a_missing_permission_is_refused_for_all_that_needs_it_and_nothing_else() {
    let it = setup();
    let upload = it.client.begin_upload("key");
    it.proxy.deny("s3:AbortMultipartUpload");
    it.proxy.deny("s3:GetObject");
    let query = [("uploadId", upload.id.as_str())];
    assert_eq!(it.client.request("DELETE", Some("key"), &query, &[], b"").status, 403);
    assert_eq!(it.client.request("HEAD", Some("key"), &[], &[], b"").status, 403);
    assert_eq!(it.get("key").unwrap().status, 403);
    assert_eq!(it.put("key").unwrap().status, 200);
    assert_eq!(it.client.list(""), ["key"]);
    it.proxy.behave();
    it.client.abort_upload(&upload);
}

#[test]
fn rules_take_the_requests_they_are_for_in_turn() {
    let it = setup();
    it.proxy.misbehave(When::operation("PutObject").skip(1).times(2), Fault::slow_down());
    it.proxy.misbehave(When::operation("PutObject").key("second").times(1), Fault::internal_error());
    let statuses: Vec<_> = (0..4).map(|_| it.put("second").unwrap().status).collect();
    // The first rule leaves the first request to the second one.
    assert_eq!(statuses, [500, 503, 503, 200]);
    assert_eq!(it.proxy.count("PutObject"), 4);
}

#[test]
fn stalls_end_and_the_request_goes_on() {
    let it = setup();
    let time = Duration::from_millis(300);
    let timed = |request: &dyn Fn() -> Result<Response, String>| {
        let begun = Instant::now();
        (request().unwrap().body, begun.elapsed())
    };
    assert!(timed(&|| it.put("key")).1 < time);
    it.proxy.misbehave(When::operation("PutObject"), Fault::Stall(time));
    it.proxy.misbehave(When::operation("GetObject"), Fault::StallAnswer(time));
    assert!(timed(&|| it.put("key")).1 > time);
    let (body, taken) = timed(&|| it.get("key"));
    assert!(body == b"content" && taken > time, "{body:?} {taken:?}");

    // Half of the answer is there before the stall; this one is a refusal, as nothing is signed.
    let mut wire = TcpStream::connect(it.proxy.endpoint().strip_prefix("http://").unwrap()).unwrap();
    wire.write_all(b"GET /aar-tests/key HTTP/1.1\r\nhost: store\r\n\r\n").unwrap();
    wire.set_read_timeout(Some(time / 2)).unwrap();
    let mut answer = Vec::new();
    let error = wire.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let half = String::from_utf8_lossy(&answer).into_owned();
    assert!(half.contains("<Error>") && !half.contains("</Error>"), "{half}");
    eventually(|| {
        let _ = (&wire).read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).ends_with("</Error>")
    });
}

#[test]
fn truncated_answers_end_half_way() {
    let it = setup();
    assert_eq!(it.put("key").unwrap().status, 200);
    it.proxy.misbehave(When::always(), Fault::Truncate);
    let error = it.get("key").unwrap_err();
    assert!(error.contains("4 bytes remaining"), "{error}");
    // Where there is no body, half of the head.
    let mut wire = TcpStream::connect(it.proxy.endpoint().strip_prefix("http://").unwrap()).unwrap();
    wire.write_all(b"HEAD /aar-tests/key HTTP/1.1\r\nhost: store\r\n\r\n").unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && !answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn an_error_hides_behind_200_whether_or_not_the_store_has_heard() {
    let it = setup();
    for forward in [true, false] {
        let key = format!("forwarded-{forward}");
        let upload = it.client.begin_upload(&key);
        let etag = it.client.upload_part(&upload, 1, b"part");
        it.proxy.misbehave(
            When::operation("CompleteMultipartUpload").key(&key),
            Fault::ErrorBehind200 { forward },
        );
        let answer = it.client.complete_upload(&upload, &[etag]);
        assert_eq!(answer.status, 200);
        assert!(String::from_utf8(answer.body).unwrap().contains("<Error><Code>InternalError</Code>"));
        assert_eq!(it.stored(&key), forward.then(|| b"part".to_vec()));
        assert_eq!(it.client.uploads().contains(&upload), !forward);
    }
}

#[test]
fn answers_are_spoilt_on_demand() {
    let it = setup();
    let right = it.put("key").unwrap();
    it.proxy.misbehave(When::operation("GetObject"), Fault::HeaderNotAscii);
    it.proxy.misbehave(When::always(), Fault::WrongEtag);
    let wrong = it.put("key").unwrap();
    assert_eq!(wrong.status, 200);
    assert!(right.header("etag").is_some() && wrong.header("etag") != right.header("etag"), "{wrong:?}");
    assert_eq!(wrong.headers.iter().filter(|(name, _)| name == "etag").count(), 1);
    let answer = it.get("key").unwrap();
    assert_eq!(
        (answer.header("x-amz-meta-place"), answer.body.as_slice()),
        (Some("caf\u{fffd}"), &b"content"[..])
    );

    let upload = it.client.begin_upload("parts");
    it.proxy.behave();
    let etag = it.client.upload_part(&upload, 1, b"part");
    it.proxy.misbehave(When::always(), Fault::WrongEtag);
    let answer = it.client.complete_upload(&upload, &[etag]);
    assert!(String::from_utf8(answer.body).unwrap().contains("0bad&quot;</ETag>"));
    assert_eq!(it.stored("parts").unwrap(), b"part");
}

#[test]
fn a_store_that_is_cut_off_refuses_connections_and_comes_back_at_the_same_address() {
    let it = setup();
    let address = it.proxy.endpoint().strip_prefix("http://").unwrap().to_owned();
    let mut open = TcpStream::connect(&address).unwrap();
    open.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(it.put("key").unwrap().status, 200);
    for _ in 0..3 {
        it.proxy.cut();
        it.proxy.cut();
        assert_eq!(TcpStream::connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(TcpListener::bind(&address).is_err(), "the port is somebody else's");
        it.proxy.mend();
        it.proxy.mend();
        assert_eq!(it.get("key").unwrap().body, b"content");
    }
    // What was open has ended.
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
    open.write_all(b"GET / HTTP/1.1\r\n\r\n").ok();
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
    drop(it);
    assert_eq!(TcpStream::connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_store_that_stops_looks_out_of_reach_through_the_proxy_until_it_is_back() {
    let mut it = setup();
    assert_eq!(it.put("key").unwrap().status, 200);
    it.server.stop();
    assert!(it.get("key").is_err());
    it.server.start();
    assert_eq!(it.get("key").unwrap().body, b"content");
}

#[test]
fn one_connection_carries_many_requests() {
    let it = setup();
    it.server.client().put("key", b"content");
    let url = format!("{}/aar-tests/key", it.proxy.endpoint());
    let mut config = format!(
        "user = \"{}:{}\"\naws-sigv4 = \"aws:amz:us-east-1:s3\"\nwrite-out = \"%{{num_connects}},\"\n",
        it.server.access_key, it.server.secret_access_key
    );
    config += &format!("url = \"{url}\"\noutput = \"/dev/null\"\n").repeat(3);
    let mut curl = Command::new("curl");
    let mut child = curl
        .args(["-s", "--config", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"1,0,0,");
}

#[test]
fn big_bodies_pass_in_both_directions_with_little_memory_and_leave_to_send_is_given() {
    let it = setup();
    let dir = tempfile::tempdir().unwrap();
    let (sent, got) = (dir.path().join("sent"), dir.path().join("got"));
    let size = 256 << 20;
    std::fs::File::create(&sent).unwrap().set_len(size).unwrap();
    let before = peak_memory();
    let signed = format!(
        "user = \"{}:{}\"\naws-sigv4 = \"aws:amz:us-east-1:s3\"\nheader = \"x-amz-content-sha256: UNSIGNED-PAYLOAD\"\n\
         url = \"{}/aar-tests/big\"\n",
        it.server.access_key,
        it.server.secret_access_key,
        it.proxy.endpoint()
    );
    // curl waits a second for leave to send a body of this size, where nobody gives it.
    let upload = [
        "--config",
        "-",
        "--expect100-timeout",
        "60",
        "--max-time",
        "50",
        "--upload-file",
        sent.to_str().unwrap(),
    ];
    assert_eq!(curl(&upload, &signed).0, 200);
    assert!(it.proxy.requests()[0].header("expect").is_some());
    assert_eq!(curl(&["--config", "-", "--output", got.to_str().unwrap()], &signed).0, 200);
    assert_eq!(std::fs::metadata(&got).unwrap().len(), size);
    let grown = peak_memory().saturating_sub(before);
    // Other tests run in this process meanwhile.
    assert!(grown < 64 << 10, "{grown} KiB");
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

// The metadata server

const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

fn ask(server: &MetadataServer, path: &str, arguments: &[&str]) -> (u16, String) {
    let url = format!("{}{path}", server.endpoint());
    curl(&[&[url.as_str()], arguments].concat(), "")
}

fn token(server: &MetadataServer, seconds: &str) -> String {
    let ttl = format!("X-aws-ec2-metadata-token-ttl-seconds: {seconds}");
    let (status, token) = ask(server, TOKEN, &["-X", "PUT", "-H", &ttl]);
    assert_eq!(status, 200);
    format!("X-aws-ec2-metadata-token: {token}")
}

fn credentials(name: &str) -> InstanceCredentials {
    InstanceCredentials::new(name, "secret", "session", Duration::from_secs(90))
}

#[test]
fn session_tokens_are_given_as_ec2_gives_them() {
    let server = MetadataServer::new(Tokens::Required);
    let put = |headers: &[&str]| {
        let arguments: Vec<_> = headers.iter().flat_map(|header| ["-H", header]).collect();
        ask(&server, TOKEN, &[&["-X", "PUT"], arguments.as_slice()].concat()).0
    };
    let ttl = |seconds| format!("X-aws-ec2-metadata-token-ttl-seconds: {seconds}");
    assert_eq!(put(&[]), 400);
    for (seconds, status) in
        [("0", 400), ("1", 200), ("21600", 200), ("21601", 400), ("-1", 400), ("soon", 400)]
    {
        assert_eq!(put(&[&ttl(seconds)]), status, "{seconds}");
    }
    assert_eq!(put(&[&ttl("60"), "X-Forwarded-For: 192.0.2.1"]), 403);
    assert_eq!(ask(&server, TOKEN, &[]).0, 405);
}

#[test]
fn credentials_need_a_session_token_that_is_valid() {
    let server = MetadataServer::new(Tokens::Required);
    let token_of_an_hour = token(&server, "3600");
    let with = ["-H", token_of_an_hour.as_str()];
    assert_eq!(ask(&server, ROLES, &with).0, 404);
    server.attach("registry", credentials("FIRST"));
    assert_eq!(ask(&server, ROLES, &[]).0, 401);
    assert_eq!(ask(&server, ROLES, &["-H", "X-aws-ec2-metadata-token: made-up"]).0, 401);
    assert_eq!(ask(&server, ROLES, &with), (200, "registry".into()));
    assert_eq!(ask(&server, &format!("{ROLES}other"), &with).0, 404);

    let read = || {
        let (status, json) = ask(&server, &format!("{ROLES}registry"), &with);
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&json).unwrap()
    };
    let first = read();
    let expected = [
        ("Code", "Success"),
        ("Type", "AWS-HMAC"),
        ("AccessKeyId", "FIRST"),
        ("SecretAccessKey", "secret"),
        ("Token", "session"),
    ];
    for (name, value) in expected {
        assert_eq!(first[name], value);
    }
    // `2026-01-01T00:00:00Z`
    for name in ["LastUpdated", "Expiration"] {
        let time = first[name].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }
    assert!(first["Expiration"].as_str() > first["LastUpdated"].as_str());
    server.attach("registry", credentials("SECOND"));
    assert_eq!(read()["AccessKeyId"], "SECOND");

    let short = token(&server, "1");
    assert_eq!(ask(&server, ROLES, &["-H", &short]).0, 200);
    eventually(|| ask(&server, ROLES, &["-H", &short]).0 == 401);
    assert_eq!(ask(&server, ROLES, &with).0, 200);
    server.forget_tokens();
    assert_eq!(ask(&server, ROLES, &with).0, 401);
    let last = server.requests().pop().unwrap();
    assert_eq!((last.path.as_str(), last.has_token, last.status), (ROLES, true, 401));
    server.detach();
    assert_eq!(ask(&server, ROLES, &["-H", &token(&server, "60")]).0, 404);
    server.cut();
    assert!(TcpStream::connect(server.endpoint().strip_prefix("http://").unwrap()).is_err());
}

#[test]
fn version_1_works_where_tokens_are_optional_or_unknown() {
    let optional = MetadataServer::new(Tokens::Optional);
    let unknown = MetadataServer::new(Tokens::Unknown);
    for server in [&optional, &unknown] {
        server.attach("registry", credentials("KEY"));
        assert_eq!(ask(server, ROLES, &[]), (200, "registry".into()));
    }
    assert_eq!(ask(&optional, ROLES, &["-H", "X-aws-ec2-metadata-token: made-up"]).0, 401);
    assert_eq!(ask(&optional, ROLES, &["-H", &token(&optional, "60")]).0, 200);
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    assert_eq!(ask(&unknown, TOKEN, &["-X", "PUT", "-H", ttl]).0, 404);
    let shown = format!("{:?}", credentials("KEY"));
    assert!(!shown.contains("secret\"") && !shown.contains("session"), "{shown}");
}

/// Runs curl; the status and the body. What is secret goes through its standard input.
fn curl(arguments: &[&str], input: &str) -> (u16, String) {
    let mut child = Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Waits until something holds.
fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never does");
        std::thread::sleep(Duration::from_millis(50));
    }
}
