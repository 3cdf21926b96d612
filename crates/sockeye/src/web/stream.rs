//! `WebSocketStream`: the browser's API with streams and backpressure in place of events.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use http::Response;
use sockeye_proto::{CloseFrame, Closed, Failure, Message};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::{
    Builder, Cause, DomException, Protocols,
    opening::{OpenSocket as Connected, parse_url},
    socket::check_close,
};
use crate::{Error, Reader, Writer};

/// A WebSocket as a pair of streams: reading waits for messages, writing waits for the network, and
/// not reading makes the server wait.
///
/// Tentative in the standard ([whatwg/websockets#48](https://github.com/whatwg/websockets/pull/48)).
/// Clones are the same socket. When all of them, the reader and the writer are dropped, the connection is
/// closed without a code, or not opened any more.
///
/// ```
/// use sockeye::web::{CloseInfo, StreamOptions, StreamOpened, WebSocketStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = sockeye::Server::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", server.local_addr()?);
/// # tokio::spawn(server.run(|incoming: sockeye::Incoming| async move {
/// #     let mut socket = incoming.accept().await?;
/// #     while let Some(message) = socket.recv().await {
/// #         socket.send(message?).await?;
/// #     }
/// #     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # }));
/// // const socket = new WebSocketStream(url);
/// let socket = WebSocketStream::new(&url, StreamOptions::default())?;
/// // const { readable, writable } = await socket.opened;
/// let StreamOpened { mut reader, mut writer, .. } = socket.opened().await?;
/// writer.write("hello").await?;
/// assert_eq!(reader.read().await.unwrap()?.as_text(), Some("hello"));
/// socket.close(CloseInfo::new(1000, "done"))?;
/// assert_eq!(socket.closed().await?, CloseInfo::new(1000, "done"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebSocketStream(Arc<Handle>);

/// What the clones share.
struct Handle {
    url: String,
    /// What came of opening.
    outcome: SetOnce<Result<Open, StreamError>>,
    /// Gives the attempt up.
    abandon: CancellationToken,
    unwritten: AtomicUsize,
}

/// An open connection.
struct Open {
    connection: Writer,
    /// What [`WebSocketStream::opened`] has not given yet.
    untaken: Mutex<Option<UnreadOpened>>,
}

struct UnreadOpened {
    reader: Reader,
    extensions: String,
    protocol: String,
    response: Response<()>,
}

/// What [`WebSocketStream::opened`] gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct StreamOpened {
    /// The socket itself.
    pub socket: WebSocketStream,
    /// What the server sends.
    pub reader: StreamReader,
    /// What is sent to the server.
    pub writer: StreamWriter,
    /// The extensions that the server chose; empty if none.
    pub extensions: String,
    /// The subprotocol that the server chose; empty if none was asked for.
    pub protocol: String,
    /// The answer that opened the connection, with its headers. Not in the proposal.
    pub response: Response<()>,
}

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    builder: Builder,
    protocols: Vec<String>,
    signal: Option<CancellationToken>,
}

impl StreamOptions {
    /// Sets the subprotocols; the server must choose one. Default none.
    pub fn protocols(mut self, protocols: impl Protocols) -> Self {
        self.protocols = protocols.into_list();
        self
    }

    /// Sets a token that gives the attempt up when it is cancelled; once the connection is open, it
    /// means nothing. Default none.
    pub fn signal(mut self, signal: CancellationToken) -> Self {
        self.signal = Some(signal);
        self
    }

    /// Sets what a page would have: its address, origin, cookies, limits, trusted authorities, its proxy.
    pub fn builder(mut self, builder: Builder) -> Self {
        self.builder = builder;
        self
    }
}

impl WebSocketStream {
    /// Begins to open a connection, and returns at once: [`opened`](Self::opened) gives the outcome.
    ///
    /// # Errors
    ///
    /// What [`WebSocket::new`](super::WebSocket::new) refuses. Then nothing is sent.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(url: &str, options: StreamOptions) -> Result<Self, DomException> {
        let StreamOptions { builder, protocols, signal } = options;
        let address = parse_url(url, builder.base())?;
        let handle = Arc::new(Handle {
            url: address.url().as_str().to_owned(),
            outcome: SetOnce::new(),
            abandon: CancellationToken::new(),
            unwritten: AtomicUsize::new(0),
        });
        let opening = builder.opening(address, protocols)?.run();
        let signal = signal.unwrap_or_default();
        if signal.is_cancelled() {
            handle.settle(Err(StreamError::Aborted));
        } else {
            let abandon = handle.abandon.clone();
            tokio::spawn(open(Arc::downgrade(&handle), opening, signal, abandon));
        }
        Ok(Self(handle))
    }

    /// Opens a connection: [`new`](Self::new) and [`opened`](Self::opened) in one. Dropped, it gives the
    /// attempt up.
    ///
    /// # Errors
    ///
    /// As both of them.
    pub async fn connect(url: &str, options: StreamOptions) -> Result<StreamOpened, StreamError> {
        Self::new(url, options)?.opened().await
    }

    /// Waits until the connection is open, and gives the reader and the writer: once.
    ///
    /// # Errors
    ///
    /// [`StreamError::Aborted`] if the token was cancelled, [`StreamError::WebSocket`] if the connection
    /// could not be opened or was closed before it was open, `InvalidStateError` if the reader and the
    /// writer were given before.
    pub async fn opened(&self) -> Result<StreamOpened, StreamError> {
        let open = self.0.outcome.wait().await.as_ref().map_err(Clone::clone)?;
        let untaken = open.untaken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(UnreadOpened { reader, extensions, protocol, response }) = untaken else {
            let text = "the reader and the writer were given before";
            return Err(DomException::InvalidState(text.to_owned()).into());
        };
        let (socket, connection) = (self.clone(), open.connection.clone());
        let reader = StreamReader { reader, connection, socket: socket.clone() };
        let writer = StreamWriter { connection: open.connection.clone(), socket: socket.clone() };
        Ok(StreamOpened { socket, reader, writer, extensions, protocol, response })
    }

    /// The URL in its normal form.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Starts to close, behind everything that was written; does nothing if that was begun before. A
    /// connection that is not open yet fails. A reason without a code goes with 1000.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](super::WebSocket::close). Then nothing has changed.
    pub fn close(&self, info: CloseInfo) -> Result<(), DomException> {
        let frame = info.into_frame()?;
        self.0.settle(Err(WebSocketError::failed(Cause::Abandoned).into()));
        if let Some(Ok(open)) = self.0.outcome.get() {
            open.connection.start_close(frame);
        }
        Ok(())
    }

    /// Waits for the end, and returns the server's code and reason if it was clean. Messages must be read, or the
    /// reader dropped, or the end is never seen behind them.
    ///
    /// # Errors
    ///
    /// As [`opened`](Self::opened) if the connection was not opened; [`StreamError::WebSocket`] when it
    /// failed, or something could not be written any more.
    pub async fn closed(&self) -> Result<CloseInfo, StreamError> {
        let open = self.0.outcome.wait().await.as_ref().map_err(Clone::clone)?;
        Ok(self.ended(&open.connection).await?)
    }

    /// Waits for the end of an open connection.
    async fn ended(&self, connection: &Writer) -> Result<CloseInfo, WebSocketError> {
        let closed = connection.ended().await;
        if closed.is_clean() && self.0.unwritten.load(Ordering::Acquire) == 0 {
            return Ok(CloseInfo::from_closed(&closed));
        }
        Err(WebSocketError::from_closed(&closed))
    }
}

/// Opens the connection, unless that is given up.
async fn open(
    handle: Weak<Handle>,
    opening: impl Future<Output = Result<Connected, Cause>>,
    signal: CancellationToken,
    abandon: CancellationToken,
) {
    let outcome = tokio::select! {
        biased;
        () = abandon.cancelled() => return,
        () = signal.cancelled() => Err(StreamError::Aborted),
        opened = opening => {
            opened.map(Open::new).map_err(|cause| WebSocketError::failed(cause).into())
        }
    };
    if let Some(handle) = handle.upgrade() {
        handle.settle(outcome);
    }
}

impl Handle {
    /// Notes what came of opening; what comes later does not count.
    fn settle(&self, outcome: Result<Open, StreamError>) {
        if self.outcome.set(outcome).is_ok() {
            self.abandon.cancel();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.abandon.cancel();
    }
}

impl Open {
    fn new(connected: Connected) -> Self {
        let Connected { socket, extensions, protocol, response } = connected;
        let (reader, connection) = socket.split();
        let untaken = UnreadOpened { reader, extensions, protocol, response };
        Self { connection, untaken: Mutex::new(Some(untaken)) }
    }
}

impl fmt::Debug for WebSocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// What the server sends: a [`Stream`] of messages. While it is not read, the server has to wait.
#[derive(Debug)]
pub struct StreamReader {
    reader: Reader,
    connection: Writer,
    /// Kept, as a stream keeps its socket.
    #[expect(dead_code, reason = "what it holds is dropped with it")]
    socket: WebSocketStream,
}

impl StreamReader {
    /// The next message; `None` at a clean end.
    ///
    /// # Errors
    ///
    /// Once, when the connection failed.
    pub async fn read(&mut self) -> Option<Result<Message, WebSocketError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Reads no more and closes the connection, with the code and reason of an error if one is given.
    pub fn cancel(self, error: Option<&WebSocketError>) {
        self.connection.start_close(error.and_then(WebSocketError::frame));
    }
}

impl Stream for StreamReader {
    type Item = Result<Message, WebSocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.reader).poll_next(cx);
        next.map(|next| next.map(|result| result.map_err(WebSocketError::failed)))
    }
}

/// What is sent to the server.
#[derive(Debug)]
pub struct StreamWriter {
    connection: Writer,
    socket: WebSocketStream,
}

impl StreamWriter {
    /// Sends text or bytes; waits until the network has taken all but the last 64 KiB of it.
    ///
    /// # Errors
    ///
    /// `InvalidStateError` when the connection is closing or closed; [`StreamError::WebSocket`] when it
    /// ends before all is written.
    pub async fn write(&mut self, chunk: impl Into<Message>) -> Result<(), StreamError> {
        let connection = &self.connection;
        let mut unwritten = Unwritten::begin(&self.socket.0.unwritten);
        match connection.send(chunk).await {
            Ok(()) => {}
            Err(error) if error.is_closed() => {
                return Err(DomException::InvalidState(error.to_string()).into());
            }
            Err(error) => return Err(WebSocketError::failed(error).into()),
        }
        // There is room, too, when nothing can be written any more.
        let _ = poll_fn(|cx| Pin::new(&mut connection.clone()).poll_ready(cx)).await;
        match connection.closed() {
            Some(closed) => {
                unwritten.lost = true;
                Err(WebSocketError::from_closed(&closed).into())
            }
            None => Ok(()),
        }
    }

    /// Closes the connection without a code, behind everything that was written; waits for the end.
    ///
    /// # Errors
    ///
    /// When the end is not a clean one.
    pub async fn close(self) -> Result<(), WebSocketError> {
        self.connection.start_close(None);
        self.socket.ended(&self.connection).await.map(|_| ())
    }

    /// Writes no more and closes the connection, with the code and reason of an error if one is given.
    pub fn abort(self, error: Option<&WebSocketError>) {
        self.connection.start_close(error.and_then(WebSocketError::frame));
    }
}

/// A write in progress: while there is one, or after one was lost, the end is not clean.
struct Unwritten<'a> {
    count: &'a AtomicUsize,
    lost: bool,
}

impl<'a> Unwritten<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self { count, lost: false }
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if !self.lost {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A code and a reason for closing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseInfo {
    /// The code; none for an empty Close. What the server sent is 1005 if there was none.
    pub close_code: Option<u16>,
    /// The reason.
    pub reason: String,
}

impl CloseInfo {
    /// A code with a reason, which may be empty. [`CloseInfo::default`] has neither.
    pub fn new(close_code: impl Into<Option<u16>>, reason: impl Into<String>) -> Self {
        Self { close_code: close_code.into(), reason: reason.into() }
    }

    fn into_frame(mut self) -> Result<Option<CloseFrame>, DomException> {
        if self.close_code.is_none() && !self.reason.is_empty() {
            self.close_code = Some(1000);
        }
        check_close(self.close_code, &self.reason)
    }

    fn from_closed(closed: &Closed) -> Self {
        Self { close_code: Some(closed.code()), reason: closed.reason().to_owned() }
    }
}

/// A connection that was not closed cleanly, or never opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct WebSocketError {
    message: String,
    info: CloseInfo,
    #[source]
    cause: Option<Arc<Cause>>,
}

impl WebSocketError {
    /// An application's error, for [`StreamWriter::abort`] and [`StreamReader::cancel`]. A reason without
    /// a code goes with 1000.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::close`].
    pub fn new(message: impl Into<String>, mut info: CloseInfo) -> Result<Self, DomException> {
        if let Some(frame) = info.clone().into_frame()? {
            info.close_code = Some(frame.code().as_u16());
        }
        Ok(Self { message: message.into(), info, cause: None })
    }

    /// Its name, as scripts know it.
    pub fn name(&self) -> &'static str {
        "WebSocketError"
    }

    /// The code: that of the server's Close, 1006 if the connection failed; `None` if an error of
    /// one's own has none.
    pub fn close_code(&self) -> Option<u16> {
        self.info.close_code
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.info.reason
    }

    /// Why the connection failed, where that is known. Not in the standard.
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_deref()
    }

    fn failed(cause: impl Into<Cause>) -> Self {
        Self {
            message: "the connection failed".to_owned(),
            info: CloseInfo::new(1006, ""),
            cause: Some(Arc::new(cause.into())),
        }
    }

    fn from_closed(closed: &Closed) -> Self {
        let failure = closed.failure.map(|failure: Failure| Error::Failed(failure));
        Self {
            message: "the connection was not closed cleanly".to_owned(),
            info: CloseInfo::from_closed(closed),
            cause: failure.map(|error| Arc::new(error.into())),
        }
    }

    fn frame(&self) -> Option<CloseFrame> {
        self.info.clone().into_frame().ok().flatten()
    }
}

/// What can go wrong with a [`WebSocketStream`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The token was cancelled before the connection was open.
    #[error("it was aborted")]
    Aborted,
    /// A call that is not allowed.
    #[error(transparent)]
    Exception(#[from] DomException),
    /// The connection failed.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

impl StreamError {
    /// The same, if the connection failed.
    pub fn as_websocket_error(&self) -> Option<&WebSocketError> {
        match self {
            Self::WebSocket(error) => Some(error),
            Self::Aborted | Self::Exception(_) => None,
        }
    }
}
