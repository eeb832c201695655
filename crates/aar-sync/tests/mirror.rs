//! Promises of a mirror, whose registry is a stand-in.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aar_client::ImageAddress;
use aar_model::Digest;
use aar_sync::{Catalogue, Error, Mirror, OnChange, Package, Plan, Result, Source, Step, Target};
use async_trait::async_trait;
use serde_json::Map;

const IMAGE: &[u8] = b"an image";

/// Has the same image for everything.
struct Has;

#[async_trait]
impl Source for Has {
    async fn list(&self) -> Result<Arc<Catalogue>> {
        Ok(Arc::default())
    }

    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn fetch(&self, _: &ImageAddress, _: &Package, target: &Path) -> Result<PathBuf> {
        fs::write(target, IMAGE).unwrap();
        Ok(target.to_owned())
    }
}

fn image(name: &str) -> ImageAddress {
    let (version, architecture) = ("1".parse().unwrap(), "x86_64".parse().unwrap());
    ImageAddress { name: name.parse().unwrap(), version, architecture }
}

fn transfer(name: &str) -> Step {
    let package = Package {
        fingerprint: Some(Digest::of(IMAGE)),
        size: Some(IMAGE.len() as u64),
        media_type: Some("application/zip".into()),
    };
    Step::Transfer { image: image(name), package, application: Map::new(), version: Map::new() }
}

async fn carry_out(mirror: &Mirror, step: Step) {
    mirror.carry_out(&step, &Has).await.unwrap();
}

/// What was told, once it is so many lines.
async fn lines(told: &Path, count: usize) -> Vec<String> {
    loop {
        let lines: Vec<_> = fs::read_to_string(told).unwrap_or_default().lines().map(String::from).collect();
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_goes_while_the_command_runs_is_told_and_what_went_before_its_turn_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (told, go) = (dir.path().join("told"), dir.path().join("go"));
    let mirror = Mirror::open(&dir.path().join("mirror"), true).unwrap();
    for name in ["a", "b"] {
        carry_out(&mirror, transfer(name)).await;
    }
    let command = format!(
        "echo $AAR_ACTION $AAR_NAME >>'{}'; until test -e '{}'; do sleep 0.01; done",
        told.display(),
        go.display()
    );
    let on_change = OnChange::new(&mirror, command);
    let changes = async {
        lines(&told, 1).await;
        for name in ["a", "b"] {
            carry_out(&mirror, Step::RemoveApplication { name: name.parse().unwrap() }).await;
        }
        fs::write(&go, "").unwrap();
        assert_eq!(lines(&told, 2).await, ["added a", "removed a"]);
        while !mirror.due().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lines(&told, 2).await
    };
    tokio::select! {
        never = on_change.run() => match never {},
        told = tokio::time::timeout(Duration::from_secs(20), changes) => {
            assert_eq!(told.unwrap(), ["added a", "removed a"]);
        }
    }
}

#[tokio::test]
async fn an_interrupted_command_is_run_again_whatever_the_image_has_become() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mirror");
    let action = async |mirror: &Mirror| Some(mirror.telling(&image("a")).await.unwrap()?.action.as_str());
    let mirror = Mirror::open(&root, true).unwrap();
    carry_out(&mirror, transfer("a")).await;
    assert_eq!(action(&mirror).await, Some("added"));
    drop(mirror);

    let mirror = Mirror::open(&root, true).unwrap();
    assert_eq!(action(&mirror).await, Some("added"));
    carry_out(&mirror, Step::RemoveApplication { name: "a".parse().unwrap() }).await;
    assert_eq!(action(&mirror).await, Some("removed"));
    drop(mirror);

    let mirror = Mirror::open(&root, true).unwrap();
    carry_out(&mirror, transfer("a")).await;
    let notice = mirror.telling(&image("a")).await.unwrap().unwrap();
    assert_eq!(notice.action.as_str(), "added");
    mirror.told(&notice).await.unwrap();
    assert_eq!(action(&mirror).await, None);
}

#[tokio::test]
async fn no_space_is_asked_for_what_is_there_already() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = Mirror::open(dir.path(), false).unwrap();
    let mut step = transfer("a");
    let Step::Transfer { package, .. } = &mut step else { unreachable!() };
    package.size = Some(1 << 42); // more than there is room for
    let plan = Plan { steps: vec![step], conflicts: Vec::new() };
    assert!(matches!(mirror.admit(&plan).await, Err(Error::NoSpace { .. })));
    let path = dir.path().join("a/1/x86_64/image.zip");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(1 << 42).unwrap(); // it takes none
    mirror.admit(&plan).await.unwrap();
}
