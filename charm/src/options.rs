//! The charm's options, as `juju config` sets them.

use std::num::NonZeroU16;

use aar_config::Secret;
use serde_json::{Map, Value};

/// All options. Texts are trimmed; empty ones count as not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The token of Ubuntu Pro.
    pub ua_token: Option<Secret>,
    /// `storage_config` as it was given: it may hold secrets.
    pub storage_config: Option<Secret>,
    /// The port, or what was given in its place.
    pub port: Result<NonZeroU16, String>,
    /// What clients are told in place of the unit's address.
    pub location: Option<String>,
    /// The interface that is served on.
    pub public_interface: Option<String>,
    /// What is logged.
    pub log_level: String,
}

impl Options {
    /// Reads what `config-get` answers.
    pub fn read(settings: &Map<String, Value>) -> Self {
        let text = |name: &str| {
            let value = settings.get(name).and_then(Value::as_str).unwrap_or_default();
            Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let port = settings.get("port").cloned().unwrap_or(Value::Null);
        let number = port.as_u64().and_then(|port| u16::try_from(port).ok()).and_then(NonZeroU16::new);
        // Where a line begins matters to YAML.
        let storage_config = settings.get("storage_config").and_then(Value::as_str).unwrap_or_default();
        let storage_config = Some(storage_config).filter(|text| !text.trim().is_empty());
        Self {
            ua_token: text("ua_token").map(Secret::from),
            storage_config: storage_config.map(|text| Secret::from(text.trim_end().to_owned())),
            port: number.ok_or_else(|| port.to_string()),
            location: text("location"),
            public_interface: text("public_interface"),
            log_level: text("log_level").unwrap_or_else(|| "info".to_owned()),
        }
    }
}

/// Whether clients can be told this: the name of a host or an address, without scheme and port.
pub fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    is_name || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: &Value) -> Options {
        Options::read(settings.as_object().unwrap())
    }

    #[test]
    fn empty_texts_count_as_not_set() {
        let options = read(&json!({"ua_token": "", "storage_config": " \n", "location": "  ", "port": 3000}));
        assert_eq!((options.ua_token, options.storage_config, options.location), (None, None, None));
        assert_eq!(options.port.unwrap().get(), 3000);
        assert_eq!(options.log_level, "info");
    }

    #[test]
    fn a_pasted_token_loses_the_line_end_it_was_pasted_with() {
        let options = read(&json!({"ua_token": " C123\n"}));
        assert_eq!(options.ua_token.unwrap().expose(), "C123");
    }

    #[test]
    fn only_a_tcp_port_is_a_port() {
        for wrong in [json!(0), json!(-1), json!(65536), json!("3000"), json!(null)] {
            assert_eq!(read(&json!({"port": wrong})).port.unwrap_err(), wrong.to_string());
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let options = read(&json!({"ua_token": "TOKEN", "storage_config": "SECRET", "port": 1}));
        let shown = format!("{options:?}");
        assert!(!shown.contains("TOKEN") && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn a_location_is_an_address_or_a_name() {
        for right in ["10.0.0.1", "aar.example", "fd00::1", "[fd00::1]", "localhost"] {
            assert!(is_host(right), "{right}");
        }
        for wrong in ["https://aar.example", "aar.example:3000", "a b", ""] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }
}
