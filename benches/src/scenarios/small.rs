//! Small requests: nginx serves the very bytes that aard answers, as static files.

use anyhow::{Context, Result};

use crate::{
    bench::Bench,
    keys::KeyType,
    load::{Request, Target, request, requests},
    report::{Bar, Limit, Report, Samples},
    servers::{Daemon, Server, ServerKind, application_name},
    storage::Storage,
};

const CONNECTIONS: usize = 16;
const CPU_FACTOR: f64 = 1.5;
const LATENCY_FACTOR: f64 = 2.0;

/// One request, asked of each server.
struct Case {
    name: &'static str,
    path: String,
    conditional: bool,
    count: u64,
    rate: Samples,
    cpu: Samples,
    p50: Samples,
    p99: Samples,
}

/// Measures rate, server CPU and latency of an application, of its 304 and of a list of applications.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.measures(ServerKind::Aard) {
        report.note("small requests: left out, since they are aard's answers");
        return Ok(());
    }
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let mut aard = workspace.aard(&Storage::Disk).await?;
    aard.start().await?;
    aard.fill(bench.scale.applications, 1).await?;
    let mut cases = cases(bench);

    let mut servers: Vec<(ServerKind, &Daemon)> = vec![(ServerKind::Aard, aard.daemon())];
    let mut nginx = workspace.nginx()?;
    if bench.measures(ServerKind::Nginx) {
        for case in cases.iter().filter(|case| !case.conditional) {
            let body = aard.daemon().target.fetch(&case.path).await?.body;
            let (path, _query) = case.path.split_once('?').unwrap_or((&case.path, ""));
            nginx.serve_bytes(path, &body)?;
        }
        nginx.start().await?;
        servers.push((ServerKind::Nginx, nginx.daemon()));
    }

    for _ in 0..bench.runs {
        for case in &mut cases {
            for (kind, daemon) in &servers {
                ask(*kind, daemon, case).await.with_context(|| format!("{kind} fails at {}", case.name))?;
            }
        }
    }
    for case in cases {
        let nginx = ServerKind::Nginx;
        let name = format!("{}, {CONNECTIONS} connections", case.name);
        report.add(&name, "server CPU, µs", case.cpu, Some(Bar::AtMost(Limit::Times(CPU_FACTOR, nginx))));
        report.add(&name, "p99, ms", case.p99, Some(Bar::AtMost(Limit::Times(LATENCY_FACTOR, nginx))));
        report.add(&name, "p50, ms", case.p50, None);
        report.add(&name, "requests/s", case.rate, None);
    }
    Ok(())
}

fn cases(bench: &Bench) -> [Case; 3] {
    let application = format!("/1.0/applications/{}", application_name(0));
    let list = format!("/1.0/applications?recursion=1&limit={}", bench.scale.applications);
    let case = |name, path: &str, conditional, count| Case {
        name,
        path: path.to_owned(),
        conditional,
        count,
        rate: Samples::default(),
        cpu: Samples::default(),
        p50: Samples::default(),
        p99: Samples::default(),
    };
    [
        case("GET application", &application, false, bench.scale.requests),
        case("GET application, 304", &application, true, bench.scale.requests),
        case("GET 100 applications", &list, false, bench.scale.list_requests),
    ]
}

/// Asks a server and adds its figures.
async fn ask(kind: ServerKind, daemon: &Daemon, case: &mut Case) -> Result<()> {
    let request = [prepare(&daemon.target, case).await?];
    let mut connections = daemon.target.connect_all(CONNECTIONS).await?;
    requests(&mut connections, &request, case.count / 10).await?;

    let process = daemon.process()?;
    let cpu = process.cpu_seconds()?;
    let outcome = requests(&mut connections, &request, case.count).await?;
    let cpu = process.cpu_seconds()? - cpu;
    #[allow(clippy::cast_precision_loss)]
    case.cpu.add(kind, cpu * 1e6 / outcome.count() as f64);
    case.rate.add(kind, outcome.rate);
    case.p50.add(kind, outcome.latency(0.5));
    case.p99.add(kind, outcome.latency(0.99));
    Ok(())
}

/// The request for this server, with its own tag where it is conditional.
async fn prepare(target: &Target, case: &Case) -> Result<Request> {
    let document = target.fetch(&case.path).await?;
    if !case.conditional {
        let body_length = document.body.len();
        return Ok(Request { bytes: request("GET", &case.path, &[]), status: 200, body_length });
    }
    let condition = format!("If-None-Match: {}", document.etag.context("the answer has no ETag")?);
    Ok(Request { bytes: request("GET", &case.path, &[&condition]), status: 304, body_length: 0 })
}
