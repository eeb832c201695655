//! One round, and round after round.

use std::collections::{HashMap, VecDeque};
use std::error::Error as StdError;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::time::Duration;

use aar_client::ImageAddress;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

use crate::{Conflict, Error, Plan, Result, Selection, Source, Step, Target};

/// How long the first pause after a round that failed is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A source, a target, and how to keep them in step.
pub struct Sync<'a> {
    /// Says what there should be.
    pub source: &'a dyn Source,
    /// Is made so.
    pub target: &'a dyn Target,
    /// What of the source counts.
    pub selection: Selection,
    /// How often, and how much at once.
    pub timing: Timing,
}

/// How often to look, and how much to do at once.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a change may go unnoticed that the source tells nobody of.
    pub interval: Duration,
    /// How many images may be on their way.
    pub parallel: NonZeroUsize,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Images that were transferred.
    pub transferred: usize,
    /// Fields that were changed.
    pub changed: usize,
    /// Applications, versions and images that were removed.
    pub removed: usize,
    /// What could not be done.
    pub failures: Vec<Error>,
    /// What stays as it is although the source says otherwise.
    pub conflicts: Vec<Conflict>,
}

type Transfer<'a> = Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;
/// A transfer that has ended, whichever way.
type Ended = (Step, std::result::Result<Result<()>, Aborted>);

/// A round under way.
#[derive(Default)]
struct Round<'a> {
    queue: VecDeque<Step>,
    transfers: FuturesUnordered<Transfer<'a>>,
    /// The images that are on their way, each with the step that brings it.
    under_way: HashMap<ImageAddress, (Step, AbortHandle)>,
    /// What ended while a plan was made, and counts as under way until that is done.
    ended: Vec<Ended>,
    outcome: Outcome,
    /// Whether to plan anew.
    is_due: bool,
    /// Whether to plan anew once a transfer has ended, as a step waits for that.
    is_postponed: bool,
}

impl Sync<'_> {
    /// What would be done now.
    pub async fn plan(&self) -> Result<Plan> {
        let wanted = self.source.list().await?.select(&self.selection);
        Ok(Plan::new(&wanted, &self.target.list().await?, self.target.rules()))
    }

    /// Makes the target as the source says. What changes meanwhile counts too: what is not wanted any more is not
    /// transferred to its end. What the source cannot list yet is waited for.
    ///
    /// # Errors
    /// Only what keeps everything from being done; the outcome has the rest.
    pub async fn round(&self) -> Result<Outcome> {
        let mut round = Round { is_due: true, ..Round::default() };
        let mut planned = Instant::now();
        loop {
            while std::mem::take(&mut round.is_due) {
                match self.plan_round(&mut round).await {
                    Err(error) if !round.under_way.is_empty() => {
                        tracing::warn!(error = &error as &dyn StdError, "cannot find out what has changed");
                        round.outcome.failures.push(error); // after this round follows another one soon
                    }
                    done => done?,
                }
                planned = Instant::now();
                for ended in std::mem::take(&mut round.ended) {
                    round.finish(ended);
                }
            }
            while round.under_way.len() < self.timing.parallel.get()
                && let Some(step) = round.queue.pop_front()
            {
                self.begin(&mut round, step);
            }
            if round.under_way.is_empty() && !round.is_due && self.source.is_settled() {
                return Ok(round.outcome);
            }
            tokio::select! {
                Some(ended) = round.transfers.next() => round.finish(ended),
                () = self.source.changed() => round.is_due = true,
                // A transfer may take longer than others can wait.
                () = sleep(self.timing.interval.saturating_sub(planned.elapsed())) => round.is_due = true,
            }
        }
    }

    /// Does round after round: whenever the source tells of a change, and at least at every interval.
    pub async fn run(&self) -> std::convert::Infallible {
        let mut fruitless = 0;
        loop {
            let in_step = match self.round().await {
                Ok(outcome) => outcome.failures.is_empty(),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn StdError, "cannot find out what to do");
                    false
                }
            };
            fruitless = if in_step { 0 } else { fruitless + 1 };
            let pause = match fruitless {
                0 => self.timing.interval,
                _ => (FIRST_PAUSE * 2_u32.pow((fruitless - 1).min(20))).min(self.timing.interval),
            };
            tokio::select! {
                // Whoever began at the same time shall not ask at the same time for ever.
                () = sleep(pause.mul_f64(1.0 - fastrand::f64() / 10.0)) => {}
                () = self.source.changed() => {}
            }
        }
    }

    async fn plan_round(&self, round: &mut Round<'_>) -> Result<()> {
        let mut plan = round.meanwhile(self.plan()).await?;
        for conflict in
            plan.conflicts.drain(..).filter(|it| !round.outcome.conflicts.contains(it)).collect::<Vec<_>>()
        {
            tracing::error!(image = %conflict.image, "{conflict}");
            round.outcome.conflicts.push(conflict);
        }
        for (step, transfer) in round.under_way.values() {
            if !plan.steps.contains(step) {
                round.is_postponed = true; // what is wanted instead is planned then
                transfer.abort();
            }
        }
        round.queue.clear();
        let (transfers, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.steps).into_iter().partition(|it| matches!(it, Step::Transfer { .. }));
        for step in others {
            if round.under_way.keys().any(|image| &image.name == step.name()) {
                round.is_postponed = true;
                continue;
            }
            let done = round.meanwhile(self.target.carry_out(&step, self.source)).await;
            round.outcome.record(&step, done);
        }
        plan.steps = transfers;
        if let Err(error) = round.meanwhile(self.target.admit(&plan)).await {
            tracing::error!(error = &error as &dyn StdError, "nothing is transferred");
            round.outcome.failures.push(error);
        } else {
            plan.steps.retain(|step| !round.is_under_way(step));
            round.queue.extend(plan.steps);
        }
        Ok(())
    }

    fn begin<'a>(&'a self, round: &mut Round<'a>, step: Step) {
        let Step::Transfer { image, package, .. } = &step else { return };
        let (image, own) = (image.clone(), step.clone());
        tracing::info!(%step, bytes = package.size, "begun");
        let (transfer, handle) = abortable(async move { self.target.carry_out(&own, self.source).await });
        round.under_way.insert(image, (step.clone(), handle));
        round.transfers.push(Box::pin(async move { (step, transfer.await) }));
    }
}

impl Round<'_> {
    fn is_under_way(&self, step: &Step) -> bool {
        matches!(step, Step::Transfer { image, .. } if self.under_way.contains_key(image))
    }

    /// Does something else while transfers go on: a registry cuts off whoever does not read.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(ended) = self.transfers.next() => self.ended.push(ended),
            }
        }
    }

    fn finish(&mut self, (step, done): Ended) {
        if let Step::Transfer { image, .. } = &step {
            self.under_way.remove(image);
        }
        if let Ok(done) = done {
            self.outcome.record(&step, done);
        }
        self.is_due |= std::mem::take(&mut self.is_postponed);
    }
}

impl Outcome {
    fn record(&mut self, step: &Step, done: Result<()>) {
        if let Err(error) = done {
            tracing::error!(%step, error = &error as &dyn StdError, "failed, and will be tried again");
            self.failures.push(error);
            return;
        }
        tracing::info!(%step, "done");
        match step {
            Step::Transfer { .. } => self.transferred += 1,
            Step::ChangeApplication { .. } | Step::ChangeVersion { .. } => self.changed += 1,
            _ => self.removed += 1,
        }
    }
}
