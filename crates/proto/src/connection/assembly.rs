//! A message that comes in several frames, compressed, or in parts, while it is not complete.

use bytes::BytesMut;

use crate::{
    config::Config,
    deflate::{Inbound, Inflation, OutputLimits},
    error::{Failure, Limit, Violation},
    message::{MessageKind, Part},
    utf8::Utf8Validator,
};

/// What each fragment is charged at least, in bytes.
const FRAGMENT_COST: usize = 64;
/// What the fragments that are smaller may be charged even where the limit of the size is lower.
const MIN_CHARGE_LIMIT: usize = 64 << 10;

/// What a message may come to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) size: usize,
    fragments: usize,
}

impl Bounds {
    pub(super) fn of_whole(config: &Config) -> Self {
        Self { size: config.max_message_size, fragments: config.max_fragments }
    }

    /// Of a message that is received in parts, or may yet be.
    pub(super) fn of_parts(config: &Config) -> Self {
        match config.max_streamed_size {
            Some(size) => Self { size: size.max(config.max_message_size), fragments: usize::MAX },
            None => Self::of_whole(config),
        }
    }
}

pub(super) struct Assembly {
    pub(super) kind: MessageKind,
    pub(super) is_compressed: bool,
    /// What has arrived and was not given yet.
    pub(super) payload: BytesMut,
    /// How much was given in parts.
    pub(super) given: usize,
    /// What inflates it, until its end.
    inflation: Option<Inflation>,
    fragments: usize,
    /// The payload of its frames, as announced.
    length: usize,
    /// What its fragments lack of their least charge.
    surcharge: usize,
}

impl Assembly {
    pub(super) fn new(kind: MessageKind, inflation: Option<Inflation>) -> Self {
        let is_compressed = inflation.is_some();
        let (fragments, length, surcharge) = (0, 0, 0);
        let (payload, given) = (BytesMut::new(), 0);
        Self { kind, is_compressed, payload, given, inflation, fragments, length, surcharge }
    }

    /// Counts a frame by its announced length; `None` if no number is large enough.
    pub(super) fn charge(&mut self, length: usize) -> Option<()> {
        self.fragments += 1;
        self.length = self.length.checked_add(length)?;
        self.surcharge = self.surcharge.saturating_add(FRAGMENT_COST.saturating_sub(length));
        Some(())
    }

    /// The bound that it has passed.
    pub(super) fn passed(&self, bounds: Bounds) -> Option<Limit> {
        let Bounds { size: max, fragments } = bounds;
        let max_length = if self.is_compressed { max_compressed(max) } else { max };
        if self.length > max_length || self.given.saturating_add(self.payload.len()) > max {
            return Some(Limit::MessageSize { max });
        }
        if self.fragments > fragments {
            return Some(Limit::Fragments { max: fragments });
        }
        (self.surcharge > max_length.max(MIN_CHARGE_LIMIT)).then_some(Limit::MessageSize { max })
    }

    /// What has arrived, if anything has, as a part that is not the last.
    pub(super) fn take_part(&mut self) -> Option<Part> {
        if self.payload.is_empty() {
            return None;
        }
        let payload = core::mem::take(&mut self.payload).freeze();
        if let Some(inflation) = &mut self.inflation {
            inflation.take_out(&payload);
        }
        self.given += payload.len();
        Some(Part { kind: self.kind, payload, last: false })
    }

    /// Inflates what has arrived as far as there is room and, if the message `ends` with it, what was
    /// still missing. Gives how much of it was used.
    pub(super) fn inflate(
        &mut self,
        compressed: &[u8],
        ends: bool,
        inbound: &mut Inbound,
        limits: OutputLimits,
        utf8: &mut Utf8Validator,
    ) -> Result<usize, Failure> {
        let kind = self.kind;
        let mut check = |fresh: &[u8]| Ok(check_text(kind, fresh, utf8)?);
        let Some(inflation) = &mut self.inflation else { return Ok(compressed.len()) };
        let left = inflation.feed(compressed, &mut self.payload, inbound, limits, &mut check)?;
        let ends = ends && left == 0 && !inflation.has_more();
        if ends && let Some(inflation) = self.inflation.take() {
            inflation.finish(&mut self.payload, inbound, limits, check)?;
        }
        Ok(compressed.len() - left)
    }

    /// Whether more may come out of what has arrived in.
    pub(super) fn has_more(&self) -> bool {
        self.inflation.as_ref().is_some_and(Inflation::has_more)
    }
}

pub(super) fn check_text(
    kind: MessageKind,
    fresh: &[u8],
    utf8: &mut Utf8Validator,
) -> Result<(), Violation> {
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
