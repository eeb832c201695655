use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use aar_tls::{Identity, IdentityError};
use openssl::symm::Cipher;
use openssl::x509::X509;
use tempfile::TempDir;

use crate::support::{Recipe, connected, ec_key, load, rsa_key};

const DAY: i64 = 24 * 60 * 60;

fn key_error(key: &[u8]) -> String {
    let recipe = Recipe::default();
    let error = load(&[&recipe.sign(None)], key).unwrap_err();
    assert!(matches!(error, IdentityError::Key { .. }), "{error}");
    error.to_string().rsplit_once(": ").unwrap().1.to_owned()
}

#[test]
fn a_generated_certificate_is_fit_for_servers_and_clients() {
    let names = ["10.0.0.5", "::1", "registry.example", "*.example"].map(String::from);
    let identity = Identity::generate("aar", &names).unwrap();
    let certificate = identity.certificate();
    let x509 = X509::from_der(certificate.der()).unwrap();

    assert_eq!(x509.version(), 2);
    assert_eq!(
        x509.public_key().unwrap().ec_key().unwrap().group().curve_name(),
        Some(openssl::nid::Nid::X9_62_PRIME256V1)
    );
    assert!(x509.verify(&x509.public_key().unwrap()).unwrap(), "it is self-signed");
    let alternatives = x509.subject_alt_names().unwrap();
    let addresses: Vec<_> = alternatives.iter().filter_map(|name| name.ipaddress()).collect();
    assert_eq!(addresses, [&[10, 0, 0, 5][..], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]);
    let hosts: Vec<_> = alternatives.iter().filter_map(|name| name.dnsname()).collect();
    assert_eq!(hosts, ["registry.example", "*.example"]);
    let text = String::from_utf8(x509.to_text().unwrap()).unwrap();
    for fact in
        ["TLS Web Server Authentication, TLS Web Client Authentication", "CA:FALSE", "Digital Signature"]
    {
        assert!(text.contains(fact), "{fact} in {text}");
    }
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert!((now - DAY - 60..=now - DAY).contains(&certificate.not_before()));
    assert!((now + 3650 * DAY..now + 3660 * DAY).contains(&certificate.not_after()));

    let other = Identity::generate("aar", &names).unwrap();
    let other = X509::from_der(other.certificate().der()).unwrap();
    let serial = |x509: &X509| x509.serial_number().to_bn().unwrap();
    assert_ne!(serial(&x509), serial(&other));
    assert!(serial(&x509).num_bits() > 64);
}

#[test]
fn a_name_that_no_certificate_can_carry_is_refused() {
    for name in ["", "a b", "a,IP:1.2.3.4", "ä.example", "a..b", "[::1]", &"a".repeat(64)] {
        let error = Identity::generate("aar", &[name.to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), format!("`{name}` is neither an IP address nor a DNS name"));
    }
}

#[test]
fn an_identity_is_made_once_and_kept() {
    let dir = TempDir::new().unwrap();
    let certs = dir.path().join("certs");
    let made = Identity::load_or_create(&certs, &["localhost".to_owned()]).unwrap();
    let kept = Identity::load_or_create(&certs, &["elsewhere".to_owned()]).unwrap();

    assert_eq!(made.fingerprint(), kept.fingerprint());
    assert_eq!(made.certificate().common_name(), Some("localhost"));
    let mode_of = |name: &str| fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode_of("server.key"), mode_of("server.crt"), mode_of("")), (0o600, 0o600, 0o700));
    let mut files: Vec<_> = fs::read_dir(&certs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["server.crt", "server.key"]);
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let dir = TempDir::new().unwrap();
    let made = Identity::load_or_create(dir.path(), &[]).unwrap();
    fs::remove_file(dir.path().join("server.crt")).unwrap();
    fs::write(dir.path().join("server.crt.new"), "half a cert").unwrap();

    let finished = Identity::load_or_create(dir.path(), &[]).unwrap();
    assert_eq!(finished.private_key_pem().unwrap(), made.private_key_pem().unwrap());

    fs::remove_file(dir.path().join("server.crt")).unwrap();
    fs::rename(dir.path().join("server.key"), dir.path().join("server.key.new")).unwrap();
    fs::set_permissions(dir.path().join("server.key.new"), fs::Permissions::from_mode(0o644)).unwrap();
    Identity::load_or_create(dir.path(), &[]).unwrap();
    let permissions = fs::metadata(dir.path().join("server.key")).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600, "a leftover's permissions do not stay");
}

#[test]
fn a_certificate_without_its_key_is_not_replaced() {
    let dir = TempDir::new().unwrap();
    Identity::load_or_create(dir.path(), &[]).unwrap();
    let before = fs::read(dir.path().join("server.crt")).unwrap();
    fs::remove_file(dir.path().join("server.key")).unwrap();

    let error = Identity::load_or_create(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, IdentityError::KeyMissing { .. }), "{error}");
    assert_eq!(fs::read(dir.path().join("server.crt")).unwrap(), before);
    assert!(!dir.path().join("server.key").exists());
}

#[test]
fn a_long_host_name_does_not_keep_the_server_from_starting() {
    let dir = TempDir::new().unwrap();
    let name = format!("{}.example", "a".repeat(62));
    let identity = Identity::load_or_create(dir.path(), &[name]).unwrap();
    assert_eq!(identity.certificate().common_name(), Some("aar"));
}

#[tokio::test]
async fn keys_of_every_usual_kind_serve() {
    let (rsa, ec) = (rsa_key(), ec_key());
    let sec1 = ec.ec_key().unwrap().private_key_to_pem().unwrap();
    let with_parameters =
        [b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", sec1.as_slice()]
            .concat();
    let keys = [
        (&rsa, rsa.rsa().unwrap().private_key_to_pem().unwrap()),
        (&rsa, rsa.private_key_to_pem_pkcs8().unwrap()),
        (&ec, sec1),
        (&ec, with_parameters),
        (&ec, ec.private_key_to_pem_pkcs8().unwrap()),
    ];
    for (key, pem) in keys {
        let certificate = Recipe { key: key.clone(), ..Recipe::default() }.sign(None);
        let identity = load(&[&certificate], &pem).unwrap();
        let (client, server) = connected(&identity, Some(&identity)).await;
        assert_eq!(client.unwrap().peer().unwrap().fingerprint, identity.fingerprint());
        assert_eq!(server.unwrap().peer().unwrap().fingerprint, identity.fingerprint());
    }
}

#[test]
fn in_a_chain_the_certificate_of_the_key_is_the_leaf() {
    let root = Recipe { ca: true, ..Recipe::default() };
    let root_certificate = root.sign(None);
    let leaf = Recipe::default();
    let leaf_certificate = leaf.sign(Some((&root_certificate, &root.key)));
    let key = leaf.key.private_key_to_pem_pkcs8().unwrap();
    for chain in [[&leaf_certificate, &root_certificate], [&root_certificate, &leaf_certificate]] {
        let identity = load(&chain, &key).unwrap();
        assert_eq!(identity.certificate().der(), leaf_certificate.to_der().unwrap());
        assert_eq!(identity.certificate_pem().matches("BEGIN CERTIFICATE").count(), 2);
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let key = ec_key();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
    let old_encrypted =
        rsa_key().rsa().unwrap().private_key_to_pem_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
    let pem = key.private_key_to_pem_pkcs8().unwrap();

    assert_eq!(key_error(&encrypted), "it is encrypted with a passphrase; give it without");
    assert_eq!(key_error(&old_encrypted), "it is encrypted with a passphrase; give it without");
    assert_eq!(key_error(&key.public_key_to_pem().unwrap()), "it is a public key");
    assert_eq!(key_error(&Recipe::default().sign(None).to_pem().unwrap()), "it is a certificate");
    assert_eq!(key_error(&pem[..pem.len() / 2]), "it is damaged");
    assert_eq!(key_error(b"\n"), "it is empty");
    assert_eq!(key_error(b"hello"), "it is not PEM");
}

#[test]
fn a_key_of_another_certificate_and_missing_files_are_named() {
    let certificate = Recipe::default().sign(None);
    let error = load(&[&certificate], &ec_key().private_key_to_pem_pkcs8().unwrap()).unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { .. }), "{error}");

    let dir = TempDir::new().unwrap();
    let (certificate, key) = (dir.path().join("x.crt"), dir.path().join("x.key"));
    let error = Identity::load(&certificate, &key).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read `{}`", certificate.display()));
    fs::write(&certificate, "hello").unwrap();
    let error = Identity::load(&certificate, &key).unwrap_err().to_string();
    assert_eq!(error, format!("cannot use `{}` as a certificate", certificate.display()));
}

#[test]
fn debug_does_not_show_the_key() {
    let identity = Identity::generate("aar", &[]).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains("aar") && !shown.contains("key"), "{shown}");
}
