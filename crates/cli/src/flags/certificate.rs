//! The certificate of a server: `--tls-cert` and `--tls-key`.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use clap::Args;
use sockeye::tls::{ServerTls, TlsError};

use crate::system::fingerprints::{self, Fingerprints};

#[derive(Clone, Debug, Args)]
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

    /// What a server without other files does at SIGHUP: the certificate is read again.
    pub(crate) fn reload(
        &self,
        tls: Option<ServerTls>,
    ) -> impl Fn() + Send + Sync + 'static + use<> {
        let certificate = self.clone();
        let known = Mutex::new(Fingerprints::of(certificate.named_files()));
        move || match tls.as_ref().map_or(Ok(()), ServerTls::reload) {
            Ok(()) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let files = known.look_again(certificate.named_files());
                tracing::warn!(
                    content_of_tls_cert = files.get("tls_cert"),
                    content_of_tls_key = files.get("tls_key"),
                    "the certificate was read again"
                );
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }

    fn named_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let [certificate, key] = self.files();
        fingerprints::named([certificate, key, ("", None)])
    }
}
