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
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Reads and writes like `S`, and breaks when a write has not gone on for so long.
#[derive(Debug)]
pub(crate) struct Impatient<S> {
    io: S,
    shared: Arc<Shared>,
    /// Runs while a write waits, or the client's end of the connection. Most never do, so it is made
    /// when one does.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What was thrown away since the connection was shut down.
    lingering: Option<Box<Lingering>>,
    /// What was read and is to be read again.
    ahead: BytesMut,
}

/// What is known and said of a connection by those who can not see it.
#[derive(Debug)]
pub(crate) struct Shared {
    limit: Duration,
    write_waits: AtomicBool,
    lingers: AtomicBool,
    has_read: AtomicBool,
    given_up: GivenUp,
}

/// Whether a client was given up because it took nothing of what was there for it for too long.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets it if the system has given the client up, by `TCP_USER_TIMEOUT`.
    fn set_if<T>(&self, done: &io::Result<T>) {
        if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.set();
        }
    }
}

/// A connection that was shut down and is read to the client's end.
#[derive(Debug)]
struct Lingering {
    until: Instant,
    discarded: u64,
}

impl Shared {
    /// Whether the client was given up.
    pub(crate) fn given_up(&self) -> GivenUp {
        self.given_up.clone()
    }

    /// Whether a write waits for the client.
    pub(crate) fn write_waits(&self) -> bool {
        self.write_waits.load(Relaxed)
    }

    /// Says whether the client may still be sending when the connection is shut down: then what it
    /// sends is read and thrown away for a while. To close at once would reset the connection, and the
    /// client might never see its answer (RFC 9112 §9.6). It may be, until the opposite is said, and
    /// again as soon as something else was read.
    pub(crate) fn linger(&self, lingers: bool) {
        self.lingers.store(lingers, Relaxed);
    }

    /// Whether something was read since this was asked last.
    pub(crate) fn has_read(&self) -> bool {
        self.has_read.swap(false, Relaxed)
    }

    fn was_read(&self) {
        self.lingers.store(true, Relaxed);
        self.has_read.store(true, Relaxed);
    }
}

/// How long a connection that was shut down is read at most; how long while nothing comes; and how
/// many bytes: what a client still sends whose upload was refused.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const MAX_DISCARDED: u64 = 64 << 20;

/// What is read of a client while nobody reads, in bytes at most.
const MAX_AHEAD: usize = 16 << 10;

impl<S> Impatient<S> {
    pub(crate) fn new(io: S, limit: Duration) -> Self {
        let shared = Arc::new(Shared {
            limit,
            write_waits: AtomicBool::new(false),
            lingers: AtomicBool::new(true),
            has_read: AtomicBool::new(false),
            given_up: GivenUp::default(),
        });
        Self { io, shared, stalled: None, lingering: None, ahead: BytesMut::new() }
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

    /// Gives back what was read last, to be read again: it comes before what was read ahead and is
    /// still there.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        let rest = std::mem::replace(&mut self.ahead, BytesMut::from(read));
        self.ahead.extend_from_slice(&rest);
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
        if let Poll::Ready(done) = &written {
            self.shared.given_up.set_if(done);
            self.stalled = None;
            return written;
        }
        let limit = self.shared.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        self.shared.given_up.set();
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
            self.shared.given_up.set_if(&read);
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            self.ahead.extend_from_slice(buffer.filled());
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
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
            if buffer.filled().len() > before {
                self.shared.was_read();
            }
            return Poll::Ready(Ok(()));
        }
        self.shared.was_read();
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
        let Self { io, stalled, lingering: Some(lingering), .. } = self else {
            return Poll::Ready(());
        };
        loop {
            let mut buffer = [0; 8192];
            let mut buffer = ReadBuf::new(&mut buffer);
            let Poll::Ready(read) = Pin::new(&mut *io).poll_read(cx, &mut buffer) else { break };
            lingering.discarded += buffer.filled().len() as u64;
            if read.is_err() || buffer.filled().is_empty() || lingering.discarded > MAX_DISCARDED {
                return Poll::Ready(());
            }
            // Something came: the silence begins again.
            *stalled = None;
        }
        let patience = lingering.until.min(Instant::now() + LINGER_SILENCE);
        stalled.get_or_insert_with(|| Box::pin(sleep_until(patience))).as_mut().poll(cx)
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
        if self.lingering.is_none() {
            let shut = Pin::new(&mut self.io).poll_shutdown(cx);
            ready!(self.or_stalled(cx, shut))?;
            if !self.shared.lingers.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
            let until = Instant::now() + LINGER;
            self.lingering = Some(Box::new(Lingering { until, discarded: 0 }));
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
        let begun = Instant::now();
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
        let begun = Instant::now();
        let shut_down = async |lingers| {
            let (server, mut client) = duplex(1 << 20);
            let mut server = Impatient::new(server, LIMIT);
            server.shared().linger(lingers);
            client.write_all(&[0; 10]).await.unwrap();
            server.shutdown().await.unwrap();
            client.write_all(b"more").await.unwrap();
            begun.elapsed()
        };
        assert_eq!(shut_down(false).await, Duration::ZERO);
        assert_eq!(shut_down(true).await, LINGER_SILENCE);
        let (server, client) = duplex(16);
        let mut server = Impatient::new(server, LIMIT);
        drop(client);
        server.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER_SILENCE, "its end has come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_to_send_is_read_within_bounds() {
        let read = async |piece: usize, each: Duration| {
            let (server, mut client) = duplex(1 << 20);
            let sent = tokio::spawn(async move {
                let (piece, mut sent) = (vec![0; piece], 0);
                while client.write_all(&piece).await.is_ok() {
                    sent += piece.len() as u64;
                    sleep(each).await;
                }
                sent
            });
            let begun = Instant::now();
            Impatient::new(server, LIMIT).shutdown().await.unwrap();
            (sent.await.unwrap(), begun.elapsed())
        };
        let (sent, _) = read(1 << 20, Duration::ZERO).await;
        assert!((MAX_DISCARDED..MAX_DISCARDED + (4 << 20)).contains(&sent), "{sent}");
        let (_, took) = read(1, Duration::from_secs(1)).await;
        assert_eq!(took, LINGER);
    }
}
