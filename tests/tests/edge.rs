//! Promises of the edge stand-in: it serves what CloudFront would, and refuses what CloudFront would.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aar_tests::{Edge, Object, Signer, ToSign};
use tempfile::TempDir;

const OBJECT: &str = "/registry/images/a%20b";
const BYTES: &[u8] = b"an image";

/// Two key pairs, of which the edge knows one by two IDs and the other by one.
struct Keys {
    dir: TempDir,
    edge: Edge,
}

impl Keys {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        openssl(dir.path(), "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
        openssl(dir.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
        let public = |name: &str| openssl(dir.path(), &format!("pkey -in {name}.pem -pubout"));
        let keys = [("RSA", public("rsa")), ("EC", public("ec")), ("OLD", public("rsa"))];
        let edge = Edge::start(&keys, |path| match path {
            OBJECT => Some(Object::Bytes(BYTES.to_vec())),
            _ => None,
        });
        Self { dir, edge }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).with_extension("pem")
    }

    fn url(&self, path: &str) -> String {
        self.edge.base_url() + path
    }

    /// The URL of the object, signed by botocore.
    fn sign(&self, path: &str, keypair_id: &str, key: &str, seconds: i64, sha256: bool) -> String {
        let task = ToSign {
            url: &self.url(path),
            expires: now().checked_add_signed(seconds).unwrap(),
            keypair_id,
            private_key: &self.key(key),
            sha256,
        };
        Signer::Botocore.sign(&[task]).remove(0)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn openssl(dir: &Path, arguments: &str) -> String {
    let output =
        std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}");
    String::from_utf8(output.stdout).unwrap()
}

/// Status and body.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn refused(url: &str) -> String {
    let (status, body) = curl(&[url]);
    assert_eq!(status, 403, "{body}");
    body
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
}

#[test]
fn what_others_sign_is_served() {
    let keys = Keys::new();
    let served = (200, String::from_utf8(BYTES.to_vec()).unwrap());
    for (id, key) in [("RSA", "rsa"), ("OLD", "rsa"), ("EC", "ec")] {
        assert_eq!(curl(&[&keys.sign(OBJECT, id, key, 60, false)]), served, "{id}");
        let sha256 = keys.sign(OBJECT, id, key, 60, true) + "&Hash-Algorithm=SHA256";
        assert_eq!(curl(&[&sha256]), served, "{id}");
    }
    let url = keys.sign(&format!("{OBJECT}?version=1&x"), "RSA", "rsa", 60, false);
    assert_eq!(curl(&[&url]), served, "with a query of its own");
    assert_eq!(curl(&["--head", "--output", "/dev/null", &url]).0, 200);
}

#[test]
fn what_is_not_signed_for_the_request_is_refused() {
    let keys = Keys::new();
    let denied = error("AccessDenied", "Access denied");
    let good = keys.sign(OBJECT, "RSA", "rsa", 60, false);
    assert_eq!(curl(&[&good]).0, 200);

    let (before, signature) = good.split_once("Signature=").unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(refused(&format!("{before}Signature={other}{}", &signature[1..])), denied, "tampered");
    assert_eq!(
        refused(&good.replace("Signature=", "Signature=%")),
        error("MalformedSignature", "Could not unencode Signature")
    );
    assert_eq!(refused(&good.replace("a%20b", "c")), denied, "another resource");
    assert_eq!(refused(&good.replace("a%20b", "%61%20b")), denied, "the same resource, written otherwise");
    assert_eq!(refused(&format!("{good}&x=1")), denied, "another query");
    assert_eq!(refused(&good.replace("127.0.0.1", "localhost")), denied, "another host");
    let expires = good.split_once("Expires=").unwrap().1.split_once('&').unwrap().0;
    assert_eq!(refused(&good.replace(expires, &format!("1{expires}"))), denied, "prolonged");
    assert_eq!(refused(&keys.sign(OBJECT, "RSA", "rsa", -1, false)), denied, "expired");
    assert_eq!(refused(&format!("{good}&Hash-Algorithm=SHA256")), denied, "another hash");
    assert_eq!(refused(&keys.sign(OBJECT, "RSA", "rsa", 60, true)), denied, "a hash that is not named");
    assert_eq!(refused(&good.replace("Key-Pair-Id=RSA", "Key-Pair-Id=EC")), denied, "another key pair");
    assert_eq!(refused(&keys.sign(OBJECT, "RSA", "ec", 60, false)), denied, "signed by another key");
    assert_eq!(refused(&keys.sign("/nothing", "RSA", "rsa", 60, false)), denied, "no such object");
}

#[test]
fn missing_and_unknown_keys_have_errors_of_their_own() {
    let keys = Keys::new();
    assert_eq!(
        refused(&keys.url(OBJECT)),
        error("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")
    );
    assert_eq!(refused(&keys.sign(OBJECT, "ELSE", "rsa", 60, false)), error("InvalidKey", "Unknown Key"));
}

#[test]
fn objects_of_another_server_are_handed_on_as_they_come() {
    let keys = Keys::new();
    let there = keys.sign(OBJECT, "EC", "ec", 60, false);
    let public = fs::read(keys.key("rsa")).unwrap();
    let public = openssl::rsa::Rsa::private_key_from_pem(&public).unwrap().public_key_to_pem().unwrap();
    let second = Edge::start(&[("RSA", String::from_utf8(public).unwrap())], move |path| match path {
        "/there" => Some(Object::At(there.clone())),
        _ => Some(Object::At(there.replace("Signature=", "Signature=A"))),
    });
    let sign = |path: &str| {
        let url = format!("{}{path}", second.base_url());
        let key = keys.key("rsa");
        let task =
            ToSign { url: &url, expires: now() + 60, keypair_id: "RSA", private_key: &key, sha256: false };
        Signer::Botocore.sign(&[task]).remove(0)
    };
    assert_eq!(curl(&[&sign("/there")]), (200, String::from_utf8(BYTES.to_vec()).unwrap()));
    assert_eq!(curl(&[&sign("/else")]).0, 403, "the origin refuses");
}
