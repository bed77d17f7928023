//! Whom a client of TLS trusts, and what it says when it trusts a server not.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The largest file of authorities: those of a whole system have a quarter of it.
const MAX_AUTHORITIES_BYTES: u64 = 1 << 20;

/// Why a file of authorities cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct AuthoritiesError {
    path: PathBuf,
    cause: String,
}

/// Trusts the authorities of a PEM file and no others; without one those of the system.
///
/// # Errors
/// [`AuthoritiesError`] for a file that is missing, too large or holds anything but certificates.
pub fn trust(authorities: Option<&Path>) -> Result<TlsConfig, AuthoritiesError> {
    let roots = match authorities {
        Some(path) => of_file(path)?,
        None => of_system(),
    };
    let certificates = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let fault = |cause: String| AuthoritiesError { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(MAX_AUTHORITIES_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_AUTHORITIES_BYTES {
        return Err(fault(format!("more than {MAX_AUTHORITIES_BYTES} bytes")));
    }
    let roots = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let roots = roots.map_err(|error| fault(format!("no PEM: {error}")))?;
    if roots.is_empty() {
        return Err(fault("holds no certificate".into()));
    }
    let mut store = RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|error| fault(format!("a certificate cannot be read: {error}")))?;
    }
    Ok(roots)
}

/// None on a system without any; then no server is trusted.
fn of_system() -> Vec<CertificateDer<'static>> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in loaded.errors {
        tracing::warn!("an authority of this system is left out: {error}");
    }
    loaded.certs
}

/// Why there is no connection that both sides trust, if that is what went wrong. Another try would end the same.
pub fn refusal(error: &ureq::Error) -> Option<String> {
    let cause = match error {
        ureq::Error::Rustls(cause) => cause,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<Error>()?,
        _ => return None,
    };
    Some(match cause {
        // A bad signature: of an authority that only bears the name of a trusted one.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate is of an authority that is not trusted".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the server's certificate is not good yet".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name".to_owned(),
        Error::InvalidMessage(_) => "the server speaks no TLS".to_owned(),
        other => format!("no trusted connection: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_is_refused_with_its_name_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = || trust(Some(&path)).unwrap_err().to_string();
        let name = path.display();
        assert_eq!(refused(), format!("{name}: No such file or directory (os error 2)"));
        std::fs::write(&path, "no certificate here\n").unwrap();
        assert_eq!(refused(), format!("{name}: holds no certificate"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refused().starts_with(&format!("{name}: no PEM: ")), "{}", refused());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refused().starts_with(&format!("{name}: a certificate cannot be read: ")), "{}", refused());
        std::fs::write(&path, vec![b'\n'; MAX_AUTHORITIES_BYTES as usize + 1]).unwrap();
        assert_eq!(refused(), format!("{name}: more than 1048576 bytes"));
    }
}
