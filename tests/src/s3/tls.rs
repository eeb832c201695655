//! A store behind HTTPS, as stores on the internet are.

use std::fmt;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use tempfile::TempDir;

use super::door::Door;
use super::http::{read_answer, read_request, relay};

/// Serves over TLS, as `localhost`, what a store serves without.
pub struct TlsFront {
    door: Door,
    dir: TempDir,
}

impl TlsFront {
    /// A front of the store at `endpoint`, such as `http://127.0.0.1:9000`.
    pub fn before(endpoint: &str) -> Self {
        let store = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let (certificate, key) = for_localhost();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("authority.pem"), certificate.to_pem().unwrap()).unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        acceptor.set_private_key(&key).unwrap();
        let acceptor = acceptor.build();
        Self { door: Door::open(move |client| serve(&acceptor, &client, store)), dir }
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.door.address().port())
    }

    /// A PEM file of who vouches for its certificate, for `SSL_CERT_FILE`.
    pub fn authority(&self) -> PathBuf {
        Path::join(self.dir.path(), "authority.pem")
    }
}

impl fmt::Debug for TlsFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFront").field("address", &self.door.address()).finish_non_exhaustive()
    }
}

fn serve(acceptor: &SslAcceptor, client: &TcpStream, store: SocketAddr) -> io::Result<()> {
    let mut client = acceptor.accept(client).map_err(|error| io::Error::other(error.to_string()))?;
    let mut store = BufReader::new(TcpStream::connect(store)?);
    loop {
        // Nobody sends a request before the one before it is answered: the buffer is empty in between.
        let mut reader = BufReader::new(&mut client);
        let Some((line, head, body)) = read_request(&mut reader)? else { return Ok(()) };
        store.get_mut().write_all(&head.bytes)?;
        relay(&mut reader, store.get_mut(), body)?;
        let (_, head, body) = read_answer(&mut store, &line.method)?;
        client.write_all(&head.bytes)?;
        relay(&mut store, &mut client, body)?;
    }
}

/// A certificate that vouches for itself.
fn for_localhost() -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let authority = BasicConstraints::new().critical().ca().build().unwrap();
    certificate.append_extension(authority).unwrap();
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&certificate.x509v3_context(None, None))
        .unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build(), key)
}
