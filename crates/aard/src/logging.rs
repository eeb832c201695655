//! Logs: text for people, JSON for programs, on standard error; the level can change while the daemon runs.

use aar_config::{Log, LogFormat, LogLevel};
use anyhow::{Context, Result};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes what is logged.
pub(crate) struct LogControl(reload::Handle<LevelFilter, Registry>);

/// Begins to log.
pub(crate) fn init(log: Log) -> Result<LogControl> {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let layer = match log.format {
        LogFormat::Text => {
            fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false).boxed()
        }
        LogFormat::Json => {
            fmt::layer().with_writer(std::io::stderr).with_target(false).json().flatten_event(true).boxed()
        }
    };
    tracing_subscriber::registry().with(level).with(layer).try_init().context("cannot begin to log")?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    Ok(LogControl(handle))
}

impl LogControl {
    /// Logs what is at least as important as `level`.
    pub(crate) fn set_level(&self, level: LogLevel) {
        // The subscriber lives as long as the process.
        let _ = self.0.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
