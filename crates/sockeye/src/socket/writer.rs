//! The half of a WebSocket that sends.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, Closed, Compression, Config, DeflateAgreement, Fragment, Message,
    MessageKind, Prepared,
};

use super::{
    core::delivery::Delivery, core::shared::Shared, core::state::SocketState, handle::Handle,
    message_writer::MessageWriter,
};
use crate::{Error, TrySendError};

/// The half of a [`WebSocket`](super::WebSocket) that sends. Clones send on the same connection; each message goes out
/// whole.
#[derive(Debug, Clone)]
pub struct Writer {
    pub(super) handle: Handle,
}

impl Writer {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// A writer of a connection that has a handle; `None` if the last one is gone.
    pub(super) fn of_held(shared: Arc<Shared>) -> Option<Self> {
        shared.add_handle_if_held().then_some(Self { handle: Handle { shared } })
    }

    /// Sends a message; as [`WebSocket::send`](super::WebSocket::send).
    pub fn send(&self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        self.send_with(message, Compression::On)
    }

    /// Sends a message at once, or gives it back; as [`WebSocket::try_send`](super::WebSocket::try_send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.handle.shared.try_queue(message.into())
    }

    /// Sends a message, compressed or not; as [`WebSocket::send_with`](super::WebSocket::send_with).
    pub fn send_with(
        &self,
        message: impl Into<Message>,
        compression: Compression,
    ) -> impl Future<Output = Result<(), Error>> {
        // Not `async`: each level would hold the message once more.
        let mut message = Some(message.into());
        poll_fn(move |cx| {
            self.handle.shared.poll_queue(cx, SocketState::has_room, |state| match message.take() {
                Some(message) => state.queue(message, compression),
                None => Ok(()),
            })
        })
    }

    /// Begins to send a message as a stream; as
    /// [`WebSocket::send_stream`](super::WebSocket::send_stream). It may be moved to another task.
    pub async fn send_stream(&self, kind: MessageKind) -> Result<MessageWriter<'static>, Error> {
        self.send_stream_with(kind, Compression::Off).await
    }

    /// The same, compressed or not; as
    /// [`WebSocket::send_stream_with`](super::WebSocket::send_stream_with).
    pub async fn send_stream_with(
        &self,
        kind: MessageKind,
        compression: Compression,
    ) -> Result<MessageWriter<'static>, Error> {
        self.queue(SocketState::has_room, SocketState::begin_stream).await?;
        Ok(MessageWriter::new(self.handle.clone(), kind, compression))
    }

    /// Sends a message that was prepared for many connections; as [`WebSocket::send_prepared`](super::WebSocket::send_prepared).
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.queue(SocketState::has_room, |state| state.queue_prepared(prepared)).await
    }

    /// Queues a prepared message for a batch, as `feed` of the [`Sink`] does with any other: it waits
    /// for room, and what was fed is written by `flush`, or with the next message that is sent.
    ///
    /// # Errors
    ///
    /// When the connection is closing or has ended.
    pub async fn feed_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        poll_fn(|cx| self.handle.shared.poll_room(cx)).await;
        self.start_send_prepared(prepared)
    }

    /// Queues a prepared message as `start_send` of the [`Sink`] does with any other: when its
    /// `poll_ready` has said that there is room.
    ///
    /// # Errors
    ///
    /// When the connection is closing or has ended.
    pub fn start_send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.handle.shared.feed_prepared(prepared)
    }

    /// Sends whole messages whose frames were made before, one behind the other, and waits until they
    /// are written: what many connections are sent at once is encoded once, and goes out in one
    /// write. For servers.
    ///
    /// Each frame is as [`Prepared::plain`] has it or, where the [agreement](Self::deflate)
    /// [takes it](DeflateAgreement::takes_prepared_frames), as [`Prepared::shortest`] has it; that is
    /// not checked.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use sockeye::{Error, Prepared, Writer};
    ///
    /// async fn tell_all(writers: &[Writer], news: &[Prepared]) -> Result<(), Error> {
    ///     let frames: Vec<u8> = news.iter().flat_map(|news| news.plain().to_vec()).collect();
    ///     let frames = Bytes::from(frames);
    ///     for writer in writers {
    ///         writer.send_frames(&frames).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the connection is closing or has ended, and on a client. Those of the connection are
    /// told by its reader.
    pub async fn send_frames(&self, frames: &Bytes) -> Result<(), Error> {
        let mut waiting = Some(frames);
        poll_fn(|cx| self.handle.shared.poll_frames(cx, &mut waiting)).await
    }

    /// Sends frames as [`send_frames`](Self::send_frames) does, and waits for nothing: for a task that writes to
    /// many connections, one behind the other.
    ///
    /// What the transport does not take at once is queued, and written in the background; `flush` of the [`Sink`]
    /// waits for that.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use sockeye::{Config, Delivery, Prepared, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut client, server) = WebSocket::pair(Config::default());
    /// let (_, writer) = server.split();
    /// let frames: Bytes = Prepared::new("news").plain().clone();
    /// assert_eq!(writer.try_send_frames(&frames), Delivery::Written);
    /// assert_eq!(client.recv().await.unwrap()?.as_text(), Some("news"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_send_frames(&self, frames: &Bytes) -> Delivery {
        self.handle.shared.try_frames(frames)
    }

    /// Sends a ping and waits for its pong; as [`WebSocket::ping`](super::WebSocket::ping).
    pub async fn ping(&self) -> Result<Duration, Error> {
        let pong = self.queue(SocketState::has_room_between, SocketState::ping).await?;
        pong.await.map_err(|_| self.handle.shared.send_error())
    }

    /// The latest round-trip time known; as [`WebSocket::latency`](super::WebSocket::latency).
    pub fn latency(&self) -> Option<Duration> {
        self.handle.shared.latency()
    }

    /// Closes the connection, after everything that was sent before, and waits for the end: at most for
    /// [`close_timeout`](sockeye_proto::Config::close_timeout), and that long if the [`Reader`](super::Reader) is
    /// kept but not read. The content of the Close is as for [`WebSocket::close`](super::WebSocket::close).
    pub async fn close(&self, frame: impl Into<Option<CloseFrame>>) -> Closed {
        self.start_close(frame);
        self.ended().await
    }

    /// Starts the closing handshake, as [`close`](Self::close) does, and waits for nothing. Closing
    /// again changes nothing.
    pub fn start_close(&self, frame: impl Into<Option<CloseFrame>>) {
        self.handle.shared.close(frame.into());
    }

    /// Ends the connection at once, without a Close; as [`WebSocket::abort`](super::WebSocket::abort).
    pub fn abort(&self) {
        self.handle.shared.abort();
    }

    /// Waits for the end, and returns how the connection ended; as [`WebSocket::ended`](super::WebSocket::ended).
    pub async fn ended(&self) -> Closed {
        self.handle.ended().await
    }

    /// Whether nothing can be sent any more; as [`WebSocket::is_closed`](super::WebSocket::is_closed).
    pub fn is_closed(&self) -> bool {
        self.handle.shared.is_ending()
    }

    /// Sets other limits and deadlines for the connection; as [`WebSocket::set_config`](super::WebSocket::set_config).
    pub fn set_config(&self, config: impl Into<Arc<Config>>) {
        self.handle.shared.set_config(config.into());
    }

    /// What was agreed on about compression; as [`WebSocket::deflate`](super::WebSocket::deflate).
    pub fn deflate(&self) -> Option<&DeflateAgreement> {
        self.handle.shared.deflate()
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
        has_room: fn(&SocketState) -> bool,
        mut queue: impl FnMut(&mut SocketState) -> Result<T, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| self.handle.shared.poll_queue(cx, has_room, &mut queue)).await
    }
}

/// What [`web`](crate::web) needs besides.
impl Writer {
    /// Sends a piece of a message.
    pub(crate) fn send_fragment(
        &self,
        kind: MessageKind,
        payload: Bytes,
        fragment: Fragment,
    ) -> Result<(), Error> {
        self.handle.shared.send_fragment(kind, payload, fragment)
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
