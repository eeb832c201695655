//! Pulls of an image that is in the page cache.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use crate::{
    bench::{Bench, GIB, MIB, Workspace},
    curl::Http,
    image::Image,
    keys::KeyType,
    report::{Bar, Limit, Report, Samples},
    servers::{Server, ServerKind},
};

const PEAK_LIMIT_MIB: f64 = 48.0;
const HTTP2_SHARE: f64 = 0.8;

/// Pulls at least in a server's turn, in a row where there are fewer clients: a single one takes a second, for which the
/// machine may well be slower or faster than usual.
const PULLS: usize = 4;

/// So many clients at once, each of which pulls the whole image.
struct Case {
    http: Http,
    clients: usize,
    small: bool,
    rate: Samples,
    cpu: Samples,
    peak: Samples,
}

impl Case {
    fn new(http: Http, clients: usize, small: bool) -> Self {
        Self {
            http,
            clients,
            small,
            rate: Samples::default(),
            cpu: Samples::default(),
            peak: Samples::default(),
        }
    }

    /// Adds what a server did in its turns of a run.
    fn add(&mut self, server: ServerKind, work: &Work) {
        self.rate.add(server, work.gibibytes / work.seconds);
        self.cpu.add(server, work.cpu_seconds / work.gibibytes);
        self.peak.add(server, work.peak_memory);
    }

    /// docker-registry is left out of HTTP/2, for which its window is too small.
    fn concerns(&self, server: ServerKind) -> bool {
        self.http == Http::One || server != ServerKind::DockerRegistry
    }
}

/// What a server did, and with what.
#[derive(Default)]
struct Work {
    gibibytes: f64,
    seconds: f64,
    cpu_seconds: f64,
    peak_memory: f64,
}

/// Measures rate, server CPU and peak memory by number of clients and version of HTTP.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let image = Image::generate(workspace.path(), "image", bench.scale.image)?;
    let small_image = Image::generate(workspace.path(), "small-image", bench.scale.small_image)?;
    let mut servers = Vec::new();
    for kind in [ServerKind::Aard, ServerKind::Nginx, ServerKind::DockerRegistry] {
        if bench.measures(kind) {
            servers.push(serving(&workspace, kind, &[&image, &small_image]).await?);
        }
    }
    for server in &servers {
        for http in [Http::One, Http::Two] {
            workspace.curl.verify(&server.image_url(&image), &image, http).await?;
        }
    }

    let mut cases = [
        Case::new(Http::One, 1, false),
        Case::new(Http::Two, 1, false),
        Case::new(Http::One, 8, false),
        Case::new(Http::Two, 8, false),
        Case::new(Http::One, 32, true),
    ];
    for _ in 0..bench.runs {
        for case in &mut cases {
            let image = if case.small { &small_image } else { &image };
            let mut works: BTreeMap<ServerKind, Work> = BTreeMap::new();
            // There and back: a machine that slows down or speeds up meanwhile does so for all of them alike.
            for server in servers.iter().chain(servers.iter().rev()) {
                if case.concerns(server.kind()) {
                    let work = works.entry(server.kind()).or_default();
                    pull(server.as_ref(), image, case, &workspace, work).await?;
                }
            }
            for (server, work) in &works {
                case.add(*server, work);
            }
        }
    }
    add_figures(bench, &cases, report);
    Ok(())
}

/// A running server that has the images.
async fn serving(workspace: &Workspace, kind: ServerKind, images: &[&Image]) -> Result<Box<dyn Server>> {
    let mut server = workspace.server(kind).await?;
    let is_registry = kind != ServerKind::Nginx;
    if is_registry {
        server.start().await?;
    }
    for image in images {
        server
            .store(image, &workspace.curl)
            .await
            .with_context(|| format!("{kind} does not take an image"))?;
    }
    if is_registry {
        // What the pushes left in its memory is not what is measured here.
        server.stop();
    }
    server.start().await?;
    Ok(server)
}

/// Adds a turn of `server` to its work.
async fn pull(
    server: &dyn Server,
    image: &Image,
    case: &Case,
    workspace: &Workspace,
    work: &mut Work,
) -> Result<()> {
    let process = server.daemon().process()?;
    process.reset_peak_memory()?;
    let cpu = process.cpu_seconds()?;
    let start = Instant::now();
    let in_a_row = PULLS.div_ceil(case.clients);
    let clients = (0..case.clients).map(async |_| {
        for _ in 0..in_a_row {
            workspace.curl.download(server.image_url(image), image.size, case.http).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(clients).await.with_context(|| format!("{} does not serve an image", server.kind()))?;
    work.seconds += start.elapsed().as_secs_f64();
    work.cpu_seconds += process.cpu_seconds()? - cpu;
    #[allow(clippy::cast_precision_loss)]
    let gibibytes = (image.size * (case.clients * in_a_row) as u64) as f64 / GIB;
    work.gibibytes += gibibytes;
    work.peak_memory = work.peak_memory.max(process.peak_memory()?);
    Ok(())
}

fn add_figures(bench: &Bench, cases: &[Case], report: &mut Report) {
    for case in cases {
        let size = if case.small { bench.scale.small_image } else { bench.scale.image } / MIB;
        let plural = if case.clients == 1 { "" } else { "s" };
        let version = if case.http == Http::One { "HTTP/1.1" } else { "HTTP/2" };
        let name = format!("pull {size} MiB, {} client{plural}, {version}", case.clients);
        let cpu_bar = (case.http == Http::One).then_some(Bar::AtMost(Limit::Times(1.0, ServerKind::Nginx)));
        report.add(&name, "server CPU, s/GiB", case.cpu.clone(), cpu_bar);
        report.add(&name, "rate, GiB/s", case.rate.clone(), None);
        report.add(
            &name,
            "peak memory, MiB",
            case.peak.clone(),
            Some(Bar::AtMost(Limit::Value(PEAK_LIMIT_MIB))),
        );
        if case.http == Http::Two {
            let mut shares = Samples::default();
            for kind in [ServerKind::Aard, ServerKind::Nginx] {
                let plain =
                    cases.iter().find(|plain| plain.http == Http::One && plain.clients == case.clients);
                let plain = plain.and_then(|plain| plain.rate.median(kind));
                if let (Some(rate), Some(plain)) = (case.rate.median(kind), plain) {
                    shares.add(kind, rate / plain);
                }
            }
            report.add(&name, "rate over HTTP/1.1's", shares, Some(Bar::AtLeast(Limit::Value(HTTP2_SHARE))));
        }
    }
}
