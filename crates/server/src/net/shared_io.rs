//! A connection that two write to: the task that writes a response, and, while that has nothing to write, a group of
//! readers that the response's body has joined.
//!
//! The task puts its connection into a [`SharedIo`] and shows that to the body by [`BodyIo`]. What a group writes goes
//! past the body and past the task. What the connection does not take is kept, and the task writes it before
//! anything else: so the order of bytes does not depend on who writes them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use sockeye::Delivery;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::write_deadline::WriteDeadline;

/// Writes without waiting, from any task.
pub(crate) trait TryWrite: Send + Sync {
    /// Writes all of it, or as much as the connection takes, and keeps the rest. The task of the connection writes
    /// that, when it is polled next: what tries to write wakes it.
    ///
    /// [`Delivery::Refused`] if nothing was taken: the client is slow to read, or the connection is lost, which the
    /// task is told when it writes.
    fn try_write(&self, bytes: &Bytes) -> Delivery;
}

/// The connection below the body of a response, as the body knows it.
#[derive(Default)]
pub(crate) struct BodyIo {
    below: OnceLock<(Arc<dyn TryWrite>, Framing)>,
    /// Whether the writer of the response has become idle since the body was told last.
    is_idle: AtomicBool,
}

/// How bytes of a body are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As chunks of HTTP/1.1.
    Chunked,
    /// As they are: the body ends with the connection.
    Bare,
}

impl BodyIo {
    /// Shows the connection to the body.
    pub(crate) fn show(&self, io: Arc<dyn TryWrite>, framing: Framing) {
        let _ = self.below.set((io, framing));
    }

    /// The connection, once it is known.
    pub(crate) fn below(&self) -> Option<&(Arc<dyn TryWrite>, Framing)> {
        self.below.get()
    }

    /// Says whether all that the body gave is written, and nothing else is going to be written until the body gives
    /// more. The body is polled after that.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Relaxed);
    }

    /// Ready when all that the body gave is written: once each time. What writes the response polls the body then.
    pub(crate) fn poll_idle(&self) -> Poll<()> {
        match self.is_idle.swap(false, Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// A connection, for its task.
pub(crate) struct SharedIo<S>(Arc<Shared<S>>);

struct Shared<S>(Mutex<State<S>>);

struct State<S> {
    /// Until the task takes it.
    io: Option<WriteDeadline<S>>,
    /// What others have left to the task. Boxed: it is rare.
    left: Option<Box<Left>>,
}

/// What the task is to do before anything else.
enum Left {
    /// To write this. It may be empty: then there is something to be flushed.
    Unsent(Bytes),
    /// To end, because nothing can be written any more.
    Failed(io::Error),
}

impl<S> SharedIo<S> {
    pub(crate) fn new(io: WriteDeadline<S>) -> Self {
        let state = State { io: Some(io), left: None };
        Self(Arc::new(Shared(Mutex::new(state))))
    }

    /// Takes the connection: no other can write to it any more.
    pub(crate) fn take(self) -> Option<WriteDeadline<S>> {
        self.0.lock().io.take()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> SharedIo<S> {
    /// The connection, for others.
    pub(crate) fn writer(&self) -> Arc<dyn TryWrite> {
        Arc::<Shared<S>>::clone(&self.0)
    }

    /// Does something with the connection.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut WriteDeadline<S>) -> T) -> Option<T> {
        self.0.lock().io.as_mut().map(act)
    }

    /// Ready when nothing is kept that others have written.
    pub(crate) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_sent(cx)
    }

    /// Polls the connection, once nothing is kept that others have written.
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut WriteDeadline<S>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.0.lock();
        ready!(state.poll_sent(cx))?;
        match &mut state.io {
            Some(io) => poll(Pin::new(io), cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // What a panic leaves unwritten is not written later: the connection ends with its task.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(io), Some(left)) = (&mut self.io, &mut self.left) else {
            return Poll::Ready(Ok(()));
        };
        let unsent = match &mut **left {
            Left::Unsent(unsent) => unsent,
            // It stays: nothing is written any more.
            Left::Failed(error) => return Poll::Ready(Err(again(error))),
        };
        while !unsent.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.advance(written);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.left = None;
        Poll::Ready(Ok(()))
    }

    /// Writes what is taken at once, and keeps the rest.
    fn try_write(&mut self, bytes: &Bytes) -> Delivery {
        let (Some(io), None) = (&mut self.io, &self.left) else { return Delivery::Refused };
        let mut written = 0;
        let left = match write_now(io, bytes, &mut written) {
            Poll::Ready(Ok(())) => return Delivery::Written,
            Poll::Ready(Err(error)) => Left::Failed(error),
            Poll::Pending if written == 0 => return Delivery::Refused,
            Poll::Pending => Left::Unsent(bytes.slice(written..)),
        };
        self.left = Some(Box::new(left));
        if written == 0 { Delivery::Refused } else { Delivery::Queued }
    }
}

/// Writes and flushes as much as the connection takes.
fn write_now<S>(
    io: &mut WriteDeadline<S>,
    bytes: &[u8],
    written: &mut usize,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + Unpin,
{
    // What waits for room is the task, which is woken and polls by itself.
    let cx = &mut Context::from_waker(Waker::noop());
    while *written < bytes.len() {
        match ready!(io.poll_write_now(cx, &bytes[*written..]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => *written += count,
        }
    }
    io.poll_flush_now(cx)
}

/// An error that is told more than once.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> TryWrite for Shared<S> {
    fn try_write(&self, bytes: &Bytes) -> Delivery {
        self.lock().try_write(bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for SharedIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|io| io.is_write_vectored()).unwrap_or_default()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(cx, WriteDeadline::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(cx, WriteDeadline::poll_shutdown)
    }
}
