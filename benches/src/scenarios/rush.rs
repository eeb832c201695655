//! A rush for images of which no URL has been signed yet: each takes an RSA signature for CloudFront.
//!
//! The clients share the cores with the server, so that the rate shows as much of them as of it. What is compared is what
//! a second of CPU time yields: redirects by the server, signatures by `openssl speed` on all cores at once.

use std::{thread::available_parallelism, time::Duration};

use aar_tests::s3::S3Server;
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::process::Command;

use crate::{
    bench::Bench,
    keys::KeyType,
    load::{Request, requests},
    report::{Bar, Limit, Report, Samples},
    servers::{Server, ServerKind, pull_tiny},
    storage::{CloudFront, Storage},
};

const CONNECTIONS: usize = 16;
const SIGNATURE_SHARE: f64 = 0.8;
/// A registry that has started looks through its bucket for what nothing holds, which is not what is measured.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Measures rate and server CPU of the first redirect of each image.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.measures(ServerKind::Aard) {
        return Ok(());
    }
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let store = S3Server::juicefs();
    let cloudfront = Some(CloudFront::generate(workspace.path())?);
    let mut aard = workspace.aard(&Storage::Bucket { bucket: store.client(), cloudfront }).await?;
    aard.start().await?;
    let (applications, versions) = (bench.scale.applications, bench.scale.rush_versions);
    aard.fill(applications, versions).await?;
    let pulls: Vec<_> = (0..applications)
        .flat_map(|application| (0..versions).map(move |version| pull_tiny(application, version)))
        .map(|bytes| Request { bytes, status: 307, body_length: 0 })
        .collect();

    let (mut rate, mut cpu, mut share) = (Samples::default(), Samples::default(), Samples::default());
    let mut signatures = Samples::default();
    for _ in 0..bench.runs {
        // It forgets what it has signed.
        aard.stop();
        aard.start().await?;
        tokio::time::sleep(SETTLED_AFTER).await;
        let daemon = aard.daemon();
        let mut connections = daemon.target.connect_all(CONNECTIONS).await?;
        let process = daemon.process()?;
        // On both sides of what it is compared with: the machine's pace changes from one second to the next.
        let speed_before = signatures_per_cpu_second().await?;
        let before = process.cpu_seconds()?;
        let outcome = requests(&mut connections, &pulls, pulls.len() as u64).await?;
        let used = process.cpu_seconds()? - before;
        let speed = f64::midpoint(speed_before, signatures_per_cpu_second().await?);
        signatures.add(ServerKind::Aard, speed);
        #[allow(clippy::cast_precision_loss)]
        let count = outcome.count() as f64;
        rate.add(ServerKind::Aard, outcome.rate);
        cpu.add(ServerKind::Aard, used * 1e6 / count);
        share.add(ServerKind::Aard, count / used / speed);
    }

    let name = format!("first redirect of {} images to CloudFront", pulls.len());
    report.add(
        &name,
        "redirects over RSA signatures, a CPU s",
        share,
        Some(Bar::AtLeast(Limit::Value(SIGNATURE_SHARE))),
    );
    report.add(&name, "openssl's RSA-2048 signatures a CPU s", signatures, None);
    report.add(&name, "server CPU, µs", cpu, None);
    report.add(&name, "redirects/s", rate, None);
    report.note("first redirects: the rate is that of a server that shares the cores with its clients");
    Ok(())
}

/// What OpenSSL's own measurement makes of a second of CPU time while all cores are busy with it.
async fn signatures_per_cpu_second() -> Result<f64> {
    let cores = available_parallelism()?.get();
    let speeds = try_join_all((0..cores).map(|_| openssl_speed())).await?;
    #[allow(clippy::cast_precision_loss)]
    Ok(speeds.iter().sum::<f64>() / cores as f64)
}

/// Unlike with its option `-multi`, it counts CPU time: what else runs on the machine makes no difference.
async fn openssl_speed() -> Result<f64> {
    let output = Command::new("openssl")
        .args(["speed", "-seconds", "1", "-mr", "rsa2048"])
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run openssl")?;
    ensure!(output.status.success(), "openssl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout)?;
    // +F2:number:bits:signatures/s:verifications/s
    let line = text.lines().find_map(|line| line.strip_prefix("+F2:"));
    let speed = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    speed.context("cannot understand what `openssl speed` prints")
}
