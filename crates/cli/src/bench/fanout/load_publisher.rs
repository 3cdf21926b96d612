//! Publishing at the right time: at a rate, or in rounds.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::deliveries::Deliveries;
use super::load_client::{Buffer, LoadClient};
use super::protocol::Publisher;
use crate::bench::run::{Times, exactly};

/// A publisher, and the protocol that it uses.
pub(super) struct LoadPublisher<'p> {
    pub(super) client: LoadClient<dyn Publisher>,
    pub(super) buffer: &'p Buffer,
    pub(super) deliveries: &'p Deliveries,
    pub(super) times: &'p Times,
    /// How large a message is.
    pub(super) size: usize,
}

impl LoadPublisher<'_> {
    /// Each message at its time, the first after `offset`, however long the others take.
    pub(super) async fn on_time(
        mut self,
        offset: Duration,
        interval: Duration,
    ) -> anyhow::Result<Infallible> {
        let mut due = self.times.begin + offset;
        loop {
            while due <= Instant::now() {
                self.queue_next(due)?;
                due += interval;
            }
            self.speak_until(exactly(due)).await?;
        }
    }

    /// That many at once, and the next when they have come to all subscribers.
    pub(super) async fn in_rounds(mut self, in_flight: usize) -> anyhow::Result<Infallible> {
        let (deliveries, mut published) = (self.deliveries, 0);
        loop {
            for _ in 0..in_flight {
                self.queue_next(Instant::now())?;
            }
            published += in_flight as u64;
            self.speak_until(deliveries.all_have(published)).await?;
        }
    }

    fn queue_next(&mut self, intended: Instant) -> anyhow::Result<()> {
        let message = self.deliveries.stamp(intended).message(self.size);
        self.client.protocol().queue_message(message)
    }

    /// Sends what is to be sent, and takes what comes off the connection, until then.
    async fn speak_until(&mut self, until: impl Future<Output = ()>) -> anyhow::Result<()> {
        let speaking = async {
            loop {
                self.client.turn(self.buffer, &mut |_, _| Ok(())).await?;
            }
        };
        tokio::select! {
            broken = speaking => broken,
            () = until => Ok(()),
        }
    }
}
