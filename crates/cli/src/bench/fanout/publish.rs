//! Publishing at the right time: at a rate, or in rounds.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::heard::Heard;
use super::line::{Buffer, Line};
use super::protocol::Publisher;
use crate::bench::run::Times;

/// How far the runtime's timers may miss their time.
const TIMER: Duration = Duration::from_millis(2);

/// One who publishes, and what he publishes by.
pub(super) struct Pace<'p> {
    pub(super) line: Line<dyn Publisher>,
    pub(super) buffer: &'p Buffer,
    pub(super) heard: &'p Heard,
    pub(super) times: &'p Times,
    /// How large a message is.
    pub(super) size: usize,
}

impl Pace<'_> {
    /// Each message at its time, the first after `offset`, however long the others take.
    pub(super) async fn on_time(
        mut self,
        offset: Duration,
        interval: Duration,
    ) -> anyhow::Result<Infallible> {
        let mut due = self.times.begin + offset;
        loop {
            while due <= Instant::now() {
                self.publish(due)?;
                due += interval;
            }
            self.speak_until(exactly(due)).await?;
        }
    }

    /// So many at once, and the next when they have come to everybody.
    pub(super) async fn in_rounds(mut self, in_flight: usize) -> anyhow::Result<Infallible> {
        let (heard, mut published) = (self.heard, 0);
        loop {
            for _ in 0..in_flight {
                self.publish(Instant::now())?;
            }
            published += in_flight as u64;
            self.speak_until(heard.all_have(published)).await?;
        }
    }

    fn publish(&mut self, intended: Instant) -> anyhow::Result<()> {
        let message = self.heard.stamp(intended).message(self.size);
        self.line.protocol().publish(message)
    }

    /// Sends what is to be sent, and takes what comes off the connection, until then.
    async fn speak_until(&mut self, until: impl Future<Output = ()>) -> anyhow::Result<()> {
        let speaking = async {
            loop {
                self.line.turn(self.buffer, &mut |_, _| Ok(())).await?;
            }
        };
        tokio::select! {
            broken = speaking => broken,
            () = until => Ok(()),
        }
    }
}

/// Waits until then: asleep, and at the end awake, since a millisecond is a long time to miss it by.
async fn exactly(then: Instant) {
    if let Some(before) = then.checked_sub(TIMER) {
        sleep_until(before.into()).await;
    }
    while Instant::now() < then {
        yield_now().await;
    }
}
