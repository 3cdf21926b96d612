//! When bytes came and went on a connection, and what it began with.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sockeye::{Direction, internals::Watched};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// How many of the first bytes are kept.
const KEPT: usize = 48;

/// What has happened on a connection.
#[derive(Debug)]
struct Seen {
    /// When bytes came or went last.
    last: Instant,
    last_came: Option<Instant>,
    longest_silence: Duration,
    beginning: Vec<u8>,
}

/// What is seen of a connection beside it.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Mutex<Seen>>);

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            last: Instant::now(),
            last_came: None,
            longest_silence: Duration::ZERO,
            beginning: Vec::new(),
        })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the silence before now.
    pub(crate) fn restart(&self) {
        let mut seen = self.seen();
        seen.last = Instant::now();
        seen.last_came = None;
        seen.longest_silence = Duration::ZERO;
    }

    /// How long no byte has come or gone, until now.
    pub(crate) fn silence(&self) -> Duration {
        self.seen().last.elapsed()
    }

    /// The longest time without a byte in either direction.
    pub(crate) fn longest_silence(&self) -> Duration {
        let seen = self.seen();
        seen.longest_silence.max(seen.last.elapsed())
    }

    /// Whether anything came.
    pub(crate) fn has_received(&self) -> bool {
        self.seen().last_came.is_some()
    }

    /// The first bytes that came.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        self.seen().beginning.clone()
    }

    fn passed(&self, came: Option<&[u8]>) {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.longest_silence = seen.longest_silence.max(now - seen.last);
        seen.last = now;
        if let Some(bytes) = came {
            seen.last_came = Some(now);
            let room = KEPT.saturating_sub(seen.beginning.len()).min(bytes.len());
            seen.beginning.extend_from_slice(&bytes[..room]);
        }
    }
}

/// The stream, and what is seen of it.
pub(crate) fn watched<T>(stream: T) -> (impl AsyncRead + AsyncWrite + Unpin + use<T>, Activity)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::new();
    let seen = activity.clone();
    let watched = Watched::new(stream, move |direction, bytes: &[u8]| {
        seen.passed((direction == Direction::Received).then_some(bytes));
    });
    (watched, activity)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_silence_is_that_between_bytes_of_either_direction() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, activity) = watched(near);
        sleep(Duration::from_secs(2)).await;
        near.write_all(b"ping").await.unwrap();
        sleep(Duration::from_secs(5)).await;
        far.write_all(b"pong").await.unwrap();
        assert!(!activity.has_received());
        let mut read = [0; 4];
        near.read_exact(&mut read).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(activity.silence(), Duration::from_secs(1));
        assert_eq!(activity.longest_silence(), Duration::from_secs(5));
        assert_eq!((activity.beginning(), activity.has_received()), (b"pong".to_vec(), true));
        activity.restart();
        assert_eq!(activity.longest_silence(), Duration::ZERO);
    }
}
