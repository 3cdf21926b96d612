//! A connection that remembers when bytes came and went, and what it began with.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How many of the first bytes are kept.
const KEPT: usize = 48;

/// What has happened on a connection.
#[derive(Debug)]
struct State {
    /// When bytes came or went last.
    last: Instant,
    last_came: Option<Instant>,
    longest_silence: Duration,
    beginning: Vec<u8>,
}

/// What is seen of a connection beside it.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Mutex<State>>);

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            last: Instant::now(),
            last_came: None,
            longest_silence: Duration::ZERO,
            beginning: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the silence before now.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.last = Instant::now();
        state.last_came = None;
        state.longest_silence = Duration::ZERO;
    }

    /// How long no byte has come or gone, until now.
    pub(crate) fn silence(&self) -> Duration {
        self.state().last.elapsed()
    }

    /// The longest time without a byte in either direction.
    pub(crate) fn longest_silence(&self) -> Duration {
        let state = self.state();
        state.longest_silence.max(state.last.elapsed())
    }

    /// Whether anything came.
    pub(crate) fn has_received(&self) -> bool {
        self.state().last_came.is_some()
    }

    /// The first bytes that came.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        self.state().beginning.clone()
    }

    fn passed(&self, came: Option<&[u8]>) {
        let now = Instant::now();
        let mut state = self.state();
        state.longest_silence = state.longest_silence.max(now - state.last);
        state.last = now;
        if let Some(bytes) = came {
            state.last_came = Some(now);
            let room = KEPT.saturating_sub(state.beginning.len()).min(bytes.len());
            state.beginning.extend_from_slice(&bytes[..room]);
        }
    }
}

/// A connection with its [`Activity`].
#[derive(Debug)]
pub(crate) struct Counted<T> {
    stream: T,
    activity: Activity,
}

impl<T> Counted<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, activity: Activity::new() }
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            self.activity.passed(Some(came));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if count > 0 {
            self.activity.passed(None);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
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
        let mut near = Counted::new(near);
        let activity = near.activity();
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
