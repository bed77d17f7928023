//! The certificate and key of the admin API, looked at as a whole before anything listens.
//!
//! Invariant: what [`load`] answers is a chain whose first certificate is good now and whose key fits it. What is wrong
//! names the file. The files are read once: a renewed certificate is taken at the next start.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};

/// The largest file of certificates or of a key.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where the certificate and its key are, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's own certificate first, then those between it and its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why a certificate and key cannot be served with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct TlsError {
    path: PathBuf,
    cause: String,
    /// The next act.
    pub next: &'static str,
}

impl TlsError {
    fn new(path: &Path, cause: impl Into<String>, next: &'static str) -> Self {
        Self { path: path.to_owned(), cause: cause.into(), next }
    }
}

const GIVE_CERTIFICATE: &str = "give a PEM file with the server's certificate first, then those between it and its \
                                authority";
const GIVE_KEY: &str = "give a PEM file with the private key, without a password";

/// # Errors
/// See [`TlsError`].
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let provider = Arc::new(ring::default_provider());
    check_time(&files.certificate, &chain, &provider)?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsError::new(
            &files.key,
            format!("the key is not the one of the certificate in {}", files.certificate.display()),
            "give the two files that were made together",
        ),
        error => TlsError::new(&files.key, format!("the key cannot be used: {error}"), GIVE_KEY),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path, next: &'static str) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::new(path, error.to_string(), next))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsError::new(path, format!("more than {MAX_FILE_BYTES} bytes"), next));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path, GIVE_CERTIFICATE)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| TlsError::new(path, format!("no PEM: {error}"), GIVE_CERTIFICATE))?;
    if chain.is_empty() {
        return Err(TlsError::new(path, "holds no certificate", GIVE_CERTIFICATE));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path, GIVE_KEY)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::new(path, "holds no private key", GIVE_KEY),
        error => TlsError::new(path, format!("no PEM: {error}"), GIVE_KEY),
    })
}

/// Lets a client's own check look at the certificate as if it trusted it: what is left to find fault with is the
/// certificate itself and its time.
fn check_time(path: &Path, chain: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<(), TlsError> {
    let garbled =
        |error: String| TlsError::new(path, format!("the certificate cannot be read: {error}"), GIVE_CERTIFICATE);
    let mut trusted = RootCertStore::empty();
    trusted.add(chain[0].clone()).map_err(|error| garbled(error.to_string()))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(provider)).build();
    let verifier = verifier.map_err(|error| garbled(error.to_string()))?;
    let name = ServerName::try_from("localhost").map_err(|error| garbled(error.to_string()))?;
    let renew = "renew the certificate, or set this machine's clock";
    match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Err(TlsError::new(path, format!("the certificate was good until {}", day(not_after)), renew))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Err(TlsError::new(path, format!("the certificate is good from {} on", day(not_before)), renew))
        }
        Err(Error::InvalidCertificate(CertificateError::BadEncoding)) => Err(garbled("its encoding is broken".into())),
        // Its authority and its names are for each client to judge.
        _ => Ok(()),
    }
}

fn day(time: UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| "a time that no calendar has".to_owned(), |time| time.to_string())
}
