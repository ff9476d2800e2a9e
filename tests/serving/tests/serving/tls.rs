//! What is different behind TLS.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::http2::Http2;
use crate::support::{self, Host, handshake, serve};
use host::Options;
use rcgen::CertifiedKey;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate and its key, in files.
fn certify(folder: &TempDir, name: &str) -> [PathBuf; 2] {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["probe".to_owned()])
            .expect("a certificate can be made");
    [("cert", cert.pem()), ("key", signing_key.serialize_pem())].map(|(kind, pem)| {
        let path = folder.path().join(format!("{name}.{kind}.pem"));
        std::fs::write(&path, pem).expect("the folder can be written to");
        path
    })
}

struct Secure {
    host: Host,
    certificate: PathBuf,
    _folder: TempDir,
}

async fn secure(change: impl FnOnce(&mut Options)) -> Secure {
    let folder = TempDir::new().expect("a folder can be made");
    let [certificate, key] = certify(&folder, "own");
    let host = serve(|options| {
        options.connections.tls_cert = Some(certificate.clone());
        options.connections.tls_key = Some(key);
        change(options);
    })
    .await;
    Secure {
        host,
        certificate,
        _folder: folder,
    }
}

impl Secure {
    /// Connects, offering these protocols.
    async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut trusted = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&self.certificate).expect("a certificate");
        trusted.add(certificate).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that the provider has")
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
        let stream = TcpStream::connect(self.host.running.address())
            .await
            .expect("the host accepts");
        let name = "probe".try_into().expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connected.await.expect("the host is who it should be")
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect(&["http/1.1"]).await;
        let mut response = String::new();
        let told = stream.write_all(request.as_bytes()).await;
        told.expect("the host reads");
        // To the end, which TLS tells from a connection that breaks off.
        let read = stream.read_to_string(&mut response).await;
        read.expect("the host ends in order");
        response
    }
}

/// Upgrades, and waits for the first bytes.
async fn upgraded(secure: &Secure, path: &str, first: &str) -> TlsStream<TcpStream> {
    let mut stream = secure.connect(&[]).await;
    let told = stream.write_all(handshake(path).as_bytes()).await;
    told.expect("the host reads");
    let mut read = String::new();
    while !read.ends_with(first) {
        let byte = stream.read_u8().await.expect("the host writes");
        read.push(byte.into());
    }
    assert!(read.starts_with("HTTP/1.1 101 "), "{read}");
    stream
}

#[tokio::test]
async fn requests_are_answered_and_told_that_they_were_secure() {
    let secure = secure(|_| {}).await;
    let address = secure.host.running.address();
    assert_eq!(secure.host.running.url(), format!("https://{address}"));
    let seen = secure
        .ask("GET /probe/head HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")
        .await;
    assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
    assert!(
        seen.contains("spin-full-url: https://probe/probe/head\n"),
        "{seen}"
    );
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let refused = secure.ask(&long).await;
    assert!(refused.starts_with("HTTP/1.1 414 "), "{refused}");
}

#[tokio::test]
async fn both_versions_of_http_are_offered_and_upgraded() {
    let secure = secure(|_| {}).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = secure.connect(offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
    }
    let client = Http2::over(secure.connect(&["h2"]).await).await;
    let mut stream = client.connect_to("duplex").await;
    stream.send("secret");
    assert_eq!(stream.read(6).await, "secret");

    let mut stream = upgraded(&secure, "duplex", "\r\n\r\n").await;
    stream.write_all(b"secret").await.expect("the host reads");
    stream.shutdown().await.expect("the host reads");
    let mut rest = String::new();
    let read = stream.read_to_string(&mut rest).await;
    read.expect("the host ends in order");
    assert_eq!(rest, "secretended");
}

#[tokio::test]
async fn a_trap_is_no_end_in_order_here_either() {
    let secure = secure(|_| {}).await;
    let mut stream = upgraded(&secure, "duplex-then-trap", "open\n").await;
    stream.write_all(b"x").await.expect("the host reads");
    let mut rest = Vec::new();
    let error = stream.read_to_end(&mut rest).await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_does_not_shake_hands_is_not_waited_for() {
    let secure = secure(|options| {
        options.connections.head_timeout = Duration::from_millis(300);
    })
    .await;
    assert_eq!(secure.host.connect().await.rest().await, "");
    let mut plain = secure.host.connect().await;
    plain.get("hello").await;
    let mut refused = Vec::new();
    let read = plain.stream.read_to_end(&mut refused).await;
    // An alert of TLS's (RFC 8446, section 6).
    assert!(read.is_err() || refused.first() == Some(&21), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_certificate_or_not_its_key_is_told_at_the_start() {
    let folder = TempDir::new().expect("a folder can be made");
    let [certificate, key] = certify(&folder, "own");
    let [_, other] = certify(&folder, "other");
    let nowhere = folder.path().join("nowhere.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("the folder can be written to");
    for (certificate, key, expected) in [
        (Some(&nowhere), Some(&key), "nowhere.pem cannot be read"),
        (
            Some(&certificate),
            Some(&nowhere),
            "nowhere.pem cannot be read",
        ),
        (Some(&empty), Some(&key), "empty.pem holds no certificate"),
        (Some(&key), Some(&key), "own.key.pem holds no certificate"),
        (Some(&certificate), Some(&empty), "empty.pem cannot be read"),
        (
            Some(&certificate),
            Some(&other),
            "other.key.pem are unusable together",
        ),
        (
            Some(&certificate),
            None,
            "TLS takes both a certificate and its key",
        ),
    ] {
        let mut options = support::options(&folder);
        options.connections.tls_cert = certificate.cloned();
        options.connections.tls_key = key.cloned();
        let error = host::start(options).await.expect_err("it is unusable");
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
    }
}
