//! Pairs of connected streams, and certificates of every kind.

use std::time::Duration;

use aar_tls::{Acceptor, Connector, Identity, TimeLimits, TlsError, TlsStream};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use openssl::x509::{X509, X509Name};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

pub(crate) fn identity(name: &str) -> Identity {
    Identity::generate(name, &[]).unwrap()
}

/// Two ends of a TCP connection: the one that connected, the one that accepted.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// The client's end and the server's end of a TLS connection.
pub(crate) async fn connected(
    server: &Identity,
    client: Option<&Identity>,
) -> (Result<TlsStream, TlsError>, Result<TlsStream, TlsError>) {
    let acceptor = Acceptor::new(server).unwrap();
    let connector = Connector::new(client, server.fingerprint()).unwrap();
    let (client_socket, server_socket) = sockets().await;
    tokio::join!(connector.connect(client_socket, "localhost"), acceptor.accept(server_socket))
}

/// A connection whose server gives up a stalled write soon.
pub(crate) async fn pair_with_limits(limits: TimeLimits) -> (TlsStream, TlsStream) {
    let server = identity("server");
    let acceptor = Acceptor::new(&server).unwrap().with_limits(limits);
    let connector = Connector::new(None, server.fingerprint()).unwrap();
    let (client_socket, server_socket) = sockets().await;
    let (client, server) =
        tokio::join!(connector.connect(client_socket, "localhost"), acceptor.accept(server_socket));
    (client.unwrap(), server.unwrap())
}

pub(crate) async fn pair() -> (TlsStream, TlsStream) {
    pair_with_limits(TimeLimits::default()).await
}

pub(crate) fn hasty() -> TimeLimits {
    TimeLimits { handshake: Duration::from_millis(300), stalled_write: Duration::from_millis(300) }
}

/// What an unusual certificate is made of.
pub(crate) struct Recipe {
    pub(crate) key: PKey<Private>,
    /// Seconds from now.
    pub(crate) valid: (i64, i64),
    pub(crate) ca: bool,
    pub(crate) usage: Option<&'static str>,
    /// X.509 version, counted from zero.
    pub(crate) version: i32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { key: ec_key(), valid: (-60, 3600), ca: false, usage: None, version: 2 }
    }
}

impl Recipe {
    pub(crate) fn sign(&self, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", if issuer.is_some() { "leaf" } else { "root" }).unwrap();
        let name = name.build();
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let now = i64::try_from(since_epoch).unwrap();
        let serial = Asn1Integer::from_bn(&BigNum::from_u32(7).unwrap()).unwrap();

        let mut builder = X509::builder().unwrap();
        builder.set_version(self.version).unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(issuer.map_or(&*name, |(issuer, _)| issuer.subject_name())).unwrap();
        builder.set_pubkey(&self.key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(now + self.valid.0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(now + self.valid.1).unwrap()).unwrap();
        if self.ca {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        }
        if let Some(usage) = self.usage {
            builder
                .append_extension(ExtendedKeyUsage::new().critical().other(usage).build().unwrap())
                .unwrap();
        }
        builder.sign(issuer.map_or(&self.key, |(_, key)| key), MessageDigest::sha256()).unwrap();
        builder.build()
    }

    /// The identity of a self-signed certificate made so.
    pub(crate) fn identity(&self) -> Identity {
        load(&[&self.sign(None)], &self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }
}

pub(crate) fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

/// Loads an identity from files, as an operator would.
pub(crate) fn load(chain: &[&X509], key_pem: &[u8]) -> Result<Identity, aar_tls::IdentityError> {
    let dir = TempDir::new().unwrap();
    let (certificate, key) = (dir.path().join("x.crt"), dir.path().join("x.key"));
    let pem: Vec<u8> = chain.iter().flat_map(|certificate| certificate.to_pem().unwrap()).collect();
    std::fs::write(&certificate, pem).unwrap();
    std::fs::write(&key, key_pem).unwrap();
    Identity::load(&certificate, &key)
}
