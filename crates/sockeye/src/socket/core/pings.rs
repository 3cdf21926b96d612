//! The pings that an application sends to measure round trips.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

pub(super) struct Pings {
    /// The pings without a pong yet: number, time sent, and the waiter.
    waiting: Vec<(u64, Duration, oneshot::Sender<Duration>)>,
    sent: u64,
    /// The latest round-trip time, of these pings or of keepalive.
    pub(super) latency: Option<Duration>,
}

impl Pings {
    pub(super) fn new(latency: Option<Duration>) -> Self {
        Self { waiting: Vec::new(), sent: 0, latency }
    }

    /// The payload of the next ping: its number.
    pub(super) fn next_payload(&self) -> Bytes {
        Bytes::copy_from_slice(&self.sent.to_be_bytes())
    }

    /// Notes that it was sent. The receiver gets the round-trip time.
    pub(super) fn sent(&mut self, now: Duration) -> oneshot::Receiver<Duration> {
        // Waiters that were dropped must not accumulate.
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
            // The waiter may be dropped.
            let _ = waiter.send(latency);
        }
    }

    /// No more pongs will arrive.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }
}
