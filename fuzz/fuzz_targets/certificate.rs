//! The certificate reader: what is taken for a certificate is the same one after a round trip through PEM.

#![no_main]

use aar_model::Fingerprint;
use aar_tls::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let certificates = match Certificate::read_all(input) {
        Ok(certificates) => certificates,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(!certificates.is_empty());
    for certificate in certificates {
        assert_eq!(certificate.fingerprint(), Fingerprint::of(certificate.der()));
        assert!(certificate.common_name().is_none_or(|name| !name.contains(char::is_control)));
        assert_eq!(Certificate::read_all(certificate.der()).unwrap(), [certificate.clone()]);
        assert_eq!(Certificate::read_all(certificate.to_pem().as_bytes()).unwrap(), [certificate]);
    }
});
