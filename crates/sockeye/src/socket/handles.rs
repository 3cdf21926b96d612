//! What an application holds: a whole WebSocket, or its reading and its writing half.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, Closed, DeflateAgreement, Failure, Message, MessageKind, Prepared,
};

use super::{shared::Shared, state::State};
use crate::Error;

/// An open WebSocket.
///
/// It is a [`Stream`] of messages received and a [`Sink`] of messages to send; [`recv`](Self::recv)
/// and [`send`](Self::send) are the same in plain `async` methods. Pings are answered, Close is
/// answered and silent peers are found out whether the application reads or not.
///
/// All methods are cancel-safe: a future that is dropped before it is ready has taken nothing from
/// the connection and sent nothing on it, except that a Close once begun goes on.
///
/// Dropping the last handle of a connection closes it in the background: with 1001 on a server,
/// without a code on a client. Use [`close`](Self::close) to choose, and to wait for the outcome.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = sockeye::connect("ws://127.0.0.1:9001/").await?;
/// socket.send("hello").await?;
/// while let Some(message) = socket.recv().await {
///     println!("{:?}", message?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocket {
    reader: Reader,
    writer: Writer,
}

impl WebSocket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let handle = Handle::new(shared);
        Self { reader: Reader { handle: handle.clone() }, writer: Writer { handle } }
    }

    /// The next message; `None` once the connection is closed.
    ///
    /// # Errors
    ///
    /// Once, when the connection has failed rather than been closed; then comes `None`.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        self.reader.recv().await
    }

    /// Sends a message; waits while too much is queued (64 KiB) because the peer is slow to read.
    ///
    /// The message is written when this returns, or very soon: while there are received messages
    /// that the application has not taken yet, answers are gathered into one write.
    ///
    /// # Errors
    ///
    /// When the connection is closing, closed or failed.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.writer.send(message).await
    }

    /// Sends a message like [`send`](Self::send), compressed only if `compress` is set (and
    /// compression was agreed on, and makes it smaller).
    ///
    /// Do not compress a secret together with what an attacker may choose: the length tells him how
    /// well his guess fits (RFC 7692 §8).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &mut self,
        message: impl Into<Message>,
        compress: bool,
    ) -> Result<(), Error> {
        self.writer.send_with(message, compress).await
    }

    /// Sends a message that was prepared for many connections like [`send`](Self::send). On a server
    /// it is encoded once for all of them, and compressed once for all that agreed on compression
    /// without context takeover.
    ///
    /// ```no_run
    /// # async fn example(clients: &mut [sockeye::WebSocket]) -> Result<(), sockeye::Error> {
    /// let news = sockeye::Prepared::new("news");
    /// for client in clients {
    ///     client.send_prepared(&news).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.writer.send_prepared(prepared).await
    }

    /// Sends a ping and waits for its pong: the round-trip time.
    ///
    /// # Errors
    ///
    /// When the connection ends before the pong comes.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.writer.ping().await
    }

    /// Closes the connection, after everything that was sent before, and waits for the peer's Close:
    /// at most for [`close_timeout`](sockeye_proto::Config::close_timeout). Messages that still come
    /// are thrown away.
    ///
    /// # Errors
    ///
    /// When the reason has more than 123 bytes. How the connection ended is never an error.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.reader.handle.shared.close(Some(frame));
        while self.recv().await.is_some() {}
        Ok(self.reader.handle.outcome())
    }

    /// Splits it into a reading half and a writing half, for two tasks. Both stay connected to each
    /// other: pongs and Close go out whichever half is alive.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.reader.handle.shared
    }

    /// The subprotocol agreed on, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.reader.handle.shared.subprotocol()
    }

    /// The extensions agreed on, as the server's answer names them in `Sec-WebSocket-Extensions`;
    /// empty if there are none.
    pub fn extensions(&self) -> String {
        self.deflate().map(ToString::to_string).unwrap_or_default()
    }

    /// What was agreed on compression; `None` if messages go as they are.
    pub fn deflate(&self) -> Option<&DeflateAgreement> {
        self.reader.handle.shared.deflate()
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.reader.closed()
    }

    /// How many bytes are queued and not written yet, headers included.
    pub fn buffered_amount(&self) -> usize {
        self.writer.buffered_amount()
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.reader).poll_next(cx)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.writer).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.writer).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    /// Closes with 1000 and waits for the end, throwing away messages that still come.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.reader.handle.shared.close(Some(CloseCode::NORMAL.into()));
        while ready!(Pin::new(&mut self.reader).poll_next(cx)).is_some() {}
        Poll::Ready(Ok(()))
    }
}

/// The half of a [`WebSocket`] that receives.
#[derive(Debug)]
pub struct Reader {
    handle: Handle,
}

impl Reader {
    /// The next message; as [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        let mut waiting = Waiting { shared: &self.handle.shared, pending: false };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.shared.closed()
    }
}

/// One who waits for a message. If he gives up, the caretaker listens in his place.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    pending: bool,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let result = self.shared.poll_message(cx);
        self.pending = result.is_pending();
        result
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.shared.stop_waiting();
        }
    }
}

impl Stream for Reader {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.handle.shared.poll_message(cx)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle.shared.drop_reader();
    }
}

/// The half of a [`WebSocket`] that sends. Clones send on the same connection; each message goes out
/// whole.
#[derive(Debug, Clone)]
pub struct Writer {
    handle: Handle,
}

impl Writer {
    /// A writer of a connection that has a handle; `None` if the last one is gone.
    pub(super) fn of_held(shared: Arc<Shared>) -> Option<Self> {
        shared.add_handle_if_held().then_some(Self { handle: Handle { shared } })
    }

    /// Sends a message; as [`WebSocket::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_with(message, true).await
    }

    /// Sends a message, compressed only if `compress` is set; as [`WebSocket::send_with`].
    pub async fn send_with(
        &self,
        message: impl Into<Message>,
        compress: bool,
    ) -> Result<(), Error> {
        let mut message = Some(message.into());
        let queue = |state: &mut State| match message.take() {
            Some(message) => state.queue(message, compress),
            None => Ok(()),
        };
        self.queue(queue).await
    }

    /// Sends a message that was prepared for many connections; as [`WebSocket::send_prepared`].
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.queue(|state| state.queue_prepared(prepared)).await
    }

    /// Sends a ping and waits for its pong; as [`WebSocket::ping`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let pong = self.queue(State::ping).await?;
        pong.await.map_err(|_| match self.handle.outcome().failure {
            Some(failure) => Error::Failed(failure),
            None => Error::Misuse(sockeye_proto::Misuse::Closing),
        })
    }

    /// Closes the connection, after everything that was sent before, and waits for the end: at most for
    /// [`close_timeout`](sockeye_proto::Config::close_timeout), and that long if the [`Reader`] is
    /// kept but not read.
    ///
    /// # Errors
    ///
    /// When the reason has more than 123 bytes. How the connection ended is never an error.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.handle.shared.close(Some(frame));
        poll_fn(|cx| self.handle.shared.poll_end(cx)).await;
        Ok(self.handle.outcome())
    }

    /// How many bytes are queued and not written yet, headers included.
    pub fn buffered_amount(&self) -> usize {
        self.handle.shared.queued()
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.shared.closed()
    }
}

impl Writer {
    async fn queue<T>(
        &self,
        mut queue: impl FnMut(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| self.handle.shared.poll_queue(cx, &mut queue)).await
    }
}

/// What [`web`](crate::web) needs besides.
impl Writer {
    /// Starts the closing handshake, with an empty Close if there is no frame; waits for nothing.
    pub(crate) fn start_close(&self, frame: Option<CloseFrame>) {
        self.handle.shared.close(frame);
    }

    /// Gives the connection up at once.
    pub(crate) fn abort(&self) {
        self.handle.shared.abort();
    }

    /// Sends a piece of a message; `last` ends it.
    pub(crate) fn send_fragment(
        &self,
        kind: MessageKind,
        payload: Bytes,
        last: bool,
    ) -> Result<(), Error> {
        self.handle.shared.send_fragment(kind, payload, last)
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Closed {
        poll_fn(|cx| self.handle.shared.poll_end(cx)).await;
        self.handle.outcome()
    }
}

impl Sink<Message> for Writer {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.shared.poll_room(cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.handle.shared.feed(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.shared.poll_written(cx)
    }

    /// Closes with 1000 and waits for the end.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.shared.close(Some(CloseCode::NORMAL.into()));
        self.handle.shared.poll_end(cx).map(|()| Ok(()))
    }
}

/// A counted reference: the last one to go closes the connection.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Self { shared }
    }

    fn outcome(&self) -> Closed {
        self.shared.closed().unwrap_or_else(|| Closed::from(Failure::Aborted))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}
