//! What `sockeye serve` does at SIGHUP: it reads its configuration, keys and certificates again.
//!
//! All of it or nothing: while anything in it is wrong, everything stays as it was.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{anyhow, bail};
use sockeye::tls::ServerTls;
use sockeye_server::Channels;
use toml::Value;

use crate::{
    Command, fingerprints::Fingerprints, in_one_line, log::SetFilter, parse, service_manager,
};

/// Options that change while the server runs. Of the others the log says that they need a restart.
const CHANGEABLE: [&str; 6] = [
    "allow_origin",
    "auth_audience",
    "auth_key",
    "log",
    "max_bad_tokens_per_address",
    "max_requests_per_address",
];

/// Each option's value in all sources together; `None` where nothing is said and there is no default.
pub(crate) type Values = BTreeMap<String, Option<Value>>;

/// A running server, to be told anew.
pub(crate) struct Reload {
    pub(crate) channels: Channels,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) set_filter: SetFilter,
    /// What is in force.
    pub(crate) values: Values,
    /// What the files of keys and certificates had in them.
    pub(crate) files: Fingerprints,
}

/// What is different after a reload.
struct Changes {
    options: Vec<String>,
    /// Of each option that names a file of keys or certificates, whether that has changed.
    files: BTreeMap<&'static str, &'static str>,
}

impl Reload {
    /// What does it at each call.
    pub(crate) fn on_request(self) -> impl Fn() + Send + Sync + 'static {
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
        let parsed = parse().map_err(|wrong| anyhow!(first_line(&wrong)))?;
        let values = parsed.values();
        let Command::Serve(serve) = parsed.cli.command else { bail!("this is not a server") };
        // Whatever can be wrong comes first.
        let filter = serve.log().filter()?;
        let named: Vec<_> = serve.files().map(|(option, path)| (option, path.to_owned())).collect();
        let options = serve.options()?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        (self.set_filter)(filter)?;
        self.channels.reload(&options);
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

/// What clap says is wrong, without its hints.
fn first_line(wrong: &clap::Error) -> String {
    let said = wrong.to_string();
    said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
