//! The socket that an application holds.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use http::Response;
use sockeye_proto::{CloseCode, CloseFrame};

use super::{
    BinaryType, Builder, Cause, CloseEvent, Data, DomException, Event, EventInit, EventListener,
    ListenerId, ListenerOptions, MessageEvent, Protocols, ReadyState, listener::Callback,
    opening::Opening, state::Inner, task, turn::Turn,
};
/// A WebSocket as browsers have it. Clones are the same socket.
///
/// Events are told on a task of the socket's own, one after the other, never inside of the method that
/// caused them. Listeners must not block; they may call everything here, and spawn tasks.
///
/// Dropping the last clone closes the connection without a code, after everything that was sent, and
/// no listener is called. (A page's socket would live as long as it has listeners: in Rust, the program
/// keeps it.)
#[derive(Clone)]
pub struct WebSocket(Arc<Handle>);

/// Constructors.
impl WebSocket {
    /// Being opened: 0.
    pub const CONNECTING: ReadyState = ReadyState::Connecting;
    /// Open: 1.
    pub const OPEN: ReadyState = ReadyState::Open;
    /// Being closed: 2.
    pub const CLOSING: ReadyState = ReadyState::Closing;
    /// Closed: 3.
    pub const CLOSED: ReadyState = ReadyState::Closed;

    /// Opens a WebSocket to a `ws`, `wss`, `http` or `https` URL, the latter two meaning the former.
    /// The subprotocols are `()`, one string or a list of them; if there are any, the server must
    /// choose one. Returns at once; `open`, or `error` and `close`, say what came of it.
    ///
    /// Nothing happens until the task that calls this awaits something: there is time to add listeners,
    /// as on a page. On a thread that runs no tasks (the one that blocks on `main` beside a
    /// multi-threaded runtime, or one of `spawn_blocking`) it is not known when that is: there, an event
    /// without a listener is dispatched to the first listener that is added for it, however late. Of
    /// messages, at most 16 or 64 KiB are kept.
    ///
    /// # Errors
    ///
    /// `SyntaxError` when the URL or a subprotocol is invalid, the URL has a fragment, or a subprotocol
    /// occurs twice. Then nothing is sent.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(url: &str, protocols: impl Protocols) -> Result<Self, DomException> {
        Self::builder().open(url, protocols)
    }

    /// As [`new`](Self::new), with listeners that are added before anything can happen, on any thread.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sockeye::web::DomException> {
    /// use sockeye::web::WebSocket;
    ///
    /// let socket = WebSocket::new_with("ws://127.0.0.1:9001/", (), |socket| {
    ///     socket.set_onmessage(|event| println!("{}", event.data()));
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new_with(
        url: &str,
        protocols: impl Protocols,
        listen: impl FnOnce(&Self),
    ) -> Result<Self, DomException> {
        Self::builder().open_with(url, protocols, listen)
    }

    /// Settings that a page would have: its own address, origin, cookies, limits.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn start(opening: Opening, max_buffered: u64, listen: impl FnOnce(&Self)) -> Self {
        let inner = Arc::new(Inner::new(opening.address.url().clone(), max_buffered));
        let socket = Self(Arc::new(Handle { inner: inner.clone() }));
        listen(&socket);
        let turn = Turn::of_this_task();
        if turn.is_none() {
            inner.events.keep_missed();
        }
        tokio::spawn(task::run(inner, socket.downgrade(), opening, turn));
        socket
    }
}

/// Attributes.
impl WebSocket {
    /// The URL in its normal form, with the scheme `ws` or `wss`.
    pub fn url(&self) -> &str {
        self.inner().url.as_str()
    }

    /// The state of the socket.
    pub fn ready_state(&self) -> ReadyState {
        self.inner().state().ready_state
    }

    /// How many bytes of payload were sent and have not been written yet; what was sent when the socket
    /// was closing or closed stays in it for ever.
    ///
    /// It grows in [`send`](Self::send). It shrinks only when the socket's task runs: never while a
    /// listener does, nor, on a current-thread runtime, between two awaits.
    pub fn buffered_amount(&self) -> u64 {
        self.inner().state().buffered
    }

    /// The extensions that the server chose; empty until open, or if none.
    pub fn extensions(&self) -> String {
        self.inner().state().extensions.clone()
    }

    /// The subprotocol that the server chose; empty until open, or if none was asked for.
    pub fn protocol(&self) -> String {
        self.inner().state().protocol.clone()
    }

    /// The answer that opened the connection, with its headers; `None` until open. Not in the standard:
    /// a page is shown nothing of it. What a server answered that did not agree is in
    /// [`last_error`](Self::last_error).
    pub fn response(&self) -> Option<Arc<Response<()>>> {
        self.inner().state().response.clone()
    }

    /// As what binary messages arrive. Default [`BinaryType::Blob`].
    pub fn binary_type(&self) -> BinaryType {
        self.inner().state().binary_type
    }

    /// Sets as what binary messages arrive, from the next event on.
    pub fn set_binary_type(&self, binary_type: BinaryType) {
        self.inner().state().binary_type = binary_type;
    }

    /// Why the connection failed, if it did. Not in the standard: events tell a page nothing of it.
    pub fn last_error(&self) -> Option<Arc<Cause>> {
        self.inner().state().cause.clone()
    }
}

/// Methods.
impl WebSocket {
    /// Sends text, bytes or a [blob](super::Blob). Never waits: see
    /// [`buffered_amount`](Self::buffered_amount). Messages go out in the order of the calls, blobs
    /// included. While the socket is closing or closed, does nothing but count.
    ///
    /// # Errors
    ///
    /// `InvalidStateError` while the connection is being opened.
    pub fn send(&self, data: impl Into<Data>) -> Result<(), DomException> {
        let data = data.into();
        let mut state = self.inner().state();
        if state.ready_state == ReadyState::Connecting {
            return Err(DomException::InvalidState("the socket is not open yet".to_owned()));
        }
        state.send(data);
        Ok(())
    }

    /// Closes the connection, after everything that was sent; if it is not open yet, gives it up.
    /// The code is 1000 or an application's own, from 3000 to 4999; without a code and a reason, the Close
    /// frame is empty. Calling it again does nothing.
    ///
    /// ```no_run
    /// # async fn example(socket: sockeye::web::WebSocket) -> Result<(), sockeye::web::DomException> {
    /// socket.close(None, "")?; // or
    /// socket.close(1000, "done")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidAccessError` for any other code, and for a reason without a code; `SyntaxError` for a
    /// reason of more than 123 bytes. Then nothing has changed.
    pub fn close(&self, code: impl Into<Option<u16>>, reason: &str) -> Result<(), DomException> {
        let frame = check_close(code.into(), reason)?;
        self.inner().state().close(frame);
        Ok(())
    }
}

/// Events.
impl WebSocket {
    /// Sets the handler of `open`: the connection is open.
    pub fn set_onopen(&self, handler: impl Fn(&Event) + Send + Sync + 'static) {
        self.set_handler("open", Arc::new(handler));
    }

    /// Sets the handler of `message`: one for each message.
    pub fn set_onmessage(&self, handler: impl Fn(MessageEvent<'_>) + Send + Sync + 'static) {
        let handler = move |event: &Event| handler(MessageEvent::of(event));
        self.set_handler("message", Arc::new(handler));
    }

    /// Sets the handler of `error`: the connection failed. `close` follows.
    pub fn set_onerror(&self, handler: impl Fn(&Event) + Send + Sync + 'static) {
        self.set_handler("error", Arc::new(handler));
    }

    /// Sets the handler of `close`: the connection is closed. Always the last event.
    pub fn set_onclose(&self, handler: impl Fn(CloseEvent<'_>) + Send + Sync + 'static) {
        let handler = move |event: &Event| handler(CloseEvent::of(event));
        self.set_handler("close", Arc::new(handler));
    }

    /// Whether there is an `on…` for the event of this name.
    pub fn has_handler(&self, name: &str) -> bool {
        self.inner().events.has_handler(name)
    }

    /// Removes the `on…` for the event of this name, as a script does with `onopen = null`.
    pub fn remove_handler(&self, name: &str) {
        self.inner().events.remove_handler(name);
    }

    /// Adds a listener for events of a name; they are called in the order in which they were added. An
    /// `on…` has the place in which it was first set.
    pub fn add_event_listener(
        &self,
        name: &str,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> ListenerId {
        self.add_event_listener_with(
            name,
            &EventListener::new(listener),
            ListenerOptions::default(),
        )
    }

    /// Adds a listener for the next event of a name only.
    pub fn add_event_listener_once(
        &self,
        name: &str,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> ListenerId {
        let once = ListenerOptions::default().once();
        self.add_event_listener_with(name, &EventListener::new(listener), once)
    }

    /// Adds a listener with options. The same one for the same name, capturing or not, is there once
    /// however often it is added: it keeps its place and its other options.
    ///
    /// ```
    /// # async fn example(socket: sockeye::web::WebSocket) {
    /// use sockeye::web::{EventListener, ListenerOptions};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let shown = CancellationToken::new();
    /// let listener = EventListener::new(|event| println!("{}", event.name()));
    /// for name in ["open", "message", "close"] {
    ///     let options = ListenerOptions::default().signal(shown.clone());
    ///     socket.add_event_listener_with(name, &listener, options);
    /// }
    /// shown.cancel(); // removes all three
    /// # }
    /// ```
    pub fn add_event_listener_with(
        &self,
        name: &str,
        listener: &EventListener,
        options: ListenerOptions,
    ) -> ListenerId {
        let id = self.inner().events.add(name, listener.0.clone(), options);
        self.wake_for_missed();
        id
    }

    /// Removes a listener; from now on it is not called, not even for an event that others are just
    /// being told.
    pub fn remove_event_listener(&self, listener: ListenerId) {
        self.inner().events.remove(listener);
    }

    /// Dispatches a synthetic event to the listeners, at once. It does not change the socket. False
    /// if a listener has [prevented](Event::prevent_default) its default.
    pub fn dispatch_event(&self, event: EventInit) -> bool {
        self.dispatch(event, false)
    }

    fn dispatch(&self, event: EventInit, is_trusted: bool) -> bool {
        let event = Event::new(self.clone(), event, is_trusted);
        self.inner().events.dispatch(&event);
        !event.default_prevented()
    }

    fn set_handler(&self, name: &str, handler: Callback) {
        self.inner().events.set_handler(name, handler);
        self.wake_for_missed();
    }

    fn wake_for_missed(&self) {
        if self.inner().events.has_missed() {
            self.inner().state().wake_task();
        }
    }

    fn inner(&self) -> &Inner {
        &self.0.inner
    }

    fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }
}

/// The same socket.
impl PartialEq for WebSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for WebSocket {}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("url", &self.url())
            .field("ready_state", &self.ready_state())
            .finish_non_exhaustive()
    }
}

/// The socket, as its task knows it: it does not keep it.
pub(super) struct WeakSocket(Weak<Handle>);

impl WeakSocket {
    /// Calls the listeners, unless the socket is dropped; keeps an event that has no listener
    /// if such events are kept.
    pub(super) fn dispatch(&self, event: EventInit) {
        if let Some(handle) = self.0.upgrade()
            && let Some(event) = handle.inner.events.keep_if_missed(event)
        {
            WebSocket(handle).dispatch(event, true);
        }
    }

    /// Calls the listeners for an event that was kept, unless the socket is dropped.
    pub(super) fn dispatch_missed(&self, event: EventInit) {
        if let Some(handle) = self.0.upgrade() {
            WebSocket(handle).dispatch(event, true);
        }
    }
}

/// What the clones share; gone with the last of them.
struct Handle {
    inner: Arc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.events.clear();
        let mut state = self.inner.state();
        state.close(None);
        // It may wait for listeners only.
        state.wake_task();
    }
}

/// The Close frame for what was given, if that is allowed: first the code is judged, then the reason.
pub(super) fn check_close(
    code: Option<u16>,
    reason: &str,
) -> Result<Option<CloseFrame>, DomException> {
    // `close("reason")` is how a script comes to a reason without a code: it has the code 0.
    let code = code.or((!reason.is_empty()).then_some(0));
    let Some(code) = code else { return Ok(None) };
    let allowed = CloseCode::try_from(code).ok().filter(|_| code == 1000 || code >= 3000);
    let Some(code) = allowed else {
        let text = format!("the close code {code} is neither 1000 nor 3000-4999");
        return Err(DomException::InvalidAccess(text));
    };
    let frame = CloseFrame::new(code, reason);
    frame.map(Some).map_err(|error| DomException::Syntax(error.to_string()))
}
