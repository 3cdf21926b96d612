//! What listeners are told: `Event`, `MessageEvent` and `CloseEvent`.

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{Data, WebSocket};

/// Something that happened on a [`WebSocket`].
#[derive(Debug)]
pub struct Event {
    init: EventInit,
    target: WebSocket,
    stopped: AtomicBool,
}

impl Event {
    pub(super) fn new(target: WebSocket, init: EventInit) -> Self {
        Self { init, target, stopped: AtomicBool::new(false) }
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
#[derive(Debug, Clone, Copy)]
pub struct MessageEvent<'a> {
    event: &'a Event,
    data: &'a Data,
    origin: &'a str,
}

impl<'a> MessageEvent<'a> {
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
#[derive(Debug, Clone, Copy)]
pub struct CloseEvent<'a> {
    event: &'a Event,
    init: &'a CloseEventInit,
}

impl<'a> CloseEvent<'a> {
    /// Whether both sides said goodbye before the connection ended.
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

/// An event of one's own, for [`WebSocket::dispatch_event`].
#[derive(Debug, Clone)]
pub struct EventInit {
    name: Cow<'static, str>,
    detail: Detail,
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
        Self { name: name.into(), detail: Detail::None }
    }

    /// A `MessageEvent`.
    pub fn message(
        name: impl Into<Cow<'static, str>>,
        data: impl Into<Data>,
        origin: impl Into<String>,
    ) -> Self {
        let detail = Detail::Message { data: data.into(), origin: origin.into() };
        Self { name: name.into(), detail }
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

    /// A `CloseEvent`.
    pub fn close(name: impl Into<Cow<'static, str>>, init: CloseEventInit) -> Self {
        Self { name: name.into(), detail: Detail::Close(init) }
    }
}

/// The fields of a [`CloseEvent`]; by default not clean, 0 and empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloseEventInit {
    /// Whether both sides said goodbye.
    pub was_clean: bool,
    /// The code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}
