//! How many messages a second there may be at most: `--rate`.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How late a message may be and be made up for: timers are no more exact.
const LATE: Duration = Duration::from_millis(20);

/// A number of messages a second, or as many as go.
pub(crate) struct Pace(Option<(Duration, Instant)>);

impl Pace {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self(rate.map(|rate| (Duration::from_secs(1).div_f64(rate as f64), Instant::now())))
    }

    /// When the next message is due, if that is yet to come.
    pub(crate) fn pause(&self) -> Option<Instant> {
        self.0.map(|(_, due)| due).filter(|due| *due > Instant::now())
    }

    /// Waits until the next message is due, and counts it.
    pub(crate) async fn next(&mut self) {
        let Some((step, due)) = &mut self.0 else { return };
        let now = Instant::now();
        if *due > now {
            sleep_until(*due).await;
        }
        *due = (*due).max(now.checked_sub(LATE).unwrap_or(now)) + *step;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn messages_go_at_the_rate_and_idle_time_is_not_made_up_for() {
        let (mut pace, begun) = (Pace::new(Some(100)), Instant::now());
        for _ in 0..=100 {
            pace.next().await;
        }
        assert_eq!(begun.elapsed().as_millis(), 1000);
        advance(Duration::from_secs(10)).await;
        let begun = Instant::now();
        for _ in 0..=100 {
            pace.next().await;
        }
        assert!((970..=1000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        let mut none = Pace::new(None);
        sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        none.next().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
