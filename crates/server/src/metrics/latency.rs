//! The histogram of delivery times, from publishing to the connections that wait. It is counted without
//! a lock, once for each message and reader.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use sockeye_hub::Entry;

/// Upper bounds in milliseconds, the unit of messages' times. The last bucket has none.
const BOUNDS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, u64::MAX];

/// Clones are the same histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BOUNDS.len()],
    /// Of all times, in milliseconds.
    sum: AtomicU64,
}

impl Latency {
    /// Counts entries that are handed over now, to that many readers. Those that were there before the reader began to wait
    /// tell nothing about the server's latency.
    pub(super) fn observe(
        &self,
        entries: &[Arc<Entry>],
        waiting_since: u64,
        (readers, now): (u64, u64),
    ) {
        // All threads count here: each bucket is touched once, however many entries fall into it.
        let (mut counts, mut sum) = ([0; BOUNDS.len()], 0);
        for entry in entries.iter().filter(|entry| entry.ts >= waiting_since) {
            let took = now.saturating_sub(entry.ts);
            counts[BOUNDS.partition_point(|bound| *bound < took)] += readers;
            sum += took * readers;
        }
        for (bucket, count) in self.0.buckets.iter().zip(counts).filter(|(_, count)| *count > 0) {
            bucket.fetch_add(count, Relaxed);
        }
        if sum > 0 {
            self.0.sum.fetch_add(sum, Relaxed);
        }
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let seconds = |millis| match millis {
            u64::MAX => f64::INFINITY,
            millis => millis as f64 / 1000.0,
        };
        let buckets: Vec<(f64, u64)> = BOUNDS
            .iter()
            .zip(&self.0.buckets)
            .map(|(bound, count)| (seconds(*bound), count.load(Relaxed)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Relaxed) as f64 / 1000.0;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}
