//! What a command says that goes on until it is stopped.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Begins to log on standard error: short lines on a terminal, with the time for whoever keeps them.
pub(crate) fn init() {
    let lines = fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(false);
    let layer = if io::stderr().is_terminal() { lines.without_time().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(LevelFilter::INFO).with(layer).init();
}
