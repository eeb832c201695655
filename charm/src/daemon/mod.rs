//! The registry's daemon: its file, its service, and what it tells of itself.

mod configuration;
mod places;
mod registry;
mod render;
mod service;
mod settings;

pub use configuration::{
    ReplaceError, accept_config, config, has_previous_config, replace_config, restore_config,
};
pub use places::{BASE_DIR, CONFIG, DATA, USER};
pub use registry::{AAR, Answer, Summary, Trusted, aar, certificate, certificates, run_aar, status};
pub use render::{Kept, METRICS_PORT, Rendered, Running, Surroundings, read, render, restarting_part};
pub use service::{Applied, Service, reload, reload_units, restart, start, stop};
pub use settings::{Settings, settings};
