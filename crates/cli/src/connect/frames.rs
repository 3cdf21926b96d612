//! The frames of a connection, in one line each (RFC 6455 §5.2).

use std::fmt::Write as _;

use sockeye::Direction;

/// How much of a payload is kept: a control frame has no more (RFC 6455 §5.5).
const KEPT: usize = 125;

/// The frames in one direction, found in its bytes as they pass.
#[derive(Debug)]
pub(super) struct Frames {
    arrow: char,
    header: Vec<u8>,
    /// The frame whose payload passes.
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    length: u64,
    /// What of the payload is still to come.
    left: u64,
    /// The beginning of the payload of a control frame, as it is on the wire.
    payload: Vec<u8>,
}

impl Frames {
    pub(super) fn new(direction: Direction) -> Self {
        let arrow = match direction {
            Direction::Sent => '>',
            Direction::Received => '<',
        };
        Self { arrow, header: Vec::new(), frame: None }
    }

    /// Takes bytes, and gives a line for each frame that ends in them.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut show: impl FnMut(String)) {
        loop {
            if let Some(mut frame) = self.frame.take() {
                let count = frame.left.min(bytes.len() as u64);
                let (payload, rest) = bytes.split_at(count as usize);
                frame.take(payload);
                bytes = rest;
                match frame.left {
                    0 => show(format!("{} {}", self.arrow, frame.line())),
                    _ => {
                        self.frame = Some(frame);
                        return;
                    }
                }
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.header.push(byte);
            bytes = rest;
            self.frame = Frame::begin(&self.header);
            if self.frame.is_some() {
                self.header.clear();
            }
        }
    }
}

impl Frame {
    /// The frame with this header, if that is whole.
    fn begin(header: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = header else { return None };
        let width = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_width = if second & 0x80 == 0 { 0 } else { 4 };
        if rest.len() < width + mask_width {
            return None;
        }
        let (wide, mask) = rest.split_at(width);
        let length = match width {
            0 => u64::from(second & 0x7f),
            _ => wide.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let mask = mask.first_chunk().copied();
        Some(Self { first: *first, mask, length, left: length, payload: Vec::new() })
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Takes the next bytes of the payload.
    fn take(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        if self.opcode() >= 8 {
            let room = KEPT - self.payload.len();
            self.payload.extend(bytes.iter().take(room));
        }
    }

    fn line(&self) -> String {
        let mut line = match self.opcode() {
            0 => "continuation".to_owned(),
            1 => "text".to_owned(),
            2 => "binary".to_owned(),
            8 => "close".to_owned(),
            9 => "ping".to_owned(),
            10 => "pong".to_owned(),
            other => format!("opcode {other:#x}"),
        };
        if self.first & 0x80 == 0 {
            line.push_str(", more to come");
        }
        for (bit, name) in [(0x40, "compressed"), (0x20, "RSV2"), (0x10, "RSV3")] {
            if self.first & bit != 0 {
                line.push_str(", ");
                line.push_str(name);
            }
        }
        let s = if self.length == 1 { "" } else { "s" };
        // Writing to a string cannot fail.
        let _ = write!(line, ", {} byte{s}", self.length);
        if self.mask.is_some() {
            line.push_str(", masked");
        }
        let key = self.mask.unwrap_or_default();
        let payload: Vec<u8> =
            self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        match payload.split_first_chunk() {
            Some((code, reason)) if self.opcode() == 8 => {
                let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
                let _ = write!(line, ": {code} {reason:?}");
            }
            _ => {}
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(direction: Direction, bytes: &[u8], at_once: usize) -> Vec<String> {
        let (mut frames, mut lines) = (Frames::new(direction), Vec::new());
        for part in bytes.chunks(at_once) {
            frames.read(part, |line| lines.push(line));
        }
        lines
    }

    #[test]
    fn frames_are_found_however_their_bytes_come() {
        let mut bytes = vec![0x01, 0x82, 1, 2, 3, 4, 0, 0, 0x80, 0xfe, 0, 126, 0, 0, 0, 0];
        bytes.extend([0; 126]);
        bytes.extend([0x89, 0x81, 1, 1, 1, 1, 1]);
        bytes.extend([0x88, 0x85, 1, 1, 1, 1, 2, 0xe9, b'b' ^ 1, b'y' ^ 1, b'e' ^ 1]);
        let expected = [
            "> text, more to come, 2 bytes, masked",
            "> continuation, 126 bytes, masked",
            "> ping, 1 byte, masked",
            "> close, 5 bytes, masked: 1000 \"bye\"",
        ];
        for at_once in 1..bytes.len() {
            assert_eq!(lines(Direction::Sent, &bytes, at_once), expected);
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_shown_as_it_is() {
        let bytes = [0xc1, 0, 0xa2, 0, 0x93, 1, 0, 0x88, 0, 0x88, 1, 9];
        assert_eq!(
            lines(Direction::Received, &bytes, 100),
            [
                "< text, compressed, 0 bytes",
                "< binary, RSV2, 0 bytes",
                "< opcode 0x3, RSV3, 1 byte",
                "< close, 0 bytes",
                "< close, 1 byte"
            ]
        );
    }
}
