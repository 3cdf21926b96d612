//! The log, on stderr: how much of it, and in what form.

use std::io::{self, IsTerminal};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged when nobody says: what an operator should look at.
const DEFAULT: &str = "warn";

#[derive(Debug, Default, Args)]
pub(crate) struct Log {
    /// What is logged on stderr: error, warn, info (the end of each connection), debug (each
    /// request), trace, or directives as in warn,sockeye_server=debug. Without it RUST_LOG counts, or
    /// warn
    #[arg(long, value_name = "LEVEL", env = "SOCKEYE_LOG")]
    log: Option<String>,

    /// How it is logged: as text, or a JSON object in each line
    #[arg(long, value_name = "FORMAT", env = "SOCKEYE_LOG_FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

impl Log {
    /// Begins to log.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        let filter = match &self.log {
            Some(directives) => {
                let filter = EnvFilter::builder().parse(directives);
                filter.with_context(|| {
                    format!("--log {directives}: write error, warn, info, debug, or trace")
                })?
            }
            None => {
                let builder = EnvFilter::builder().with_default_directive(DEFAULT.parse()?);
                builder.from_env_lossy()
            }
        };
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self.log_format {
            Format::Text => log.with_ansi(io::stderr().is_terminal()).init(),
            Format::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
