use aar_tls::{Certificate, CertificateError};
use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::x509::X509ReqBuilder;
use proptest::prelude::*;

use crate::support::{ec_key, identity};

fn request() -> openssl::x509::X509Req {
    let key = ec_key();
    let mut request = X509ReqBuilder::new().unwrap();
    request.set_pubkey(&key).unwrap();
    request.sign(&key, MessageDigest::sha256()).unwrap();
    request.build()
}

fn error(input: &[u8]) -> CertificateError {
    Certificate::read_all(input).unwrap_err()
}

#[test]
fn the_same_certificate_is_read_from_pem_der_and_base64() {
    let identity = identity("publisher");
    let certificate = identity.certificate();
    let base64 = encode_block(certificate.der());
    let wrapped =
        base64.as_bytes().chunks(76).map(|line| [line, b"\r\n"].concat()).collect::<Vec<_>>().concat();
    let pem = certificate.to_pem();
    let dressed = format!("Bag Attributes\r\n  x\r\n{}\r\nthe end", pem.replace('\n', "\r\n"));

    for input in [certificate.der(), base64.as_bytes(), &wrapped, pem.as_bytes(), dressed.as_bytes()] {
        let read = Certificate::read_all(input).unwrap();
        assert_eq!(read, std::slice::from_ref(certificate), "{}", String::from_utf8_lossy(input));
        assert_eq!(read[0].fingerprint(), identity.fingerprint());
        assert_eq!(read[0].common_name(), Some("publisher"));
    }
}

#[test]
fn pem_is_what_openssl_writes() {
    let identity = identity("x");
    let x509 = openssl::x509::X509::from_der(identity.certificate().der()).unwrap();
    assert_eq!(identity.certificate().to_pem().as_bytes(), x509.to_pem().unwrap());
}

#[test]
fn several_certificates_are_read_in_order_and_a_key_between_them_is_passed_over() {
    let (first, second) = (identity("first"), identity("second"));
    let key = first.private_key_pem().unwrap();
    let all =
        [first.certificate_pem().as_bytes(), key.as_slice(), second.certificate_pem().as_bytes()].concat();
    let names: Vec<_> = Certificate::read_all(&all)
        .unwrap()
        .iter()
        .map(|certificate| certificate.common_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["first", "second"]);
}

#[test]
fn what_is_not_a_certificate_is_named() {
    let identity = identity("x");
    let key = ec_key();
    let pem = identity.certificate_pem();
    let request_base64 = encode_block(&request().to_der().unwrap());
    let cases: [(&[u8], CertificateError); 15] = [
        (b"", CertificateError::Empty),
        (b" \r\n\t", CertificateError::Empty),
        (b"hello", CertificateError::Malformed),
        (b"\xff\xfe\x00", CertificateError::Malformed),
        (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", CertificateError::Malformed),
        (b"-----BEGIN ", CertificateError::Malformed),
        (&vec![b'A'; 64 * 1024 + 1], CertificateError::TooLarge),
        (&pem.as_bytes()[..pem.len() / 2], CertificateError::CutOff),
        (&identity.certificate().der()[..100], CertificateError::Malformed),
        (&[identity.certificate().der(), b"x"].concat(), CertificateError::Malformed),
        (&identity.private_key_pem().unwrap(), CertificateError::SomethingElse("a private key")),
        (&key.private_key_to_der().unwrap(), CertificateError::SomethingElse("a private key")),
        (&key.public_key_to_pem().unwrap(), CertificateError::SomethingElse("a public key")),
        (&request().to_pem().unwrap(), CertificateError::SomethingElse("a certificate request")),
        (request_base64.as_bytes(), CertificateError::SomethingElse("a certificate request")),
    ];
    for (input, expected) in cases {
        assert_eq!(error(input), expected, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn control_characters_in_a_name_do_not_reach_a_terminal() {
    let identity = identity("a\u{1b}[31m\nb");
    assert_eq!(identity.certificate().common_name(), Some("a\u{fffd}[31m\u{fffd}b"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Certificate::read_all(&input);
    }

    #[test]
    fn a_damaged_certificate_never_panics(at in 0usize..300, byte in any::<u8>()) {
        let mut der = identity("x").certificate().der().to_vec();
        let at = at % der.len();
        der[at] = byte;
        let _ = Certificate::read_all(&der);
    }
}
