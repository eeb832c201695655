//! What AMS has published is told, and exported.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use aar_ams::{Ams, AmsSource};
use aar_client::ImageAddress;
use aar_model::Architecture;
use aar_sync::{Package, Source};
use aar_tests::ams_server::{AmsServer, Packed, package};
use serde_json::json;

#[tokio::test]
async fn what_is_published_and_not_from_a_registry_is_listed_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let it = AmsServer::unix(dir.path());
    let manifest = "tags: [games]\nabi: arm64-v8a\nboot-activity: .Main\nboot-package: com.example.game\n";
    let game = package(Packed::TarBzip2, "game", manifest, b"the game");
    it.make_by_hand(game.clone());
    it.update_base_image("game");
    it.make_by_hand(package(Packed::TarBzip2, "tool", "", b""));
    let pulled = it.make_by_hand(package(Packed::TarBzip2, "pulled", "", b""));
    it.set_immutable(&pulled);
    it.make_by_hand(package(Packed::TarBzip2, "No Name For A Registry", "", b""));
    let source = AmsSource::look(Ams::unix(it.socket()), Architecture::X86_64);
    let catalogue = source.list().await.unwrap();

    let images: Vec<_> = catalogue.images().map(|(image, _)| image.to_string()).collect();
    assert_eq!(
        images,
        ["game version 0 for aarch64", "game version 1 for aarch64", "tool version 0 for x86_64"]
    );
    let listed = &catalogue.0["game"];
    assert_eq!(
        (&listed.fields["tags"], &listed.fields["boot_package"]),
        (&json!(["games"]), &json!("com.example.game"))
    );
    let version = listed.versions.values().next().unwrap();
    assert_eq!(version.fields["boot_activity"], ".Main");
    assert_eq!(version.fields["watchdog"], json!({"disabled": false}), "what AMS has null for is left out");
    for own in ["id", "abi", "parent_image_id", "versions", "immutable", "status", "node_selector"] {
        assert!(!listed.fields.contains_key(own), "{own}");
    }

    let target = dir.path().join("image");
    let image = |version: &str| ImageAddress {
        name: "game".parse().unwrap(),
        version: version.parse().unwrap(),
        architecture: Architecture::Aarch64,
    };
    assert_eq!(source.fetch(&image("1"), &Package::default(), &target).await.unwrap(), target);
    let exported = std::fs::read(&target).unwrap();
    assert!(exported.ends_with(&game) && exported != game);
    let missing = source.fetch(&image("7"), &Package::default(), &dir.path().join("none")).await.unwrap_err();
    assert_eq!(missing.to_string(), "not found");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "socket and image");
}

#[tokio::test]
async fn an_ams_that_does_not_export_is_told_so_instead_of_looking_empty() {
    let dir = tempfile::tempdir().unwrap();
    let it = AmsServer::unix(dir.path());
    it.set(|ams| ams.extensions = vec![]);
    let source = AmsSource::look(Ams::unix(it.socket()), Architecture::X86_64);
    let error = source.list().await.unwrap_err().to_string();
    assert!(error.contains("`application_image_export`"), "{error}");
    it.stop();
    let error = source.list().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot reach AMS at "), "{error}");
}
