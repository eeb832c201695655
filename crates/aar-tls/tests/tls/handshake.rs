use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aar_model::Fingerprint;
use aar_tls::{Acceptor, Connector, Identity, Peer, TlsError};
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslStream, SslVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Recipe, connected, hasty, identity, load, rsa_key, sockets};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: i64 = 24 * 60 * 60;

#[tokio::test]
async fn both_sides_know_each_other_by_fingerprint() {
    let (server, client) = (identity("server"), identity("client"));
    let (at_client, at_server) = connected(&server, Some(&client)).await;
    let (at_client, at_server) = (at_client.unwrap(), at_server.unwrap());

    assert_eq!(at_client.peer().unwrap().fingerprint, server.fingerprint());
    let expected = Peer {
        fingerprint: client.fingerprint(),
        not_before: client.certificate().not_before(),
        not_after: client.certificate().not_after(),
        common_name: Some("client".to_owned()),
    };
    assert_eq!(at_server.peer(), Some(&expected));
    assert!(!at_client.is_http2() && !at_server.is_http2());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_served_as_a_stranger() {
    let (client, server) = connected(&identity("server"), None).await;
    assert_eq!(server.unwrap().peer(), None);
    client.unwrap();
}

#[tokio::test]
async fn certificates_of_every_kind_get_through_the_handshake_with_their_dates() {
    let server = identity("server");
    let recipes = [
        ("expired", Recipe { valid: (-2 * DAY, -DAY), ..Recipe::default() }),
        ("not yet valid", Recipe { valid: (DAY, 2 * DAY), ..Recipe::default() }),
        ("valid never", Recipe { valid: (DAY, -DAY), ..Recipe::default() }),
        ("authority", Recipe { ca: true, ..Recipe::default() }),
        ("for servers", Recipe { usage: Some("serverAuth"), ..Recipe::default() }),
        ("for code", Recipe { usage: Some("codeSigning"), ..Recipe::default() }),
        ("rsa", Recipe { key: rsa_key(), ..Recipe::default() }),
        ("version 1", Recipe { version: 0, ..Recipe::default() }),
    ];
    for (kind, recipe) in recipes {
        let client = recipe.identity();
        let (at_client, at_server) = connected(&server, Some(&client)).await;
        at_client.unwrap();
        let at_server = at_server.unwrap();
        let peer = at_server.peer().unwrap();
        assert_eq!(peer.fingerprint, client.fingerprint(), "{kind}");
        assert_eq!(peer.not_before, client.certificate().not_before(), "{kind}");
        assert_eq!(peer.not_after, client.certificate().not_after(), "{kind}");
        assert_eq!(peer.not_after - peer.not_before, recipe.valid.1 - recipe.valid.0, "{kind}");
    }
}

#[tokio::test]
async fn of_a_chain_the_leaf_is_the_peer() {
    let root = Recipe { ca: true, valid: (-2 * DAY, -DAY), ..Recipe::default() };
    let root_certificate = root.sign(None);
    let leaf = Recipe::default();
    let leaf_certificate = leaf.sign(Some((&root_certificate, &root.key)));
    let leaf_key = leaf.key.private_key_to_pem_pkcs8().unwrap();
    let fingerprint = Fingerprint::of(&leaf_certificate.to_der().unwrap());

    for chain in [vec![&leaf_certificate], vec![&leaf_certificate, &root_certificate]] {
        let client = load(&chain, &leaf_key).unwrap();
        let (at_client, at_server) = connected(&client, Some(&client)).await;
        assert_eq!(at_server.unwrap().peer().unwrap().fingerprint, fingerprint);
        assert_eq!(at_client.unwrap().peer().unwrap().fingerprint, fingerprint);
    }
}

#[tokio::test]
async fn a_server_that_is_not_the_pinned_one_is_refused_naming_both() {
    let (server, other) = (identity("server"), identity("other"));
    let acceptor = Acceptor::new(&server).unwrap();
    let connector = Connector::new(None, other.fingerprint()).unwrap();
    let (client_socket, server_socket) = sockets().await;
    let (client, _) = tokio::join!(connector.connect(client_socket, "::1"), acceptor.accept(server_socket));
    let expected = format!(
        "the server's certificate has fingerprint {}, not {} as pinned",
        server.fingerprint(),
        other.fingerprint()
    );
    assert_eq!(client.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn versions_before_tls_1_2_are_refused() {
    let acceptor = Acceptor::new(&identity("server")).unwrap();
    for (version, allowed) in
        [(SslVersion::TLS1, false), (SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true)]
    {
        let (client, server) = sockets().await;
        let client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        let client = tokio::task::spawn_blocking(move || {
            let mut context = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
            context.set_security_level(0);
            context.set_min_proto_version(Some(version)).unwrap();
            context.set_max_proto_version(Some(version)).unwrap();
            let mut stream = SslStream::new(Ssl::new(&context.build()).unwrap(), client).unwrap();
            stream.connect().is_ok()
        });
        let accepted = acceptor.accept(server).await;
        assert_eq!(client.await.unwrap(), allowed, "{version:?}");
        match accepted {
            Ok(_) => assert!(allowed, "{version:?}"),
            Err(error) => {
                assert!(!allowed, "{version:?}");
                assert_eq!(error.to_string(), "the TLS handshake failed: unsupported protocol");
            }
        }
    }
}

#[tokio::test]
async fn plain_http_is_told_to_use_tls() {
    let acceptor = Acceptor::new(&identity("server")).unwrap();
    let (mut client, server) = sockets().await;
    let server = tokio::spawn(async move { acceptor.accept(server).await });
    // More than the server reads before it answers.
    client.write_all(b"PUT /1.0/applications/x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.write_all(&vec![b'x'; 300_000]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    drop(client);

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("https://"), "{body}");
    assert!(matches!(server.await.unwrap(), Err(TlsError::NotTls)));
}

#[tokio::test]
async fn garbage_and_half_a_hello_end_in_an_error() {
    let acceptor = Acceptor::new(&identity("server")).unwrap();
    let hello = client_hello().await;
    let mut inputs =
        vec![Vec::new(), vec![0x16], b"\x16\x03\x01\xff\xff garbage".to_vec(), vec![0x16; 70_000]];
    inputs.extend([1, 5, 6, 44, hello.len() / 2, hello.len() - 1, hello.len()].map(|n| hello[..n].to_vec()));
    inputs.extend((5..hello.len()).step_by(7).map(|at| {
        let mut damaged = hello.clone();
        damaged[at] ^= 0xff;
        damaged
    }));
    for input in inputs {
        let (mut client, server) = sockets().await;
        let (accepted, ()) = tokio::join!(timeout(PATIENCE, acceptor.accept(server)), async {
            // The server may hang up before it has read everything.
            let _ = client.write_all(&input).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        });
        accepted.expect("the server gives up at once").unwrap_err();
    }
}

/// What OpenSSL's client says first.
async fn client_hello() -> Vec<u8> {
    let (client, mut server) = sockets().await;
    let connector = Connector::new(None, identity("x").fingerprint()).unwrap();
    let client = tokio::spawn(async move { connector.connect(client, "localhost").await });
    let mut hello = vec![0; 5];
    server.read_exact(&mut hello).await.unwrap();
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + length, 0);
    server.read_exact(&mut hello[5..]).await.unwrap();
    drop(server);
    client.await.unwrap().unwrap_err();
    hello
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let server = identity("server");
    let hello = client_hello().await;
    for said in [&b""[..], b"GET / HTTP/1.1\r\n", &hello, &hello[..20]] {
        let acceptor = Acceptor::new(&server).unwrap().with_limits(hasty());
        let (mut client, socket) = sockets().await;
        client.write_all(said).await.unwrap();
        let error = timeout(PATIENCE, acceptor.accept(socket)).await.unwrap().unwrap_err();
        assert!(matches!(error, TlsError::TimedOut), "{error}");
    }
    let connector = Connector::new(None, server.fingerprint()).unwrap().with_limits(hasty());
    let (client, _silent) = sockets().await;
    let error = timeout(PATIENCE, connector.connect(client, "localhost")).await.unwrap().unwrap_err();
    assert!(matches!(error, TlsError::TimedOut), "{error}");
}

/// A server that tells each client who it is: its fingerprint or `stranger`, and the protocol.
async fn telling_server(identity: &Identity) -> u16 {
    let acceptor = Acceptor::new(identity).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let who = stream.peer().map_or("stranger".to_owned(), |peer| peer.fingerprint.to_string());
            let told = format!("you are {who}, h2 {}\n", stream.is_http2());
            stream.read_u8().await.unwrap();
            stream.write_all(told.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    port
}

/// The output of `openssl s_client`, which sends one line and reads to the end.
async fn s_client(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{port}")]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        child.wait_with_output().unwrap()
    });
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write_files(identity: &Identity, dir: &Path) -> (String, String) {
    let (certificate, key) = (dir.join("client.crt"), dir.join("client.key"));
    std::fs::write(&certificate, identity.certificate_pem()).unwrap();
    std::fs::write(&key, identity.private_key_pem().unwrap()).unwrap();
    (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn openssl_s_client_agrees_on_versions_protocols_and_ciphers() {
    let port = telling_server(&identity("server")).await;
    let cases: [(&[&str], &[&str]); 9] = [
        (&["-tls1_3"], &["New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256", "Server Temp Key: X25519"]),
        (&["-tls1_2"], &["New, TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256", "Secure Renegotiation IS"]),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], &["Cipher is TLS_AES_256_GCM_SHA384"]),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"],
            &["Cipher is TLS_CHACHA20_POLY1305_SHA256"],
        ),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], &["handshake failure"]),
        (&["-groups", "P-384"], &["Server Temp Key: ECDH, secp384r1"]),
        (&["-alpn", "http/1.1,h2"], &["ALPN protocol: h2", "h2 true"]),
        (&["-alpn", "http/1.1"], &["ALPN protocol: http/1.1", "h2 false"]),
        (&["-alpn", "smtp"], &["No ALPN negotiated", "h2 false"]),
    ];
    for (arguments, expected) in cases {
        let output = s_client(port, arguments).await;
        assert!(
            output.contains("No client certificate CA names sent") || arguments.contains(&"-cipher"),
            "{output}"
        );
        for text in expected {
            assert!(output.contains(text), "{arguments:?}: no {text:?} in {output}");
        }
    }
}

#[tokio::test]
async fn a_resumed_session_keeps_the_clients_identity() {
    for key in [None, Some(rsa_key())] {
        let server =
            key.map_or_else(|| identity("server"), |key| Recipe { key, ..Recipe::default() }.identity());
        let port = telling_server(&server).await;
        let dir = TempDir::new().unwrap();
        let client = identity("client");
        let (certificate, key) = write_files(&client, dir.path());
        let session = dir.path().join("session");
        let session = session.to_str().unwrap();
        for version in ["-tls1_2", "-tls1_3"] {
            let first =
                s_client(port, &[version, "-cert", &certificate, "-key", &key, "-sess_out", session]).await;
            assert!(first.contains("New, TLSv1"), "{first}");
            // Without certificate and key: only the session says who this is.
            let second = s_client(port, &[version, "-sess_in", session]).await;
            assert!(second.contains("Reused, TLSv1"), "{second}");
            for output in [first, second] {
                assert!(
                    output.contains(&format!("you are {}, ", client.fingerprint())),
                    "{version}: {output}"
                );
            }
        }
    }
}

/// Makes `count` full handshakes, each of which leaves a session behind.
async fn visit(port: u16, server: &Identity, client: &Identity, count: usize) {
    let connector = Connector::new(Some(client), server.fingerprint()).unwrap();
    for _ in 0..count {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = connector.connect(socket, "localhost").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn of_many_sessions_the_latest_are_remembered() {
    let (server, client) = (identity("server"), identity("client"));
    let port = telling_server(&server).await;
    let dir = TempDir::new().unwrap();
    let session = dir.path().join("session");
    let session = session.to_str().unwrap();
    for (others, outcome) in [(100, "Reused, TLSv1.3"), (128, "New, TLSv1.3")] {
        let first = s_client(port, &["-sess_out", session]).await;
        assert!(first.contains("ticket lifetime hint: 7200 (seconds)"), "{first}");
        visit(port, &server, &client, others).await;
        let again = s_client(port, &["-sess_in", session]).await;
        assert!(again.contains(outcome), "after {others} others: {again}");
    }
}

#[tokio::test]
async fn a_client_that_shows_too_many_certificates_is_refused_and_its_session_forgotten() {
    let port = telling_server(&identity("server")).await;
    let dir = TempDir::new().unwrap();
    let client = identity("client");
    let (certificate, key) = write_files(&client, dir.path());
    let link = String::from_utf8(Recipe::default().sign(None).to_pem().unwrap()).unwrap();
    for (links, served, again) in [(20, true, "Reused, TLSv1"), (120, false, "New, TLSv1")] {
        let (chain, session) =
            (dir.path().join(format!("chain{links}")), dir.path().join(format!("session{links}")));
        std::fs::write(&chain, link.repeat(links)).unwrap();
        let (chain, session) = (chain.to_str().unwrap(), session.to_str().unwrap());
        for version in ["-tls1_2", "-tls1_3"] {
            let shown = ["-cert", &certificate, "-key", &key, "-cert_chain", chain];
            let first = s_client(port, &[&[version, "-sess_out", session], &shown[..]].concat()).await;
            assert_eq!(first.contains("you are "), served, "{first}");
            let second = s_client(port, &[version, "-sess_in", session]).await;
            assert!(second.contains(again), "{second}");
        }
    }
}

#[tokio::test]
async fn a_client_cannot_renegotiate() {
    let port = telling_server(&identity("server")).await;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-connect", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"R\n").unwrap();
        child.wait_with_output().unwrap()
    });
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no renegotiation"), "{errors}");
}
