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
    shared: Arc<Shared>,
    /// Runs while a write waits, or the client's end of the connection. Most never do, so it is made
    /// when one does.
    stalled: Option<Pin<Box<Sleep>>>,
    /// How much was thrown away since the connection was shut down.
    discarded: Option<u32>,
    /// What was read and is to be read again.
    ahead: BytesMut,
}

/// What is known and said of a connection by those who can not see it.
#[derive(Debug)]
pub(crate) struct Shared {
    limit: Duration,
    write_waits: AtomicBool,
    lingers: AtomicBool,
}

impl Shared {
    /// Whether a write waits for the client.
    pub(crate) fn write_waits(&self) -> bool {
        self.write_waits.load(Relaxed)
    }

    /// Says whether the client may still be sending when the connection is shut down: then what it
    /// sends is read and thrown away for a while. To close at once would reset the connection, and the
    /// client might never see its answer (RFC 9112 §9.6).
    pub(crate) fn linger(&self, lingers: bool) {
        self.lingers.store(lingers, Relaxed);
    }
}

/// How long the client's end is awaited at most, and how much of what it sends is read.
const LINGER: Duration = Duration::from_secs(2);
const MAX_DISCARDED: u32 = 256 << 10;

/// What is read of a client while nobody reads, in bytes at most.
const MAX_AHEAD: usize = 16 << 10;

impl<S> Impatient<S> {
    pub(crate) fn new(io: S, limit: Duration) -> Self {
        let (write_waits, lingers) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { limit, write_waits, lingers });
        Self { io, shared, stalled: None, discarded: None, ahead: BytesMut::new() }
    }

    /// What is known and said of the connection, now and later.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads ahead until `is_enough` of all that has arrived, or until the peer sends no more. What
    /// was read is read again later. Nothing is held but what has arrived.
    pub(crate) async fn read_ahead(
        &mut self,
        mut is_enough: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()>
    where
        S: AsyncRead + Unpin,
    {
        poll_fn(|cx| {
            loop {
                // Not kept while nothing comes.
                let mut buffer = [0; 1024];
                let mut buffer = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
                let read = buffer.filled();
                self.ahead.extend_from_slice(read);
                if read.is_empty() || is_enough(&self.ahead) {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// What was read ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
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
        self.shared.write_waits.store(written.is_pending(), Relaxed);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.shared.limit;
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

impl<S: AsyncRead + Unpin> Impatient<S> {
    /// Reads and throws away until the client's end, or the end of patience.
    fn poll_discarded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.stalled.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut buffer = [0; 4096];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            let discarded = self.discarded.get_or_insert(0);
            *discarded = discarded.saturating_add(buffer.filled().len() as u32);
            if read.is_err() || buffer.filled().is_empty() || *discarded > MAX_DISCARDED {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
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
        if self.discarded.is_none() {
            let shut = Pin::new(&mut self.io).poll_shutdown(cx);
            ready!(self.or_stalled(cx, shut))?;
            if !self.shared.lingers.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.discarded = Some(0);
        }
        self.poll_discarded(cx).map(Ok)
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

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_is_read_to_its_end_for_a_while() {
        let begun = tokio::time::Instant::now();
        let shut_down = async |lingers, sends: usize| {
            let (server, mut client) = duplex(1 << 20);
            let mut server = Impatient::new(server, LIMIT);
            server.shared().linger(lingers);
            client.write_all(&vec![0; sends]).await.unwrap();
            server.shutdown().await.unwrap();
            client.write_all(b"more").await.unwrap();
            begun.elapsed()
        };
        assert_eq!(shut_down(false, 10).await, Duration::ZERO);
        assert_eq!(shut_down(true, 1 << 20).await, Duration::ZERO, "that is too much to be read");
        assert_eq!(shut_down(true, 10).await, LINGER);
        let (server, client) = duplex(16);
        let mut server = Impatient::new(server, LIMIT);
        server.shared().linger(true);
        drop(client);
        server.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER, "its end has come");
    }
}
