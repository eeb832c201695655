//! TLS and what is not TLS, at the port of the daemon.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use aar_tests::{Connection, Daemon, Person};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};

use crate::assert_unharmed;

fn connect(daemon: &Daemon) -> TcpStream {
    let socket = TcpStream::connect(daemon.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

fn said(mut socket: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said);
    said
}

#[test]
fn plain_http_is_told_to_use_tls() {
    let daemon = Daemon::spawn();
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0",
        &vec![b'x'; 900_000],
    ] {
        let mut socket = connect(&daemon);
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let said = said(socket);
        assert!(said.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&said));
    }
    assert_unharmed(&daemon);
}

#[test]
fn garbage_instead_of_a_hello_ends_its_connection_only() {
    let daemon = Daemon::spawn();
    let hello = client_hello(&daemon);
    for end in (1..hello.len()).step_by(7) {
        let mut socket = connect(&daemon);
        socket.write_all(&hello[..end]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        said(socket);
    }
    for at in (0..hello.len()).step_by(3) {
        let mut bad = hello.clone();
        bad[at] ^= 0xff;
        let mut socket = connect(&daemon);
        socket.write_all(&bad).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        said(socket);
    }
    let records = [
        [&[0x16, 3, 1, 0xff, 0xff][..], &vec![1; 65_535]].concat(),
        [&[0x16, 3, 1, 0x40, 0][..], &[1, 0xff, 0xff, 0xff], &[0; 16_380]].concat(),
        [0x16, 3, 1, 0, 0].repeat(10_000),
        [0x15, 3, 1, 0, 2, 1, 0].repeat(10_000),
        [0x17, 3, 3, 0, 1, 0].repeat(1000),
    ];
    for record in records {
        let mut socket = connect(&daemon);
        let _ = socket.write_all(&record);
        let _ = socket.shutdown(Shutdown::Write);
        said(socket);
    }
    assert_unharmed(&daemon);
}

/// The first bytes of a client that speaks TLS.
fn client_hello(daemon: &Daemon) -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || Connection::tls_stream(address, None).map(drop));
    let (mut socket, _) = listener.accept().unwrap();
    let mut hello = vec![0; 4096];
    let read = socket.read(&mut hello).unwrap();
    hello.truncate(read);
    drop(socket);
    assert!(client.join().unwrap().is_err());
    // As it is, it would have been answered.
    let mut socket = connect(daemon);
    socket.write_all(&hello).unwrap();
    let mut first = [0];
    socket.read_exact(&mut first).unwrap();
    assert_eq!(first, [0x16]);
    hello
}

#[test]
fn old_versions_of_tls_are_refused() {
    let daemon = Daemon::spawn();
    for (version, served) in [
        (SslVersion::TLS1, false),
        (SslVersion::TLS1_1, false),
        (SslVersion::TLS1_2, true),
        (SslVersion::TLS1_3, true),
    ] {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        // OpenSSL itself has given these up unless it is asked.
        builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        builder.set_min_proto_version(Some(version)).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
        let configuration = builder.build().configure().unwrap().verify_hostname(false);
        let connected = configuration.use_server_name_indication(false).connect("", connect(&daemon));
        assert_eq!(connected.is_ok(), served, "{version:?}");
    }
    assert_unharmed(&daemon);
}

#[test]
fn renegotiation_is_refused() {
    let daemon = Daemon::spawn();
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-legacy_server_connect", "-connect", &daemon.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A line with nothing but R is s_client's command to renegotiate.
    client.stdin.take().unwrap().write_all(b"R\n").unwrap();
    let output = client.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("RENEGOTIATING") && text.to_lowercase().contains("no renegotiation"), "{text}");
    assert_unharmed(&daemon);
}

#[test]
fn certificates_that_are_long_or_many() {
    let daemon = Daemon::spawn();
    let dir = daemon.scratch();
    let try_with = |person: &Person, chain: &[Person]| {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_certificate(&person.certificate).unwrap();
        builder.set_private_key(&person.key).unwrap();
        for link in chain {
            builder.add_extra_chain_cert(link.certificate.clone()).unwrap();
        }
        let configuration = builder.build().configure().unwrap().verify_hostname(false);
        let mut stream =
            configuration.use_server_name_indication(false).connect("", connect(&daemon)).ok()?;
        stream.write_all(b"GET /1.0/applications HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        said.get(9..12).map(str::to_owned)
    };

    let mut chain = vec![Person::new(dir, "link0")];
    for n in 1..31 {
        chain.push(Person::builder(&format!("link{n}")).issued_by(&chain[n - 1]).build(dir));
    }
    let leaf = chain.pop().unwrap();
    chain.reverse();
    // Whatever is behind it, the leaf counts.
    assert_eq!(try_with(&leaf, &chain).as_deref(), Some("401"));
    daemon.trust(&leaf, "client");
    assert_eq!(try_with(&leaf, &chain).as_deref(), Some("200"));

    let large = Person::builder("large").padding(20_000).build(dir);
    assert_eq!(try_with(&large, &[]).as_deref(), Some("401"));
    // Beyond what a handshake may hold nothing can be answered.
    let enormous = Person::builder("enormous").padding(2_000_000).build(dir);
    assert_eq!(try_with(&enormous, &[]), None);
    let refused = daemon.admin(
        "POST",
        "/1.0/certificates",
        serde_json::json!({ "certificate": large.pem().repeat(5) }).to_string().as_bytes(),
    );
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_unharmed(&daemon);
}
