//! A connection of the load: a byte stream, what is spoken on it, and hardly anything else. What
//! comes is read into one buffer for all connections of a thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::{Buf as _, BytesMut};
use tokio::time::timeout;
use tokio_util::io::poll_read_buf;

use super::protocol::{Hear, Protocol};
use crate::bench::target::Stream;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// How long a server may take until a connection is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

const BROKEN: &str = "a connection broke";

/// Where a thread reads to.
pub(super) type Buffer = RefCell<BytesMut>;

pub(super) struct LoadClient<P: ?Sized> {
    stream: Stream,
    /// The beginning of something that has not come whole.
    rest: BytesMut,
    sent: usize,
    protocol: Box<P>,
}

/// What an exchange has brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadExchange {
    /// How many bytes came.
    pub(super) received: usize,
    /// How many bytes went out since the exchange before.
    pub(super) sent: usize,
    /// When they came.
    pub(super) now: Instant,
}

impl<P: Protocol + ?Sized> LoadClient<P> {
    /// Speaks until the protocol is ready.
    pub(super) async fn open(
        stream: Stream,
        protocol: Box<P>,
        buffer: &Buffer,
    ) -> anyhow::Result<Self> {
        let mut client = Self { stream, rest: BytesMut::new(), sent: 0, protocol };
        let speaking = async {
            while !client.protocol.is_ready() {
                // What others publish meanwhile does not count.
                client.turn(buffer, &mut |_, _| Ok(())).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(READY_TIMEOUT, speaking).await.context("the server does not answer")??;
        Ok(client)
    }

    pub(super) fn protocol(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// Sends what is to be sent, waits until something comes, and gives its payloads to `hear`.
    ///
    /// Nothing is lost when it is dropped.
    pub(super) async fn turn(
        &mut self,
        buffer: &Buffer,
        hear: &mut dyn FnMut(&[u8], Instant) -> anyhow::Result<()>,
    ) -> anyhow::Result<LoadExchange> {
        poll_fn(|cx| self.poll_turn(cx, &mut buffer.borrow_mut(), hear)).await
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        hear: &mut dyn FnMut(&[u8], Instant) -> anyhow::Result<()>,
    ) -> Poll<anyhow::Result<LoadExchange>> {
        self.write(cx).context(BROKEN)?;
        buffer.clear();
        buffer.reserve(READ + self.rest.len());
        buffer.extend_from_slice(&self.rest);
        let received = ready!(poll_read_buf(self.stream.as_mut(), cx, buffer));
        let received = received.context(BROKEN)?;
        if received == 0 {
            return Poll::Ready(Err(anyhow!("the server has closed a connection")));
        }
        let now = Instant::now();
        let hear: Hear<'_> = &mut |payload| hear(payload, now);
        self.protocol.take(buffer, now, hear)?;
        self.rest = BytesMut::from(&buffer[..]);
        self.write(cx).context(BROKEN)?;
        let sent = std::mem::take(&mut self.sent);
        Poll::Ready(Ok(LoadExchange { received, sent, now }))
    }

    /// Writes as much as the connection takes now.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (stream, outgoing) = (&mut self.stream, self.protocol.outgoing());
        while outgoing.has_remaining() {
            let Poll::Ready(written) = stream.as_mut().poll_write(cx, outgoing.chunk()) else {
                return Ok(());
            };
            let written = written?;
            outgoing.advance(written);
            self.sent += written;
        }
        // Over TLS there may be something left; it goes on when the connection wakes us.
        match stream.as_mut().poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}
