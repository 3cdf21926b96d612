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

use crate::{Command, in_one_line, log::SetFilter, parse};

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
}

impl Reload {
    /// What does it at each call.
    pub(crate) fn on_request(self) -> impl Fn() + Send + Sync + 'static {
        let reload = Mutex::new(self);
        move || reload.lock().unwrap_or_else(PoisonError::into_inner).reload()
    }

    /// Reads all sources again, and says in the log what came of it.
    fn reload(&mut self) {
        match self.try_reload() {
            Ok(changed) => tracing::warn!(
                changed =
                    if changed.is_empty() { "no option".to_owned() } else { changed.join(", ") },
                "the configuration, keys and certificates were read again"
            ),
            Err(error) => tracing::error!(
                "the configuration, keys and certificates stay as they were: {}",
                in_one_line(&error)
            ),
        }
    }

    /// The names of the options that are different now.
    fn try_reload(&mut self) -> anyhow::Result<Vec<String>> {
        let parsed = parse().map_err(|wrong| anyhow!(first_line(&wrong)))?;
        let values = parsed.values();
        let Command::Serve(serve) = parsed.cli.command else { bail!("this is no server") };
        // Whatever can be wrong comes first.
        let filter = serve.log().filter()?;
        let options = serve.options()?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        (self.set_filter)(filter)?;
        self.channels.reload(&options);
        Ok(self.compare(values))
    }

    /// Takes over the values of what has changed, and says of the others that they have not.
    fn compare(&mut self, values: Values) -> Vec<String> {
        let mut changed = Vec::new();
        for (option, value) in values {
            let current = self.values.entry(option.clone()).or_default();
            if *current == value {
                continue;
            }
            // Whether there are tokens at all decides who may reach the server.
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
