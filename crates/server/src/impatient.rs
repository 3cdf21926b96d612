//! A connection that does not wait for ever for a client that has stopped to read.
//!
//! Streams hold little for such a client, but they hold it, and a page that was asked for and is
//! not read holds more. What counts is progress: a client that takes a little now and then stays.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Reads and writes like `S`, and breaks when a write has not gone on for so long.
#[derive(Debug)]
pub(crate) struct Impatient<S> {
    io: S,
    limit: Duration,
    /// Runs while a write waits. Most never do, so it is made when one does.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether a write waits, for those who can not see the connection.
    write_waits: Arc<AtomicBool>,
    /// What was read and is to be read again.
    ahead: BytesMut,
}

/// What is read of a client while nobody reads, in bytes at most.
const MAX_AHEAD: usize = 16 << 10;

impl<S> Impatient<S> {
    pub(crate) fn new(io: S, limit: Duration) -> Self {
        let (write_waits, ahead) = (Arc::default(), BytesMut::new());
        Self { io, limit, stalled: None, write_waits, ahead }
    }

    /// Whether a write waits for the client, now and later.
    pub(crate) fn write_waits(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.write_waits)
    }

    /// Gives back what was read, to be read again.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        self.ahead.extend_from_slice(read);
    }

    /// The connection, to be waited for by somebody else.
    pub(crate) fn into_inner(self) -> S {
        self.io
    }

    /// What came of a write, or of the time it had to come to something.
    fn or_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.write_waits.store(written.is_pending(), Relaxed);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> Impatient<S> {
    /// Waits until the client has left. What it sends meanwhile is read later; when that is much,
    /// it is not looked at, and its end is not seen.
    pub(crate) async fn left(&mut self) {
        poll_fn(|cx| self.poll_left(cx)).await;
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < MAX_AHEAD {
            // Not kept while nothing comes.
            let mut buffer = [0; 128];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            self.put_back(buffer.filled());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        if self.ahead.is_empty() {
            // Its memory is not kept.
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.or_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.or_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.or_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.or_stalled(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (server, _client) = duplex(16);
        let mut server = Impatient::new(server, LIMIT);
        let begun = tokio::time::Instant::now();
        let failed = server.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((failed.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_gets_all() {
        let (server, mut client) = duplex(16);
        let mut server = Impatient::new(server, LIMIT);
        let sent = tokio::spawn(async move { server.write_all(&[7; 160]).await });
        let mut received = [0; 160];
        for part in received.chunks_mut(16) {
            sleep(LIMIT * 9 / 10).await;
            client.read_exact(part).await.unwrap();
        }
        sent.await.unwrap().unwrap();
        assert_eq!(received, [7; 160]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_written_stays() {
        let (server, mut client) = duplex(16);
        let mut server = Impatient::new(server, LIMIT);
        sleep(LIMIT * 10).await;
        server.write_all(b"still here").await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
    }
}
