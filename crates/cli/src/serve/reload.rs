//! What `sockeye serve` does at SIGHUP: it reads its configuration, keys and certificates again.
//!
//! All of it or nothing: while anything in it is wrong, everything stays as it was.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use sockeye::tls::ServerTls;
use sockeye_server::Channels;

use super::{Serve, jwks::Refresh};
use crate::{
    config::Values, log::SetFilter, serve::service_manager, system::fingerprints::Fingerprints,
    terminal::output::in_one_line,
};

/// Options that change while the server runs. Of the others the log says that they need a restart.
const CHANGEABLE: [&str; 7] = [
    "allow_origin",
    "auth_audience",
    "auth_issuer",
    "auth_key",
    "log",
    "max_bad_tokens_per_address",
    "max_requests_per_address",
];

/// Reads the arguments and all other sources of options once more.
pub(crate) type ReadAgain = fn() -> anyhow::Result<(Values, Box<Serve>)>;

/// A running server, to be told anew.
pub(super) struct Reload {
    pub(super) channels: Channels,
    pub(super) tls: Option<ServerTls>,
    pub(super) set_filter: SetFilter,
    pub(super) read_again: ReadAgain,
    /// What is in force.
    pub(super) values: Values,
    /// What the files of keys and certificates had in them.
    pub(super) files: Fingerprints,
    /// The keys of an issuer, where they verify tokens.
    pub(super) issuer: Option<Refresh>,
}

/// What is different after a reload.
struct Changes {
    options: Vec<String>,
    /// Of each option that names a file of keys or certificates, whether that has changed.
    files: BTreeMap<&'static str, &'static str>,
}

impl Reload {
    /// What does it at each call.
    pub(super) fn on_request(self) -> impl Fn() + Send + Sync + 'static {
        let reload = Mutex::new(self);
        move || reload.lock().unwrap_or_else(PoisonError::into_inner).reload()
    }

    /// Reads all sources again, and says in the log what came of it.
    fn reload(&mut self) {
        service_manager::reloading();
        match self.try_reload() {
            Ok(Changes { options, files }) => tracing::warn!(
                changed =
                    if options.is_empty() { "no option".to_owned() } else { options.join(", ") },
                content_of_auth_key = files.get("auth_key"),
                content_of_tls_cert = files.get("tls_cert"),
                content_of_tls_key = files.get("tls_key"),
                "the configuration, keys and certificates were read again"
            ),
            Err(error) => tracing::error!(
                "the configuration, keys and certificates stay as they were: {}",
                in_one_line(&error)
            ),
        }
        service_manager::reloaded();
    }

    /// What is different now.
    fn try_reload(&mut self) -> anyhow::Result<Changes> {
        let (values, mut serve) = (self.read_again)()?;
        if let Some(issuer) = &self.issuer {
            serve.jwks.with(&issuer.keys);
        }
        // Whatever can be wrong comes first.
        let filter = serve.log().filter()?;
        let named: Vec<_> = serve.files().map(|(option, path)| (option, path.to_owned())).collect();
        let options = serve.options()?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        (self.set_filter)(filter)?;
        self.channels.reload(&options.channels);
        if let Some(issuer) = &self.issuer {
            issuer.now();
        }
        let named = named.iter().map(|(option, path)| (*option, path.as_path()));
        let files = self.files.look_again(named);
        Ok(Changes { options: self.compare(values), files })
    }

    /// Takes over the values of what has changed, and says of the others that they have not.
    fn compare(&mut self, values: Values) -> Vec<String> {
        let mut changed = Vec::new();
        for (option, value) in values {
            let current = self.values.entry(option.clone()).or_default();
            if *current == value {
                continue;
            }
            // Whether there are tokens at all decides from which addresses the server may be reached.
            let switches_tokens = option == "auth_key" && current.is_some() != value.is_some();
            if CHANGEABLE.contains(&&*option) && !switches_tokens {
                *current = value;
                changed.push(option);
            } else {
                tracing::warn!(option, "this option has changed and needs a restart");
            }
        }
        changed
    }
}
