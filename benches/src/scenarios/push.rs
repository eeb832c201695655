//! Pushes of images, each with bytes of its own.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use crate::{
    bench::{Bench, GIB, MIB, Workspace},
    curl::Http,
    image::Image,
    keys::KeyType,
    report::{Bar, Limit, Report, Samples},
    servers::{Registry, ServerKind},
};

const CPU_SHARE: f64 = 0.5;
const RATE_FACTOR: f64 = 1.7;

/// So many publishers at once, who together push as many bytes as one alone.
struct Case {
    publishers: u64,
    rate: Samples,
    cpu: Samples,
    peak: Samples,
}

/// Measures rate, server CPU and peak memory by number of publishers, and what the disk does by itself.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let mut registries: Vec<Box<dyn Registry>> = Vec::new();
    if bench.measures(ServerKind::Aard) {
        registries.push(Box::new(workspace.aard().await?));
    }
    if bench.measures(ServerKind::DockerRegistry) {
        registries.push(Box::new(workspace.docker_registry()?));
    }
    for registry in &mut registries {
        registry.start().await?;
    }

    let mut cases = [1, 4].map(|publishers| Case {
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
        let name = format!("push {size} MiB, {} publisher{plural}", case.publishers);
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
            Some(Bar::AtLeast(Limit::Times(RATE_FACTOR, docker_registry))),
        );
        report.add(&name, "peak memory, MiB", case.peak, None);
    }
    raw_seconds.sort_by(f64::total_cmp);
    report.note(format!(
        "push: writing {} MiB to a file and fsync take {:.2} s here by themselves ({:.2} to {:.2})",
        bench.scale.image / MIB,
        raw_seconds[raw_seconds.len() / 2],
        raw_seconds[0],
        raw_seconds[raw_seconds.len() - 1],
    ));
    report.note("push: docker-registry's upload is opened before the clock starts");
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
