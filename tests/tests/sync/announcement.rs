//! How soon it is known that something was pushed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use aar_tests::{Connection, Daemon, Person};
use openssl::ssl::{Ssl, SslContext, SslFiletype, SslMethod, SslVerifyMode};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{eventually, expected, image, push, reaches, syncer};

#[test]
fn a_hundred_listeners_know_of_a_version_within_a_tenth_of_a_second_of_its_answer() {
    const LISTENERS: usize = 100;
    let daemon = Daemon::builder().log_level("info").start();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("client"));
    let listening = Arc::new(Barrier::new(LISTENERS + 1));
    let listeners: Vec<_> = (0..LISTENERS)
        .map(|_| {
            let stream = Connection::tls_stream(daemon.address(), Some(&client)).unwrap();
            let listening = Arc::clone(&listening);
            std::thread::spawn(move || {
                let request = "wss://registry/1.0/events?type=lifecycle".into_client_request().unwrap();
                let (mut socket, _) = tungstenite::client(request, stream).unwrap();
                listening.wait();
                loop {
                    if let Message::Text(text) = socket.read().unwrap()
                        && text.contains("application-version-added")
                    {
                        return Instant::now();
                    }
                }
            })
        })
        .collect();
    listening.wait();
    push(&daemon, &publisher, "game/1/x86_64", &image(1), &Value::Null);
    let answered = Instant::now();
    let mut delays: Vec<_> = listeners
        .into_iter()
        .map(|listener| listener.join().unwrap().saturating_duration_since(answered))
        .collect();
    delays.sort();
    println!("median {:?}, last {:?}", delays[LISTENERS / 2], delays[LISTENERS - 1]);
    assert!(delays[LISTENERS / 2] < Duration::from_millis(100), "{delays:?}");
}

#[test]
fn without_events_a_version_is_found_at_the_next_interval_and_polls_cost_no_list() {
    let daemon = Daemon::spawn();
    let (publisher, client) = (daemon.publisher("publisher"), daemon.client("mirror"));
    let old = Old::in_front_of(&daemon, &client);
    let mut mirror = syncer(&daemon, &client, (Ipv4Addr::LOCALHOST, old.port).into(), &["--interval", "2s"]);
    mirror.start();
    eventually("it polls", || old.unchanged.load(SeqCst) >= 2);
    assert_eq!(old.lists.load(SeqCst), 1, "what has not changed is not listed");
    let content = image(3);
    push(&daemon, &publisher, "game/1/x86_64", &content, &Value::Null);
    let begun = Instant::now();
    reaches(&mirror, &expected(&[("game/1/x86_64", &content)]));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(old.refused.load(SeqCst) > 0, "it was not asked for events");
}

/// A registry of before there were events, as one client sees it: it answers with what another one says.
struct Old {
    port: u16,
    lists: Arc<AtomicUsize>,
    unchanged: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Old {
    fn in_front_of(daemon: &Daemon, client: &Person) -> Self {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        let certs = daemon.base().join("certs");
        context.set_certificate_file(certs.join("server.crt"), SslFiletype::PEM).unwrap();
        context.set_private_key_file(certs.join("server.key"), SslFiletype::PEM).unwrap();
        context.set_verify(SslVerifyMode::NONE);
        let context = context.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let [lists, unchanged, refused] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
        let old = Self { port, lists: lists.clone(), unchanged: unchanged.clone(), refused: refused.clone() };
        let (address, client) = (daemon.address(), client.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let Ok(stream) = Ssl::new(&context).unwrap().accept(socket) else { continue };
                let (client, lists) = (client.clone(), lists.clone());
                let (unchanged, refused) = (unchanged.clone(), refused.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while let Some((path, headers)) = head(&mut stream) {
                        let answer = if path.starts_with("/1.0/events") {
                            refused.fetch_add(1, SeqCst);
                            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()
                        } else {
                            let headers: Vec<_> =
                                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                            let answer =
                                Connection::tls(address, Some(&client)).request("GET", &path, &headers, b"");
                            let counter = match answer.status {
                                304 => &unchanged,
                                _ => &lists,
                            };
                            if path.contains("recursion=1") {
                                counter.fetch_add(1, SeqCst);
                            }
                            let headers =
                                answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                            let head = format!(
                                "HTTP/1.1 {} It\r\n{}\r\n",
                                answer.status,
                                headers.collect::<String>()
                            );
                            [head.as_bytes(), &answer.body].concat()
                        };
                        if stream.get_mut().write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        old
    }
}

/// Path and headers of the next request, without those that are of the connection.
fn head(stream: &mut BufReader<impl std::io::Read>) -> Option<(String, Vec<(String, String)>)> {
    let mut first = String::new();
    stream.by_ref().take(10_000).read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Some((path, headers)) };
        if !name.eq_ignore_ascii_case("host") {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}
