//! What passes on a connection, for the taps of it and of the channels that it reads.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use serde_json::Value;
use sockeye::{CloseSignal, Closed};
use sockeye_hub::{ChannelName, Hub, Page, Position};

use super::{ChannelRead, ConnectionRecord, ConnectionRegister, Deliveries, RecordState, lock};
use crate::http::problem::Code;
use crate::json::quoted;
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::tap::event::{self, Data};
use crate::tap::{Attempt, Tap, Taps, Target, TooMany};

/// Counts a tap at its connection, until this is dropped.
///
/// The connection is not held: its permits are free when it ends.
#[derive(Debug)]
pub(crate) struct Tapping(Weak<RecordState>);

/// Why a connection is not tapped.
#[derive(Debug)]
pub(crate) enum NotTapped {
    /// No connection has that number.
    NotFound,
    TooMany,
}

/// Where a publication comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PublishedBy<'a> {
    /// A request of this client.
    Request(&'a Peer),
    Connection(&'a ConnectionRecord),
    /// A connection that reads this.
    Reader(&'a ChannelRead),
}

impl ConnectionRegister {
    /// Opens a tap of a connection, and gives what is known of that until now.
    pub(crate) fn tap(
        &self,
        number: u64,
        hub: &Hub,
        max_data: usize,
    ) -> Result<(Tap, Tapping, Value), NotTapped> {
        let state = lock(&self.open).get(number).cloned().ok_or(NotTapped::NotFound)?;
        let tap = self.taps.open(Target::Connection(number), max_data);
        let tap = tap.map_err(|TooMany| NotTapped::TooMany)?;
        state.taps.fetch_add(1, Relaxed);
        let tapping = Tapping(Arc::downgrade(&state));
        if lock(&self.open).get(number).is_none() {
            // It has ended meanwhile, and may not have seen the tap.
            self.taps.end_connection(number, |_| event::end(state.end().name()));
        }
        Ok((tap, tapping, state.json(hub)))
    }

    /// Opens a tap of a channel.
    pub(crate) fn tap_channel(
        &self,
        channel: &ChannelName,
        max_data: usize,
    ) -> Result<Tap, TooMany> {
        self.taps.open(Target::Channel(channel.clone()), max_data)
    }

    /// A publication of that many bytes begins. Nothing is made where no tap shows the channel.
    pub(crate) fn publication(
        &self,
        channel: &ChannelName,
        size: usize,
        (by, subject): (PublishedBy<'_>, Option<&str>),
    ) -> Option<Box<Attempt>> {
        self.taps.publication(channel, size, || by.json(subject))
    }

    /// A publication whose client says that it has `size` bytes was refused before it [began](Self::publication).
    pub(crate) fn refused(
        &self,
        channel: &ChannelName,
        (code, size): (Code, u64),
        (by, subject): (PublishedBy<'_>, Option<&str>),
    ) {
        self.taps.on_channel(channel, |_| event::refused(code, size, &by.json(subject)));
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        if let Some(state) = self.0.upgrade() {
            state.taps.fetch_sub(1, Relaxed);
        }
    }
}

impl PublishedBy<'_> {
    fn json(self, subject: Option<&str>) -> String {
        let members = match self {
            Self::Request(peer) => format!("\"transport\":\"http\"{}", Client(subject, peer)),
            Self::Connection(ConnectionRecord { state, .. })
            | Self::Reader(ChannelRead { state, .. }) => state.members(),
        };
        format!("{{{members}}}")
    }
}

/// `,"subject":…,"address":…`, as far as they are known.
struct Client<'a>(Option<&'a str>, &'a Peer);

impl Display for Client<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(subject, peer) = self;
        if let Some(subject) = subject {
            write!(f, ",\"subject\":{}", quoted(subject))?;
        }
        peer.address().map_or(Ok(()), |address| write!(f, ",\"address\":\"{address}\""))
    }
}

impl RecordState {
    /// `"connection":…,"transport":…,"subject":…,"address":…`
    fn members(&self) -> String {
        let (number, transport) = (self.number, self.transport.name());
        let subject = self.subject();
        let client = Client(subject.as_deref(), &self.peer);
        format!("\"connection\":{number},\"transport\":\"{transport}\"{client}")
    }

    fn is_tapped(&self) -> bool {
        self.taps.load(Relaxed) > 0
    }

    fn show_messages(&self, taps: &Taps, (channel, page): (&ChannelName, &Page)) {
        for entry in &page.entries {
            taps.on_connection(self.number, |max| event::delivered(channel, entry, max));
        }
    }

    fn show(&self, taps: &Taps, event: impl Fn(usize) -> String) {
        if self.is_tapped() {
            taps.on_connection(self.number, event);
        }
    }
}

impl ConnectionRecord {
    /// Whether a tap shows what passes on it.
    pub(crate) fn is_tapped(&self) -> bool {
        self.state.is_tapped()
    }

    fn show(&self, event: impl Fn(usize) -> String) {
        self.state.show(&self.register.taps, event);
    }

    /// The client has sent something of that kind. `data` is made for taps alone.
    pub(crate) fn show_received<'a>(&self, kind: &str, data: impl Fn() -> Data<'a>) {
        self.show(|max| event::received(kind, data(), max));
    }

    /// Something of that kind is sent to the client.
    pub(crate) fn show_sent(&self, kind: &str, text: &str) {
        self.show(|max| event::sent(kind, Data::Json(text), max));
    }

    /// A Close is sent to the client.
    pub(crate) fn show_close(&self, code: u16, reason: &str) {
        self.show(|_| event::close("server", code, reason));
    }

    /// How the client closed the connection.
    pub(crate) fn show_closed(&self, closed: &Closed) {
        match &closed.received {
            CloseSignal::Absent => self.show(|_| event::close("network", 1006, "")),
            _ => self.show(|_| event::close("client", closed.code(), closed.reason())),
        }
    }

    pub(super) fn show_end(&self, end: End) {
        if self.is_tapped() {
            let taps = &self.register.taps;
            taps.end_connection(self.state.number, |_| event::end(end.name()));
        }
    }
}

impl Deliveries {
    /// The messages of a page were handed to the connection.
    pub(super) fn show(&self, page: &Page, register: &ConnectionRegister) {
        if self.state.is_tapped() {
            self.state.show_messages(&register.taps, (&self.position().channel, page));
        }
    }
}

impl ChannelRead {
    /// The client has sent something of that kind on this channel.
    pub(crate) fn show_received<'a>(&self, kind: &str, data: impl Fn() -> Data<'a>) {
        self.state.show(&self.register.taps, |max| event::received(kind, data(), max));
    }

    pub(super) fn show_subscribed(&self, at: Position) {
        let of_reader = |_| event::subscribed(&self.state.members(), at);
        self.register.taps.on_channel(self.channel(), of_reader);
        let on_connection = |_| event::subscribed(&self.named(), at);
        self.state.show(&self.register.taps, on_connection);
    }

    pub(super) fn show_unsubscribed(&self) {
        let why = self.state.end().name();
        let of_reader = |_| event::unsubscribed(&self.state.members(), why);
        self.register.taps.on_channel(self.channel(), of_reader);
        let on_connection = |_| event::unsubscribed(&self.named(), why);
        self.state.show(&self.register.taps, on_connection);
    }

    pub(super) fn show_delivered(&self, page: &Page) {
        let taps = &self.register.taps;
        if let Some(gap) = &page.gap {
            taps.on_channel(self.channel(), |_| event::gap(&self.state.members(), gap));
        }
        if !self.state.is_tapped() {
            return;
        }
        if let Some(gap) = &page.gap {
            taps.on_connection(self.state.number, |_| event::gap(&self.named(), gap));
        }
        self.state.show_messages(taps, (self.channel(), page));
    }

    /// `"channel":…`
    fn named(&self) -> String {
        format!("\"channel\":\"{}\"", self.channel())
    }
}
