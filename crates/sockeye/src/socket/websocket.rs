//! A whole WebSocket, as an application holds it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, Closed, Compression, Config, DeflateAgreement, Message, MessageKind,
    Prepared,
};

use super::{
    core::shared::Shared, handle::Handle, message_reader::MessageReader,
    message_writer::MessageWriter, reader::Reader, writer::Writer,
};
use crate::{Error, TrySendError};

/// An open WebSocket.
///
/// It is a [`Stream`] of messages received and a [`Sink`] of messages to send; [`recv`](Self::recv)
/// and [`send`](Self::send) are the same in plain `async` methods. Pings are answered, Close is
/// answered and silent peers are detected whether the application reads or not.
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
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

impl WebSocket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let handle = Handle::new(shared);
        Self { reader: Reader::new(handle.clone()), writer: Writer::new(handle) }
    }

    /// The next message; `None` once the connection is closed.
    ///
    /// # Errors
    ///
    /// Once, when the connection has failed rather than been closed; then `None` follows.
    pub fn recv(&mut self) -> impl Future<Output = Option<Result<Message, Error>>> {
        self.reader.recv()
    }

    /// Sends a message; waits while too much is queued (64 KiB) because the peer is slow to read.
    ///
    /// The message is written when this returns, or very soon: while there are received messages
    /// that the application has not taken yet, answers are gathered into one write.
    ///
    /// # Errors
    ///
    /// When the connection is closing, closed or failed.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        self.writer.send(message)
    }

    /// Closes the connection, after everything that was sent before, and waits for the peer's Close:
    /// at most for [`close_timeout`](sockeye_proto::Config::close_timeout). Messages that still come
    /// are discarded. The end of the connection is never an error.
    ///
    /// The Close has a code, a code and a reason, or an empty payload (RFC 6455 §5.5.1):
    ///
    /// ```no_run
    /// use sockeye::{CloseCode, CloseFrame, WebSocket};
    ///
    /// # async fn example(mut a: WebSocket, mut b: WebSocket, mut c: WebSocket) -> Result<(), sockeye::Error> {
    /// a.close(CloseCode::NORMAL).await;
    /// b.close(CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many at once")?).await;
    /// let closed = c.close(None).await;
    /// println!("{closed}: the peer said {}", closed.code());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Closed {
        self.writer.start_close(frame);
        while self.recv().await.is_some() {}
        self.reader.handle.outcome()
    }

    /// Splits it into a reading half and a writing half, for two tasks. Both stay connected to each
    /// other: pongs and Close go out whichever half is alive.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// Waits for the end of the connection, without closing it, and returns how it ended.
    ///
    /// Messages that come meanwhile wait for [`recv`](Self::recv). They are not many: after 16, or 64
    /// KiB, nothing more is read, and of a peer that is not read the end shows late or never. So wait
    /// beside a loop that receives, as with a [`Writer`] after [`split`](Self::split).
    ///
    /// ```
    /// use sockeye::{CloseCode, Config, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (mut client, server) = WebSocket::pair(Config::default());
    /// let (_, closed) = tokio::join!(client.close(CloseCode::NORMAL), server.ended());
    /// assert_eq!(closed.code(), 1000);
    /// # }
    /// ```
    pub async fn ended(&self) -> Closed {
        self.reader.handle.ended().await
    }

    /// Whether nothing can be sent any more: the connection is being closed, by either end, was closed,
    /// or has failed. What the peer sent before may still be there to be received.
    pub fn is_closed(&self) -> bool {
        self.reader.handle.shared.is_ending()
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.reader.closed()
    }

    /// Starts the closing handshake, as [`close`](Self::close) does, and waits for nothing. Messages that
    /// still come can be received. Closing again changes nothing.
    pub fn start_close(&self, frame: impl Into<Option<CloseFrame>>) {
        self.writer.start_close(frame);
    }

    /// Ends the connection at once: no Close is sent, and nothing that is still
    /// queued. The peer sees its transport end (1006); here `recv` gives an error, then `None`.
    pub fn abort(&self) {
        self.writer.abort();
    }

    /// Sends a message at once, or gives it back if [`send`](Self::send) would have to wait.
    ///
    /// ```no_run
    /// # async fn example(mut socket: sockeye::WebSocket) {
    /// use sockeye::TrySendError;
    ///
    /// match socket.try_send("12:00:01") {
    ///     Ok(()) => {}
    ///     Err(TrySendError::Full(_)) => println!("slow: it gets the next one"),
    ///     Err(TrySendError::Closed(_, error)) => println!("gone: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while too much is queued (64 KiB) because the peer is slow to read;
    /// [`TrySendError::Closed`] when the connection is closing, closed or failed. Both have the
    /// message.
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.writer.try_send(message)
    }

    /// Sends a message like [`send`](Self::send), which compresses where that was agreed on and makes the
    /// message smaller; or with compression off.
    ///
    /// Do not compress a secret together with what an attacker may choose: the length reveals how well a
    /// guess fits (RFC 7692 §8).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(
        &mut self,
        message: impl Into<Message>,
        compression: Compression,
    ) -> impl Future<Output = Result<(), Error>> {
        self.writer.send_with(message, compression)
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

    /// Begins to send a message as a stream: of any size, without holding it whole. Write to what
    /// this gives, then [`finish`](MessageWriter::finish).
    ///
    /// ```no_run
    /// # async fn example(mut socket: sockeye::WebSocket) -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::MessageKind;
    ///
    /// let mut film = tokio::fs::File::open("film.mp4").await?;
    /// let mut message = socket.send_stream(MessageKind::Binary).await?;
    /// tokio::io::copy(&mut film, &mut message).await?;
    /// message.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It goes out in fragments of 64 KiB, uncompressed; pings, pongs and Close go between them, other
    /// messages wait for its end. Waits while another is being sent so, or too much is queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_stream(&mut self, kind: MessageKind) -> Result<MessageWriter<'_>, Error> {
        self.writer.send_stream(kind).await
    }

    /// The same as [`send_stream`](Self::send_stream), compressed if `compression` is on and was agreed
    /// on. Safari 15.0 to 15.3 cannot read compressed fragments.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_stream_with(
        &mut self,
        kind: MessageKind,
        compression: Compression,
    ) -> Result<MessageWriter<'_>, Error> {
        self.writer.send_stream_with(kind, compression).await
    }

    /// The next message as a stream, as soon as its first bytes are there: of any size, without
    /// holding it whole; `None` once the connection is closed.
    ///
    /// It may be as large as [`max_streamed_size`](sockeye_proto::Config::max_streamed_size) says,
    /// which has to be set for messages that [`recv`](Self::recv) would refuse.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::{Client, Config};
    ///
    /// let config = Config::default().max_streamed_size(4 << 30);
    /// let mut socket = Client::new("ws://127.0.0.1:9001/film")?.config(config).connect().await?;
    /// while let Some(message) = socket.recv_stream().await {
    ///     let mut file = tokio::fs::File::create("film.mp4").await?;
    ///     tokio::io::copy(&mut message?, &mut file).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_stream(&mut self) -> Option<Result<MessageReader<'_>, Error>> {
        self.reader.recv_stream().await
    }

    /// Sends a ping and waits for its pong: the round-trip time.
    ///
    /// # Errors
    ///
    /// When the connection ends before the pong comes.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.writer.ping().await
    }

    /// The latest round-trip time known: of the last [`ping`](Self::ping), or the last keepalive ping,
    /// that was answered; `None` before the first.
    ///
    /// Keepalive pings go out when nothing was received for a while
    /// ([`Config::keepalive`](sockeye_proto::Config::keepalive), 25 s), so on a busy connection the
    /// number may be old: `ping` measures it anew. While the application does not read, pongs may be
    /// found late, and the number with them.
    pub fn latency(&self) -> Option<Duration> {
        self.writer.latency()
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

    /// Sets other limits and deadlines, from the next frame on: a server may take little from a peer that
    /// has not authenticated yet, and more later.
    pub fn set_config(&self, config: impl Into<Arc<Config>>) {
        self.reader.handle.shared.set_config(config.into());
    }

    /// How many bytes are queued and not written yet, headers included.
    pub fn buffered_amount(&self) -> usize {
        self.writer.buffered_amount()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.reader.handle.shared
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
