//! TLS, for connections that ask for it before they speak HTTP.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What HTTP is spoken inside, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Accepts with the chain of certificates in one PEM file, the host's own first, and the key in another.
pub(crate) fn load(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} cannot be read", certificate.display()))?;
    ensure!(
        !chain.is_empty(),
        "{} holds no certificate",
        certificate.display()
    );
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("{} cannot be read", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("{certificate} and {key} are unusable together")
        })?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
