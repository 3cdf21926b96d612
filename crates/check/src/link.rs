//! A connection to the peer, and everything that went over it: frames are read one by one, kept as
//! bytes for the report, and looked at for mistakes that no case asks for.

use std::{io, pin::Pin, time::Duration};

use bytes::{Buf as _, BytesMut};
use sockeye_wire::{
    Frame, Role,
    frame::{CLOSE, PONG, RSV1, close_payload},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use crate::{
    case::Message,
    deflate::{self, Agreement},
    trace::{Direction, Trace},
};

/// Bytes to and from the peer, whatever they go through.
pub type Stream = Pin<Box<dyn Duplex>>;

/// What reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// The most bytes of a head that are read.
const MOST_HEAD: usize = 1 << 16;
/// How much is read at a time, at least.
const READ: usize = 1 << 14;
/// How long a write may take before the peer counts as one that takes nothing.
const WRITE: Duration = Duration::from_secs(3);

/// The most bytes, and the most frames, that are read of one connection: no case asks for a tenth of that.
pub(crate) const MOST_BYTES: usize = 64 << 20;
pub(crate) const MOST_FRAMES: usize = 50_000;
/// How a connection that sends more than that has ended.
const FLOOD: &str = "it sends without end";

const BEHIND_CLOSE: &str = "a message behind a Close";
const CONTROL_BEHIND_CLOSE: &str = "a control frame behind a Close";

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// With its code, if it has one.
    Close(Option<u16>),
    /// The peer sends no more; how it ended, if that was not an orderly end.
    End(Option<String>),
}

/// The end of the peer's bytes.
#[derive(Clone, Debug)]
enum End {
    InOrder,
    Broken(String),
}

impl End {
    fn broken(&self) -> Option<&str> {
        match self {
            Self::InOrder => None,
            Self::Broken(how) => Some(how),
        }
    }
}

/// A mistake that the peer made, and the bytes that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) what: &'static str,
    pub(crate) shown: String,
}

/// What is read of one compressed message.
#[derive(Debug, Default)]
struct Inflater {
    before: Vec<u8>,
    /// How far back the last message has referred.
    furthest: usize,
}

/// A WebSocket by hand.
pub(crate) struct Link {
    stream: Stream,
    /// Which end this is.
    pub(crate) role: Role,
    buffer: BytesMut,
    end: Option<End>,
    bytes_read: usize,
    frames_read: usize,
    /// A write was given up: the peer takes nothing more.
    is_stuck: bool,
    pub(crate) trace: Trace,
    pub(crate) agreement: Option<Agreement>,
    inflater: Inflater,
    /// The first byte and the payload so far of a message whose end has not come.
    begun: Option<(u8, Vec<u8>)>,
    pub(crate) mistakes: Vec<Mistake>,
    /// The `Sec-WebSocket-Key` of a client's request.
    pub(crate) key: Option<String>,
    is_closed_by_peer: bool,
    /// That of the peer's last frame with one.
    mask: Option<[u8; 4]>,
    frames_sent: u8,
}

impl Link {
    pub(crate) fn new(stream: Stream, role: Role) -> Self {
        Self {
            stream,
            role,
            buffer: BytesMut::new(),
            end: None,
            bytes_read: 0,
            frames_read: 0,
            is_stuck: false,
            trace: Trace::default(),
            agreement: None,
            inflater: Inflater::default(),
            begun: None,
            mistakes: Vec::new(),
            key: None,
            is_closed_by_peer: false,
            mask: None,
            frames_sent: 0,
        }
    }

    /// Writes bytes; what cannot be written, because the peer has ended or takes nothing, is told.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        if self.is_stuck {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match timeout(WRITE, writing).await {
            Ok(written) => written,
            Err(_) => {
                self.is_stuck = true;
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Writes bytes one at a time.
    pub(crate) async fn write_slowly(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes.chunks(1) {
            self.write(byte).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The frame as this end sends it: with a mask, if this is the client.
    pub(crate) fn dressed(&mut self, frame: &Frame) -> Frame {
        self.frames_sent = self.frames_sent.wrapping_add(1);
        match self.role {
            // Another key for each frame, so that an old one is noticed.
            Role::Client => frame.clone().mask([0x37, 0xFA, 0x21, self.frames_sent]),
            Role::Server => frame.clone(),
        }
    }

    /// Sends a frame in one write.
    pub(crate) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let frame = self.dressed(frame);
        self.trace.frame(Direction::Sent, &frame);
        self.write(&frame.encode()).await
    }

    /// Sends a Close.
    pub(crate) async fn close(&mut self, code: u16) {
        // A peer that is gone needs none.
        let _ = self.send(&Frame::unmasked(CLOSE, close_payload(code, ""))).await;
    }

    /// Ends this direction.
    pub(crate) async fn half_close(&mut self) {
        self.trace.note(Direction::Sent, "the end of this direction");
        let _ = timeout(WRITE, self.stream.shutdown()).await;
    }

    /// Drops the connection: with unread bytes, the system resets it.
    pub(crate) fn vanish(&mut self) {
        self.trace.note(Direction::Sent, "the connection is dropped");
        self.stream = Box::pin(tokio::io::join(tokio::io::empty(), tokio::io::sink()));
    }

    /// Reads a head, up to its empty line. What came before the end, if it does not come.
    pub(crate) async fn read_head(&mut self, within: Duration) -> Result<String, String> {
        let reading = async {
            loop {
                if let Some(at) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                    let head = self.buffer.split_to(at + 4);
                    return Ok(String::from_utf8_lossy(&head).into_owned());
                }
                if self.buffer.len() > MOST_HEAD {
                    return Err("a head of more than 64 KiB".to_owned());
                }
                if !self.fill().await {
                    let broken = self.end.as_ref().and_then(End::broken);
                    return Err(broken.unwrap_or("the end of the connection").to_owned());
                }
            }
        };
        let result = timeout(within, reading).await;
        let result = result.unwrap_or_else(|_| Err(format!("nothing within {within:?}")));
        match &result {
            Ok(head) => self.trace.head(Direction::Came, head),
            Err(instead) => self.trace.note(Direction::Came, instead),
        }
        result
    }

    /// Whether the peer has sent more than is read of a connection.
    pub(crate) fn is_flooded(&self) -> bool {
        matches!(&self.end, Some(End::Broken(how)) if how == FLOOD)
    }

    /// What has come and was not read.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// The next thing that comes, or `None` if that takes longer.
    pub(crate) async fn next(&mut self, within: Duration) -> Option<Input> {
        timeout(within, self.input()).await.ok()
    }

    /// The next thing that comes until then. A peer that goes on sending does not hold this up: what has come by then
    /// and was not read is not looked at.
    pub(crate) async fn next_until(&mut self, until: Instant) -> Option<Input> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { None } else { self.next(left).await }
    }

    /// Reads whatever comes, and answers nothing, until the end; `false` if that takes longer.
    pub(crate) async fn end(&mut self, within: Duration) -> bool {
        let reading = async {
            while self.fill().await {
                self.buffer.clear();
            }
        };
        timeout(within, reading).await.is_ok()
    }

    /// Safe to be dropped: what has been read stays in the buffer.
    async fn input(&mut self) -> Input {
        loop {
            if let Some(input) = self.take() {
                return input;
            }
            if !self.fill().await {
                let broken = self.end.as_ref().and_then(End::broken).map(str::to_owned);
                let shown = broken.as_deref().unwrap_or("the end of the connection");
                self.trace.note(Direction::Came, shown);
                return Input::End(broken);
            }
        }
    }

    /// Reads more bytes; `false` if there are no more.
    async fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => self.end = Some(End::InOrder),
            Ok(count) => {
                self.bytes_read += count;
                if self.bytes_read <= MOST_BYTES && self.frames_read <= MOST_FRAMES {
                    return true;
                }
                self.end = Some(End::Broken(FLOOD.to_owned()));
            }
            // TLS without its last message, as most servers end it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.end = Some(End::InOrder)
            }
            Err(error) => self.end = Some(End::Broken(error.to_string())),
        }
        false
    }

    /// What the buffer has, if that is whole.
    fn take(&mut self) -> Option<Input> {
        loop {
            let (frame, count) = Frame::parse(&self.buffer)?;
            self.buffer.advance(count);
            self.frames_read += 1;
            self.trace.frame(Direction::Came, &frame);
            if let Some(input) = self.read(frame) {
                return Some(input);
            }
        }
    }

    /// Each mistake once: the first frame that has it shows it.
    fn blame(&mut self, what: &'static str, frame: &Frame) {
        if self.mistakes.iter().all(|mistake| mistake.what != what) {
            self.mistakes.push(Mistake { what, shown: frame.to_string() });
        }
    }

    /// What a frame means. `None` for a part of a message.
    fn read(&mut self, frame: Frame) -> Option<Input> {
        self.look_at(&frame);
        match frame.opcode() {
            0x9 => return Some(Input::Ping(frame.payload)),
            0xA => return Some(Input::Pong(frame.payload)),
            0x8 => {
                self.is_closed_by_peer = true;
                return Some(Input::Close(frame.close_code()));
            }
            0..=2 => {}
            // Its meaning is not known.
            _ => return None,
        }
        let (first, mut payload) = match (frame.opcode(), self.begun.take()) {
            (0, Some(begun)) => begun,
            (0, None) => {
                self.blame("a continuation of no message", &frame);
                return None;
            }
            (_, begun) => {
                if begun.is_some() {
                    self.blame("a message inside another one", &frame);
                }
                (frame.first, Vec::new())
            }
        };
        payload.extend_from_slice(&frame.payload);
        if !frame.fin() {
            self.begun = Some((first, payload));
            return None;
        }
        self.finish(first, payload, &frame)
    }

    /// A whole message.
    fn finish(&mut self, first: u8, payload: Vec<u8>, last: &Frame) -> Option<Input> {
        let is_text = first & 0xF == 1;
        let payload = match (first & RSV1 != 0, self.agreement) {
            (true, Some(agreement)) => match self.inflate(&payload, agreement) {
                Ok(payload) => payload,
                Err(what) => {
                    self.blame(what, last);
                    return None;
                }
            },
            _ => payload,
        };
        // One in a single frame has been looked at.
        let is_new = last.opcode() == 0 || first & RSV1 != 0;
        if is_text && is_new && str::from_utf8(&payload).is_err() {
            self.blame("a text that is not UTF-8", last);
        }
        Some(Input::Message(Message { is_text, payload }))
    }

    fn inflate(&mut self, payload: &[u8], agreement: Agreement) -> Result<Vec<u8>, &'static str> {
        let (is_fresh, bits) = match self.role {
            Role::Client => {
                (agreement.server_no_context_takeover, agreement.server_max_window_bits)
            }
            Role::Server => {
                (agreement.client_no_context_takeover, agreement.client_max_window_bits)
            }
        };
        let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let inflated = deflate::inflate(&whole, &self.inflater.before);
        let inflated = inflated.ok_or("a compressed message that cannot be inflated")?;
        self.inflater.furthest = inflated.furthest;
        if inflated.furthest > 1 << bits {
            return Err("a reference beyond the agreed window");
        }
        self.inflater.before.extend_from_slice(&inflated.bytes);
        if is_fresh {
            self.inflater.before.clear();
        }
        let most = self.inflater.before.len().saturating_sub(1 << 15);
        self.inflater.before.drain(..most);
        Ok(inflated.bytes)
    }

    /// How far back the last compressed message has referred.
    pub(crate) fn furthest(&self) -> usize {
        self.inflater.furthest
    }

    /// Mistakes of a frame by itself, and of its place among others.
    fn look_at(&mut self, frame: &Frame) {
        let mut looked_at = frame.clone();
        let is_first = matches!(frame.opcode(), 1 | 2);
        if self.agreement.is_some() && is_first {
            looked_at.first &= !RSV1;
        }
        // A text in fragments or compressed is looked at when it is whole.
        if frame.first & RSV1 != 0 && is_first {
            looked_at.first = looked_at.first & !0xF | 2;
        }
        for mistake in looked_at.mistakes(self.role.peer()) {
            self.blame(mistake, frame);
        }
        if self.is_closed_by_peer {
            let is_control = frame.opcode() >= 8;
            self.blame(if is_control { CONTROL_BEHIND_CLOSE } else { BEHIND_CLOSE }, frame);
        }
        match frame.mask {
            Some(mask) if self.mask == Some(mask) => {
                self.blame("the masking key of the frame before", frame);
            }
            Some(mask) => self.mask = Some(mask),
            None => {}
        }
    }

    /// A Pong, for a Ping of the peer.
    pub(crate) async fn answer(&mut self, ping: Vec<u8>) {
        // A peer that is gone needs none.
        let _ = self.send(&Frame::unmasked(PONG, ping)).await;
    }
}
