//! A stream that fails when a client has stopped reading for too long.
//!
//! A stream of messages holds little for such a client, but it holds it, and a page of a poll holds
//! more. What counts is progress: a client that reads a little now and then stays.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use sockeye::internals::defaults::{LINGER, LINGER_SILENCE, MAX_LINGER_BYTES};
use sockeye::internals::{Pending, WriteTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::head_guard::{HeadGuard, SPOILED};
use crate::net::permit::ConnectionPermit;

/// Reads and writes like `S`, and fails when a write makes no progress for too long.
#[derive(Debug)]
pub(crate) struct WriteDeadline<S> {
    io: S,
    shared: Arc<IoState>,
    timer: WriteTimer,
    /// What was discarded since the connection was shut down.
    lingering: Option<Box<Lingering>>,
    /// What was read ahead and is still to be read.
    ahead: BytesMut,
    /// Looks at what is read, while requests of HTTP/1.1 are read.
    guard: Option<Box<HeadGuard>>,
}

/// The state of a connection, for code that has no access to the stream.
#[derive(Debug)]
pub(crate) struct IoState {
    limit: Duration,
    write_waits: AtomicBool,
    lingers: AtomicBool,
    has_read: AtomicBool,
    awaits_head: AtomicBool,
    /// How many requests were answered since the guard began to look.
    answered: AtomicU32,
    /// Whether the connection speaks another protocol now.
    upgraded: AtomicBool,
    has_begun_head: AtomicBool,
    marks: PeerMarks,
    pending: Pending,
}

/// What is noted of the peer of a connection, or of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerMarks(pub(crate) ConnectionPermit);

impl PeerMarks {
    const GIVEN_UP: u8 = 1;
    const TRUSTED: u8 = 2;

    /// The peer was given up because it took nothing of what was there for it for too long.
    pub(crate) fn give_up(&self) {
        self.0.marks().fetch_or(Self::GIVEN_UP, Relaxed);
    }

    pub(crate) fn was_given_up(&self) -> bool {
        self.0.marks().load(Relaxed) & Self::GIVEN_UP != 0
    }

    /// The peer has shown a good token, or is a trusted proxy: its idle connection is kept longer.
    pub(crate) fn trust(&self) {
        self.0.marks().fetch_or(Self::TRUSTED, Relaxed);
    }

    fn is_trusted(&self) -> bool {
        self.0.marks().load(Relaxed) & Self::TRUSTED != 0
    }

    /// Gives it up if the system has closed the connection, by `TCP_USER_TIMEOUT`.
    fn give_up_if<T>(&self, done: &io::Result<T>) {
        if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.give_up();
        }
    }
}

/// A connection that was shut down and is read to the client's end.
#[derive(Debug)]
struct Lingering {
    until: Instant,
    discarded: usize,
    /// Runs while nothing arrives.
    silence: Option<Pin<Box<Sleep>>>,
}

impl IoState {
    /// What is noted of the client.
    pub(crate) fn marks(&self) -> PeerMarks {
        self.marks.clone()
    }

    /// Says that the next head is awaited: all responses are written, or will be.
    pub(crate) fn await_head(&self) {
        self.awaits_head.store(true, Relaxed);
    }

    /// Says that a part of the next head has arrived, perhaps before the connection was idle.
    pub(crate) fn begin_head(&self) {
        self.has_begun_head.store(true, Relaxed);
    }

    /// Ready when the connection is evicted. That may happen while it waits for the client, but not
    /// while a response is in progress.
    pub(crate) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.awaits_head.load(Relaxed) && !self.write_waits() {
            let evicted = self.pending.poll_idle(self.marks.is_trusted(), cx);
            if !self.has_begun_head.swap(false, Relaxed) {
                return evicted;
            }
            self.pending.begin();
        }
        self.pending.poll_evicted(cx)
    }

    /// Says that a complete request has arrived: the connection cannot be evicted until it waits for
    /// the client again. `false` if it was evicted before.
    pub(crate) fn settle(&self) -> bool {
        self.awaits_head.store(false, Relaxed);
        self.has_begun_head.store(false, Relaxed);
        self.pending.settle()
    }

    /// Whether a request arrived after the eviction.
    pub(crate) fn has_next_request(&self) -> bool {
        !self.awaits_head.load(Relaxed)
    }

    /// The registration of the connection as one that can be evicted.
    pub(crate) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Whether a write waits for the client.
    pub(crate) fn write_waits(&self) -> bool {
        self.write_waits.load(Relaxed)
    }

    /// Sets whether the client may still be sending when the connection is shut down: then what it
    /// sends is read and discarded for a while. To close at once would reset the connection, and the
    /// client might never see its response (RFC 9112 §9.6). True until set otherwise, and again as soon
    /// as something else was read.
    pub(crate) fn linger(&self, lingers: bool) {
        self.lingers.store(lingers, Relaxed);
    }

    /// Whether something was read since the last call.
    pub(crate) fn has_read(&self) -> bool {
        self.has_read.swap(false, Relaxed)
    }

    /// Says that a request was answered, and whether the answer ends HTTP on the connection.
    pub(crate) fn answered(&self, upgrades: bool) {
        self.answered.fetch_add(1, Relaxed);
        self.upgraded.fetch_or(upgrades, Relaxed);
    }

    fn was_read(&self) {
        self.lingers.store(true, Relaxed);
        self.has_read.store(true, Relaxed);
    }
}

/// How much is read ahead while nothing reads, in bytes.
const MAX_AHEAD: usize = 16 << 10;

impl<S> WriteDeadline<S> {
    pub(crate) fn new(io: S, limit: Duration, pending: Pending) -> Self {
        let shared = Arc::new(IoState {
            limit,
            write_waits: AtomicBool::new(false),
            lingers: AtomicBool::new(true),
            has_read: AtomicBool::new(false),
            awaits_head: AtomicBool::new(false),
            answered: AtomicU32::new(0),
            upgraded: AtomicBool::new(false),
            has_begun_head: AtomicBool::new(false),
            marks: PeerMarks::default(),
            pending,
        });
        Self {
            io,
            shared,
            timer: WriteTimer::default(),
            lingering: None,
            ahead: BytesMut::new(),
            guard: None,
        }
    }

    /// What is noted of the peer is noted there. Before anything else has it.
    pub(crate) fn noting(mut self, marks: PeerMarks) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.marks = marks;
        }
        self
    }

    /// Looks at what is read from here on, which begins with a request of HTTP/1.1.
    pub(crate) fn guard_heads(&mut self) {
        self.shared.answered.store(0, Relaxed);
        self.guard = Some(Box::default());
    }

    /// The state of the connection.
    pub(crate) fn shared(&self) -> &Arc<IoState> {
        &self.shared
    }

    /// Reads ahead until `is_enough` of all that has arrived, or until the peer sends no more. It is
    /// read again later. Only what has arrived takes memory.
    pub(crate) async fn read_ahead(
        &mut self,
        mut is_enough: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()>
    where
        S: AsyncRead + Unpin,
    {
        poll_fn(|cx| {
            loop {
                // Not kept while nothing arrives.
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

    /// Puts back what was read last: it comes before what was read ahead and is still there. It begins with a
    /// request, if it is not empty, and the guard checks it again.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        self.guard = None;
        let rest = std::mem::replace(&mut self.ahead, BytesMut::from(read));
        self.ahead.extend_from_slice(&rest);
    }

    /// The stream itself, and what was read ahead of it.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.ahead)
    }

    /// The result of a write, or of its deadline.
    fn or_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.shared.write_waits.store(written.is_pending(), Relaxed);
        if let Poll::Ready(done) = &written {
            self.shared.marks.give_up_if(done);
        }
        if self.timer.has_expired(cx, self.shared.limit, &written) {
            self.shared.marks.give_up();
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
            return Poll::Ready(Err(error));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> WriteDeadline<S> {
    /// Ready when the client has left. What it sends meanwhile is read later. Beyond what is read ahead its
    /// end could not be noticed: a client that sends that much counts as one that has left.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < MAX_AHEAD {
            // Not kept while nothing arrives.
            let mut buffer = [0; 128];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            self.shared.marks.give_up_if(&read);
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shared.upgraded.load(Relaxed) {
            self.guard = None;
        }
        let answered = self.shared.answered.load(Relaxed);
        if self.guard.as_mut().is_some_and(|guard| guard.holds(answered)) {
            // The task that reads is the one that answers: it comes back by itself.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(self.poll_read_any(cx, buffer))?;
        if self.look(buffer, before) {
            return self.poll_read_any(cx, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> WriteDeadline<S> {
    /// Reads what was read ahead, or what comes.
    fn poll_read_any(
        &mut self,
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
            // Its memory is freed.
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at what was just read, and keeps what must not be given on yet, or not at all. Says whether there is
    /// something else to be read in its place.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let Some(guard) = &mut self.guard else { return false };
        let read = &buffer.filled()[before..];
        let given = guard.look(read);
        if guard.refuses() {
            (self.ahead, self.guard) = (BytesMut::from(SPOILED), None);
        } else if given < read.len() {
            let rest = std::mem::replace(&mut self.ahead, BytesMut::from(&read[given..]));
            self.ahead.extend_from_slice(&rest);
        } else {
            return false;
        }
        buffer.set_filled(before + given);
        given == 0
    }
}

impl<S: AsyncRead + Unpin> WriteDeadline<S> {
    /// Reads and discards until the client's end, until the time is over, or until the connection is
    /// evicted.
    fn poll_discarded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { io, lingering: Some(lingering), shared, .. } = self else {
            return Poll::Ready(());
        };
        if shared.pending.poll_evicted(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut buffer = [0; 8192];
            let mut buffer = ReadBuf::new(&mut buffer);
            let Poll::Ready(read) = Pin::new(&mut *io).poll_read(cx, &mut buffer) else { break };
            lingering.discarded += buffer.filled().len();
            if read.is_err() || buffer.filled().is_empty() || lingering.discarded > MAX_LINGER_BYTES
            {
                return Poll::Ready(());
            }
            // Something arrived: the time of silence begins again.
            lingering.silence = None;
        }
        let until = lingering.until.min(Instant::now() + LINGER_SILENCE);
        let silence = &mut lingering.silence;
        silence.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx)
    }
}

impl<S: AsyncWrite + Unpin> WriteDeadline<S> {
    /// Writes what the connection takes now. Its deadline begins when its own task writes.
    pub(crate) fn poll_write_now(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.noted(written)
    }

    /// Flushes what the connection takes now.
    pub(crate) fn poll_flush_now(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.noted(flushed)
    }

    /// Notes that the system has given the client up, if it has.
    fn noted<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &done {
            self.shared.marks.give_up_if(done);
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
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
            self.lingering = Some(Box::new(Lingering { until, discarded: 0, silence: None }));
            self.shared.pending.linger();
        }
        self.poll_discarded(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use sockeye::internals::PendingConnections;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn with_deadline<S>(io: S) -> WriteDeadline<S> {
        WriteDeadline::new(io, LIMIT, PendingConnections::default().register())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (server, _client) = duplex(16);
        let mut server = with_deadline(server);
        let begun = Instant::now();
        let failed = server.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((failed.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_gets_all() {
        let (server, mut client) = duplex(16);
        let mut server = with_deadline(server);
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
        let mut server = with_deadline(server);
        sleep(LIMIT * 10).await;
        server.write_all(b"still here").await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_is_read_to_its_end_for_a_while() {
        let begun = Instant::now();
        let shut_down = async |lingers| {
            let (server, mut client) = duplex(1 << 20);
            let mut server = with_deadline(server);
            server.shared().linger(lingers);
            client.write_all(&[0; 10]).await.unwrap();
            server.shutdown().await.unwrap();
            client.write_all(b"more").await.unwrap();
            begun.elapsed()
        };
        assert_eq!(shut_down(false).await, Duration::ZERO);
        assert_eq!(shut_down(true).await, LINGER_SILENCE);
        let (server, client) = duplex(16);
        let mut server = with_deadline(server);
        drop(client);
        server.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER_SILENCE, "its end has come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_sending_is_read_within_bounds() {
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
            with_deadline(server).shutdown().await.unwrap();
            (sent.await.unwrap(), begun.elapsed())
        };
        let (sent, _) = read(1 << 20, Duration::ZERO).await;
        let max = MAX_LINGER_BYTES as u64;
        assert!((max..max + (4 << 20)).contains(&sent), "{sent}");
        let (_, took) = read(1, Duration::from_secs(1)).await;
        assert_eq!(took, LINGER);
    }
}
