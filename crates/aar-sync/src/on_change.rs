//! Telling a command what has changed in a mirror.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::process::Stdio;
use std::time::Duration;

use aar_client::ImageAddress;
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};

use crate::{Error, Mirror, Result};

/// How long the first pause after a failure is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a pause is at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Runs a command for each image that comes or goes, one at a time, until it succeeds.
pub struct OnChange<'a> {
    mirror: &'a Mirror,
    command: String,
}

impl<'a> OnChange<'a> {
    /// Runs `command` by `sh -c`, with the facts in its environment: `AAR_ACTION` (`added` or `removed`), `AAR_NAME`,
    /// `AAR_VERSION`, `AAR_ARCHITECTURE`, `AAR_FINGERPRINT` and, where an image came, `AAR_PATH`.
    pub fn new(mirror: &'a Mirror, command: String) -> Self {
        Self { mirror, command }
    }

    /// Tells what is due, each once. Answers what failed.
    pub async fn once(&self) -> Result<Vec<Error>> {
        let mut failures = Vec::new();
        for image in self.mirror.due().await? {
            if let Err(error) = self.tell(&image).await {
                tracing::error!(error = &error as &dyn StdError, "will be tried again");
                failures.push(error);
            }
        }
        Ok(failures)
    }

    /// Tells what is due, now and for ever. What fails is tried again after a pause, and does not hold up the rest.
    pub async fn run(&self) -> Infallible {
        let mut failed: HashMap<ImageAddress, (u32, Instant)> = HashMap::new();
        loop {
            let due = match self.mirror.due().await {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(error = &error as &dyn StdError, "cannot find out what is to be told");
                    Vec::new()
                }
            };
            failed.retain(|image, _| due.contains(image));
            for image in &due {
                let (failures, at) = failed.get(image).copied().unwrap_or((0, Instant::now()));
                if at > Instant::now() {
                    continue;
                }
                match self.tell(image).await {
                    Ok(()) => {
                        failed.remove(image);
                    }
                    Err(error) => {
                        let pause = (FIRST_PAUSE * 2_u32.pow(failures.min(10))).min(LONGEST_PAUSE);
                        tracing::warn!(%image, error = &error as &dyn StdError, ?pause, "tried again after a pause");
                        failed.insert(image.clone(), (failures + 1, Instant::now() + pause));
                    }
                }
            }
            let next = failed.values().map(|(_, at)| *at).min();
            let again = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.mirror.changed() => {}
                () = again => {}
            }
        }
    }

    async fn tell(&self, image: &ImageAddress) -> Result<()> {
        // The command may have run long for others, and this one come or gone meanwhile.
        let Some(notice) = self.mirror.telling(image).await? else { return Ok(()) };
        let failed = |source: Box<dyn StdError + Send + Sync>| {
            // Without the command itself, in which somebody may have written a secret.
            Error::Command { image: image.clone(), source }
        };
        let ImageAddress { name, version, architecture } = image;
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.command])
            .env("AAR_ACTION", notice.action.as_str())
            .env("AAR_NAME", name.as_str())
            .env("AAR_VERSION", version.to_string())
            .env("AAR_ARCHITECTURE", architecture.as_str())
            .env("AAR_FINGERPRINT", notice.fingerprint.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = &notice.path {
            command.env("AAR_PATH", path);
        }
        let status = command.status().await.map_err(|error| failed(error.into()))?;
        if !status.success() {
            return Err(failed(status.to_string().into()));
        }
        self.mirror.told(&notice).await?;
        tracing::info!(%image, action = notice.action.as_str(), "told");
        Ok(())
    }
}
