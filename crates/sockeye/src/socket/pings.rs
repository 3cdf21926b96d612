//! The pings that an application sends to measure round trips.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

pub(super) struct Pings {
    /// Those whose pongs have not come.
    waiting: Vec<(u64, Duration, oneshot::Sender<Duration>)>,
    sent: u64,
    /// The latest round-trip time known, of these or of keepalive.
    pub(super) latency: Option<Duration>,
}

impl Pings {
    pub(super) fn new(latency: Option<Duration>) -> Self {
        Self { waiting: Vec::new(), sent: 0, latency }
    }

    /// The payload of the next one: its number.
    pub(super) fn next_payload(&self) -> Bytes {
        Bytes::copy_from_slice(&self.sent.to_be_bytes())
    }

    /// It was sent. Gives what will have its round-trip time.
    pub(super) fn sent(&mut self, now: Duration) -> oneshot::Receiver<Duration> {
        // Those who gave up waiting do not pile up.
        self.waiting.retain(|(_, _, waiter)| !waiter.is_closed());
        let (sender, receiver) = oneshot::channel();
        self.waiting.push((self.sent, now, sender));
        self.sent += 1;
        receiver
    }

    /// A pong, perhaps to one of these.
    pub(super) fn on_pong(&mut self, payload: &[u8], now: Duration) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        // A pong also answers the pings before it (RFC 6455 §5.5.3).
        while let Some(i) = self.waiting.iter().position(|(sent, ..)| *sent <= number) {
            let (_, sent, waiter) = self.waiting.remove(i);
            let latency = now.saturating_sub(sent);
            self.latency = Some(latency);
            // Nobody may be waiting any more.
            let _ = waiter.send(latency);
        }
    }

    /// No pong will come any more.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }
}
