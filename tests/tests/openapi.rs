//! `docs/openapi.yaml` is the API as it is served: nothing is missing in it, and nothing is invented.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aar_model::Digest;
use aar_tests::{Connection, Daemon, Person, Response};
use openssl::base64::encode_block;
use serde_json::{Map, Value, json};

/// What takes a minute of silence, two requests at one moment, a broken index, the moment of a stop or a full disk to see.
const RARE: [u16; 4] = [408, 423, 503, 507];

/// Headers of HTTP itself, those that the documented content or description stands for, and the one that all answers on
/// uploads have.
const UNDOCUMENTED_HEADERS: [&str; 7] = [
    "content-type",
    "content-length",
    "date",
    "connection",
    "upgrade",
    "sec-websocket-version",
    "tus-resumable",
];

#[test]
fn every_operation_answers_as_documented() {
    let daemon = Daemon::spawn();
    let mut checked = Checked::new(&daemon);
    every_operation_is_for_whom_it_says(&mut checked);
    every_operation_takes_the_parameters_that_it_says(&mut checked);
    bodies_are_limited(&mut checked);
    reads(&mut checked);
    events(&mut checked);
    changes(&mut checked);
    uploads(&mut checked);
    administration(&mut checked);
    checked.everything_was_seen();
    a_broken_storage(&mut checked);
}

#[test]
fn every_path_takes_the_methods_that_it_says() {
    let daemon = Daemon::spawn();
    let document = document();
    let refusal = &document["components"]["responses"]["MethodNotAllowed"];
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = with_dummies(path);
        let answer = if item["x-unix-socket-only"] == true {
            daemon.admin("BREW", &target, b"")
        } else {
            daemon.connect(None).request("BREW", &target, &[], b"")
        };
        assert_eq!(answer.status, 405, "{path}");
        check_answer(&format!("BREW {path}"), refusal, &answer);
        let served: BTreeSet<_> = answer.header("allow").unwrap().split(", ").collect();
        let documented: Vec<_> = operations(item).map(|(method, _)| method.to_uppercase()).collect();
        assert_eq!(served, documented.iter().map(String::as_str).collect(), "{path}");
    }
}

#[test]
fn every_route_is_documented() {
    let routes = include_str!("../../crates/aar-api/src/route.rs");
    let pattern = |line: &'static str| line.split_once("=> \"/")?.1.split_once("\",").map(|(path, _)| path);
    let served: BTreeSet<_> = routes.lines().filter_map(pattern).map(|path| format!("/{path}")).collect();
    let document = document();
    assert!(served.len() > 10, "{served:?}");
    assert_eq!(document["paths"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), served);
}

fn every_operation_is_for_whom_it_says(checked: &mut Checked<'_>) {
    for (method, path, operation) in checked.operations() {
        let target = with_dummies(&path);
        if checked.on_socket(&path) {
            let answer = checked.send(Who::Publisher, &method, &target, &[], b"");
            assert_eq!(answer.status, 404, "{method} {path} on the network");
            continue;
        }
        let needed = operation["security"][0].as_object().map(|scheme| scheme.keys().next().unwrap().clone());
        let inherited = operation.get("security").is_none().then(|| "client".to_owned());
        let needed = needed.or(inherited);
        let nobody = checked.call(Who::Nobody, &method, &target, &[], b"").status;
        assert_eq!(nobody == 401, needed.is_some(), "{method} {path} by nobody: {nobody}");
        let client = checked.call(Who::Client, &method, &target, &[], b"").status;
        assert_eq!(client == 403, needed.as_deref() == Some("publisher"), "{method} {path} by a client");
    }
}

fn every_operation_takes_the_parameters_that_it_says(checked: &mut Checked<'_>) {
    for (method, path, _) in checked.operations() {
        let answer = checked.administer(&method, &format!("{}?nonsense=1", with_dummies(&path)), b"");
        assert_eq!(answer.status, 400, "{method} {path}");
        let mut documented = checked.parameters(&method, &path, "query");
        if method == "head" {
            assert_eq!(documented, checked.parameters("get", &path, "query"), "{path}");
            continue;
        }
        let error = answer.error();
        let served: BTreeSet<_> = error.split_once("known: ").unwrap().1.split(", ").collect();
        if documented.is_empty() {
            documented.insert("none".into());
        }
        assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), served, "{method} {path}");
    }
}

fn bodies_are_limited(checked: &mut Checked<'_>) {
    let large = vec![b' '; (1 << 20) + 1];
    for (method, path, operation) in checked.operations() {
        let is_image = operation["requestBody"]["content"]["application/offset+octet-stream"].is_object();
        if operation["responses"]["413"].is_object() && !is_image {
            assert_eq!(
                checked.administer(&method, &with_dummies(&path), &large).status,
                413,
                "{method} {path}"
            );
        }
    }
}

fn reads(checked: &mut Checked<'_>) {
    let request = json!({
        "application": {
            "name": "game", "instance_type": "a4.3", "boot_package": "com.example.game", "tags": ["eu"], "addons": ["ssh"],
            "resources": {"cpus": 4, "memory": "4GB", "disk-size": "5GB", "gpu-slots": 1, "gpu-type": "nvidia",
                          "vpu-slots": 0, "no_disk_reserve": true}
        },
        "version": {
            "number": 1, "addons": [{"name": "ssh", "version": 1}], "video_encoder": "gpu-preferred",
            "extra_data": {"obb": {"target": "/sdcard/obb", "owner": "root:root", "permissions": "0644"}},
            "services": [{"port": 3000, "port_end": 3010, "protocols": ["tcp"], "expose": true, "name": "web"}]
        }
    });
    let image = b"PK\x03\x04 image of version 1";
    checked.push("put", "/1.0/applications/game/1?architecture=amd64", image, &request, 202);
    checked.push("put", "/1.0/applications/game/1?architecture=amd64", b"another", &json!({}), 409);
    let request =
        json!({ "application": {"name": "game", "architectures": ["x86_64"]}, "version": {"number": 2} });
    checked.push("post", "/1.0/applications", b"image of version 2", &request, 202);
    checked.push("post", "/1.0/applications", b"another", &request, 409);

    for method in ["get", "head"] {
        let mut read = |target: &str, headers: &[(&str, &str)], status| {
            let answer = checked.call(Who::Client, method, target, headers, b"");
            assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        };
        read("/1.0", &[], 200);
        for target in [
            "/1.0/applications?recursion=1&name=g*&tags=eu&addons=ssh&vm=false&limit=1&offset=0",
            "/1.0/applications?architecture=amd64",
            "/1.0/applications/game",
            "/1.0/applications/game/1",
            "/1.0/applications/game/1/manifest",
            "/1.0/registry/applications?recursion=1",
        ] {
            read(target, &[], 200);
            read(target, &[("if-none-match", "*")], 304);
        }
        read("/1.0/applications/game/1", &[("range", "bytes=1-"), ("if-range", "\"other\"")], 200);
        read("/1.0/applications/game/1?architecture=x86_64", &[("range", "bytes=2-4")], 206);
        read("/1.0/applications/game/1", &[("range", "bytes=1000-")], 416);
    }
}

fn events(checked: &mut Checked<'_>) {
    assert_eq!(checked.call(Who::Client, "get", "/1.0/events", &[], b"").status, 426);
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "8"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(checked.send(Who::Client, "get", "/1.0/events", &handshake, b"").status, 426);
    let mut handshake = handshake;
    handshake[2].1 = "13";
    let answer = checked.call(Who::Client, "get", "/1.0/events?type=lifecycle,operation", &handshake, b"");
    assert_eq!(answer.status, 101);
    // What follows on that connection is no HTTP any more.
    checked.connections[Who::Client as usize] = None;
}

fn changes(checked: &mut Checked<'_>) {
    let everything = json!({
        "instance-type": "a8.3", "tags": ["eu"], "addons": null, "resources": {"cpus": 8}, "inhibit_auto_updates": true,
        "services": [{"port": 1, "protocols": ["udp"], "expose": false, "name": "x"}], "boot_activity": "Main",
        "watchdog": {"disabled": true, "allowed-packages": []}, "required_permissions": ["p"],
        "video_encoder": "software", "manifest_version": "0.2", "features": ["f"], "hooks": {"timeout": "1m"},
        "bootstrap": {"keep": ["a"]}, "node_selector": ["n"]
    });
    let mut change = |method: &str, target: &str, headers: &[(&str, &str)], body: &Value, status| {
        let answer = checked.call(Who::Publisher, method, target, headers, body.to_string().as_bytes());
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        answer
    };
    change("patch", "/1.0/applications/game", &[("if-match", "*")], &everything, 202);
    change("patch", "/1.0/applications/game", &[("if-match", "\"other\"")], &everything, 412);
    let failed = json!({ "tags": "not a list" });
    change("patch", "/1.0/applications/game", &[], &failed, 400);
    for (method, target) in [
        ("patch", "/1.0/applications/none"),
        ("patch", "/1.0/applications/game/3"),
        ("delete", "/1.0/applications/none"),
        ("delete", "/1.0/applications/game/3"),
        ("delete", "/1.0/registry/applications/none"),
    ] {
        change(method, target, &[], &json!({}), 404);
    }
    let changed = change("patch", "/1.0/applications/game/1", &[], &json!({ "published": false }), 202);
    let operation = changed.header("location").unwrap().to_owned();
    for method in ["get", "head"] {
        for target in [
            "/1.0/applications/game",
            "/1.0/operations",
            "/1.0/operations?recursion=1",
            &operation,
            &format!("{operation}/wait?timeout=1"),
        ] {
            let answer = checked.call(Who::Publisher, method, target, &[], b"");
            assert_eq!(answer.status, 200, "{method} {target}");
        }
    }
}

fn uploads(checked: &mut Checked<'_>) {
    const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
    const OCTETS: (&str, &str) = ("content-type", "application/offset+octet-stream");
    let image = b"an image in two pieces";
    let metadata = |version: &str| {
        let fingerprint = Digest::of(image).to_string();
        let pairs = [
            ("name", "game"),
            ("version", version),
            ("architecture", "x86_64"),
            ("fingerprint", &fingerprint),
        ];
        pairs.map(|(key, value)| format!("{key} {}", encode_block(value.as_bytes()))).join(",")
    };
    let (new, taken) = (metadata("7"), metadata("1"));
    let mut call = |method: &str, target: &str, headers: &[(&str, &str)], body: &[u8], status: u16| {
        let answer = checked.call(Who::Publisher, method, target, headers, body);
        assert_eq!(answer.status, status, "{method} {target} {headers:?}: {answer:?}");
        answer
    };
    let (length, uploads) = (("upload-length", "22"), "/1.0/uploads");
    let wrong = ("upload-checksum", "sha1 AAAA");
    for target in [uploads, "/1.0/uploads/0123456789abcdef0123456789abcdef"] {
        call("options", target, &[], b"", 204);
    }
    call("post", uploads, &[length, ("upload-metadata", &new)], b"", 412);
    call("post", uploads, &[TUS, length, ("upload-metadata", &taken)], b"", 409);
    let whole = [TUS, length, ("upload-metadata", &new), OCTETS];
    call("post", uploads, &[&whole[..3], &[("content-type", "text/plain")]].concat(), image, 415);
    call("post", uploads, &whole, &[b'x'; 23], 413);
    call("post", uploads, &[&whole[..], &[wrong]].concat(), image, 460);
    let path = call("post", uploads, &whole, &image[..10], 201).header("location").unwrap().to_owned();

    call("head", &path, &[], b"", 412);
    call("head", &path, &[TUS], b"", 200);
    let at = |offset| [TUS, OCTETS, ("upload-offset", offset)];
    call("patch", &path, &at("10")[1..], image, 412);
    call("patch", &path, &[at("10")[0], at("10")[2]], image, 415);
    call("patch", &path, &at("9"), &image[9..], 409);
    call("patch", &path, &at("10"), image, 413);
    call("patch", &path, &[&at("10")[..], &[wrong]].concat(), &image[10..], 460);
    call("patch", &path, &at("10"), &image[10..12], 204);
    call("patch", &path, &at("12"), &image[12..], 204);
    call("head", &path, &[TUS], b"", 200);
    call("delete", &path, &[], b"", 412);
    call("delete", &path, &[TUS], b"", 204);
    for method in ["head", "delete"] {
        call(method, &path, &[TUS], b"", 404);
    }
    call("patch", &path, &at("22"), b"", 404);
    let mut begun = Vec::new();
    loop {
        let answer = checked.call(Who::Publisher, "post", uploads, &whole[..3], b"");
        match answer.header("location") {
            Some(path) => begun.push(path.to_owned()),
            None => break assert_eq!(answer.status, 429, "{answer:?}"),
        }
    }
    for path in begun {
        assert_eq!(checked.call(Who::Publisher, "delete", &path, &[TUS], b"").status, 204);
    }
}

fn administration(checked: &mut Checked<'_>) {
    let person = Person::new(checked.daemon.scratch(), "somebody");
    let fingerprint = person.fingerprint().to_string();
    let certificate = format!("/1.0/certificates/{fingerprint}");
    let mut done = |method: &str, target: &str, body: Option<Value>, status| {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = checked.administer(method, target, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        answer
    };
    let add =
        json!({ "certificate": person.pem(), "role": "client", "name": "somebody", "source": "relation:1" });
    done("post", "/1.0/certificates", Some(add.clone()), 201);
    done("post", "/1.0/certificates", Some(add.clone()), 200);
    done("get", &certificate, None, 200);
    done("head", &certificate[..certificate.len() - 1], None, 200);
    done("delete", &format!("{certificate}?source=operator"), None, 200);
    done("delete", &certificate, None, 200);
    done("post", "/1.0/certificates", Some(add.clone()), 201);
    done("post", &format!("{certificate}/revoke"), None, 200);
    done("post", "/1.0/certificates/00000000/revoke", None, 404);
    done("post", "/1.0/certificates", Some(add), 409);
    done("delete", &certificate, None, 409);
    for method in ["get", "head"] {
        done(method, "/1.0/certificates?recursion=1&revoked=true", None, 200);
        done(method, "/1.0/certificates", None, 200);
        done(method, "/1.0/certificates/00000000", None, 404);
        done(method, "/1.0/metrics", None, 200);
        done(method, "/1.0/summary", None, 200);
    }
    done("delete", "/1.0/certificates/00000000", None, 404);

    let images = checked.daemon.base().join("data/images/sha256");
    let orphan = Digest::of(b"orphan").to_string();
    fs::create_dir_all(images.join(&orphan[..2])).unwrap();
    fs::write(images.join(&orphan[..2]).join(&orphan), b"orphan").unwrap();
    let damaged = Digest::of(b"image of version 2").to_string();
    fs::write(images.join(&damaged[..2]).join(&damaged), b"IMAGE of version 2").unwrap();
    let mut done = |target: &str| {
        let answer = checked.administer("post", target, b"");
        assert_eq!(answer.status, 200, "{target}");
        answer.metadata()
    };
    let collected = done("/1.0/maintenance/collect-garbage?dry-run=false&grace=0");
    assert_eq!(collected["removed"][0]["fingerprint"], orphan);
    assert_eq!(done("/1.0/maintenance/verify")["damaged"][0]["fingerprint"], damaged);
    done("/1.0/maintenance/rebuild");
    assert_eq!(done("/1.0/maintenance/check-storage")["checks"][0]["outcome"], "ok");
    let (uploads, aside) = (images.join("../../uploads"), images.join("../../aside"));
    fs::rename(&uploads, &aside).unwrap();
    assert_eq!(done("/1.0/maintenance/check-storage")["checks"][0]["outcome"], "failed");
    fs::rename(&aside, &uploads).unwrap();
    let target = checked.daemon.scratch().join("copy");
    let to = |root: &Path| format!("storage:\n  fs:\n    root-directory: {}\n", root.display());
    for (configuration, status) in [
        (to(&target), 200),
        (to(&checked.daemon.base().join("data")), 409),
        ("storage:\n  tape: {}\n".into(), 400),
    ] {
        let answer = checked.administer("post", "/1.0/maintenance/copy-storage", configuration.as_bytes());
        assert_eq!(answer.status, status, "{answer:?}");
    }

    // What is gone is gone: deletions come last.
    for (method, target, body) in [
        ("delete", "/1.0/applications/game/2?architecture=x86_64", ""),
        ("delete", "/1.0/applications/game", r#"{"force":true}"#),
    ] {
        assert_eq!(checked.call(Who::Publisher, method, target, &[], body.as_bytes()).status, 202);
    }
    for name in ["one", "two"] {
        checked.push("put", &format!("/1.0/applications/{name}/1?architecture=arm64"), b"x", &json!({}), 202);
    }
    for (target, body, status) in [
        ("/1.0/registry/applications/one", "", 202),
        ("/1.0/applications", r#"{"ids":["one"]}"#, 404),
        ("/1.0/applications", r#"{"ids":["two"],"force":true}"#, 202),
    ] {
        let answer = checked.call(Who::Publisher, "delete", target, &[], body.as_bytes());
        assert_eq!(answer.status, status, "{target}");
    }
}

fn a_broken_storage(checked: &mut Checked<'_>) {
    for dir in ["data/uploads", "certs/publishers"] {
        let dir = checked.daemon.base().join(dir);
        fs::remove_dir_all(&dir).unwrap();
        fs::write(&dir, "not a directory").unwrap();
    }
    checked.push("put", "/1.0/applications/three/1?architecture=arm64", b"x", &json!({}), 503);
    let person = Person::new(checked.daemon.scratch(), "late");
    let add = json!({ "certificate": person.pem(), "role": "publisher" }).to_string();
    assert_eq!(checked.administer("post", "/1.0/certificates", add.as_bytes()).status, 503);
}

#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Client,
    Publisher,
}

/// Calls the daemon, and holds what is sent and answered against the document.
struct Checked<'a> {
    daemon: &'a Daemon,
    document: Value,
    client: Person,
    publisher: Person,
    connections: [Option<Connection>; 3],
    /// Method, path and status.
    answered: BTreeSet<(String, String, String)>,
    /// Each as `Schema.field`.
    fields: BTreeSet<String>,
}

impl<'a> Checked<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        Self {
            daemon,
            document: document(),
            client: daemon.client("client"),
            publisher: daemon.publisher("publisher"),
            connections: [const { None }; 3],
            answered: BTreeSet::new(),
            fields: BTreeSet::new(),
        }
    }

    /// Method, path and operation of each.
    fn operations(&self) -> Vec<(String, String, Value)> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| {
                operations(item).map(|(method, operation)| (method.clone(), path.clone(), operation.clone()))
            })
            .collect()
    }

    fn on_socket(&self, path: &str) -> bool {
        self.document["paths"][path]["x-unix-socket-only"] == true
    }

    fn call(
        &mut self,
        who: Who,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let answer = self.send(who, method, target, headers, body);
        self.check(method, target, headers, body, &answer);
        answer
    }

    /// Over the network, unchecked. A connection is used again where no body can be left on it.
    fn send(
        &mut self,
        who: Who,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let person = match who {
            Who::Nobody => None,
            Who::Client => Some(&self.client),
            Who::Publisher => Some(&self.publisher),
        };
        let connect = || self.daemon.connect(person);
        let method = method.to_uppercase();
        if !body.is_empty() {
            return connect().request(&method, target, headers, body);
        }
        self.connections[who as usize].get_or_insert_with(connect).request(&method, target, headers, body)
    }

    /// On the Unix socket, where everything is served.
    fn administer(&mut self, method: &str, target: &str, body: &[u8]) -> Response {
        let answer = self.daemon.admin(&method.to_uppercase(), target, body);
        self.check(method, target, &[], body, &answer);
        answer
    }

    fn push(&mut self, method: &str, target: &str, image: &[u8], request: &Value, status: u16) {
        let (fingerprint, request) = (Digest::of(image).to_string(), request.to_string());
        let headers = [("x-ams-fingerprint", fingerprint.as_str()), ("x-ams-request", request.as_str())];
        let answer = self.call(Who::Publisher, method, target, &headers, image);
        assert_eq!(answer.status, status, "{answer:?}");
    }

    fn check(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        answer: &Response,
    ) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = self.template(path);
        let call = format!("{method} {path}");
        let operation = &self.document["paths"][&path][method];
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{call} is not documented to answer {answer:?}");
        check_answer(&call, response, answer);
        if let Some(schema) = response["content"].get("application/json").map(|content| &content["schema"])
            && !answer.body.is_empty()
        {
            note_fields(schema, Some(&answer.json()), &mut self.fields);
        }
        if answer.status < 400 {
            let sent: BTreeSet<_> = headers.iter().map(|(name, _)| (*name).to_owned()).collect();
            let known = self.parameters(method, &path, "header");
            assert!(sent.is_subset(&known), "{call} with {sent:?}, documented are {known:?}");
            let sent =
                query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
            let known = self.parameters(method, &path, "query");
            assert!(
                sent.collect::<BTreeSet<_>>().is_subset(&known),
                "{call}?{query}, documented are {known:?}"
            );
            if let Some((_, request)) = headers.iter().find(|(name, _)| *name == "x-ams-request") {
                let schema = &self.document["components"]["schemas"]["PushRequest"];
                validate(&call, schema, &serde_json::from_str(request).unwrap());
            }
            if let Some(json) = operation["requestBody"]["content"].get("application/json")
                && !body.is_empty()
            {
                validate(&call, &json["schema"], &serde_json::from_slice(body).unwrap());
            }
        }
        self.answered.insert((method.to_owned(), path, answer.status.to_string()));
    }

    /// The documented path that a path is one of.
    fn template(&self, path: &str) -> String {
        let fits = |template: &str| {
            let (template, path) = (template.split('/'), path.split('/'));
            template.clone().count() == path.clone().count()
                && template.zip(path).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
        };
        let paths = self.document["paths"].as_object().unwrap().keys().filter(|template| fits(template));
        paths.min_by_key(|template| template.matches('{').count()).unwrap_or_else(|| panic!("{path}")).clone()
    }

    /// Names of an operation's parameters `in` query or header, the latter in lower case.
    fn parameters(&self, method: &str, path: &str, place: &str) -> BTreeSet<String> {
        let item = &self.document["paths"][path];
        let lists = [&item["parameters"], &item[method]["parameters"]];
        let all = lists.into_iter().filter_map(Value::as_array).flatten();
        let wanted = all.filter(|parameter| parameter["in"] == place);
        let name = |parameter: &Value| parameter["name"].as_str().unwrap().to_owned();
        wanted
            .map(|parameter| if place == "header" { name(parameter).to_lowercase() } else { name(parameter) })
            .collect()
    }

    fn everything_was_seen(&self) {
        let mut expected = BTreeSet::new();
        let mut fields = BTreeSet::new();
        for (method, path, operation) in self.operations() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                note_fields(&response["content"]["application/json"]["schema"], None, &mut fields);
                if !RARE.contains(&status.parse().unwrap()) {
                    expected.insert((method.clone(), path.clone(), status.clone()));
                }
            }
        }
        let missing: Vec<_> = expected.difference(&self.answered).collect();
        assert!(missing.is_empty(), "documented and never answered: {missing:#?}");
        let missing: Vec<_> = fields.difference(&self.fields).collect();
        assert!(missing.is_empty(), "documented and never seen: {missing:#?}");
    }
}

fn check_answer(call: &str, documented: &Value, answer: &Response) {
    let call = format!("{call} -> {}", answer.status);
    let headers = documented["headers"].as_object().cloned().unwrap_or_default();
    for (name, header) in &headers {
        let Some(value) = answer.header(&name.to_lowercase()) else {
            assert_ne!(header["required"], true, "{call}: no {name}");
            continue;
        };
        validate(&format!("{call}: {name}"), &header["schema"], &value.into());
    }
    for (name, _) in &answer.headers {
        let known = headers.keys().any(|known| known.to_lowercase() == *name);
        assert!(known || UNDOCUMENTED_HEADERS.contains(&name.as_str()), "{call}: {name} is not documented");
    }
    if answer.body.is_empty() {
        return;
    }
    let media_type = answer.header("content-type").unwrap().split(';').next().unwrap();
    let content = &documented["content"];
    let content = content.get(media_type).or_else(|| content.get("*/*"));
    let content = content.unwrap_or_else(|| panic!("{call}: {media_type} is not documented"));
    if media_type == "application/json" {
        validate(&call, &strict(&content["schema"]), &answer.json());
    }
}

fn validate(what: &str, schema: &Value, instance: &Value) {
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(instance)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}\n{instance:#}");
}

fn operations(item: &Value) -> impl Iterator<Item = (&String, &Value)> {
    item.as_object().unwrap().iter().filter(|(_, operation)| operation["operationId"].is_string())
}

/// A path with values that nothing has.
fn with_dummies(path: &str) -> String {
    path.replace("{name}", "none")
        .replace("{version}", "1")
        .replace("{id}", "none")
        .replace("{fingerprint}", "00000000")
}

/// The document without references; a schema knows its name.
fn document() -> Value {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.yaml"));
    let raw: Value = aar_config::from_yaml(&fs::read_to_string(path).unwrap(), path).unwrap();
    resolved(&raw, &raw)
}

fn resolved(document: &Value, value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut all = Map::new();
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                let target = document.pointer(reference.strip_prefix('#').unwrap());
                let target =
                    resolved(document, target.unwrap_or_else(|| panic!("{reference} leads nowhere")));
                all.extend(target.as_object().unwrap().clone());
                if let Some(name) = reference.strip_prefix("#/components/schemas/") {
                    all.insert("x-name".into(), name.into());
                }
            }
            all.extend(
                object
                    .iter()
                    .filter(|(key, _)| *key != "$ref")
                    .map(|(k, v)| (k.clone(), resolved(document, v))),
            );
            Value::Object(all)
        }
        Value::Array(list) => list.iter().map(|value| resolved(document, value)).collect(),
        other => other.clone(),
    }
}

/// The schema, fields beyond which are errors.
fn strict(schema: &Value) -> Value {
    fn close(schema: &Value, whole: bool) -> Value {
        match schema {
            Value::Object(object) => {
                let part = |key: &String, value: &Value| match (key.as_str(), value) {
                    ("allOf", Value::Array(parts)) => parts.iter().map(|part| close(part, false)).collect(),
                    _ => close(value, true),
                };
                let mut closed: Map<_, _> = object.iter().map(|(k, v)| (k.clone(), part(k, v))).collect();
                if whole && (object.contains_key("properties") || object.contains_key("allOf")) {
                    closed.insert("unevaluatedProperties".into(), false.into());
                }
                closed.into()
            }
            Value::Array(list) => list.iter().map(|value| close(value, true)).collect(),
            other => other.clone(),
        }
    }
    close(schema, true)
}

/// Notes the fields that a schema documents: those that `instance` has, or all.
fn note_fields(schema: &Value, instance: Option<&Value>, noted: &mut BTreeSet<String>) {
    for part in ["allOf", "anyOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        note_fields(part, instance, noted);
    }
    for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
        let value = instance.and_then(|instance| instance.get(field));
        if instance.is_some() && value.is_none() {
            continue;
        }
        if let Some(name) = schema["x-name"].as_str() {
            noted.insert(format!("{name}.{field}"));
        }
        note_fields(inner, value, noted);
    }
    for inner in
        ["items", "additionalProperties"].iter().map(|key| &schema[key]).filter(|inner| inner.is_object())
    {
        match instance {
            None => note_fields(inner, None, noted),
            Some(Value::Array(list)) => list.iter().for_each(|value| note_fields(inner, Some(value), noted)),
            Some(Value::Object(map)) => map.values().for_each(|value| note_fields(inner, Some(value), noted)),
            Some(_) => {}
        }
    }
}
