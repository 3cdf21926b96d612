//! What listeners are told: `Event`, `MessageEvent` and `CloseEvent`.

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{Data, WebSocket};
use crate::clock;

/// Something that happened on a [`WebSocket`].
#[derive(Debug)]
pub struct Event {
    init: EventInit,
    target: WebSocket,
    time_stamp: Instant,
    is_trusted: bool,
    stopped: AtomicBool,
    default_prevented: AtomicBool,
}

impl Event {
    /// An event of the socket itself, if it is trusted; else one that a program has made.
    pub(super) fn new(target: WebSocket, init: EventInit, is_trusted: bool) -> Self {
        Self {
            init,
            target,
            time_stamp: clock::now(),
            is_trusted,
            stopped: AtomicBool::new(false),
            default_prevented: AtomicBool::new(false),
        }
    }

    /// Its name: `open`, `message`, `error`, `close`, or that of a synthetic event. (`type` in
    /// scripts.)
    pub fn name(&self) -> &str {
        &self.init.name
    }

    /// The socket that it happened on. Listeners should use this one: a socket captured by its own
    /// listener is kept for ever.
    pub fn target(&self) -> &WebSocket {
        &self.target
    }

    /// When it was made, by tokio's clock.
    pub fn time_stamp(&self) -> Instant {
        self.time_stamp
    }

    /// Whether it comes from the socket itself, and not from
    /// [`dispatch_event`](WebSocket::dispatch_event).
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Whether its default can be prevented: only a synthetic event that says so.
    pub fn cancelable(&self) -> bool {
        self.init.cancelable
    }

    /// Prevents its default, if it is cancelable: [`dispatch_event`](WebSocket::dispatch_event) tells.
    pub fn prevent_default(&self) {
        if self.init.cancelable {
            self.default_prevented.store(true, Ordering::Relaxed);
        }
    }

    /// Whether its default was prevented.
    pub fn default_prevented(&self) -> bool {
        self.default_prevented.load(Ordering::Relaxed)
    }

    /// The same, if it is a `MessageEvent`.
    pub fn as_message(&self) -> Option<MessageEvent<'_>> {
        match &self.init.detail {
            Detail::Message { data, origin } => Some(MessageEvent { event: self, data, origin }),
            Detail::Close(_) | Detail::None => None,
        }
    }

    /// The same, if it is a `CloseEvent`.
    pub fn as_close(&self) -> Option<CloseEvent<'_>> {
        match &self.init.detail {
            Detail::Close(init) => Some(CloseEvent { event: self, init }),
            Detail::Message { .. } | Detail::None => None,
        }
    }

    /// Keeps it from the listeners that have not been called yet.
    pub fn stop_immediate_propagation(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// The class's name, as scripts see it: `[object Event]`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.init.detail {
            Detail::None => "[object Event]",
            Detail::Message { .. } => "[object MessageEvent]",
            Detail::Close(_) => "[object CloseEvent]",
        })
    }
}

/// A message was received.
///
/// An event `message` of another class, which only a program can dispatch, has an empty text here, and
/// [`as_message`](Event::as_message) gives `None` for it.
#[derive(Debug, Clone, Copy)]
pub struct MessageEvent<'a> {
    event: &'a Event,
    data: &'a Data,
    origin: &'a str,
}

impl<'a> MessageEvent<'a> {
    /// What a handler for messages is called with, whatever the class of the event.
    pub(super) fn of(event: &'a Event) -> Self {
        static NONE: LazyLock<Data> = LazyLock::new(|| "".into());
        event.as_message().unwrap_or_else(|| Self { event, data: &NONE, origin: "" })
    }

    /// The message: text, or bytes as the socket's [`binary_type`](WebSocket::binary_type) was when
    /// it was delivered.
    pub fn data(&self) -> &'a Data {
        self.data
    }

    /// The origin of the socket's URL, such as `ws://127.0.0.1:9001`.
    pub fn origin(&self) -> &'a str {
        self.origin
    }
}

impl Deref for MessageEvent<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
    }
}

/// The connection is closed.
///
/// An event `close` of another class, which only a program can dispatch, is that of
/// [`CloseEventInit::default`] here, and [`as_close`](Event::as_close) gives `None` for it.
#[derive(Debug, Clone, Copy)]
pub struct CloseEvent<'a> {
    event: &'a Event,
    init: &'a CloseEventInit,
}

impl<'a> CloseEvent<'a> {
    /// What a handler for the end is called with, whatever the class of the event.
    pub(super) fn of(event: &'a Event) -> Self {
        static NONE: CloseEventInit =
            CloseEventInit { was_clean: false, code: 0, reason: String::new() };
        event.as_close().unwrap_or(Self { event, init: &NONE })
    }

    /// Whether the closing handshake was complete before the connection ended.
    pub fn was_clean(&self) -> bool {
        self.init.was_clean
    }

    /// The code received; 1005 if the server gave none, 1006 if the connection failed.
    pub fn code(&self) -> u16 {
        self.init.code
    }

    /// The reason received; empty if there was none.
    pub fn reason(&self) -> &'a str {
        &self.init.reason
    }
}

impl Deref for CloseEvent<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
    }
}

/// A synthetic event, for [`WebSocket::dispatch_event`].
#[derive(Debug, Clone)]
pub struct EventInit {
    name: Cow<'static, str>,
    detail: Detail,
    cancelable: bool,
}

#[derive(Debug, Clone)]
enum Detail {
    None,
    Message { data: Data, origin: String },
    Close(CloseEventInit),
}

impl EventInit {
    /// A plain event.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self::with(name.into(), Detail::None)
    }

    /// A `MessageEvent`.
    pub fn message(
        name: impl Into<Cow<'static, str>>,
        data: impl Into<Data>,
        origin: impl Into<String>,
    ) -> Self {
        let detail = Detail::Message { data: data.into(), origin: origin.into() };
        Self::with(name.into(), detail)
    }

    /// A `CloseEvent`.
    pub fn close(name: impl Into<Cow<'static, str>>, init: CloseEventInit) -> Self {
        Self::with(name.into(), Detail::Close(init))
    }

    /// Lets listeners prevent its default, whatever that is: see [`Event::prevent_default`]. Default
    /// not, as for the events of a socket.
    pub fn cancelable(mut self) -> Self {
        self.cancelable = true;
        self
    }

    fn with(name: Cow<'static, str>, detail: Detail) -> Self {
        Self { name, detail, cancelable: false }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.detail, Detail::Message { .. })
    }

    /// How many bytes of payload it has.
    pub(super) fn message_size(&self) -> u64 {
        match &self.detail {
            Detail::Message { data, .. } => data.size(),
            Detail::Close(_) | Detail::None => 0,
        }
    }
}

/// The fields of a [`CloseEvent`]; by default not clean, 0 and empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseEventInit {
    /// Whether the closing handshake was complete.
    pub was_clean: bool,
    /// The code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

impl CloseEventInit {
    /// Sets [`was_clean`](Self::was_clean).
    pub fn was_clean(mut self, was_clean: bool) -> Self {
        self.was_clean = was_clean;
        self
    }

    /// Sets [`code`](Self::code).
    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// Sets [`reason`](Self::reason).
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}
