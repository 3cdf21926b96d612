//! A stream that is given up when its peer takes nothing of what is written for too long.
//!
//! A TCP connection to a peer that is gone breaks by itself. A stream of HTTP/2 does not: its peer
//! may answer pings and read other streams, and leave this one's window closed for ever.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::WriteTimer;

/// Reads and writes like `S`; a write that makes no progress for `limit` fails, and so does
/// everything after it.
#[derive(Debug)]
pub(crate) struct WriteDeadline<S> {
    io: S,
    limit: Duration,
    timer: WriteTimer,
    has_failed: bool,
}

impl<S> WriteDeadline<S> {
    pub(crate) fn new(io: S, limit: Duration) -> Self {
        Self { io, limit, timer: WriteTimer::default(), has_failed: false }
    }

    /// What came of a write, or of its deadline.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.timer.has_expired(cx, self.limit, &written) {
            self.has_failed = true;
            return Poll::Ready(Err(timed_out()));
        }
        written
    }

    fn check(&self) -> io::Result<()> {
        if self.has_failed { Err(timed_out()) } else { Ok(()) }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer does not read the stream")
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    /// Ends the stream; whether that waits for the peer is not this deadline's business.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{Instant, sleep},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_in_both_directions() {
        let (ours, mut theirs) = duplex(16);
        let mut ours = WriteDeadline::new(ours, LIMIT);
        theirs.write_all(b"still here").await.unwrap();
        let begun = Instant::now();
        let error = ours.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
        let error = ours.read_exact(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_now_and_then_gets_everything() {
        let (ours, mut theirs) = duplex(1);
        let mut ours = WriteDeadline::new(ours, LIMIT);
        let sent = tokio::spawn(async move { ours.write_all(b"slowly").await });
        let mut received = [0; 6];
        for byte in received.chunks_mut(1) {
            sleep(LIMIT * 9 / 10).await;
            theirs.read_exact(byte).await.unwrap();
        }
        sent.await.unwrap().unwrap();
        assert_eq!(&received, b"slowly");
    }
}
