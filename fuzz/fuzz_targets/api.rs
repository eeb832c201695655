//! The API behind HTTP/1.1, on a registry in memory: a connection's bytes, sent by somebody who may do everything. No
//! answer says that the registry failed, and what was stored can be read again.

#![no_main]

use std::convert::Infallible;
use std::sync::Arc;

use aar_api::{Api, Caller, Identity, Parts, Peer};
use aar_model::wire::StorageFinding;
use aar_store::memory::Memory;
use aar_store::{Registry, RegistryError, StorageCheck};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a connection holds of the bytes under way.
const BUFFER: usize = 1 << 20;

fuzz_target!(|requests: &[u8]| {
    // Nothing waits for real: where all are waiting, the clock goes on.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(serve(requests));
});

async fn serve(requests: &[u8]) {
    let memory = Arc::new(Memory::default());
    let registry = open(&memory).await;
    let api = Arc::new(Api::new(Parts {
        registry: Arc::new(registry),
        downloads: None,
        storage_name: "memory".into(),
        address: "nowhere".into(),
        storage: Arc::new(Unchecked),
        trust: memory.clone(),
        read_certificate,
        open_storage: Box::new(|_| {
            Box::pin(async { Err(RegistryError::Invalid("there is no other".into())) })
        }),
        certificate_not_after: i64::MAX,
    }));
    let (client, server) = tokio::io::duplex(BUFFER);
    let service = service_fn(|request: Request<Incoming>| {
        let api = Arc::clone(&api);
        async move {
            let what = format!("{} {}", request.method(), request.uri());
            let caller = Caller { peer: Peer::Socket, identity: Identity::Administrator };
            let answer = api.handle(&caller, request).await;
            assert!(answer.status().as_u16() < 500, "{what}: {}", answer.status());
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let (mut answers, mut sink) = tokio::io::split(client);
    let sending = async {
        // The connection may end before all of it is taken.
        let _ = sink.write_all(requests).await;
        let _ = sink.shutdown().await;
    };
    let receiving = async {
        let mut all = Vec::new();
        let _ = answers.read_to_end(&mut all).await;
    };
    let _ = tokio::join!(serving, sending, receiving);
    open(&memory).await;
}

/// Memory has nothing that could be tried.
struct Unchecked;

#[async_trait::async_trait]
impl StorageCheck for Unchecked {
    async fn check(&self) -> Vec<StorageFinding> {
        Vec::new()
    }
}

async fn open(memory: &Arc<Memory>) -> Registry {
    let (registry, _) =
        Registry::open(memory.clone(), memory.clone(), async { memory.opened() }).await.unwrap();
    registry
}

fn read_certificate(text: &str) -> Result<(Vec<u8>, Option<String>), String> {
    let certificates = aar_tls::Certificate::read_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let leaf = certificates.first().ok_or("none")?;
    Ok((leaf.der().to_vec(), leaf.common_name().map(str::to_owned)))
}
