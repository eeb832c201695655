//! How soon a server is ready, what it holds when idle, and how long aard takes to rebuild its index.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    bench::{Bench, MIB},
    image::Image,
    keys::KeyType,
    report::{Bar, Limit, Report, Samples},
    servers::{Server, ServerKind},
    storage::Storage,
};

const READY_LIMIT_MS: f64 = 100.0;
const IDLE_LIMIT_MIB: f64 = 20.0;
const REBUILD_LIMIT_SECONDS: f64 = 10.0;
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// Measures a full registry; the peers hold one image each.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let (mut ready, mut idle) = (Samples::default(), Samples::default());

    let image = Image::generate(workspace.path(), "image", MIB)?;
    for kind in [ServerKind::Nginx, ServerKind::DockerRegistry] {
        if bench.measures(kind) {
            let mut server = workspace.server(kind).await?;
            if kind == ServerKind::DockerRegistry {
                server.start().await?;
            }
            server.store(&image, &workspace.curl).await?;
            for _ in 0..bench.runs {
                restart(server.as_mut(), &mut ready, &mut idle).await?;
            }
        }
    }
    if !bench.measures(ServerKind::Aard) {
        report.add("start", "ready, ms", ready, None);
        report.add("start", "idle memory, MiB", idle, None);
        return Ok(());
    }

    let (mut rebuild, mut without_index) = (Samples::default(), Samples::default());
    let mut aard = workspace.aard(&Storage::Disk).await?;
    aard.start().await?;
    let filling = Instant::now();
    aard.fill(bench.scale.applications, bench.scale.versions).await?;
    let filled = filling.elapsed();
    for _ in 0..bench.runs {
        restart(&mut aard, &mut ready, &mut idle).await?;
        rebuild.add(ServerKind::Aard, aard.rebuild().await?.as_secs_f64());
        aard.stop();
        aard.remove_index()?;
        without_index.add(ServerKind::Aard, aard.start().await?.as_secs_f64());
    }

    let versions = bench.scale.applications * bench.scale.versions;
    let name = format!("start with {versions} versions");
    report.add(&name, "ready, ms", ready, Some(Bar::AtMost(Limit::Value(READY_LIMIT_MS))));
    report.add(&name, "idle memory, MiB", idle, Some(Bar::AtMost(Limit::Value(IDLE_LIMIT_MIB))));
    let limit = Some(Bar::AtMost(Limit::Value(REBUILD_LIMIT_SECONDS)));
    report.add(format!("index of {versions} versions"), "rebuild, s", rebuild, limit);
    report.add(format!("index of {versions} versions"), "start without index, s", without_index, limit);
    report.note("start: the peers hold one image each");
    report.note(format!("start: {versions} pushes of tiny images took {:.1} s", filled.as_secs_f64()));
    Ok(())
}

async fn restart(server: &mut dyn Server, ready: &mut Samples, idle: &mut Samples) -> Result<()> {
    server.stop();
    ready.add(server.kind(), server.start().await?.as_secs_f64() * 1e3);
    tokio::time::sleep(IDLE_AFTER).await;
    idle.add(server.kind(), server.daemon().process()?.memory()?);
    Ok(())
}
