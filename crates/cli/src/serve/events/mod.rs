//! `--events-url`: a program is told who comes to channels and goes.
//!
//! - this file: the flags.
//! - [`receiver`]: the connection to the program, and what its answers mean.

mod receiver;

use std::path::PathBuf;

use clap::Args;
use sockeye::Address;
use sockeye_server::AnyEventSink;

use self::receiver::Receiver;
use super::webhook;

#[derive(Clone, Debug, Args)]
pub(super) struct EventFlags {
    /// Tell this program who comes to channels and goes, by a POST of JSON: channel.occupied, channel.vacated,
    /// member.joined, member.left
    #[arg(long, value_name = "URL", env = "SOCKEYE_EVENTS_URL", value_parser = webhook::url)]
    events_url: Option<Address>,

    /// Sign the events with this secret of 24 bytes or more, as Standard Webhooks says
    #[arg(long, value_name = "FILE", env = "SOCKEYE_EVENTS_SECRET", requires = "events_url")]
    events_secret: Option<PathBuf>,

    /// Check the certificate of the program that is told with these authorities (PEM) in the place of the
    /// system's
    #[arg(long, value_name = "FILE", env = "SOCKEYE_EVENTS_CACERT", requires = "events_url")]
    events_cacert: Option<PathBuf>,
}

impl EventFlags {
    /// What tells the program, if there is one.
    pub(super) fn sink(&self) -> anyhow::Result<Option<AnyEventSink>> {
        let Some(url) = &self.events_url else { return Ok(None) };
        let secret = webhook::secret("--events-secret", self.events_secret.as_deref())?;
        let tls = webhook::tls("--events-cacert", self.events_cacert.as_deref())?;
        Ok(Some(AnyEventSink::new(Receiver::new(url, tls, secret)?)))
    }
}
