//! Promises about private keys: which are taken, and that of the others is said what is wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aar_cloudfront::{CloudFront, HashAlgorithm, Options, Warning};
use tempfile::TempDir;
use url::Url;

/// Gives a key to CloudFront; what it says is the error.
fn take(pem: &str) -> Result<Option<Warning>, String> {
    let options = Options {
        base_url: &Url::parse("https://d111111abcdef8.cloudfront.net").unwrap(),
        prefix: "",
        private_key: pem,
        keypair_id: "K2JCJMDEHXQW5F",
        duration: Duration::from_secs(60),
        hash_algorithm: HashAlgorithm::Sha1,
    };
    CloudFront::new(&options).map(|(_, warning)| warning).map_err(|error| error.to_string())
}

fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with `rsa.pem` and `ec.pem`, in PKCS#8.
fn keys() -> TempDir {
    let dir = TempDir::new().unwrap();
    openssl(dir.path(), "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl(dir.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    dir
}

#[test]
fn keys_are_taken_in_every_form_that_openssl_writes() {
    let dir = keys();
    let make = |arguments| openssl(dir.path(), arguments);
    let with_parameters = make("ecparam -name prime256v1 -genkey");
    assert!(with_parameters.contains("-----BEGIN EC PARAMETERS-----"));
    for (begin, pem) in [
        ("-----BEGIN PRIVATE KEY-----", make("pkey -in rsa.pem")),
        ("-----BEGIN RSA PRIVATE KEY-----", make("rsa -in rsa.pem -traditional")),
        ("-----BEGIN PRIVATE KEY-----", make("pkey -in ec.pem")),
        ("-----BEGIN EC PRIVATE KEY-----", make("ec -in ec.pem")),
        ("-----BEGIN EC PARAMETERS-----", with_parameters),
        ("Private-Key: (2048 bit", make("pkey -in rsa.pem -text")),
    ] {
        assert!(pem.contains(begin), "{begin}");
        assert_eq!(take(&pem), Ok(None), "{begin}");
        assert_eq!(take(&pem.replace('\n', "\r\n")), Ok(None), "{begin}, as Windows ends lines");
    }
}

#[test]
fn an_rsa_key_of_another_size_is_taken_with_a_warning() {
    let dir = TempDir::new().unwrap();
    for bits in [1024, 3072] {
        let pem = openssl(dir.path(), &format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"));
        let warning = take(&pem).unwrap().unwrap();
        assert_eq!(warning, Warning::RsaBits(bits));
        assert_eq!(
            warning.to_string(),
            format!("the RSA key that signs for CloudFront has {bits} bits: CloudFront takes 2048")
        );
    }
}

#[test]
fn of_every_other_key_is_said_what_is_wrong() {
    let dir = keys();
    let make = |arguments| openssl(dir.path(), arguments);
    let good = make("pkey -in rsa.pem");
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n".to_owned();
    let public = "this is a public key: give the private key that belongs to it";
    let certificate = "this is a certificate: give a private key, whose public key CloudFront has";
    let encrypted = "this private key is encrypted with a passphrase: give it without, as `openssl pkey -in key.pem` prints it";
    let not_pem = "this is not PEM, which begins with `-----BEGIN PRIVATE KEY-----`";
    let damaged = "this private key is damaged: copy all of its lines, from `-----BEGIN` to `-----END`";
    let kind = |name| {
        format!(
            "this private key is of the kind {name}: CloudFront takes RSA of 2048 bits and ECDSA on P-256"
        )
    };
    let curve = |name| {
        format!("this private key is on the curve {name}: CloudFront takes ECDSA on P-256 (prime256v1) only")
    };
    let cases = [
        (make("pkey -in rsa.pem -pubout"), public.to_owned()),
        (make("rsa -in rsa.pem -RSAPublicKey_out"), public.to_owned()),
        (make("pkey -in ec.pem -pubout"), public.to_owned()),
        (make("req -x509 -key rsa.pem -subj /CN=x"), certificate.to_owned()),
        (make("pkey -in rsa.pem -aes256 -passout pass:x"), encrypted.to_owned()),
        (make("rsa -in rsa.pem -traditional -aes256 -passout pass:x"), encrypted.to_owned()),
        (make("ec -in ec.pem -aes256 -passout pass:x"), encrypted.to_owned()),
        (
            ssh,
            "this private key is in OpenSSH's own format: convert a copy with `ssh-keygen -p -m PKCS8 -f key`".to_owned(),
        ),
        (String::new(), not_pem.to_owned()),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".to_owned(), not_pem.to_owned()),
        (make("ecparam -name prime256v1"), not_pem.to_owned()),
        (good.replace("-----END PRIVATE KEY-----", ""), damaged.to_owned()),
        (good.replace(good.lines().nth(5).unwrap(), ""), damaged.to_owned()),
        (make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"), curve("secp384r1")),
        (make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"), curve("secp256k1")),
        (make("genpkey -algorithm ED25519"), kind("ED25519")),
        (make("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"), kind("RSASSA-PSS")),
    ];
    for (pem, expected) in cases {
        assert_eq!(take(&pem), Err(expected), "{pem}");
    }
}
