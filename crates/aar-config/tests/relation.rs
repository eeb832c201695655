//! Promises of the reader of what a relation is told.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use aar_config::relation::RelationData;

const FINGERPRINT: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn parse(text: &str) -> Result<RelationData, String> {
    RelationData::parse(text, Path::new("told.json")).map_err(|error| error.to_string())
}

#[test]
fn what_juju_prints_is_read_in_either_format() {
    let json = format!(
        r#"{{"certificate":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n","egress-subnets":"10.0.0.5/32",
        "fingerprint":"{FINGERPRINT}","ingress-address":"10.0.0.5","ip":"10.0.0.5","port":"3000"}}"#
    );
    let yaml = format!(
        "certificate: |\n  -----BEGIN CERTIFICATE-----\n  AA==\n  -----END CERTIFICATE-----\negress-subnets: 10.0.0.5/32\n\
         fingerprint: {FINGERPRINT}\nip: 10.0.0.5\nport: 3000\n"
    );
    let told = parse(&json).unwrap();
    assert_eq!(told, parse(&yaml).unwrap());
    assert_eq!(told.registry.as_str(), "https://10.0.0.5:3000/");
    assert_eq!(told.fingerprint.unwrap().to_string(), FINGERPRINT);
    assert!(told.certificate.unwrap().starts_with("-----BEGIN"));
}

#[test]
fn addresses_of_every_kind_are_taken() {
    for (ip, url) in [
        ("registry.example", "https://registry.example:1/"),
        ("\"fd00::5\"", "https://[fd00::5]:1/"),
        ("\"[fd00::5]\"", "https://[fd00::5]:1/"),
    ] {
        assert_eq!(parse(&format!("ip: {ip}\nport: 1\n")).unwrap().registry.as_str(), url);
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let untold = "is missing; the registry's charm tells it once it serves";
    for (text, expected) in [
        ("{}", format!("told.json: the key `ip` {untold}")),
        ("ip: 10.0.0.5", format!("told.json: the key `port` {untold}")),
        (
            "ip: a/b\nport: 1",
            "told.json:1:5: ip: expected an IP address or the name of a host, found `a/b`".to_owned(),
        ),
        ("ip: h\nport: 0", "told.json:2:7: port: expected a port from 1 to 65535, found `0`".to_owned()),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected);
    }
}
