//! One frame of RFC 6455 §5.2, written and read byte for byte.
//!
//! [`masked`] and [`unmasked`] are the right frames of a client and of a server as bytes; [`Frame`] is
//! the same with every field in the open:
//!
//! ```
//! use sockeye_wire::frame::{self, Form, Frame, RSV2};
//!
//! let right = frame::masked(frame::TEXT, b"Hello");
//! // A reserved bit, a length that is too large, and in a form that is too wide.
//! let wrong = Frame::masked(frame::TEXT | RSV2, b"Hello").announce(6).form(Form::Bits64);
//! assert_eq!(wrong.encode().len(), right.len() + 8);
//! ```

use std::io::{self, Read};

use crate::Role;

/// The bit of a frame's first byte that its message's last frame has.
pub const FIN: u8 = 0x80;
/// The first reserved bit, which permessage-deflate uses (RFC 7692 §6).
pub const RSV1: u8 = 0x40;
/// The second reserved bit.
pub const RSV2: u8 = 0x20;
/// The third reserved bit.
pub const RSV3: u8 = 0x10;

/// The first byte of a message's last fragment, if there are several.
pub const CONTINUATION: u8 = FIN;
/// The first byte of a text message in one frame.
pub const TEXT: u8 = FIN | 0x1;
/// The first byte of a binary message in one frame.
pub const BINARY: u8 = FIN | 0x2;
/// The first byte of a Close frame.
pub const CLOSE: u8 = FIN | 0x8;
/// The first byte of a Ping.
pub const PING: u8 = FIN | 0x9;
/// The first byte of a Pong.
pub const PONG: u8 = FIN | 0xA;

/// The masking key of frames that are not given one: that of the examples in RFC 6455 §5.7.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame. Each field is what stands on the wire, whether it fits the others or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The FIN bit, the reserved bits and the opcode, as in [`TEXT`].
    pub first: u8,
    /// The masking key, if the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// How the length is written.
    pub form: Form,
    /// The length that the header announces.
    pub length: u64,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// The three forms of a frame's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// In the second byte: up to 125.
    Bits7,
    /// 126 in the second byte, and two bytes.
    Bits16,
    /// 127 in the second byte, and eight bytes.
    Bits64,
}

impl Form {
    /// The shortest form for a length.
    #[must_use]
    pub fn shortest(length: u64) -> Self {
        match length {
            0..=125 => Self::Bits7,
            126..=0xFFFF => Self::Bits16,
            _ => Self::Bits64,
        }
    }
}

impl Frame {
    /// A frame as a server sends it, in the shortest form.
    #[must_use]
    pub fn unmasked(first: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        let length = payload.len() as u64;
        Self { first, mask: None, form: Form::shortest(length), length, payload }
    }

    /// A frame as a client sends it, with [`KEY`].
    #[must_use]
    pub fn masked(first: u8, payload: impl AsRef<[u8]>) -> Self {
        Self::unmasked(first, payload).mask(KEY)
    }

    /// A frame as this end sends it.
    #[must_use]
    pub fn sent_by(role: Role, first: u8, payload: impl AsRef<[u8]>) -> Self {
        match role {
            Role::Client => Self::masked(first, payload),
            Role::Server => Self::unmasked(first, payload),
        }
    }

    /// A message in fragments: the opcode in the first of them, FIN in the last. `first` is the first
    /// byte that the message would have in one frame.
    #[must_use]
    pub fn fragments(role: Role, first: u8, pieces: &[&[u8]]) -> Vec<Self> {
        let frame = |(index, piece): (usize, &&[u8])| {
            let opcode = if index == 0 { first & !FIN } else { 0 };
            let fin = if index + 1 == pieces.len() { FIN } else { 0 };
            Self::sent_by(role, fin | opcode, *piece)
        };
        pieces.iter().enumerate().map(frame).collect()
    }

    /// Masks it with this key.
    #[must_use]
    pub fn mask(self, key: [u8; 4]) -> Self {
        Self { mask: Some(key), ..self }
    }

    /// Announces this length, in its shortest form, whatever the payload has.
    #[must_use]
    pub fn announce(self, length: u64) -> Self {
        Self { length, form: Form::shortest(length), ..self }
    }

    /// Writes the length in this form. Of a length that does not fit, the lower bits are written.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The bytes before the payload.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let length = self.length.to_be_bytes();
        let (short, long) = match self.form {
            Form::Bits7 => (length[7] & 0x7F, &[][..]),
            Form::Bits16 => (126, &length[6..]),
            Form::Bits64 => (127, &length[..]),
        };
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        let key = self.mask.as_ref().map_or(&[][..], |key| key);
        [&[self.first, mask_bit | short], long, key].concat()
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.header(), apply(self.mask.unwrap_or_default(), &self.payload)].concat()
    }

    /// Whether it is the last of its message.
    #[must_use]
    pub fn fin(&self) -> bool {
        self.first & FIN != 0
    }

    /// The opcode.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    /// The code of a Close frame, if it has one.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().copied().map(u16::from_be_bytes);
        code.filter(|_| self.first == CLOSE)
    }

    /// The frame at the beginning of `bytes`, and how many of them it has; `None` until all of them have
    /// come.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = *bytes.first_chunk()?;
        let begin = head.len() + rest_of_header(head);
        let mut frame = Self::begun(head, bytes.get(head.len()..begin)?);
        let end = begin.checked_add(usize::try_from(frame.length).ok()?)?;
        frame.payload = apply(frame.mask.unwrap_or_default(), bytes.get(begin..end)?);
        Some((frame, end))
    }

    /// The frames that `bytes` are.
    ///
    /// # Panics
    ///
    /// If a part of a frame is left.
    #[must_use]
    #[track_caller]
    pub fn parse_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let parsed = Self::parse(bytes);
            let (frame, count) =
                parsed.unwrap_or_else(|| panic!("a part of a frame: {bytes:02x?}"));
            frames.push(frame);
            bytes = &bytes[count..];
        }
        frames
    }

    /// Reads a frame, and nothing beyond it.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        let mut rest = vec![0; rest_of_header(head)];
        from.read_exact(&mut rest)?;
        let mut frame = Self::begun(head, &rest);
        // Not allocated by what the header announces: that may be anything.
        let count = from.take(frame.length).read_to_end(&mut frame.payload)?;
        frame.finish(count)
    }

    /// Reads a frame, and nothing beyond it. A future that is dropped loses what it has read.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`.
    #[cfg(feature = "tokio")]
    pub async fn read_async(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Self> {
        use tokio::io::AsyncReadExt as _;

        let mut head = [0; 2];
        from.read_exact(&mut head).await?;
        let mut rest = vec![0; rest_of_header(head)];
        from.read_exact(&mut rest).await?;
        let mut frame = Self::begun(head, &rest);
        let count = from.take(frame.length).read_to_end(&mut frame.payload).await?;
        frame.finish(count)
    }

    /// The frame with this header, and no payload yet.
    fn begun([first, second]: [u8; 2], rest: &[u8]) -> Self {
        let (form, width) = length_field(second);
        let (length, key) = rest.split_at(width);
        let wide = length.iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
        let length = if width == 0 { u64::from(second & 0x7F) } else { wide };
        Self { first, mask: key.first_chunk().copied(), form, length, payload: Vec::new() }
    }

    /// Unmasks the payload, of which `count` bytes have come.
    fn finish(mut self, count: usize) -> io::Result<Self> {
        if count as u64 != self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.payload = apply(self.mask.unwrap_or_default(), &self.payload);
        Ok(self)
    }
}

/// The form of the length that the second byte tells of, and how many more bytes it has.
fn length_field(second: u8) -> (Form, usize) {
    match second & 0x7F {
        126 => (Form::Bits16, 2),
        127 => (Form::Bits64, 8),
        _ => (Form::Bits7, 0),
    }
}

/// How many bytes of the header follow the first two.
fn rest_of_header([_, second]: [u8; 2]) -> usize {
    length_field(second).1 + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Masks or unmasks (RFC 6455 §5.3).
fn apply(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// The bytes of a frame as a client sends it.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    Frame::masked(first, payload).encode()
}

/// The bytes of a frame as a server sends it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    Frame::unmasked(first, payload).encode()
}

/// The header of a client's frame that announces `length` bytes, in the shortest form.
#[must_use]
pub fn header(first: u8, length: u64) -> Vec<u8> {
    Frame::masked(first, []).announce(length).header()
}

/// A payload as it stands behind [`header`].
#[must_use]
pub fn mask(payload: &[u8]) -> Vec<u8> {
    apply(KEY, payload)
}

/// The payload of a Close frame. The reason may be no UTF-8.
#[must_use]
pub fn close_payload(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

#[cfg(test)]
mod tests;
