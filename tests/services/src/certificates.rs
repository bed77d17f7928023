//! Certificates for tests of TLS: an authority of its own, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Signs certificates that nobody else trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    Now,
    /// Until 2020.
    Before,
    /// From 2100 on.
    Later,
}

/// A server's certificate and key, PEM.
#[derive(Debug, Clone)]
pub struct Signed {
    pub certificate: String,
    pub key: String,
    der: (Vec<u8>, Vec<u8>),
}

impl Authority {
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate, PEM: for those who shall trust it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a certificate of a server with these names and addresses.
    ///
    /// # Errors
    /// For a name that none can have.
    pub fn sign(&self, names: &[&str], good: Good) -> Result<Signed> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        match good {
            Good::Now => {}
            Good::Before => {
                (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
            }
            Good::Later => {
                (params.not_before, params.not_after) = (date_time_ymd(2100, 1, 1), date_time_ymd(2101, 1, 1));
            }
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = (certificate.der().to_vec(), key.serialize_der());
        Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem(), der })
    }
}

impl Signed {
    /// Writes `NAME.pem` and `NAME.key` into a folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, &self.certificate)?;
        std::fs::write(&key, &self.key)?;
        Ok((certificate, key))
    }

    /// # Errors
    /// When the two do not fit.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let (certificate, key) =
            (CertificateDer::from(self.der.0.clone()), PrivatePkcs8KeyDer::from(self.der.1.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))?))
    }
}
