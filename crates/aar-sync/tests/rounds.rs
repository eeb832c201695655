//! Promises of rounds, between ends that do as a test says.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aar_client::ImageAddress;
use aar_model::{AppName, Digest};
use aar_sync::{
    Catalogue, Error, Package, Packages, Plan, Result, Rules, Selection, Source, Step, Sync, Target, Timing,
};
use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

/// A catalogue of images `name/version` for one architecture, which have different contents in different catalogues.
fn catalogue(images: &[&str], content: &str) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for path in images {
        let (name, version) = path.split_once('/').unwrap();
        let application = catalogue.0.entry(name.parse().unwrap()).or_default();
        let release = application.versions.entry(version.parse().unwrap()).or_default();
        let package = Package { fingerprint: Some(Digest::of(content.as_bytes())), ..Package::default() };
        release.packages.insert("x86_64".parse().unwrap(), package);
    }
    catalogue
}

#[derive(Default)]
struct Says {
    wanted: Mutex<Option<Catalogue>>,
    change: Notify,
}

impl Says {
    fn what(wanted: Catalogue) -> Self {
        Self { wanted: Mutex::new(Some(wanted)), change: Notify::new() }
    }

    fn change(&self, wanted: Option<Catalogue>) {
        *self.wanted.lock().unwrap() = wanted;
        self.change.notify_one();
    }
}

#[async_trait]
impl Source for Says {
    async fn list(&self) -> Result<Arc<Catalogue>> {
        let wanted = self.wanted.lock().unwrap().clone();
        wanted.map(Arc::new).ok_or_else(|| Error::End("it cannot be asked".into()))
    }

    async fn changed(&self) {
        self.change.notified().await;
    }

    async fn fetch(&self, _: &ImageAddress, _: &Package, target: &Path) -> Result<PathBuf> {
        Ok(target.to_owned())
    }
}

/// Does what it is told once it may.
struct Does {
    present: Mutex<Catalogue>,
    told: Mutex<Vec<String>>,
    may_transfer: Semaphore,
    may_remove: Semaphore,
    /// The applications of which something is transferred.
    under_way: Mutex<Vec<AppName>>,
    most: AtomicUsize,
    refuses: Option<&'static str>,
}

impl Does {
    fn from(present: Catalogue) -> Self {
        Self {
            present: Mutex::new(present),
            told: Mutex::default(),
            may_transfer: Semaphore::new(0),
            may_remove: Semaphore::new(Semaphore::MAX_PERMITS),
            under_way: Mutex::default(),
            most: AtomicUsize::new(0),
            refuses: None,
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn eventually_told(&self, count: usize) {
        while self.told().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Counts a transfer until it ends, whichever way.
struct UnderWay<'a>(&'a Does, AppName);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock().unwrap();
        let own = under_way.iter().position(|it| *it == self.1).unwrap();
        under_way.remove(own);
    }
}

#[async_trait]
impl Target for Does {
    fn rules(&self) -> Rules {
        Rules { removes: true, replaces: true }
    }

    async fn list(&self) -> Result<Catalogue> {
        Ok(self.present.lock().unwrap().clone())
    }

    async fn admit(&self, _: &Plan) -> Result<()> {
        Ok(())
    }

    async fn carry_out(&self, step: &Step, _: &dyn Source) -> Result<()> {
        self.told.lock().unwrap().push(step.to_string());
        let Step::Transfer { image, package, .. } = step else {
            let is_under_way = self.under_way.lock().unwrap().contains(step.name());
            assert!(!is_under_way, "{step} during a transfer of its application");
            self.may_remove.acquire().await.unwrap().forget();
            self.present.lock().unwrap().0.remove(step.name());
            return Ok(());
        };
        let _under_way = UnderWay(self, image.name.clone());
        let count = {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.push(image.name.clone());
            under_way.len()
        };
        self.most.fetch_max(count, SeqCst);
        if self.refuses == Some(image.name.as_str()) {
            return Err(Error::End("refused".into()));
        }
        self.may_transfer.acquire().await.unwrap().forget();
        let mut present = self.present.lock().unwrap();
        let application = present.0.entry(image.name.clone()).or_default();
        let release = application.versions.entry(image.version).or_default();
        release.packages.insert(image.architecture, package.clone());
        Ok(())
    }
}

fn sync<'a>(source: &'a dyn Source, target: &'a Does, parallel: usize) -> Sync<'a> {
    let parallel = NonZeroUsize::new(parallel).unwrap();
    let timing = Timing { interval: Duration::from_secs(3600), parallel };
    Sync { source, target, selection: Selection::default(), timing }
}

#[tokio::test]
async fn as_many_transfers_run_as_may_and_in_the_order_of_versions() {
    let wanted = catalogue(&["game/1", "game/2", "game/10", "tool/1", "tool/2"], "");
    let (source, target) = (Says::what(wanted.clone()), Does::from(Catalogue::default()));
    let sync = sync(&source, &target, 2);
    let permit = async {
        target.eventually_told(2).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(target.told().len(), 2);
        target.may_transfer.add_permits(5);
    };
    let (outcome, ()) = tokio::join!(sync.round(), permit);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.transferred, outcome.failures.len()), (5, 0));
    assert_eq!(target.most.load(SeqCst), 2);
    let order = ["game version 1", "game version 2", "game version 10", "tool version 1", "tool version 2"];
    assert_eq!(target.told(), order.map(|image| format!("transfer {image} for x86_64")));
    assert_eq!(*target.present.lock().unwrap(), wanted);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_given_up_and_what_is_new_begins_at_once() {
    let (source, target) = (Says::what(catalogue(&["game/1"], "")), Does::from(Catalogue::default()));
    let sync = sync(&source, &target, 1);
    let change = async {
        target.eventually_told(1).await;
        source.change(Some(catalogue(&["tool/1"], "")));
        target.eventually_told(2).await;
        target.may_transfer.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    assert_eq!(outcome.unwrap().transferred, 1);
    assert_eq!(*target.present.lock().unwrap(), catalogue(&["tool/1"], ""));
}

#[tokio::test]
async fn another_image_in_the_place_of_one_that_is_under_way_is_what_comes() {
    let (source, target) = (Says::what(catalogue(&["game/1"], "old")), Does::from(Catalogue::default()));
    let sync = sync(&source, &target, 4);
    let change = async {
        target.eventually_told(1).await;
        source.change(Some(catalogue(&["game/1"], "new")));
        target.eventually_told(2).await;
        target.may_transfer.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    assert_eq!(outcome.unwrap().transferred, 1);
    assert_eq!(*target.present.lock().unwrap(), catalogue(&["game/1"], "new"));
}

#[tokio::test]
async fn an_application_is_removed_only_once_its_transfer_has_ended() {
    let target = Does::from(catalogue(&["game/1"], ""));
    let source = Says::what(catalogue(&["game/1", "game/2"], ""));
    let sync = sync(&source, &target, 1);
    let change = async {
        target.eventually_told(1).await;
        source.change(Some(Catalogue::default()));
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    assert_eq!(outcome.unwrap().removed, 1);
    assert_eq!(target.told(), ["transfer game version 2 for x86_64", "remove game"]);
}

#[tokio::test]
async fn a_transfer_that_fails_does_not_hold_up_the_others_and_is_tried_again() {
    let source = Says::what(catalogue(&["bad/1", "game/1"], ""));
    let mut target = Does::from(Catalogue::default());
    target.refuses = Some("bad");
    target.may_transfer.add_permits(2);
    let outcome = sync(&source, &target, 1).round().await.unwrap();
    assert_eq!((outcome.transferred, outcome.failures.len()), (1, 1));
    target.refuses = None;
    let outcome = sync(&source, &target, 1).round().await.unwrap();
    assert_eq!((outcome.transferred, outcome.failures.len()), (1, 0));
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_changes_nothing_and_stops_no_transfer() {
    let (source, target) = (Says::what(catalogue(&["game/1"], "")), Does::from(catalogue(&["old/1"], "")));
    let sync = sync(&source, &target, 1);
    source.change(None);
    assert!(sync.round().await.is_err());
    assert_eq!(target.told(), [""; 0]);

    source.change(Some(catalogue(&["game/1", "old/1"], "")));
    let change = async {
        target.eventually_told(1).await;
        source.change(None);
        tokio::time::sleep(Duration::from_millis(50)).await;
        target.may_transfer.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    assert_eq!(outcome.unwrap().transferred, 1);
    assert_eq!(*target.present.lock().unwrap(), catalogue(&["game/1", "old/1"], ""));
}

#[tokio::test]
async fn a_round_waits_for_packages_that_may_still_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("game/1/x86_64");
    std::fs::create_dir_all(&fresh).unwrap();
    std::fs::write(fresh.join("a.zip"), "PK").unwrap();
    let (source, target) = (Packages::open(dir.path()).unwrap(), Does::from(Catalogue::default()));
    target.may_transfer.add_permits(1);
    assert_eq!(sync(&source, &target, 1).round().await.unwrap().transferred, 1);
}

#[tokio::test]
async fn a_change_that_nobody_tells_of_is_noticed_during_a_long_transfer() {
    let (source, target) = (Says::what(catalogue(&["game/1"], "")), Does::from(Catalogue::default()));
    let mut sync = sync(&source, &target, 2);
    sync.timing.interval = Duration::from_millis(50);
    let change = async {
        target.eventually_told(1).await;
        *source.wanted.lock().unwrap() = Some(catalogue(&["game/1", "tool/1"], ""));
        let noticed = tokio::time::timeout(Duration::from_secs(10), target.eventually_told(2)).await;
        target.may_transfer.add_permits(2);
        noticed.unwrap();
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    assert_eq!(outcome.unwrap().transferred, 2);
}

#[tokio::test]
async fn transfers_go_on_while_something_else_takes_long() {
    let mut target = Does::from(catalogue(&["old/1"], ""));
    target.may_remove = Semaphore::new(0);
    let source = Says::what(catalogue(&["game/1", "old/1"], ""));
    let sync = sync(&source, &target, 1);
    let change = async {
        target.eventually_told(1).await;
        source.change(Some(catalogue(&["game/1"], "")));
        target.eventually_told(2).await;
        target.may_transfer.add_permits(1);
        let done = async {
            while !target.under_way.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), done).await;
        target.may_remove.add_permits(1);
        done.unwrap();
    };
    let (outcome, ()) = tokio::join!(sync.round(), change);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.transferred, outcome.removed), (1, 1));
    assert_eq!(target.told(), ["transfer game version 1 for x86_64", "remove old"]);
}
