use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use aar_tls::{Acceptor, TimeLimits, TlsStream};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use proptest::prelude::*;
use tokio::io::{
    AsyncRead as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{hasty, identity, pair, pair_with_limits, sockets};

const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that differ from place to place, and sizes that look random: the same in every run.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A size that is small, around a record, or large.
    fn size(&mut self) -> usize {
        let below = [10, 1000, 16_400, 300_000][usize::try_from(self.next() % 4).unwrap()];
        1 + usize::try_from(self.next() % below).unwrap()
    }
}

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Lcg(seed);
    let mut bytes: Vec<u8> = (0..=length / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

async fn send(to: &mut WriteHalf<TlsStream>, bytes: &[u8], seed: u64) {
    let mut random = Lcg(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(random.size().min(rest.len()));
        to.write_all(chunk).await.unwrap();
        if random.next().is_multiple_of(16) {
            to.flush().await.unwrap();
        }
        rest = others;
    }
    to.shutdown().await.unwrap();
}

async fn receive(from: &mut ReadHalf<TlsStream>, expected: &[u8], seed: u64) {
    let mut random = Lcg(seed);
    let mut buffer = vec![0; 300_000];
    let mut rest = expected;
    loop {
        let size = random.size();
        let n = from.read(&mut buffer[..size]).await.unwrap();
        assert!(rest.starts_with(&buffer[..n]), "{} bytes before the end", rest.len());
        rest = &rest[n..];
        if n == 0 {
            break;
        }
    }
    assert!(rest.is_empty(), "{} bytes are missing", rest.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_arrives_in_both_directions_at_once() {
    let (client, server) = pair().await;
    let (up, down) = (pattern(64 << 20, 1), pattern(64 << 20, 2));
    let ((mut client_read, mut client_write), (mut server_read, mut server_write)) =
        (tokio::io::split(client), tokio::io::split(server));
    let all = async {
        tokio::join!(
            send(&mut client_write, &up, 3),
            send(&mut server_write, &down, 4),
            receive(&mut server_read, &up, 5),
            receive(&mut client_read, &down, 6),
        )
    };
    timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    let (mut client, mut server) = pair().await;
    let chunk = pattern(100_000, 7);
    let mut written = 0;
    loop {
        let write =
            poll_fn(|cx| match Pin::new(&mut server).poll_write(cx, &chunk[written % chunk.len()..]) {
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(n) => Poll::Ready(Some(n.unwrap())),
            });
        let Some(n) = write.await else {
            // The kernel moves bytes between its buffers in its own time: full is what stays full.
            if timeout(Duration::from_millis(200), server.write(&[])).await.is_ok()
                && timeout(Duration::from_millis(200), server.flush()).await.is_err()
            {
                break;
            }
            continue;
        };
        written += n;
        assert!(written < 64 << 20, "nothing holds the writer back");
    }
    let read = tokio::spawn(async move {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all
    });
    timeout(PATIENCE, server.shutdown()).await.unwrap().unwrap();
    let all = timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!(all.len(), written);
    assert!(all.chunks(chunk.len()).all(|part| chunk.starts_with(part)));
}

#[tokio::test]
async fn small_writes_are_sent_together_when_flushed() {
    let (mut client, mut server) = pair().await;
    let read = tokio::spawn(async move {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all
    });
    let bytes = pattern(200_000, 8);
    for byte in &bytes {
        server.write_all(std::slice::from_ref(byte)).await.unwrap();
    }
    server.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, read).await.unwrap().unwrap(), bytes);
}

#[tokio::test]
async fn one_read_takes_all_records_that_have_arrived() {
    let (mut client, mut server) = pair().await;
    for _ in 0..10 {
        server.write_all(&[1; 100]).await.unwrap();
    }
    server.flush().await.unwrap();
    let mut buffer = [0; 2000];
    assert_eq!(client.read(&mut buffer).await.unwrap(), 1000);
}

#[tokio::test]
async fn one_write_takes_many_records() {
    let (mut client, mut server) = pair().await;
    assert_eq!(server.write(&vec![1; 50_000]).await.unwrap(), 50_000);
    server.flush().await.unwrap();
    let mut buffer = vec![0; 50_000];
    client.read_exact(&mut buffer).await.unwrap();
}

/// A server, and a client that speaks HTTP/2 and reads record by record.
async fn http2_pair() -> (tokio_openssl::SslStream<TcpStream>, TlsStream) {
    let identity = identity("server");
    let (client_socket, server_socket) = sockets().await;
    let client = async {
        let mut context = SslConnector::builder(SslMethod::tls()).unwrap();
        context.set_verify(SslVerifyMode::NONE);
        context.set_alpn_protos(b"\x02h2").unwrap();
        let ssl = context.build().configure().unwrap().into_ssl("localhost").unwrap();
        let mut client = tokio_openssl::SslStream::new(ssl, client_socket).unwrap();
        Pin::new(&mut client).connect().await.unwrap();
        client
    };
    let acceptor = Acceptor::new(&identity).unwrap();
    let (client, server) = tokio::join!(client, acceptor.accept(server_socket));
    let server = server.unwrap();
    assert!(server.is_http2());
    (client, server)
}

/// What a peer that speaks HTTP/2 gets from a server that flushes every frame, and only then reads.
async fn frames_that_arrive(frames: &[Vec<u8>]) -> Vec<u8> {
    let (mut client, mut server) = http2_pair().await;
    let mut arrived = vec![0; frames.iter().map(Vec::len).sum()];
    let client = tokio::spawn(async move {
        client.read_exact(&mut arrived).await.unwrap();
        arrived
    });
    for frame in frames {
        server.write_all(frame).await.unwrap();
        server.flush().await.unwrap();
    }
    // The peer says nothing: this ends when it goes away.
    let _ = timeout(PATIENCE, server.read(&mut [0])).await.unwrap();
    client.await.unwrap()
}

#[tokio::test]
async fn what_http2_flushes_waits_for_what_the_next_turn_adds() {
    let (mut client, mut server) = http2_pair().await;
    let turns = async {
        for _ in 0..3 {
            let turn =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut [0]))));
            assert!(turn.await.is_pending());
            server.write_all(&[1; 100]).await.unwrap();
            server.flush().await.unwrap();
        }
        // The peer says nothing: this ends when it goes away.
        let _ = server.read(&mut [0]).await;
    };
    let receive = async move { client.read(&mut [0; 1000]).await.unwrap() };
    let (received, ()) = timeout(PATIENCE, async { tokio::join!(receive, turns) }).await.unwrap();
    assert_eq!(received, 300);
}

#[tokio::test]
async fn frames_flushed_on_http2_arrive_although_nothing_follows() {
    for sizes in
        [vec![1], vec![9, 16_384, 9, 16_384], vec![100; 1000], vec![16_384 + 9; 1000], vec![5_000_000]]
    {
        let frames: Vec<_> = sizes.iter().zip(0..).map(|(&size, seed)| pattern(size, seed)).collect();
        assert!(frames_that_arrive(&frames).await == frames.concat(), "{sizes:?}");
    }
}

#[tokio::test]
async fn a_side_that_has_said_all_still_listens() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
}

#[tokio::test]
async fn a_connection_cut_off_is_not_taken_for_the_end() {
    let (mut client, mut server) = pair().await;
    server.write_all(b"half").await.unwrap();
    server.flush().await.unwrap();
    drop(server);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(all, b"half");
}

#[tokio::test]
async fn a_write_that_the_peer_does_not_take_times_out() {
    let (_client, mut server) = pair_with_limits(hasty()).await;
    let bytes = vec![0; 1 << 20];
    let error = async {
        for _ in 0..1000 {
            server.write_all(&bytes).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let error = timeout(PATIENCE, error).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_slow_reader_that_does_read_is_waited_for() {
    let limit = TimeLimits { stalled_write: Duration::from_secs(1), ..TimeLimits::default() };
    let (mut client, mut server) = pair_with_limits(limit).await;
    let write = tokio::spawn(async move {
        server.write_all(&vec![0; 24 << 20]).await?;
        server.shutdown().await
    });
    // In all this takes longer than the limit of a stalled write.
    let mut buffer = vec![0; 1 << 20];
    let mut left = 24 << 20;
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let size = buffer.len().min(left);
        client.read_exact(&mut buffer[..size]).await.unwrap();
        left -= size;
    }
    timeout(PATIENCE, write).await.unwrap().unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vectored_writes_arrive_as_the_slices_in_order(
        sizes in proptest::collection::vec(prop_oneof![Just(0), 1usize..20, 16_370usize..16_400, 1usize..70_000], 0..20),
    ) {
        let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, &size)| pattern(size, i as u64)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let received = runtime.block_on(async {
            let (mut client, mut server) = pair().await;
            assert!(server.is_write_vectored());
            let read = tokio::spawn(async move {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.unwrap();
                all
            });
            let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = slices.as_mut_slice();
            while rest.iter().any(|slice| !slice.is_empty()) {
                let n = server.write_vectored(rest).await.unwrap();
                assert!(n > 0);
                IoSlice::advance_slices(&mut rest, n);
            }
            server.shutdown().await.unwrap();
            timeout(PATIENCE, read).await.unwrap().unwrap()
        });
        prop_assert_eq!(received, parts.concat());
    }
}
