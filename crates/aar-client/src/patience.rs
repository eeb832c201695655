//! How long a transfer is tried again that is cut.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// How many times in a row a transfer may be cut without having come further.
const ATTEMPTS: u32 = 8;
/// How long the first pause between attempts is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Counts the attempts that were in vain.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    fruitless: u32,
}

impl Patience {
    /// Waits before the next attempt, or answers the error where there were enough of them.
    pub(crate) async fn pause(
        &mut self,
        error: Error,
        advanced: bool,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        self.fruitless = if advanced { 0 } else { self.fruitless + 1 };
        if self.fruitless == ATTEMPTS {
            return Err(error);
        }
        let pause = FIRST_PAUSE * 2u32.pow(self.fruitless);
        progress.retry(&error, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
