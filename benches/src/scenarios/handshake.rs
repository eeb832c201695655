//! Full TLS 1.3 handshakes with a client certificate, each on a connection of its own with one small request.

use anyhow::{Context, Result};

use crate::{
    bench::Bench,
    keys::KeyType,
    load::{Request, request},
    report::{Bar, Limit, Report, Samples},
    servers::{Daemon, Server, ServerKind},
    storage::Storage,
};

const CONCURRENT: u64 = 8;
const PATH: &str = "/1.0";

/// Measures rate and server CPU with each type of key.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.measures(ServerKind::Aard) {
        report.note("handshakes: left out, since the request is aard's");
        return Ok(());
    }
    for (key_type, name) in [(KeyType::EcdsaP256, "ECDSA P-256"), (KeyType::Rsa2048, "RSA-2048")] {
        measure_with(key_type, name, bench, report).await?;
    }
    Ok(())
}

async fn measure_with(key_type: KeyType, name: &str, bench: &Bench, report: &mut Report) -> Result<()> {
    let workspace = bench.workspace(key_type)?;
    let mut aard = workspace.aard(&Storage::Disk).await?;
    aard.start().await?;
    let body = aard.daemon().target.fetch(PATH).await?.body;
    let request = Request { bytes: request("GET", PATH, &[]), status: 200, body_length: body.len() };

    let mut servers = vec![(ServerKind::Aard, aard.daemon())];
    let mut nginx = workspace.nginx()?;
    if bench.measures(ServerKind::Nginx) {
        nginx.serve_bytes(PATH, &body)?;
        nginx.start().await?;
        servers.push((ServerKind::Nginx, nginx.daemon()));
    }

    let (mut rate, mut cpu) = (Samples::default(), Samples::default());
    for _ in 0..bench.runs {
        for (kind, daemon) in &servers {
            shake(*kind, daemon, &request, bench.scale.handshakes, &mut rate, &mut cpu)
                .await
                .with_context(|| format!("{kind} fails at handshakes"))?;
        }
    }
    let name = format!("full handshake + GET, {name}");
    report.add(&name, "handshakes/s", rate, Some(Bar::AtLeast(Limit::Times(1.0, ServerKind::Nginx))));
    report.add(&name, "server CPU, µs", cpu, None);
    Ok(())
}

async fn shake(
    kind: ServerKind,
    daemon: &Daemon,
    request: &Request,
    count: u64,
    rate: &mut Samples,
    cpu: &mut Samples,
) -> Result<()> {
    daemon.target.handshakes(request, CONCURRENT, count / 10).await?;
    let process = daemon.process()?;
    let before = process.cpu_seconds()?;
    let outcome = daemon.target.handshakes(request, CONCURRENT, count).await?;
    let used = process.cpu_seconds()? - before;
    rate.add(kind, outcome.rate);
    #[allow(clippy::cast_precision_loss)]
    cpu.add(kind, used * 1e6 / outcome.count() as f64);
    Ok(())
}
