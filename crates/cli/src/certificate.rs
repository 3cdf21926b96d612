//! The certificate of a server: `--tls-cert` and `--tls-key`.

use std::path::PathBuf;

use clap::Args;
use sockeye::tls::{ServerTls, TlsError};

#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// Serve TLS with this certificate (PEM), followed by those between it and the authority;
    /// read again when it changes
    #[arg(long, value_name = "FILE", env = "SOCKEYE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "SOCKEYE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Certificate {
    /// The files of each option.
    pub(crate) fn files(&self) -> [(&'static str, Option<&PathBuf>); 2] {
        [("tls_cert", self.tls_cert.as_ref()), ("tls_key", self.tls_key.as_ref())]
    }

    /// Reads the files; `None` if there are none to read.
    pub(crate) fn read(&self) -> Result<Option<ServerTls>, TlsError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificates), Some(key)) => ServerTls::from_files(certificates, key).map(Some),
            _ => Ok(None),
        }
    }
}
