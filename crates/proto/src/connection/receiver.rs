//! Frames into messages: the receiving half of a connection.
//!
//! A message in one frame is unmasked and checked where it lies, in the input buffer, while it
//! arrives, and is cut out of it when whole. Fragments are moved, as they arrive, to one buffer of
//! their message; so is what a compressed message inflates to. Either way memory grows with what has arrived, never with what a header announces.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    close::{CloseCode, CloseFrame},
    config::Config,
    deflate::{Inbound, Inflation},
    error::{Failure, Limit, Violation},
    frame::{Header, Opcode, Rules},
    mask::apply_mask,
    message::{Message, MessageKind},
    text::Text,
    utf8::Utf8Validator,
};

/// What each fragment is charged at least, in bytes.
const FRAGMENT_COST: usize = 64;
/// What a message of fragments may cost even where the limit of its size is lower.
const MIN_COST_LIMIT: usize = 64 << 10;

/// What a frame, or several, came to.
pub(super) enum Received {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<CloseFrame>),
}

#[derive(Default)]
pub(super) struct Receiver {
    /// The frame whose header was read and whose payload is not complete.
    frame: Option<Frame>,
    /// The fragmented message that is not complete.
    message: Option<Box<Assembly>>,
    /// The check of the text message that is being received.
    utf8: Utf8Validator,
}

struct Frame {
    header: Header,
    /// How much of the payload was unmasked and checked: in the input buffer for a frame that is
    /// received in place, moved out of it for a fragment.
    done: usize,
}

struct Assembly {
    kind: MessageKind,
    payload: BytesMut,
    /// What inflates it, if it is compressed.
    inflation: Option<Inflation>,
    fragments: usize,
    /// The payload of its frames, as announced.
    length: usize,
    /// The same, each fragment with its least charge.
    cost: usize,
}

impl Receiver {
    /// Goes on with the input, up to the next thing complete; `None` when more bytes are needed.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
        rules: Rules,
        mut inbound: Option<&mut Inbound>,
    ) -> Result<Option<Received>, Failure> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let Some((header, size)) = Header::decode(input, rules)? else {
                        return Ok(None);
                    };
                    self.begin_frame(&header, config, inbound.as_deref())?;
                    input.advance(size);
                    Frame { header, done: 0 }
                }
            };
            let opcode = frame.header.opcode;
            let received = if opcode.is_control() {
                take_control(&frame.header, input)?
            } else if self.message.is_some() {
                self.take_fragment(&mut frame, input, config, inbound.as_deref_mut())?
            } else {
                self.take_in_place(&mut frame, input)?
            };
            match received {
                Progress::Partial => {
                    self.frame = Some(frame);
                    return Ok(None);
                }
                Progress::Fragment => {}
                Progress::Complete(received) => return Ok(Some(received)),
            }
        }
    }

    /// Whether a message has begun and is not complete.
    pub(super) fn is_inside_message(&self) -> bool {
        self.message.is_some() || self.frame.is_some()
    }

    pub(super) fn missing(&self, available: usize) -> usize {
        match &self.frame {
            Some(frame) if self.message.is_none() => {
                usize::try_from(frame.header.length).unwrap_or(usize::MAX).saturating_sub(available)
            }
            _ => 0,
        }
    }

    /// How much memory the message begun holds.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// Checks that the frame may stand here and stays within the limits, before any of its payload
    /// is looked at.
    fn begin_frame(
        &mut self,
        header: &Header,
        config: &Config,
        inbound: Option<&Inbound>,
    ) -> Result<(), Failure> {
        let kind = match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Continuation if self.message.is_none() => {
                return Err(Violation::Continuation.into());
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(Violation::Interleaved.into());
            }
            Opcode::Continuation => None,
            Opcode::Text => Some(MessageKind::Text),
            Opcode::Binary => Some(MessageKind::Binary),
        };
        let inflated = self.message.as_ref().is_some_and(|message| message.inflation.is_some());
        let max = config.max_message_size;
        let max_length = if header.rsv1 || inflated { max_compressed(max) } else { max };
        let too_big = Limit::MessageSize { max };
        let length = usize::try_from(header.length).map_err(|_| too_big)?;
        let before = self.message.as_ref().map_or(0, |message| message.length);
        if before.checked_add(length).is_none_or(|total| total > max_length) {
            return Err(too_big.into());
        }
        if let Some(kind) = kind {
            self.utf8 = Utf8Validator::default();
            if header.rsv1 || !header.fin {
                let inflation = inbound.filter(|_| header.rsv1).map(Inflation::new).transpose()?;
                self.message = Some(Box::new(Assembly::new(kind, inflation)));
            }
        }
        if let Some(message) = &mut self.message {
            message.fragments += 1;
            message.length += length;
            message.cost = message.cost.saturating_add(length.max(FRAGMENT_COST));
            if message.fragments > config.max_fragments {
                return Err(Limit::Fragments { max: config.max_fragments }.into());
            }
            if message.cost > max_length.max(MIN_COST_LIMIT) {
                return Err(too_big.into());
            }
        }
        Ok(())
    }

    /// A message of one frame, left in the input buffer until it is whole.
    fn take_in_place(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
    ) -> Result<Progress, Violation> {
        let text = frame.header.opcode == Opcode::Text;
        let length = frame.header.length as usize; // within the limit: it fits
        let arrived = length.min(input.len());
        let fresh = &mut input[frame.done..arrived];
        unmask(&frame.header, frame.done, fresh);
        if text {
            self.utf8.update(fresh).map_err(|_| Violation::InvalidUtf8)?;
        }
        frame.done = arrived;
        if arrived < length {
            return Ok(Progress::Partial);
        }
        let payload = input.split_to(length).freeze();
        let kind = if text { MessageKind::Text } else { MessageKind::Binary };
        self.complete(kind, payload)
    }

    /// A fragment, or a compressed message, moved to its message's buffer as it arrives.
    fn take_fragment(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
        config: &Config,
        inbound: Option<&mut Inbound>,
    ) -> Result<Progress, Failure> {
        let Some(message) = &mut self.message else { return Err(Violation::Continuation.into()) };
        let length = frame.header.length as usize; // within the limit: it fits
        let arrived = (length - frame.done).min(input.len());
        let fresh = &mut input[..arrived];
        unmask(&frame.header, frame.done, fresh);
        let last = frame.header.fin && frame.done + arrived == length;
        match inbound {
            Some(inbound) if message.inflation.is_some() => {
                message.inflate(fresh, last, inbound, config.max_message_size, &mut self.utf8)?;
            }
            _ => {
                check_text(message.kind, fresh, &mut self.utf8)?;
                message.payload.extend_from_slice(fresh);
            }
        }
        input.advance(arrived);
        frame.done += arrived;
        if frame.done < length {
            return Ok(Progress::Partial);
        }
        if !frame.header.fin {
            return Ok(Progress::Fragment);
        }
        let (kind, payload) = (message.kind, std::mem::take(&mut message.payload));
        self.message = None;
        Ok(self.complete(kind, payload.freeze())?)
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

impl Assembly {
    fn new(kind: MessageKind, inflation: Option<Inflation>) -> Self {
        let payload = BytesMut::new();
        Self { kind, payload, inflation, fragments: 0, length: 0, cost: 0 }
    }

    /// Inflates what has come, and what was still missing if it was the last.
    fn inflate(
        &mut self,
        compressed: &[u8],
        last: bool,
        inbound: &mut Inbound,
        max: usize,
        utf8: &mut Utf8Validator,
    ) -> Result<(), Failure> {
        let kind = self.kind;
        let mut check = |fresh: &[u8]| Ok(check_text(kind, fresh, utf8)?);
        if let Some(inflation) = &mut self.inflation {
            inflation.feed(compressed, &mut self.payload, inbound, max, &mut check)?;
        }
        if last && let Some(inflation) = self.inflation.take() {
            inflation.finish(&mut self.payload, inbound, max, check)?;
        }
        Ok(())
    }
}

fn check_text(kind: MessageKind, fresh: &[u8], utf8: &mut Utf8Validator) -> Result<(), Violation> {
    match kind {
        MessageKind::Text => utf8.update(fresh).map_err(|_| Violation::InvalidUtf8),
        MessageKind::Binary => Ok(()),
    }
}

/// How long a compressed message may be that inflates to `max` bytes: what does not compress grows
/// by an eighth at the worst, where literals of 9 bits stand for 8, and by the ends of flushes.
fn max_compressed(max: usize) -> usize {
    max.saturating_add(max / 8).saturating_add(1024)
}

enum Progress {
    /// The frame is not whole yet.
    Partial,
    /// The frame is whole, its message is not.
    Fragment,
    Complete(Received),
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
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    // A control frame is too short for a reason that is too long.
    CloseFrame::new(code, reason).map(Some).map_err(|_| Violation::LongControl)
}

fn unmask(header: &Header, done: usize, payload: &mut [u8]) {
    if let Some(key) = header.mask {
        apply_mask(payload, key, done);
    }
}
