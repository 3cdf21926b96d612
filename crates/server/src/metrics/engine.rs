//! What the engine counts that several servers share, under its own names.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sockeye_hub::Hub;
use sockeye_hub::backplane::Amount;

/// Asks the engine whenever a collector asks.
#[derive(Debug)]
pub(super) struct Engine(pub(super) Hub);

impl Collector for Engine {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for figure in self.0.engine_figures() {
            let name = format!("cluster_{}", figure.name);
            match figure.amount {
                Amount::Count(count) => {
                    let metric = ConstCounter::new(count);
                    let kind = metric.metric_type();
                    metric.encode(encoder.encode_descriptor(&name, figure.help, None, kind)?)?;
                }
                Amount::Level(level) => {
                    let metric = ConstGauge::new(level);
                    let kind = metric.metric_type();
                    metric.encode(encoder.encode_descriptor(&name, figure.help, None, kind)?)?;
                }
            }
        }
        Ok(())
    }
}
