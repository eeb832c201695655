//! Pushes of images, each with bytes of its own.

use std::time::Instant;

use aar_tests::s3::S3Server;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use crate::{
    bench::{Bench, GIB, MIB, Workspace},
    curl::Http,
    image::Image,
    keys::KeyType,
    report::{Bar, Limit, Report, Samples},
    servers::{Registry, ServerKind},
    storage::Storage,
};

const CPU_SHARE: f64 = 0.5;

/// What differs between the storages.
struct Plan {
    name: &'static str,
    publishers: [u64; 2],
    rate_factor: f64,
    /// Of the memory that docker-registry takes for several publishers at once.
    memory_share: Option<f64>,
}

const TO_DISK: Plan = Plan { name: "push", publishers: [1, 4], rate_factor: 1.7, memory_share: None };
const TO_BUCKET: Plan =
    Plan { name: "push to S3", publishers: [1, 8], rate_factor: 1.0, memory_share: Some(1.0 / 3.0) };

/// So many publishers at once, who together push as many bytes as one alone.
struct Case {
    publishers: u64,
    rate: Samples,
    cpu: Samples,
    peak: Samples,
}

/// Measures rate, server CPU and peak memory by number of publishers, and what the disk does by itself.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    measure_to(|| Storage::Disk, &TO_DISK, bench, report).await
}

/// The same for registries on one bucket.
pub(crate) async fn measure_to_bucket(bench: &Bench, report: &mut Report) -> Result<()> {
    let store = S3Server::juicefs();
    let storage = || Storage::Bucket { bucket: store.client(), cloudfront: None };
    measure_to(storage, &TO_BUCKET, bench, report).await?;
    report.note("push to S3: the store shares the cores; server CPU and memory are the registry's alone");
    Ok(())
}

async fn measure_to(
    storage: impl Fn() -> Storage,
    plan: &Plan,
    bench: &Bench,
    report: &mut Report,
) -> Result<()> {
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let mut registries: Vec<Box<dyn Registry>> = Vec::new();
    if bench.measures(ServerKind::Aard) {
        registries.push(Box::new(workspace.aard(&storage()).await?));
    }
    if bench.measures(ServerKind::DockerRegistry) {
        registries.push(Box::new(workspace.docker_registry(storage())?));
    }
    for registry in &mut registries {
        registry.start().await?;
    }

    let mut cases = plan.publishers.map(|publishers| Case {
        publishers,
        rate: Samples::default(),
        cpu: Samples::default(),
        peak: Samples::default(),
    });
    let mut raw_seconds = Vec::new();
    for run in 0..bench.runs {
        for case in &mut cases {
            let mut images = Vec::new();
            for number in 0..case.publishers {
                let name = format!("image-{number}");
                images.push(Image::generate(workspace.path(), &name, bench.scale.image / case.publishers)?);
            }
            if case.publishers == 1 {
                raw_seconds.extend(images.iter().map(|image| image.write_time.as_secs_f64()));
            }
            for registry in &registries {
                push(registry.as_ref(), &images, case, &workspace, run == 0)
                    .await
                    .with_context(|| format!("{} does not take an image", registry.kind()))?;
            }
        }
    }

    for case in cases {
        let size = bench.scale.image / case.publishers / MIB;
        let plural = if case.publishers == 1 { "" } else { "s" };
        let name = format!("{} {size} MiB, {} publisher{plural}", plan.name, case.publishers);
        let docker_registry = ServerKind::DockerRegistry;
        report.add(
            &name,
            "server CPU, s/GiB",
            case.cpu,
            Some(Bar::AtMost(Limit::Times(CPU_SHARE, docker_registry))),
        );
        report.add(
            &name,
            "rate, GiB/s",
            case.rate,
            Some(Bar::AtLeast(Limit::Times(plan.rate_factor, docker_registry))),
        );
        let memory_share = plan.memory_share.filter(|_| case.publishers > 1);
        let memory_bar = memory_share.map(|share| Bar::AtMost(Limit::Times(share, docker_registry)));
        report.add(&name, "peak memory, MiB", case.peak, memory_bar);
    }
    raw_seconds.sort_by(f64::total_cmp);
    report.note(format!(
        "{}: writing {} MiB to a file and fsync take {:.2} s here by themselves ({:.2} to {:.2})",
        plan.name,
        bench.scale.image / MIB,
        raw_seconds[raw_seconds.len() / 2],
        raw_seconds[0],
        raw_seconds[raw_seconds.len() - 1],
    ));
    report.note(format!("{}: docker-registry's upload is opened before the clock starts", plan.name));
    Ok(())
}

async fn push(
    registry: &dyn Registry,
    images: &[Image],
    case: &mut Case,
    workspace: &Workspace,
    verify: bool,
) -> Result<()> {
    let mut uploads = Vec::new();
    for image in images {
        uploads.push((registry.open_upload(image).await?, image));
    }
    let process = registry.daemon().process()?;
    process.reset_peak_memory()?;
    let cpu = process.cpu_seconds()?;
    let start = Instant::now();
    try_join_all(uploads.into_iter().map(|(upload, image)| workspace.curl.upload(upload, image))).await?;
    let elapsed = start.elapsed();
    #[allow(clippy::cast_precision_loss)]
    let gibibytes = images.iter().map(|image| image.size).sum::<u64>() as f64 / GIB;
    case.rate.add(registry.kind(), gibibytes / elapsed.as_secs_f64());
    case.cpu.add(registry.kind(), (process.cpu_seconds()? - cpu) / gibibytes);
    case.peak.add(registry.kind(), process.peak_memory()?);

    for image in images {
        if verify {
            workspace.curl.verify(&registry.image_url(image), image, Http::One).await?;
        }
        registry.remove(image).await?;
    }
    Ok(())
}
