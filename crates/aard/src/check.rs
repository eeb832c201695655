//! Trying the storage: what the registry does to it, and what clients do where they are sent to it.

use std::fmt::Display;
use std::sync::Arc;

use aar_cloudfront::CloudFront;
use aar_fs::FsBlobs;
use aar_model::Digest;
use aar_model::wire::{StorageFinding, StorageOutcome};
use aar_s3::{PermissionCheck, Probe, ProbeError, S3Error, S3Store, probe};
use aar_store::{Blobs as _, Download, Downloads, Registry, StorageCheck, Viewer};
use anyhow::{Error, Result};

/// How many seconds a clock may be off: answers take a while, and tell whole seconds.
const CLOCK_TOLERANCE: i64 = 5;

const SET_CLOCK: &str = "set the machine's clock by NTP: S3 refuses requests from a clock that is 15 minutes off \
                         (RequestTimeTooSkewed), and signed URLs expire too early or too late";

const DIRECTORY: &str = "the directory has to be there, and the daemon's user to write to it: look at its owner, its \
                         mount, and ReadWritePaths of the unit";

/// Tries the storage that is configured.
pub(crate) struct Checker {
    pub(crate) storage: Checked,
    pub(crate) registry: Arc<Registry>,
}

/// What is tried.
pub(crate) enum Checked {
    Disk(FsBlobs),
    Bucket {
        bucket: S3Store,
        /// Where clients are sent, if they are.
        downloads: Option<Arc<dyn Downloads>>,
        distribution: Option<Distribution>,
    },
}

/// The distribution that clients are sent to.
pub(crate) struct Distribution {
    pub(crate) keypair_id: String,
    /// What the bucket's keys of images begin with.
    pub(crate) keys: String,
    /// Other paths under which images would be found if something were wrong, and what to do then.
    pub(crate) detours: Vec<(CloudFront, String)>,
}

#[async_trait::async_trait]
impl StorageCheck for Checker {
    async fn check(&self) -> Vec<StorageFinding> {
        match &self.storage {
            Checked::Disk(blobs) => disk(blobs).await,
            Checked::Bucket { bucket, downloads, distribution } => {
                let mut found: Vec<_> = bucket.check().await.into_iter().map(permission).collect();
                found.push(clock("the store", bucket.seconds_ahead()));
                if let Some(downloads) = downloads {
                    found.extend(self.download(bucket, downloads.as_ref(), distribution.as_ref()).await);
                }
                found
            }
        }
    }
}

impl Checker {
    /// Fetches a byte of an image as a client does.
    async fn download(
        &self,
        bucket: &S3Store,
        downloads: &dyn Downloads,
        distribution: Option<&Distribution>,
    ) -> Vec<StorageFinding> {
        let from = if distribution.is_some() { "CloudFront" } else { "the bucket" };
        let check = format!("download from {from}");
        let image = match self.smallest_image() {
            Ok(Some(image)) => image,
            Ok(None) => return vec![skipped(check, "images", "there is no image yet that could be fetched")],
            Err(error) => return vec![failed(check, "images", error, None)],
        };
        let asked = Download { image: &image, media_type: "application/octet-stream", file_name: "check" };
        let url = match downloads.url(&asked).await {
            Ok(url) => url,
            Err(error) => return vec![failed(check, from, format!("{:#}", Error::from(error)), None)],
        };
        let answer = probe(url.reveal()).await;
        let address = url.reveal().split('?').next().unwrap_or_default();
        let advice = match &answer {
            Ok(Probe { status: 200 | 206, .. }) => None,
            _ if matches!(bucket.size(&image).await, Ok(None)) => {
                Some("the image is not in the bucket: `aar maintenance verify` names all that are damaged".into())
            }
            answer => Some(match distribution {
                Some(distribution) => distribution.advice(answer, &image).await,
                None => "clients are sent there for images: see that they reach it, set public-endpoint to the name \
                         by which they do, or set redirect to false"
                    .into(),
            }),
        };
        let finding = match (&answer, advice) {
            (Ok(_), None) => ok(check, address, None),
            (Ok(answer), advice) => {
                let Probe { status, code, message, .. } = answer;
                let said = format!("the answer is {status} {code}: {message}");
                failed(check, address, said.trim_end_matches([' ', ':']), advice)
            }
            (Err(error), advice) => failed(check, address, error, advice),
        };
        let mut found = vec![finding];
        if let (Some(_), Ok(answer)) = (distribution, answer) {
            found.push(clock(from, answer.seconds_ahead));
        }
        found
    }

    fn smallest_image(&self) -> aar_store::Result<Option<Digest>> {
        let mut smallest = None;
        self.registry.applications(Viewer::Publisher, &mut |application| {
            let images = application.versions.into_iter().flat_map(|version| version.images);
            let images = images.map(|image| (image.size, image.fingerprint));
            // Of nothing there is no first byte.
            smallest = images.filter(|(size, _)| *size > 0).chain(smallest).min();
        })?;
        Ok(smallest.map(|(_, image)| image))
    }
}

impl Distribution {
    /// What to do where the distribution does not serve an image that is in the bucket.
    async fn advice(&self, answer: &Result<Probe, ProbeError>, image: &Digest) -> String {
        let id = &self.keypair_id;
        let Ok(answer) = answer else {
            return "correct base-url, or let this machine and all clients reach CloudFront".into();
        };
        match (answer.status, answer.code.as_str()) {
            (403, "InvalidKey") => {
                return format!(
                    "put key pair {id} into the key group that the distribution trusts, which takes some minutes, or \
                     correct keypair-id"
                );
            }
            (403, "MissingKey" | "MalformedSignature") => {
                return "look for a proxy between here and CloudFront that changes URLs".into();
            }
            (403 | 404, _) => {}
            (502 | 504, _) => {
                return "correct the distribution's origin domain, which names the bucket".into();
            }
            _ => return "correct base-url, and look what answers there".into(),
        }
        for (detour, advice) in &self.detours {
            if let Ok(url) = detour.url_at(image, std::time::SystemTime::now()).await
                && let Ok(Probe { status: 200 | 206, .. }) = probe(url.reveal()).await
            {
                return advice.clone();
            }
        }
        if answer.seconds_ahead.is_some_and(is_off) {
            return SET_CLOCK.into();
        }
        if answer.is_from_s3 || answer.status == 404 {
            return format!(
                "clear the distribution's origin path, and let the bucket's policy permit this distribution \
                 s3:GetObject on {}*",
                self.keys
            );
        }
        format!(
            "see that private-key is the one of key pair {id}, that base-url is the name under which the distribution is \
             asked, and that the distribution has no origin path"
        )
    }
}

async fn disk(blobs: &FsBlobs) -> Vec<StorageFinding> {
    let mut found = Vec::new();
    for (dir, outcome) in blobs.check().await {
        let (check, dir) = ("write, sync, read and remove a file", dir.display().to_string());
        found.push(match outcome {
            Ok(()) => ok(check, &dir, None),
            Err(error) => failed(check, &dir, format!("{:#}", Error::from(error)), Some(DIRECTORY.into())),
        });
    }
    let dir = blobs.root_directory().display().to_string();
    found.push(match blobs.free_space().await {
        Ok(bytes) => ok("free space", &dir, Some(format!("{} MiB are free", bytes >> 20))),
        Err(error) => failed("free space", &dir, format!("{:#}", Error::from(error)), None),
    });
    found
}

fn permission(check: PermissionCheck) -> StorageFinding {
    let PermissionCheck { permission, resource, outcome } = check;
    let Err(error) = outcome else { return ok(permission, &resource, None) };
    let is_missing = matches!(&error, aar_store::Error::Denied { source, .. }
        if matches!(source.downcast_ref(), Some(S3Error::Denied { .. })));
    let advice = is_missing.then(|| {
        format!(
            r#"add to the policy of the registry's user or role: {{"Effect": "Allow", "Action": "{permission}", "Resource": "{resource}"}}"#
        )
    });
    failed(permission, &resource, format!("{:#}", Error::from(error)), advice)
}

fn clock(whose: &str, seconds_ahead: Option<i64>) -> StorageFinding {
    let resource = format!("that of {whose}");
    match seconds_ahead {
        None => skipped("clock", &resource, "no answer told the time"),
        Some(seconds) if is_off(seconds) => {
            let direction = if seconds > 0 { "ahead of" } else { "behind" };
            let off = seconds.unsigned_abs();
            let said = format!("the registry's clock is {off} s {direction} {resource}");
            failed("clock", &resource, said, Some(SET_CLOCK.into()))
        }
        Some(_) => ok("clock", &resource, None),
    }
}

fn is_off(seconds: i64) -> bool {
    seconds.abs() > CLOCK_TOLERANCE
}

fn ok(check: impl Into<String>, resource: &str, detail: Option<String>) -> StorageFinding {
    StorageFinding {
        check: check.into(),
        resource: resource.into(),
        outcome: StorageOutcome::Ok,
        detail,
        advice: None,
    }
}

fn skipped(check: impl Into<String>, resource: &str, reason: &str) -> StorageFinding {
    StorageFinding { outcome: StorageOutcome::Skipped, ..ok(check, resource, Some(reason.into())) }
}

fn failed(
    check: impl Into<String>,
    resource: &str,
    problem: impl Display,
    advice: Option<String>,
) -> StorageFinding {
    let detail = Some(problem.to_string());
    StorageFinding { outcome: StorageOutcome::Failed, advice, ..ok(check, resource, detail) }
}
