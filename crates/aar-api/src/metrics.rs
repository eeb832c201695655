//! Metrics in Prometheus's text format.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aar_model::Role;
use aar_store::{Error, Registry, StoredImage, Trust};
use hyper::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Exposition;

/// Upper bounds of the latency's buckets, in seconds: from an answer out of the index to a 20 GiB image.
const LATENCY_BUCKETS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 1.0, 10.0, 60.0, 600.0];

const SECONDS_PER_DAY: f64 = 86_400.0;

/// What is counted, and what is looked up when somebody asks.
pub(crate) struct Metrics {
    exposition: Exposition,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<RouteLabels, Histogram, fn() -> Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    bytes: Family<DirectionLabels, Counter>,
    images: Gauge,
    image_bytes: Gauge,
    certificates: Family<CertificateLabels, Gauge>,
    generation: Gauge,
    degraded: Gauge,
    listeners: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
    /// When the server's certificate expires, Unix seconds.
    certificate_not_after: AtomicI64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    state: &'static str,
}

/// A listener that is counted.
pub(crate) struct Listening(Gauge);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(certificate_not_after: i64) -> Self {
        let mut exposition = Exposition::with_prefix("aar");
        let metrics = Self {
            requests: Family::default(),
            latencies: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            refusals: Family::default(),
            bytes: Family::default(),
            images: Gauge::default(),
            image_bytes: Gauge::default(),
            certificates: Family::default(),
            generation: Gauge::default(),
            degraded: Gauge::default(),
            listeners: Gauge::default(),
            certificate_expiry: Gauge::default(),
            certificate_not_after: certificate_not_after.into(),
            exposition: Exposition::default(),
        };
        exposition.register("requests", "Requests that were answered", metrics.requests.clone());
        exposition.register(
            "request_duration_seconds",
            "Time from a request's head to its answer's head",
            metrics.latencies.clone(),
        );
        exposition.register(
            "refusals",
            "Requests refused for want of trust or role",
            metrics.refusals.clone(),
        );
        exposition.register("body_bytes", "Bytes of bodies received and sent", metrics.bytes.clone());
        exposition.register("images", "Different images stored", metrics.images.clone());
        exposition.register("image_bytes", "Bytes of all images stored", metrics.image_bytes.clone());
        exposition.register("certificates", "Certificates in the trust store", metrics.certificates.clone());
        exposition.register(
            "index_generation",
            "Number of changes of the index since the start",
            metrics.generation.clone(),
        );
        exposition.register("listeners", "Connections that listen to events", metrics.listeners.clone());
        exposition.register(
            "degraded",
            "1 while the storage is out of reach or refuses, so that changes are refused",
            metrics.degraded.clone(),
        );
        exposition.register(
            "certificate_expiry_days",
            "Days until the server's certificate expires",
            metrics.certificate_expiry.clone(),
        );
        Self { exposition, ..metrics }
    }

    /// Counts a listener until what this answers is dropped.
    pub(crate) fn listening(&self) -> Listening {
        self.listeners.inc();
        Listening(self.listeners.clone())
    }

    /// The server shows another certificate from now on.
    pub(crate) fn set_certificate_not_after(&self, not_after: i64) {
        self.certificate_not_after.store(not_after, Ordering::Relaxed);
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &Method, route: &'static str, status: StatusCode, took: Duration) {
        let status = status.as_u16();
        self.requests.get_or_create(&RequestLabels { method: name_of(method), route, status }).inc();
        self.latencies.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
        if matches!(status, 401 | 403) {
            self.refusals.get_or_create(&RefusalLabels { status }).inc();
        }
    }

    /// A counter for one body that comes in.
    pub(crate) fn receiving(&self) -> Received {
        Received(self.bytes.get_or_create(&DirectionLabels { direction: "received" }).clone())
    }

    /// A counter for one image that goes out.
    pub(crate) fn sending(&self, image: &StoredImage, length: u64, request_id: &str) -> Sent {
        Sent {
            counter: self.bytes.get_or_create(&DirectionLabels { direction: "sent" }).clone(),
            image: image.clone(),
            request_id: request_id.to_owned(),
            length,
            done: 0,
            begun: Instant::now(),
        }
    }

    /// The metrics as text.
    pub(crate) fn render(&self, registry: &Registry, trust: &dyn Trust) -> Result<String, std::fmt::Error> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let totals = registry.totals();
        self.images.set(signed(totals.images));
        self.image_bytes.set(signed(totals.bytes));
        self.generation.set(signed(registry.generation()));
        self.degraded.set(registry.is_degraded().into());
        let trusted = trust.list(false);
        for (state, count) in [
            ("client", trusted.iter().filter(|certificate| certificate.role == Role::Client).count()),
            ("publisher", trusted.iter().filter(|certificate| certificate.role == Role::Publisher).count()),
            ("revoked", trust.list(true).len()),
        ] {
            self.certificates.get_or_create(&CertificateLabels { state }).set(signed(count as u64));
        }
        #[allow(clippy::cast_precision_loss)] // seconds of a date
        let not_after = self.certificate_not_after.load(Ordering::Relaxed) as f64;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.certificate_expiry.set((not_after - now) / SECONDS_PER_DAY);
        let mut text = String::new();
        encode(&mut text, &self.exposition)?;
        Ok(text)
    }
}

/// Methods are counted by name where they have one: a client must not make up labels.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts the bytes of a body that comes in.
pub(crate) struct Received(Counter);

impl Received {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.inc_by(bytes as u64);
    }
}

/// Counts the bytes of an image that goes out, and logs how it ended.
pub(crate) struct Sent {
    counter: Counter,
    image: StoredImage,
    request_id: String,
    length: u64,
    done: u64,
    begun: Instant,
}

impl Sent {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.counter.inc_by(bytes as u64);
        self.done += bytes as u64;
    }

    pub(crate) fn fail(&self, error: &Error) {
        tracing::error!(
            request_id = self.request_id,
            image = %self.image.image.fingerprint,
            error = crate::error::chain(error),
            "cannot read an image that is being sent"
        );
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let outcome =
            if self.done == self.length { "an image was sent" } else { "sending an image was cut off" };
        tracing::info!(
            request_id = self.request_id,
            application = %self.image.application,
            version = %self.image.version,
            architecture = %self.image.image.architecture,
            sent_bytes = self.done,
            elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "{outcome}"
        );
    }
}
