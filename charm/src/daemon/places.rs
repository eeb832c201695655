//! Where things are on the machine.

/// Everything that the daemon keeps.
pub const BASE_DIR: &str = "/var/lib/aar";
/// The daemon's file.
pub const CONFIG: &str = "/var/lib/aar/config.yaml";
/// Images and records, where the configuration names no other place.
pub const DATA: &str = "/var/lib/aar/data";
/// The user that the daemon runs as.
pub const USER: &str = "aar";
