//! How far a transfer has come, on a terminal.

use std::sync::Arc;
use std::time::Duration;

use aar_client::{Progress, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::printable;

/// A bar on standard error; nothing where that is no terminal. It goes away with its last owner.
pub(crate) fn bar() -> Arc<dyn Progress> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{msg:9} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    Arc::new(Bar(bar))
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn begin(&self, step: Step, done: u64, total: u64) {
        self.0.set_message(match step {
            Step::Hashing => "reading",
            Step::Sending => "sending",
            Step::Receiving => "receiving",
        });
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.reset_elapsed();
        self.0.reset_eta(); // what was done before says nothing of the rate
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn retry(&self, error: &aar_client::Error, pause: Duration) {
        let line = format!("aar: {error}; going on in {:.1} s", pause.as_secs_f32());
        self.0.suspend(|| eprintln!("{}", printable(&line)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Something that turns while `work` goes on, which may take hours.
pub(crate) async fn while_waiting<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    let result = work.await;
    spinner.finish_and_clear();
    result
}
