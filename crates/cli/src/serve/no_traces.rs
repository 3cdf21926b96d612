//! `--otlp` of a program that is built without traces.

use clap::Args;
use sockeye_server::ServerOptions;

use super::absent::built_without;

const DOES: &str = "sends traces of publications";

#[derive(Clone, Debug, Args)]
pub(super) struct TraceFlags {
    #[arg(long, value_name = "URL", env = "SOCKEYE_OTLP", hide = true)]
    #[arg(value_parser = built_without::<String>("otlp", DOES))]
    otlp: Option<String>,

    #[arg(long, value_name = "RATIO", env = "SOCKEYE_OTLP_SAMPLE", hide = true)]
    #[arg(value_parser = built_without::<String>("otlp", DOES))]
    otlp_sample: Option<String>,
}

/// No traces.
pub(super) struct Traces;

impl TraceFlags {
    pub(super) fn begin(&self, _: &mut ServerOptions) -> anyhow::Result<Traces> {
        // No value of them is taken.
        debug_assert!(self.otlp.is_none() && self.otlp_sample.is_none());
        Ok(Traces)
    }
}

impl Traces {
    pub(super) async fn finish(self) {}
}
