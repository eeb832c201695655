//! Promises of the command line's configuration.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use aar_config::client::ClientConfig;
use tempfile::TempDir;

const FINGERPRINT: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn parse(text: &str) -> Result<ClientConfig, String> {
    ClientConfig::parse(text, Path::new("/home/me/.config/aar/config.yaml"))
        .map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_means_what_it_says() {
    let config = parse(&format!(
        "registry: https://registry.example:3000\nfingerprint: {FINGERPRINT}\ncert: client.crt\nkey: /etc/aar/client.key\n"
    ))
    .unwrap();
    assert_eq!(config.registry.unwrap().as_str(), "https://registry.example:3000/");
    assert_eq!(config.fingerprint.unwrap().to_string(), FINGERPRINT);
    assert_eq!(config.cert.unwrap(), Path::new("/home/me/.config/aar/client.crt"), "beside the file");
    assert_eq!(config.key.unwrap(), Path::new("/etc/aar/client.key"));
}

#[test]
fn everything_may_be_left_out() {
    for file in ["", "# nothing\n", "registry:\nfingerprint:\ncert:\nkey:\n"] {
        assert_eq!(parse(file), Ok(ClientConfig::default()), "{file}");
    }
}

#[test]
fn a_fingerprint_may_be_written_as_other_programs_print_it() {
    let pairs: Vec<_> = FINGERPRINT.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
    let config = parse(&format!("fingerprint: {}", pairs.join(":").to_uppercase())).unwrap();
    assert_eq!(config.fingerprint.unwrap().to_string(), FINGERPRINT);
}

#[test]
fn every_mistake_is_named_with_its_place_and_what_would_be_right() {
    let url = "expected an address such as `https://registry.example:3000`";
    let cases = [
        ("registry: registry.example:3000", format!("1:11: registry: {url}, found `registry.example:3000`")),
        ("registry: http://x", format!("1:11: registry: {url}, found `http://x`")),
        ("registry: https://", format!("1:11: registry: {url}, found `https://`")),
        (
            "\nfingerprint: 9f86",
            "2:14: fingerprint: expected the SHA-256 of the registry's certificate, 64 hex digits, found `9f86`".to_owned(),
        ),
        ("cert: ''", "1:7: cert: expected the path of a file".to_owned()),
        ("key: [a]", "1:6: key: expected the path of a file, found a list".to_owned()),
        (
            "crt: x",
            "1:1: crt: unknown key `crt`, known here: registry, fingerprint, cert, key; did you mean `cert`?".to_owned(),
        ),
        ("registry: <address of the registry>", "1:11: registry: the placeholder `<address of the registry>` is still there: put the real value in its place".to_owned()),
    ];
    for (file, expected) in cases {
        assert_eq!(
            parse(file).unwrap_err(),
            format!("/home/me/.config/aar/config.yaml:{expected}"),
            "{file}"
        );
    }
}

#[test]
fn a_file_is_read_from_disk() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    let error = ClientConfig::load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read `{}`", path.display()));
    std::fs::write(&path, "cert: c.pem\n").unwrap();
    assert_eq!(ClientConfig::load(&path).unwrap().cert.unwrap(), dir.path().join("c.pem"));
}
