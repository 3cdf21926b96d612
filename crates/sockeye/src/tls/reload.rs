//! A certificate that follows its files: renewed on disk, it is renewed in the server.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    Error, InconsistentKeys,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, pem, provider};
use crate::clock;

/// How often the files are checked at most: a check comes with a connection.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The certificate in two files.
#[derive(Debug)]
pub(super) struct Reloaded {
    certificates: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    /// The files as they were when they were last read, well or not.
    seen: [Option<Version>; 2],
    checked: Instant,
}

/// What changes when a file does: when it was written, and its size.
type Version = (SystemTime, u64);

impl Reloaded {
    pub(super) fn open(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        // Looked at before they are read: a change in between is then seen at the next check.
        let seen = [version(certificates), version(key)];
        let certified = read(certificates, key)?;
        let current = Current { certified, seen, checked: clock::now() };
        Ok(Self {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
            current: Mutex::new(current),
        })
    }

    /// The certificate as it is now. Reading two small files when they have changed holds the
    /// caller up for less than the handshake's arithmetic.
    fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(current.checked) >= CHECK_INTERVAL {
            current.checked = now;
            let seen = [version(&self.certificates), version(&self.key)];
            if seen != current.seen {
                current.seen = seen;
                self.reload(&mut current);
            }
        }
        current.certified.clone()
    }

    /// Reads the files now, whether or not they look changed.
    pub(super) fn reload_now(&self) -> Result<(), TlsError> {
        let seen = [version(&self.certificates), version(&self.key)];
        let certified = read(&self.certificates, &self.key)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Current { certified, seen, checked: clock::now() };
        Ok(())
    }

    fn reload(&self, current: &mut Current) {
        let path = self.certificates.display();
        match read(&self.certificates, &self.key) {
            Ok(certified) => {
                current.certified = certified;
                tracing::info!(%path, "the certificate was read anew");
            }
            Err(error) => {
                tracing::warn!(%path, %error, "the new certificate cannot be used, the old one stays");
            }
        }
    }
}

impl ResolvesServerCert for Reloaded {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(clock::now()))
    }
}

fn read(certificates: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = pem::file(certificates, pem::certificates)?;
    let private = pem::file(key, pem::key)?;
    let certified = CertifiedKey::from_der(chain, private, &provider());
    certified.map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificates: certificates.to_owned(), key: key.to_owned() }
        }
        error => TlsError::In { path: certificates.to_owned(), error: Box::new(error.into()) },
    })
}

/// `None` for a file that is not there at the moment.
fn version(path: &Path) -> Option<Version> {
    let look = || -> io::Result<Version> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.modified()?, metadata.len()))
    };
    look().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> (String, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem() + &made.signing_key.serialize_pem(), made.cert.der().to_vec())
    }

    #[test]
    fn a_broken_file_keeps_the_old_certificate_until_it_is_mended() {
        let ((old, old_der), (new, new_der)) = (identity(), identity());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pem");
        std::fs::write(&path, old).unwrap();
        let reloaded = Reloaded::open(&path, &path).unwrap();
        let mut now = clock::now();
        let mut served = || {
            now += CHECK_INTERVAL;
            reloaded.current(now).cert[0].to_vec()
        };
        assert_eq!(served(), old_der);
        std::fs::write(&path, &new[..new.len() / 2]).unwrap();
        assert_eq!(served(), old_der);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(served(), old_der);
        std::fs::write(&path, new).unwrap();
        assert_eq!(served(), new_der);
    }

    #[test]
    fn files_are_looked_at_no_more_often_than_said() {
        let ((old, old_der), (new, _)) = (identity(), identity());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), old).unwrap();
        let reloaded = Reloaded::open(file.path(), file.path()).unwrap();
        std::fs::write(file.path(), new).unwrap();
        let now = reloaded.current.lock().unwrap().checked;
        assert_eq!(reloaded.current(now + CHECK_INTERVAL / 2).cert[0].to_vec(), old_der);
    }
}
