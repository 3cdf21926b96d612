//! A case: what is sent, what is expected, and what it means when something else comes.
//!
//! The chapters (`chapters/`) are lists of cases, made with the functions here.

use sockeye_wire::{Frame, Role};

/// One rule, and how it is tried.
#[derive(Clone, Debug)]
pub struct Case {
    /// The chapter and the case, as `framing/rsv2-text`.
    pub id: String,
    /// Where the rule is, as `RFC 6455 §5.2`.
    pub section: &'static str,
    /// What is tried, in a line.
    pub title: String,
    /// What a peer that does otherwise is.
    pub level: Level,
    /// What the peer has to do for this to be tried.
    pub needs: Vec<Need>,
    /// Which end is tried; `None` for both.
    pub side: Option<Role>,
    /// The opening handshake.
    pub opening: Opening,
    /// What is sent once the WebSocket is open.
    pub steps: Vec<Step>,
    /// What has to come.
    pub expect: Expect,
}

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// MUST: a peer that does otherwise is broken.
    Must,
    /// SHOULD, or a sender's MUST that receivers are safer to check: otherwise it is loose.
    Should,
    /// Nothing is demanded: what the peer does is told.
    May,
}

/// What a case cannot be judged without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The peer sends every message back.
    Echo,
    /// It agrees on permessage-deflate.
    Deflate,
    /// It opens WebSockets over HTTP/2.
    Http2,
    /// It lets compressed messages refer to earlier ones.
    Takeover,
}

/// The opening handshake of a case: the right one, and what is changed in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Changes of the request, or of the response where a client is tried.
    pub edits: Vec<Edit>,
    /// What is offered as `Sec-WebSocket-Extensions`, or answered by it where a client is tried.
    pub extensions: Option<&'static str>,
    /// One byte at a time.
    pub is_slow: bool,
    /// Over HTTP/2, with this change of its request.
    pub http2: Option<Change>,
    /// Only that many bytes of the head; no response is waited for.
    pub cut: Option<usize>,
    /// Frames in the same segment, behind the head.
    pub early: Vec<Frame>,
}

/// What is changed in a request over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Another `:protocol`.
    Protocol(&'static str),
    /// Another `sec-websocket-version`.
    Version(&'static str),
}

impl Change {
    /// As a report shows it behind a request.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Protocol(name) => format!(", :protocol: {name}"),
            Self::Version(version) => format!(", sec-websocket-version: {version}"),
        }
    }
}

/// A change of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Another first line; `{target}` is the path and the query, `{authority}` the host and the port.
    Line(&'static str),
    /// Another value of this field; `{key}` is what it was, `{authority}` as above.
    Set(&'static str, &'static str),
    /// Another spelling of this field's name.
    Spell(&'static str, &'static str),
    /// Without this field.
    Remove(&'static str),
    /// One more line, as it stands.
    Add(&'static str),
    /// One more field whose value has this many bytes.
    Pad(usize),
}

/// What is sent, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Frames in one write, masked if a client sends them.
    Frames(Vec<Frame>),
    /// Frames in one write, masked or not as they say.
    Exactly(Vec<Frame>),
    /// Frames, one byte at a time.
    Slowly(Vec<Frame>),
    /// That many bytes of a frame, the first ones.
    Cut(Frame, usize),
    /// Bytes as they stand.
    Bytes(&'static [u8]),
    /// The same frame again and again, nothing being read meanwhile, until nothing more is taken.
    Flood(Frame, usize),
    /// A time in which nothing is sent, in milliseconds.
    Pause(u64),
    /// This end sends no more, and goes on reading.
    HalfClose,
    /// The connection is dropped, unread bytes and all, without a Close.
    Vanish,
}

/// A message that came, or has to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text, not binary.
    pub is_text: bool,
    /// Its payload, inflated.
    pub payload: Vec<u8>,
}

/// What has to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The WebSocket opens, and answers a Ping.
    Opens,
    /// The handshake fails: a server answers with another status than 101, a client closes.
    Refuses,
    /// As `Refuses`, and the response names this value in this field.
    RefusesNaming(&'static str, &'static str),
    /// The response that opens the WebSocket passes this look.
    Response(Look),
    /// These messages come back, in this order.
    Echo(Vec<Message>),
    /// Pongs with these payloads come; of several that are due at once, the last is enough.
    Pongs(Vec<Vec<u8>>),
    /// The connection fails, with one of these codes in a Close.
    Fails(&'static [u16]),
    /// The Close is answered, and the connection ends.
    ClosesWith(CloseRule),
    /// The connection ends by itself within that many seconds.
    EndsWithin(u64),
    /// A Close comes, and the connection ends within that many seconds although it is not answered.
    EndsAfterClose(u64),
    /// A new connection opens and answers, whatever became of this one.
    Survives,
    /// The next compressed echo refers to no byte further back than this.
    Window(u16),
    /// Another WebSocket on the same connection opens and answers, whatever became of this one.
    Beside,
    /// Nothing is sent for this: what comes in the other cases never has this mistake.
    Never(&'static str),
}

/// What is looked at in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// `Sec-WebSocket-Accept` is right, once.
    Accept,
    /// `Upgrade` is `websocket`.
    Upgrade,
    /// `Connection` has `Upgrade`.
    Connection,
    /// The status line is of HTTP/1.1.
    StatusLine,
    /// No subprotocol that was not offered, and none that is empty.
    Subprotocol,
    /// No extension that was not offered.
    Extensions,
    /// No parameter of permessage-deflate that is wrong, or does not answer the offer.
    Deflate,
    /// This offer of permessage-deflate is declined.
    Declines,
    /// This offer of permessage-deflate is accepted.
    Accepts,
    /// No header of a body.
    NoBody,
}

/// What answers a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseRule {
    /// A Close, and then the end.
    Answered,
    /// A Close with this code, and then the end.
    Code(u16),
    /// The code must not be sent: the same code in the answer breaks a MUST.
    NeverThisCode(u16),
}

/// A case that has to be met. The default: MUST, both ends, the right handshake.
pub(crate) fn case(id: impl Into<String>, section: &'static str, title: impl Into<String>) -> Case {
    Case {
        id: id.into(),
        section,
        title: title.into(),
        level: Level::Must,
        needs: Vec::new(),
        side: None,
        opening: Opening::default(),
        steps: Vec::new(),
        expect: Expect::Opens,
    }
}

impl Case {
    /// The chapter that it is of.
    #[must_use]
    pub fn chapter(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    pub(crate) fn should(self) -> Self {
        Self { level: Level::Should, ..self }
    }

    pub(crate) fn may(self) -> Self {
        Self { level: Level::May, ..self }
    }

    /// For servers alone.
    pub(crate) fn of_servers(self) -> Self {
        Self { side: Some(Role::Server), ..self }
    }

    /// For clients alone.
    pub(crate) fn of_clients(self) -> Self {
        Self { side: Some(Role::Client), ..self }
    }

    pub(crate) fn need(mut self, need: Need) -> Self {
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
        self
    }

    pub(crate) fn edit(mut self, edits: &[Edit]) -> Self {
        self.opening.edits.extend_from_slice(edits);
        self
    }

    /// Offers these extensions.
    pub(crate) fn offer(mut self, extensions: &'static str) -> Self {
        self.opening.extensions = Some(extensions);
        self
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(crate) fn send(self, frames: impl Into<Vec<Frame>>) -> Self {
        self.step(Step::Frames(frames.into()))
    }

    pub(crate) fn exactly(self, frames: impl Into<Vec<Frame>>) -> Self {
        self.step(Step::Exactly(frames.into()))
    }

    pub(crate) fn slowly(self, frames: impl Into<Vec<Frame>>) -> Self {
        self.step(Step::Slowly(frames.into()))
    }

    pub(crate) fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }

    pub(crate) fn look(self, look: Look) -> Self {
        self.of_servers().expect(Expect::Response(look))
    }

    pub(crate) fn refuses(self) -> Self {
        self.expect(Expect::Refuses)
    }

    pub(crate) fn fails(self, codes: &'static [u16]) -> Self {
        self.expect(Expect::Fails(codes))
    }

    /// These messages come back.
    pub(crate) fn echoes(self, messages: impl Into<Vec<Message>>) -> Self {
        self.expect(Expect::Echo(messages.into())).need(Need::Echo)
    }

    pub(crate) fn pongs(self, payloads: &[&[u8]]) -> Self {
        self.expect(Expect::Pongs(payloads.iter().map(|payload| payload.to_vec()).collect()))
    }

    /// Whether it sends text and binary messages, right or wrong, and depends on what becomes of them. A peer
    /// that ends the connection at any message, as those do that speak a protocol of their own over
    /// WebSockets, says nothing by that about this one.
    #[must_use]
    pub fn messages(&self) -> (bool, bool) {
        let is_about_ends = matches!(
            self.expect,
            Expect::EndsWithin(_) | Expect::EndsAfterClose(_) | Expect::Survives | Expect::Beside
        );
        if is_about_ends {
            return (false, false);
        }
        let frames = self.steps.iter().flat_map(|step| match step {
            Step::Frames(frames) | Step::Exactly(frames) | Step::Slowly(frames) => &frames[..],
            Step::Cut(frame, _) | Step::Flood(frame, _) => std::slice::from_ref(frame),
            Step::Bytes(_) | Step::Pause(_) | Step::HalfClose | Step::Vanish => &[],
        });
        let opcodes: Vec<_> = frames.chain(&self.opening.early).map(Frame::opcode).collect();
        (opcodes.contains(&1), opcodes.contains(&2))
    }

    /// Whether it waits for a deadline of the peer.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(self.expect, Expect::EndsWithin(_) | Expect::EndsAfterClose(_))
    }
}

impl Message {
    pub(crate) fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self { is_text: true, payload: payload.into() }
    }

    pub(crate) fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self { is_text: false, payload: payload.into() }
    }
}
