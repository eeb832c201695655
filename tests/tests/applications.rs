//! Applications over the network: pushed, listed, shown, changed, pulled, withdrawn, deleted, in the shapes that AMS's
//! clients read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_model::Digest;
use aar_tests::Daemon;
use serde_json::{Value, json};

fn operation(answer: &aar_tests::Response) -> Value {
    assert_eq!(answer.status, 202, "{answer:?}");
    let json = answer.json();
    assert_eq!(
        (&json["type"], &json["status"], &json["status_code"]),
        (&"async".into(), &"Success".into(), &200.into())
    );
    assert_eq!(json["operation"], format!("/1.0/operations/{}", json["metadata"]["id"].as_str().unwrap()));
    assert_eq!(answer.header("location"), json["operation"].as_str());
    json["metadata"].clone()
}

#[test]
fn anybody_may_know_what_this_is_and_that_it_serves() {
    let daemon = Daemon::spawn();
    let client = daemon.client("client");
    let publisher = daemon.publisher("publisher");
    for path in ["/", "/1.0", "/1.0/", "/1.0/status", "/1.0/version"] {
        let answer = daemon.connect(None).request("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let json = answer.json();
        assert_eq!(
            (&json["type"], &json["status"], &json["status_code"]),
            (&"sync".into(), &"Success".into(), &200.into())
        );
    }
    let mut nobody = daemon.connect(None);
    assert_eq!(nobody.request("GET", "/", &[], b"").metadata(), json!(["/1.0"]));
    let service = nobody.request("GET", "/1.0", &[], b"").metadata();
    assert_eq!(service["auth"], "untrusted");
    assert_eq!(service["role"], Value::Null);
    assert_eq!(service["auth_methods"], json!(["2waySSL"]));
    assert_eq!((&service["api_status"], &service["api_version"]), (&"stable".into(), &"1.0".into()));
    assert!(service["api_extensions"].as_array().unwrap().contains(&"application_image_export".into()));
    let service = daemon.request(&client, "GET", "/1.0", b"").metadata();
    assert_eq!((&service["auth"], &service["role"]), (&"trusted".into(), &"client".into()));
    let service = daemon.request(&publisher, "GET", "/1.0", b"").metadata();
    assert_eq!((&service["auth"], &service["role"]), (&"trusted".into(), &"publisher".into()));
}

#[test]
fn a_push_is_listed_shown_and_pulled_as_it_came() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    let image = b"PK\x03\x04 an application package".repeat(5000);
    let request = json!({
        "application": {
            "id": "bcmap7u5nof07arqa2ag", "name": "game", "status": "initializing", "status_code": 1, "created_at": 7,
            "instance_type": "a4.3", "boot_package": "com.example.game", "abi": "x86_64", "tags": ["created_by=anbox", "eu"],
            "addons": ["ssh"], "node_selector": ["gpu=nvidia"], "inhibit_auto_updates": true, "vm": true,
            "resources": {"cpus": 4, "memory": "4GB", "disk-size": "5GB", "gpu-slots": 1, "quota": "kept"},
            "invented_later": {"deep": [1, {"kept": null}]}
        },
        "version": {
            "number": 3, "manifest_version": "0.1", "parent_image_id": "btavtegj1qm58qg7ru50", "parent_image_version": 2,
            "boot_activity": "com.example.game.Main", "required_permissions": ["android.permission.CAMERA"],
            "addons": [{"name": "ssh", "version": 1}], "video_encoder": "gpu-preferred",
            "extra_data": {"obb": {"target": "/sdcard/obb", "owner": "root:root", "permissions": "0644"}},
            "services": [{"port": 3000, "port_end": 3010, "protocols": ["tcp"], "expose": true, "name": "web"}],
            "watchdog": {"disabled": true, "allowed-packages": ["com.android.settings"]},
            "features": ["beta"], "hooks": {"timeout": "10m"}, "bootstrap": {"keep": ["app.apk"]},
            "also_invented_later": "kept"
        }
    });
    let answer = daemon.connect(Some(&publisher)).push(
        "/1.0/applications/game/3?architecture=amd64",
        &image,
        &[("x-ams-request", &request.to_string())],
    );
    let pushed = operation(&answer);
    assert_eq!(pushed["metadata"]["size"], image.len());
    assert_eq!(pushed["metadata"]["fingerprint"], Digest::of(&image).to_string());
    assert_eq!(pushed["resources"], json!({ "applications": ["/1.0/applications/game"] }));
    assert_eq!((&pushed["class"], &pushed["may_cancel"]), (&"task".into(), &false.into()));

    for path in ["/1.0/applications/game", "/1.0/applications?recursion=1"] {
        let metadata = daemon.request(&client, "GET", path, b"").metadata();
        let application = if path.contains('?') { metadata[0].clone() } else { metadata };
        for field in [
            "instance_type",
            "boot_package",
            "abi",
            "tags",
            "addons",
            "node_selector",
            "inhibit_auto_updates",
            "vm",
            "resources",
            "invented_later",
        ] {
            assert_eq!(application[field], request["application"][field], "{field}");
        }
        assert_eq!((&application["id"], &application["name"]), (&"game".into(), &"game".into()));
        assert_eq!((&application["status"], &application["status_code"]), (&"ready".into(), &2.into()));
        assert_eq!(application["published"], true);
        assert_eq!(application["architectures"], json!(["x86_64"]));
        assert!(application["created_at"].as_i64().unwrap() > 1_700_000_000);
        let version = &application["versions"][0];
        for (field, sent) in request["version"].as_object().unwrap() {
            assert_eq!(&version[field], sent, "{field}");
        }
        assert_eq!((&version["status"], &version["status_code"]), (&"active".into(), &3.into()));
        assert_eq!(
            version["images"],
            json!([{ "architecture": "x86_64", "fingerprint": Digest::of(&image).to_string(),
                     "size": image.len(), "media_type": "application/zip" }])
        );
    }
    assert_eq!(
        daemon.request(&client, "GET", "/1.0/applications", b"").json(),
        json!({ "type": "sync", "status": "Success", "status_code": 200, "total_size": 1, "metadata": ["/1.0/applications/game"] })
    );
    assert_eq!(
        daemon.request(&client, "GET", "/1.0/registry/applications", b"").metadata(),
        json!([{
            "name": "game", "architectures": ["x86_64"], "boot_package": "com.example.game", "instance_type": "a4.3",
            "tags": ["created_by=anbox", "eu"], "vm": true,
            "versions": { "3": {
                "boot_activity": "com.example.game.Main", "features": ["beta"], "hooks": {"timeout": "10m"},
                "bootstrap": {"keep": ["app.apk"]}, "video_encoder": "gpu-preferred"
            }}
        }])
    );

    let manifest = daemon.request(&client, "GET", "/1.0/applications/game/3/manifest", b"");
    assert_eq!(
        manifest.header("x-ams-manifestsha256"),
        Some(Digest::of(&manifest.body).to_string().as_str())
    );
    assert_eq!(manifest.metadata()["boot_activity"], "com.example.game.Main");

    let pulled = daemon.request(&client, "GET", "/1.0/applications/game/3", b"");
    assert_eq!(pulled.status, 200);
    assert_eq!(pulled.body, image);
    assert_eq!(pulled.header("x-ams-fingerprint"), Some(Digest::of(&image).to_string().as_str()));
    assert_eq!(pulled.header("content-disposition"), Some("attachment; filename=game_3_x86_64.zip"));
    assert_eq!(pulled.header("content-type"), Some("application/zip"));
    let head = daemon.request(&client, "HEAD", "/1.0/applications/game/3?architecture=x86_64", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some(image.len().to_string().as_str())));
    assert_eq!(head.header("x-ams-fingerprint"), pulled.header("x-ams-fingerprint"));
}

#[test]
fn a_push_by_post_takes_its_address_from_the_metadata() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let image = b"image";
    let post = |request: Value| {
        let fingerprint = Digest::of(image).to_string();
        let headers = [("x-ams-fingerprint", fingerprint.as_str()), ("x-ams-request", &request.to_string())];
        daemon.connect(Some(&publisher)).request("POST", "/1.0/applications", &headers, image)
    };
    operation(&post(
        json!({ "application": {"name": "game"}, "version": {"number": 0, "architecture": "arm64"} }),
    ));
    operation(&post(
        json!({ "application": {"name": "game", "architectures": ["x86_64"]}, "version": {"number": 0} }),
    ));
    let application = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!(application["architectures"], json!(["x86_64", "aarch64"]));
    for (request, word) in [
        (json!({}), "application.name"),
        (json!({ "application": {"name": "game"} }), "version.number"),
        (json!({ "application": {"name": "game"}, "version": {"number": 0} }), "version.architecture"),
        (
            json!({ "application": {"name": "../game"}, "version": {"number": 0, "architecture": "x86_64"} }),
            "name has",
        ),
        (
            json!({ "application": {"name": "game"}, "version": {"number": -1, "architecture": "x86_64"} }),
            "whole number",
        ),
        (
            json!({ "application": {"name": "game"}, "version": {"number": 0, "architecture": "mips"} }),
            "mips",
        ),
    ] {
        let answer = post(request);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().contains(word), "{}", answer.error());
    }
}

#[test]
fn a_version_is_immutable_and_the_same_image_again_is_a_success() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let path = "/1.0/applications/game/1?architecture=x86_64";
    assert_eq!(operation(&daemon.push(&publisher, path, b"one"))["metadata"]["existed"], false);
    assert_eq!(operation(&daemon.push(&publisher, path, b"one"))["metadata"]["existed"], true);
    let refused = daemon.push(&publisher, path, b"two");
    assert_eq!(refused.status, 409);
    assert!(refused.error().contains("immutable"), "{}", refused.error());
    // The same image under another name is stored once.
    operation(&daemon.push(&publisher, "/1.0/applications/other/1?architecture=x86_64", b"one"));
    let images = daemon.stored_files().into_iter().filter(|file| file.starts_with("images/")).count();
    assert_eq!(images, 1);
    // It goes with its last holder.
    operation(&daemon.request(&publisher, "DELETE", "/1.0/applications/game", b""));
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/other/1", b"").body, b"one");
    operation(&daemon.request(&publisher, "DELETE", "/1.0/registry/applications/other", b""));
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
}

#[test]
fn a_body_that_is_not_what_it_says_leaves_nothing() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let wrong = Digest::of(b"something else").to_string();
    let mut connection = daemon.connect(Some(&publisher));
    let path = "/1.0/applications/game/1?architecture=x86_64";
    let answer = connection.request("PUT", path, &[("x-ams-fingerprint", &wrong)], b"image");
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains(&Digest::of(b"image").to_string()), "{}", answer.error());
    // Once more where the store has the announced image already.
    operation(&daemon.push(&publisher, "/1.0/applications/other/1?architecture=x86_64", b"something else"));
    let answer = connection.request("PUT", path, &[("x-ams-fingerprint", &wrong)], b"image");
    assert_eq!(answer.status, 400);
    let empty = Digest::of(b"").to_string();
    let answer = connection.request("PUT", path, &[("x-ams-fingerprint", &empty)], b"");
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("empty"));
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game", b"").status, 404);
    assert_eq!(daemon.stored_files().len(), 3, "{:?}", daemon.stored_files());
}

#[test]
fn withdrawn_versions_are_for_publishers_only() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let client = daemon.client("client");
    for version in [1, 2] {
        let path = format!("/1.0/applications/game/{version}?architecture=x86_64");
        operation(&daemon.push(&publisher, &path, format!("image {version}").as_bytes()));
    }
    let numbers = |person, path: &str| {
        let metadata = daemon.request(person, "GET", path, b"").metadata();
        let versions = metadata["versions"].as_array().cloned().unwrap_or_default();
        versions.iter().map(|version| version["number"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    operation(&daemon.request(&publisher, "PATCH", "/1.0/applications/game/2", br#"{"published":false}"#));
    assert_eq!(numbers(&client, "/1.0/applications/game"), [1]);
    assert_eq!(numbers(&publisher, "/1.0/applications/game"), [1, 2]);
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/2", b"").status, 404);
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game/2/manifest", b"").status, 404);
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game/2", b"").body, b"image 2");
    let registry = daemon.request(&publisher, "GET", "/1.0/registry/applications", b"").metadata();
    assert_eq!(registry[0]["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1"]);

    operation(&daemon.request(&publisher, "PATCH", "/1.0/applications/game/1", br#"{"published":false}"#));
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications/game", b"").status, 404);
    assert_eq!(daemon.request(&client, "GET", "/1.0/applications", b"").json()["total_size"], 0);
    assert_eq!(
        daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata()["published"],
        false
    );
    operation(&daemon.request(&publisher, "PATCH", "/1.0/applications/game/2", br#"{"published":true}"#));
    assert_eq!(numbers(&client, "/1.0/applications/game"), [2]);
    // A version may also come withdrawn.
    let headers = [("x-ams-request", r#"{"version":{"published":false}}"#)];
    let mut connection = daemon.connect(Some(&publisher));
    operation(&connection.push("/1.0/applications/game/3?architecture=x86_64", b"image 3", &headers));
    assert_eq!(numbers(&client, "/1.0/applications/game"), [2]);
}

#[test]
fn every_field_that_ams_changes_shows_in_every_later_read() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"image"));
    for (field, value, shown) in [
        ("instance-type", json!("a8.3"), "instance_type"),
        ("tags", json!(["new"]), "tags"),
        ("addons", json!(["gms"]), "addons"),
        ("resources", json!({"cpus": 8}), "resources"),
        ("inhibit_auto_updates", json!(true), "inhibit_auto_updates"),
        ("services", json!([{"port": 1, "protocols": ["udp"], "expose": false, "name": "x"}]), "services"),
        ("watchdog", json!({"disabled": true, "allowed-packages": []}), "watchdog"),
        ("boot_activity", json!("Main"), "boot_activity"),
        ("required_permissions", json!(["p"]), "required_permissions"),
        ("video_encoder", json!("software"), "video_encoder"),
        ("manifest_version", json!("0.2"), "manifest_version"),
        ("features", json!(["f"]), "features"),
        ("hooks", json!({"timeout": "1m"}), "hooks"),
        ("bootstrap", json!({"keep": ["a"]}), "bootstrap"),
        ("node_selector", json!(["n"]), "node_selector"),
        ("invented_later", json!({"x": 1}), "invented_later"),
    ] {
        let before = daemon.request(&publisher, "GET", "/1.0/applications/game", b"");
        let body = json!({ field: value, "image": null }).to_string();
        operation(&daemon.request(&publisher, "PATCH", "/1.0/applications/game", body.as_bytes()));
        let after = daemon.request(&publisher, "GET", "/1.0/applications/game", b"");
        assert_eq!(after.metadata()[shown], value, "{field}");
        assert_ne!(before.header("etag"), after.header("etag"), "{field}");
        let listed = daemon.request(&publisher, "GET", "/1.0/applications?recursion=1", b"").metadata();
        assert_eq!(listed[0], after.metadata(), "{field}");
    }
    let registry = daemon.request(&publisher, "GET", "/1.0/registry/applications", b"").metadata();
    assert_eq!((&registry[0]["instance_type"], &registry[0]["tags"]), (&"a8.3".into(), &json!(["new"])));
    // Resources are laid over what is there.
    operation(&daemon.request(
        &publisher,
        "PATCH",
        "/1.0/applications/game",
        br#"{"resources":{"memory":"1GB"}}"#,
    ));
    let application = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!(application["resources"], json!({"cpus": 8, "memory": "1GB"}));
    // A later push changes fields too, together with its version.
    let headers = [("x-ams-request", r#"{"application":{"tags":["pushed"]}}"#)];
    let mut connection = daemon.connect(Some(&publisher));
    operation(&connection.push("/1.0/applications/game/2?architecture=x86_64", b"image 2", &headers));
    let application = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!((&application["tags"], &application["instance_type"]), (&json!(["pushed"]), &"a8.3".into()));

    for (body, word) in [
        (r#"{"tags":"one"}"#, "tags"),
        (r#"{"services":[{"port":"80"}]}"#, "string \"80\""),
        (r#"{"published":true}"#, "published"),
        (r#"{"name":"other"}"#, "name"),
        (r#"["tags"]"#, "map"),
        (r#"{"tags":["#, "EOF"),
    ] {
        let answer = daemon.request(&publisher, "PATCH", "/1.0/applications/game", body.as_bytes());
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().contains(word), "{body}: {}", answer.error());
    }
    // AMS's clients send an empty change, too.
    operation(&daemon.request(&publisher, "PATCH", "/1.0/applications/game", b""));
    assert_eq!(daemon.request(&publisher, "PATCH", "/1.0/applications/none", b"{}").status, 404);
}

#[test]
fn entity_tags_spare_reads_and_guard_changes() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"image"));
    let mut connection = daemon.connect(Some(&publisher));
    for path in [
        "/1.0/applications/game",
        "/1.0/applications",
        "/1.0/registry/applications",
        "/1.0/applications/game/1",
        "/1.0/applications/game/1/manifest",
    ] {
        let first = connection.request("GET", path, &[], b"");
        let etag = first.header("etag").unwrap().to_owned();
        for (tags, status) in
            [(etag.as_str(), 304), (&format!("\"x\", W/{etag}"), 304), ("*", 304), ("\"x\"", 200)]
        {
            let again = connection.request("GET", path, &[("if-none-match", tags)], b"");
            assert_eq!((again.status, again.header("etag")), (status, Some(etag.as_str())), "{path} {tags}");
        }
    }
    let etag =
        connection.request("GET", "/1.0/applications/game", &[], b"").header("etag").unwrap().to_owned();
    let mut change = |tags: &str, tag: &str| {
        let body = json!({ "tags": [tag] }).to_string();
        connection.request("PATCH", "/1.0/applications/game", &[("if-match", tags)], body.as_bytes())
    };
    assert_eq!(change("\"other\"", "a").status, 412);
    assert_eq!(change(&etag, "a").status, 202);
    assert_eq!(change(&etag, "b").status, 412);
    assert_eq!(change("*", "b").status, 202);
    let application = daemon.request(&publisher, "GET", "/1.0/applications/game", b"").metadata();
    assert_eq!(application["tags"], json!(["b"]));
}

#[test]
fn images_are_pulled_in_parts() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let image: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", &image));
    let path = "/1.0/applications/game/1";
    let mut connection = daemon.connect(Some(&publisher));
    let size = image.len();
    for (range, part) in [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=65535-65536".to_owned(), 65_535..65_537),
        ("bytes=1000000-".to_owned(), 1_000_000..size),
        ("bytes=-7".to_owned(), size - 7..size),
    ] {
        let answer = connection.request("GET", path, &[("range", &range)], b"");
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == image[part.clone()], "{range}");
        let expected = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(expected.as_str()));
    }
    let beyond = connection.request("GET", path, &[("range", &format!("bytes={size}-"))], b"");
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
    let etag = format!("\"{}\"", Digest::of(&image));
    let resumed = connection.request("GET", path, &[("range", "bytes=10-"), ("if-range", &etag)], b"");
    assert_eq!(resumed.status, 206);
    let changed = connection.request("GET", path, &[("range", "bytes=10-"), ("if-range", "\"other\"")], b"");
    assert_eq!((changed.status, changed.body.len()), (200, size));
    let head = connection.request("HEAD", path, &[("range", "bytes=10-19")], b"");
    assert_eq!((head.status, head.header("content-length")), (206, Some("10")));
}

#[test]
fn an_architecture_is_chosen_or_asked_for() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"intel"));
    operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=arm64", b"arm"));
    let get =
        |query: &str| daemon.request(&publisher, "GET", &format!("/1.0/applications/game/1{query}"), b"");
    assert_eq!(get("?architecture=amd64").body, b"intel");
    assert_eq!(get("?architecture=aarch64").body, b"arm");
    let ambiguous = get("");
    assert_eq!(ambiguous.status, 400);
    assert!(ambiguous.error().contains("x86_64, aarch64"), "{}", ambiguous.error());
    assert_eq!(daemon.push(&publisher, "/1.0/applications/game/2", b"image").status, 400);
    operation(&daemon.request(
        &publisher,
        "DELETE",
        "/1.0/applications/game/1?architecture=x86_64",
        br#"{"force":true}"#,
    ));
    assert_eq!(get("").body, b"arm");
    assert_eq!(get("?architecture=x86_64").status, 404);
    operation(&daemon.request(&publisher, "DELETE", "/1.0/applications/game/1", b""));
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/applications/game", b"").status, 404);
    assert_eq!(daemon.stored_files(), Vec::<String>::new());
}

#[test]
fn lists_are_filtered_and_paged() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for (name, request) in [
        ("alpha", json!({"application": {"tags": ["eu", "beta"], "instance_type": "a2.3", "vm": true}})),
        ("beta", json!({"application": {"tags": ["eu"], "instance_type": "a4.3", "abi": "arm64-v8a"}})),
        ("gamma", json!({"application": {"boot_package": "com.g"}, "version": {"published": false}})),
    ] {
        let path = format!("/1.0/applications/{name}/1?architecture=x86_64");
        let headers = [("x-ams-request", &*request.to_string())];
        operation(&daemon.connect(Some(&publisher)).push(&path, name.as_bytes(), &headers));
    }
    let list = |query: &str| {
        let answer =
            daemon.request(&publisher, "GET", &format!("/1.0/applications?recursion=1&{query}"), b"").json();
        let names =
            answer["metadata"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(" "), answer["total_size"].as_u64().unwrap())
    };
    for (query, names, total) in [
        ("", "alpha beta gamma", 3),
        ("tags=eu", "alpha beta", 2),
        ("tags=eu,beta", "alpha", 1),
        ("instance_type=a4.3", "beta", 1),
        ("name=*a&limit=2", "alpha beta", 3),
        ("name=beta", "beta", 1),
        ("abi=arm64-v8a", "beta", 1),
        ("boot_package=com.g", "gamma", 1),
        ("published=true", "alpha beta", 2),
        ("published=false", "gamma", 1),
        ("vm=true", "alpha", 1),
        ("architecture=arm64", "", 0),
        ("offset=1", "beta gamma", 3),
        ("offset=1&limit=1", "beta", 3),
        ("offset=9", "", 3),
        ("limit=-1", "alpha beta gamma", 3),
        ("limit=0", "", 3),
    ] {
        assert_eq!(list(query), (names.to_owned(), total), "{query}");
    }
    for query in [
        "vm=maybe",
        "limit=-2",
        "limit=x",
        "offset=-1",
        "sort=name",
        "name=a&name=b",
        "architecture=mips",
        "recursion=2",
    ] {
        let answer = daemon.request(&publisher, "GET", &format!("/1.0/applications?{query}"), b"");
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[test]
fn several_applications_are_deleted_together_or_not_at_all() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    for name in ["one", "two", "three"] {
        operation(&daemon.push(
            &publisher,
            &format!("/1.0/applications/{name}/1?architecture=x86_64"),
            name.as_bytes(),
        ));
    }
    let delete = |body: &str| daemon.request(&publisher, "DELETE", "/1.0/applications", body.as_bytes());
    assert_eq!(delete(r#"{"ids":["one","none"]}"#).status, 404);
    assert_eq!(delete("").status, 400);
    operation(&delete(r#"{"ids":["one","two"],"force":true}"#));
    let left = daemon.request(&publisher, "GET", "/1.0/applications", b"").metadata();
    assert_eq!(left, json!(["/1.0/applications/three"]));
}

#[test]
fn operations_can_be_looked_up_and_a_push_watched() {
    let daemon = Daemon::spawn();
    let publisher = daemon.publisher("publisher");
    let done = operation(&daemon.push(&publisher, "/1.0/applications/game/1?architecture=x86_64", b"image"));
    let path = format!("/1.0/operations/{}", done["id"].as_str().unwrap());
    assert_eq!(daemon.request(&publisher, "GET", &path, b"").metadata(), done);
    assert_eq!(daemon.request(&publisher, "GET", &format!("{path}/wait?timeout=-1"), b"").metadata(), done);
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/operations", b"").metadata(), json!([path]));

    let mut slow = daemon.connect(Some(&publisher));
    let fingerprint = Digest::of(b"slow image");
    let head = format!(
        "PUT /1.0/applications/slow/1?architecture=x86_64 HTTP/1.1\r\nhost: x\r\nx-ams-fingerprint: {fingerprint}\r\ncontent-length: 10\r\n\r\nslow "
    );
    slow.send(head.as_bytes()).unwrap();
    let running = loop {
        let by_status = daemon.request(&publisher, "GET", "/1.0/operations?recursion=1", b"").metadata();
        if let Some(running) = by_status["running"].as_array().and_then(|running| running.first()) {
            break running.clone();
        }
    };
    assert_eq!((&running["status"], &running["status_code"]), (&"Running".into(), &103.into()));
    let path = format!("/1.0/operations/{}/wait", running["id"].as_str().unwrap());
    let patient = daemon.request(&publisher, "GET", &format!("{path}?timeout=0"), b"").metadata();
    assert_eq!(patient["status"], "Running");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.request(&publisher, "GET", &path, b"").metadata());
        slow.send(b"image").unwrap();
        assert_eq!(slow.response(false).unwrap().status, 202);
        assert_eq!(waiting.join().unwrap()["status"], "Success");
    });
    assert_eq!(daemon.request(&publisher, "GET", "/1.0/operations/none", b"").status, 404);
}
