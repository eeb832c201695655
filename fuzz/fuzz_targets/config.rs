//! The configuration reader: whatever the file holds, it is read or refused with a reason in one line.

#![no_main]

use std::path::Path;

use aar_config::client::ClientConfig;
use aar_config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("config.yaml");
    match Config::parse(text, path) {
        Ok(config) => assert_eq!(Config::parse(text, path).unwrap(), config),
        Err(error) => check(&error),
    }
    if let Err(error) = ClientConfig::parse(text, path) {
        check(&error);
    }
});

fn check(error: &ConfigError) {
    let said = error.to_string();
    assert!(said.starts_with("config.yaml") && !said.contains('\n'), "{said}");
}
