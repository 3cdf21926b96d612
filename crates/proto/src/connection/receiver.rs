//! Frames into messages: the receiving half of a connection.
//!
//! A message in one frame is unmasked and checked where it lies, in the input buffer, while it
//! arrives, and is cut out of it when whole. Fragments are moved, as they arrive, to one buffer of
//! their message; so is what a compressed message inflates to. Where the application wants parts,
//! they are cut out of the input as they come. In any case memory grows with what has arrived,
//! never with what a header announces.

use alloc::boxed::Box;

use bytes::{Buf, Bytes, BytesMut};

use super::assembly::{Assembly, Bounds, check_text};
use crate::{
    close::{CloseCode, CloseFrame},
    config::Config,
    deflate::{Inbound, Inflation, OutputLimits},
    error::{Failure, Limit, Violation},
    frame::{Header, Opcode, Rules, UsualHeader},
    mask::apply_mask,
    message::{Message, MessageKind, Part},
    text::Text,
    utf8::Utf8Validator,
};

/// How large a part of a compressed message becomes before inflating pauses.
const PART: usize = 64 << 10;

/// What a frame, or several, came to.
pub(super) enum Received {
    Message(Message),
    Part(Part),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<CloseFrame>),
}

#[derive(Default)]
pub(super) struct Receiver {
    /// The frame whose header was read and whose payload is incomplete. A frame that arrives whole is never
    /// stored here.
    frame: Option<Box<Frame>>,
    /// The message that is not complete, unless it is one frame that is received in place.
    message: Option<Box<Assembly>>,
    /// The check of the text message that is being received.
    utf8: Utf8Validator,
    /// Whether the message, or else the next one, is wanted in parts.
    parts_wanted: bool,
}

struct Frame {
    header: Header,
    /// How much of the payload was moved out of the input buffer.
    taken: usize,
    /// How much of the rest, at the front of the input buffer, is unmasked and, where it is not
    /// compressed, checked.
    ready: usize,
}

impl Frame {
    fn length(&self) -> usize {
        self.header.length as usize // that it fits was checked when the frame began
    }

    /// Unmasks what has arrived of the payload. Gives how much of it lies in the input, and what of that
    /// is new.
    fn unmask<'a>(&self, input: &'a mut [u8]) -> (usize, &'a [u8]) {
        let arrived = (self.length() - self.taken).min(input.len());
        let fresh = &mut input[self.ready..arrived];
        unmask(&self.header, self.taken + self.ready, fresh);
        (arrived, fresh)
    }
}

impl Receiver {
    /// Goes on with the input, up to the next thing complete; `None` when more bytes are needed, or
    /// the message is [held](Self::is_held).
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
        rules: Rules,
        mut inbound: Option<&mut Inbound>,
    ) -> Result<Option<Received>, Failure> {
        loop {
            let progress = if let Some(mut frame) = self.frame.take() {
                let progress = self.take(&mut frame, input, config, inbound.as_deref_mut())?;
                if progress.is_inside_frame() {
                    self.frame = Some(frame);
                }
                progress
            } else {
                let Some((header, size)) = Header::decode(input, rules)? else { return Ok(None) };
                if let Some(message) = self.take_whole(&header, size, input, config)? {
                    return Ok(Some(Received::Message(message)));
                }
                self.begin_frame(&header, config, inbound.as_deref())?;
                input.advance(size);
                let mut frame = Frame { header, taken: 0, ready: 0 };
                let progress = self.take(&mut frame, input, config, inbound.as_deref_mut())?;
                if progress.is_inside_frame() {
                    self.frame = Some(Box::new(frame));
                }
                progress
            };
            match progress {
                Progress::Partial => return Ok(None),
                Progress::Part(part) => return Ok(Some(Received::Part(part))),
                Progress::Fragment => {}
                Progress::Complete(received) => return Ok(Some(received)),
            }
        }
    }

    /// The payload of the next message, not checked yet, if that is whole in one frame of the
    /// [usual form](Header::decode_usual), and whether it is binary; for a server's receiver that is
    /// [at rest](Self::is_at_rest). `None` says only that [`next`](Self::next) has to look.
    #[inline(always)]
    pub(super) fn next_usual(input: &mut BytesMut, most: usize) -> Option<(bool, Bytes)> {
        let UsualHeader { is_binary, size, length, key } = Header::decode_usual(input)?;
        if length > most {
            return None;
        }
        apply_mask(&mut input[size..size + length], key, 0);
        Some((is_binary, cut(size, length, input)))
    }

    /// Whether no message has begun, and the next one is wanted whole.
    #[inline(always)]
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_inside_message() && !self.parts_wanted
    }

    /// Whether a message has begun and is not complete.
    pub(super) fn is_inside_message(&self) -> bool {
        self.message.is_some() || self.frame.is_some()
    }

    /// Wants parts, or whole messages again. A message of which a part was given goes on in parts.
    pub(super) fn want_parts(&mut self, wanted: bool) {
        self.parts_wanted = wanted;
    }

    /// Whether the message begun may come in parts only, and these are not wanted: nothing more is
    /// taken of it.
    pub(super) fn is_held(&self, config: &Config) -> bool {
        let Some(message) = &self.message else { return false };
        !self.gives_parts() && message.passed(Bounds::of_whole(config)).is_some()
    }

    pub(super) fn missing(&self, available: usize) -> usize {
        match &self.frame {
            Some(frame) if self.message.is_none() && !self.parts_wanted => {
                frame.length().saturating_sub(available)
            }
            _ => 0,
        }
    }

    /// How much memory the message begun holds.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    fn gives_parts(&self) -> bool {
        self.parts_wanted || self.message.as_ref().is_some_and(|message| message.given > 0)
    }

    /// Checks that the frame may stand here and stays within the limits, before any of its payload
    /// is looked at.
    fn begin_frame(
        &mut self,
        header: &Header,
        config: &Config,
        inbound: Option<&Inbound>,
    ) -> Result<(), Failure> {
        match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Continuation if self.message.is_none() => {
                return Err(Violation::Continuation.into());
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(Violation::Interleaved.into());
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let bounds = Bounds::of_parts(config);
        let too_big = Limit::MessageSize { max: bounds.size };
        let length = usize::try_from(header.length).map_err(|_| too_big)?;
        if header.opcode != Opcode::Continuation {
            self.utf8 = Utf8Validator::default();
            if header.fin && !header.rsv1 && length <= config.max_message_size {
                return Ok(()); // it is received in place
            }
            let inflation = inbound.filter(|_| header.rsv1).map(Inflation::new).transpose()?;
            self.message = Some(Box::new(Assembly::new(header.opcode.kind(), inflation)));
        }
        if let Some(message) = &mut self.message {
            message.charge(length).ok_or(too_big)?;
            if let Some(limit) = message.passed(bounds) {
                return Err(limit.into());
            }
        }
        Ok(())
    }

    /// A message that is there in one frame, as most are: nothing has to be remembered of it.
    #[inline]
    fn take_whole(
        &self,
        header: &Header,
        header_size: usize,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<Message>, Violation> {
        let is_alone = self.is_at_rest() && header.is_whole_message();
        let most = (input.len() - header_size).min(config.max_message_size);
        if !is_alone || header.length > most as u64 {
            return Ok(None);
        }
        let length = header.length as usize;
        unmask(header, 0, &mut input[header_size..header_size + length]);
        let payload = cut(header_size, length, input);
        Ok(Some(match header.opcode {
            Opcode::Text => {
                Message::Text(Text::try_from(payload).map_err(|_| Violation::InvalidUtf8)?)
            }
            _ => Message::Binary(payload),
        }))
    }

    /// Takes what has arrived of a frame.
    fn take(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
        config: &Config,
        inbound: Option<&mut Inbound>,
    ) -> Result<Progress, Failure> {
        if frame.header.opcode.is_control() {
            return Ok(take_control(&frame.header, input)?);
        }
        if self.is_held(config) {
            return Ok(Progress::Partial);
        }
        self.take_data(frame, input, config, inbound)
    }

    /// The same for one of a message.
    fn take_data(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
        config: &Config,
        inbound: Option<&mut Inbound>,
    ) -> Result<Progress, Failure> {
        let gives_parts = self.gives_parts();
        if gives_parts && self.message.is_none() {
            self.message = Some(Box::new(Assembly::new(frame.header.opcode.kind(), None)));
        }
        let Some(message) = &mut self.message else {
            return Ok(self.take_in_place(frame, input)?);
        };
        // What was gathered before parts were wanted.
        if gives_parts && let Some(part) = message.take_part() {
            return Ok(Progress::Part(part));
        }
        match inbound {
            Some(inbound) if message.is_compressed => {
                let limit = Bounds::of_parts(config).size;
                // One byte more than a whole message may have tells that it has to come in parts.
                let whole = config.max_message_size.saturating_add(1);
                let pause_at = if gives_parts { PART } else { whole };
                let limits = OutputLimits { pause_at, most: limit - message.given, limit };
                take_compressed(message, frame, input, inbound, limits, &mut self.utf8)?;
            }
            _ => take_plain(message, frame, input, gives_parts, &mut self.utf8)?,
        }
        if frame.taken < frame.length() || message.has_more() {
            let part = if gives_parts { message.take_part() } else { None };
            return Ok(part.map_or(Progress::Partial, Progress::Part));
        }
        self.end_frame(frame, config)
    }

    /// A message of one frame, left in the input buffer until it is whole.
    fn take_in_place(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
    ) -> Result<Progress, Violation> {
        let kind = frame.header.opcode.kind();
        let (arrived, fresh) = frame.unmask(input);
        check_text(kind, fresh, &mut self.utf8)?;
        frame.ready = arrived;
        if arrived < frame.length() {
            return Ok(Progress::Partial);
        }
        self.complete(kind, input.split_to(arrived).freeze())
    }

    /// All of the frame was taken.
    fn end_frame(&mut self, frame: &Frame, config: &Config) -> Result<Progress, Failure> {
        let gives_parts = self.gives_parts();
        let held = self.is_held(config);
        let Some(message) = &mut self.message else { return Err(Violation::Continuation.into()) };
        if !frame.header.fin {
            let part = if gives_parts { message.take_part() } else { None };
            return Ok(part.map_or(Progress::Fragment, Progress::Part));
        }
        if held {
            return Ok(Progress::Partial);
        }
        let (kind, payload) = (message.kind, core::mem::take(&mut message.payload).freeze());
        self.message = None;
        if !gives_parts {
            return Ok(self.complete(kind, payload)?);
        }
        self.parts_wanted = false;
        if kind == MessageKind::Text && !self.utf8.is_complete() {
            return Err(Violation::InvalidUtf8.into());
        }
        Ok(Progress::Complete(Received::Part(Part { kind, payload, last: true })))
    }

    fn complete(&self, kind: MessageKind, payload: Bytes) -> Result<Progress, Violation> {
        let message = match kind {
            MessageKind::Text if !self.utf8.is_complete() => return Err(Violation::InvalidUtf8),
            MessageKind::Text => Message::Text(Text::from_validated(payload)),
            MessageKind::Binary => Message::Binary(payload),
        };
        Ok(Progress::Complete(Received::Message(message)))
    }
}

/// Cuts the payload of a frame that is whole at the front of the input out of it.
#[inline(always)]
fn cut(header_size: usize, length: usize, input: &mut BytesMut) -> Bytes {
    let mut payload = input.split_to(header_size + length).freeze();
    payload.advance(header_size);
    payload
}

/// Takes what has arrived of a frame: as the next part, or to the end of what was gathered.
fn take_plain(
    message: &mut Assembly,
    frame: &mut Frame,
    input: &mut BytesMut,
    as_part: bool,
    utf8: &mut Utf8Validator,
) -> Result<(), Violation> {
    let (arrived, fresh) = frame.unmask(input);
    check_text(message.kind, fresh, utf8)?;
    if as_part {
        message.payload = input.split_to(arrived);
    } else {
        message.payload.extend_from_slice(&input[..arrived]);
        input.advance(arrived);
    }
    frame.taken += arrived;
    frame.ready = 0;
    Ok(())
}

/// The same for one that is compressed: as much as there is room for.
fn take_compressed(
    message: &mut Assembly,
    frame: &mut Frame,
    input: &mut BytesMut,
    inbound: &mut Inbound,
    limits: OutputLimits,
    utf8: &mut Utf8Validator,
) -> Result<(), Failure> {
    let (arrived, _) = frame.unmask(input);
    let ends = frame.header.fin && frame.taken + arrived == frame.length();
    let taken = message.inflate(&input[..arrived], ends, inbound, limits, utf8)?;
    input.advance(taken);
    frame.taken += taken;
    frame.ready = arrived - taken;
    Ok(())
}

enum Progress {
    /// The frame is not whole yet, or waits.
    Partial,
    /// A part of the message; the frame may have more.
    Part(Part),
    /// The frame is whole, its message is not.
    Fragment,
    Complete(Received),
}

impl Progress {
    /// Whether the frame is to go on later.
    fn is_inside_frame(&self) -> bool {
        matches!(self, Self::Partial | Self::Part(_))
    }
}

fn take_control(header: &Header, input: &mut BytesMut) -> Result<Progress, Violation> {
    let length = header.length as usize; // at most 125
    if input.len() < length {
        return Ok(Progress::Partial);
    }
    let mut payload = input.split_to(length);
    unmask(header, 0, &mut payload);
    Ok(Progress::Complete(match header.opcode {
        Opcode::Close => Received::Close(parse_close(&payload)?),
        Opcode::Ping => Received::Ping(payload.freeze()),
        _ => Received::Pong(payload.freeze()),
    }))
}

fn parse_close(body: &[u8]) -> Result<Option<CloseFrame>, Violation> {
    if body.is_empty() {
        return Ok(None);
    }
    let (code, reason) = body.split_first_chunk::<2>().ok_or(Violation::CloseBody)?;
    let code = CloseCode::try_from(u16::from_be_bytes(*code))
        .map_err(|error| Violation::CloseCode(error.0))?;
    let reason = core::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    // A control frame is too short for a reason that is too long.
    CloseFrame::new(code, reason).map(Some).map_err(|_| Violation::LongControl)
}

fn unmask(header: &Header, done: usize, payload: &mut [u8]) {
    if let Some(key) = header.mask {
        apply_mask(payload, key, done);
    }
}
