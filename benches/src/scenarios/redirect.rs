//! Redirects of pulls from a registry whose images are in a bucket, again and again for one image. nginx sends to where
//! aard does, as a static redirect.

use aar_tests::s3::{Client, Proxy, S3Server};
use anyhow::{Context, Result, ensure};

use crate::{
    bench::{Bench, MIB},
    curl::Http,
    image::Image,
    keys::KeyType,
    load::{Request, request, requests},
    report::{Bar, Limit, Report, Samples},
    servers::{Server, ServerKind},
    storage::{CloudFront, Storage},
};

const CONNECTIONS: usize = 16;
const RATE_FACTOR: f64 = 20.0;
const CPU_FACTOR: f64 = 3.0;
/// docker-registry is asked for so many times fewer redirects, each of which takes it so much longer.
const DOCKER_REGISTRY_FEWER: u64 = 10;

#[derive(Default)]
struct Figures {
    rate: Samples,
    cpu: Samples,
    p99: Samples,
    /// Requests to the bucket; aard's alone are counted.
    asked: Samples,
}

/// Measures rate, server CPU and latency of redirects to CloudFront and to the bucket itself.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if !bench.measures(ServerKind::Aard) {
        report.note("redirects: left out, since nginx sends to where aard does");
        return Ok(());
    }
    for to_cloudfront in [true, false] {
        let figures = measure_to(to_cloudfront, bench).await?;
        let place = if to_cloudfront { "CloudFront" } else { "S3" };
        let name = format!("redirect to {place}, {CONNECTIONS} connections");
        let docker_registry = ServerKind::DockerRegistry;
        let rate_bar = Bar::AtLeast(Limit::Times(RATE_FACTOR, docker_registry));
        report.add(&name, "redirects/s", figures.rate, Some(rate_bar));
        let cpu_bar = Bar::AtMost(Limit::Times(CPU_FACTOR, ServerKind::Nginx));
        report.add(&name, "server CPU, µs", figures.cpu, Some(cpu_bar));
        report.add(&name, "p99, ms", figures.p99, None);
        report.add(&name, "requests to the store", figures.asked, Some(Bar::AtMost(Limit::Value(0.0))));
    }
    Ok(())
}

async fn measure_to(to_cloudfront: bool, bench: &Bench) -> Result<Figures> {
    let workspace = bench.workspace(KeyType::EcdsaP256)?;
    let store = S3Server::juicefs();
    let proxy = Proxy::in_front_of(&store.endpoint);
    let cloudfront = to_cloudfront.then(|| CloudFront::generate(workspace.path())).transpose()?;
    let image = Image::generate(workspace.path(), "image", MIB)?;

    let through_proxy = Client { endpoint: proxy.endpoint(), ..store.client() };
    let storage = Storage::Bucket { bucket: through_proxy, cloudfront: cloudfront.clone() };
    let mut servers: Vec<Box<dyn Server>> = vec![Box::new(workspace.aard(&storage).await?)];
    if bench.measures(ServerKind::DockerRegistry) {
        let storage = Storage::Bucket { bucket: store.client(), cloudfront };
        servers.push(Box::new(workspace.docker_registry(storage)?));
    }
    for server in &mut servers {
        server.start().await?;
        server.store(&image, &workspace.curl).await?;
        if !to_cloudfront {
            workspace.curl.verify(&server.image_url(&image), &image, Http::One).await?;
        }
    }
    if bench.measures(ServerKind::Nginx) {
        let mut nginx = workspace.nginx()?;
        nginx.redirect(&image, &location(servers[0].as_ref(), &image).await?)?;
        nginx.start().await?;
        servers.push(Box::new(nginx));
    }
    if to_cloudfront {
        for server in &servers {
            let location = location(server.as_ref(), &image).await?;
            ensure!(location.starts_with(CloudFront::BASE_URL), "{} sends elsewhere", server.kind());
        }
    }

    let mut figures = Figures::default();
    for _ in 0..bench.runs {
        for server in &servers {
            let count = match server.kind() {
                ServerKind::DockerRegistry => bench.scale.redirects / DOCKER_REGISTRY_FEWER,
                _ => bench.scale.redirects,
            };
            let asked = proxy.requests().len();
            ask(server.as_ref(), &image, count, &mut figures)
                .await
                .with_context(|| format!("{} fails at redirects", server.kind()))?;
            if server.kind() == ServerKind::Aard {
                #[allow(clippy::cast_precision_loss)]
                figures.asked.add(ServerKind::Aard, (proxy.requests().len() - asked) as f64);
            }
        }
    }
    Ok(figures)
}

/// Where the server sends whoever wants the image.
async fn location(server: &dyn Server, image: &Image) -> Result<String> {
    let mut connection = server.daemon().target.connect().await?;
    let answer = connection.exchange(&pull(server, image)?).await?;
    ensure!(answer.status == 307, "{} answered {}", server.kind(), answer.status);
    answer.header("location").context("a redirect has no location")
}

/// Asks a server and adds its figures.
async fn ask(server: &dyn Server, image: &Image, count: u64, figures: &mut Figures) -> Result<()> {
    let daemon = server.daemon();
    let mut connections = daemon.target.connect_all(CONNECTIONS).await?;
    let bytes = pull(server, image)?;
    let body_length = connections[0].exchange(&bytes).await?.body.len();
    let request = [Request { bytes, status: 307, body_length }];
    requests(&mut connections, &request, count / 10).await?;

    let process = daemon.process()?;
    let cpu = process.cpu_seconds()?;
    let outcome = requests(&mut connections, &request, count).await?;
    let cpu = process.cpu_seconds()? - cpu;
    #[allow(clippy::cast_precision_loss)]
    figures.cpu.add(server.kind(), cpu * 1e6 / outcome.count() as f64);
    figures.rate.add(server.kind(), outcome.rate);
    figures.p99.add(server.kind(), outcome.latency(0.99));
    Ok(())
}

fn pull(server: &dyn Server, image: &Image) -> Result<Vec<u8>> {
    let url = server.image_url(image);
    let path = url.strip_prefix(&server.daemon().url("")).context("an image is on another server")?;
    Ok(request("GET", path, &[]))
}
