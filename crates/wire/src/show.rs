//! A frame as people read it: its bytes and their meaning.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use crate::frame::{Form, Frame, RSV1, RSV2, RSV3};

/// How many bytes of a payload, or characters of its text, are shown.
const SHOWN: usize = 32;

/// `81 85 37 fa 21 3d 7f 9f 4d 51 58 · Text, masked, 5 bytes: "Hello"`
impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bytes = self.encode();
        let most = self.header().len() + SHOWN;
        for byte in bytes.iter().take(most) {
            write!(f, "{byte:02x} ")?;
        }
        write!(f, "{}· ", if bytes.len() > most { "… " } else { "" })?;
        write!(f, "{}", opcode(self.opcode()))?;
        if !self.fin() {
            write!(f, ", not the last fragment")?;
        }
        for (bit, name) in [(RSV1, "RSV1"), (RSV2, "RSV2"), (RSV3, "RSV3")] {
            if self.first & bit != 0 {
                write!(f, ", {name}")?;
            }
        }
        write!(f, "{}", if self.mask.is_some() { ", masked" } else { "" })?;
        self.fmt_length(f)?;
        self.fmt_payload(f)
    }
}

impl Frame {
    fn fmt_length(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = self.payload.len();
        write!(f, ", {count} byte{}", if count == 1 { "" } else { "s" })?;
        if self.length != count as u64 {
            write!(f, " of {} announced", self.length)?;
        }
        if self.form != Form::shortest(self.length) {
            let bits = match self.form {
                Form::Bits7 => 7,
                Form::Bits16 => 16,
                Form::Bits64 => 64,
            };
            write!(f, " in the form of {bits} bits")?;
        }
        Ok(())
    }

    /// The payload as text, if it is text; of a Close its code and its reason.
    fn fmt_payload(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.opcode(), self.payload.split_first_chunk()) {
            (0x8, Some((code, reason))) => {
                write!(f, ": {} {}", u16::from_be_bytes(*code), quoted(reason))
            }
            (0x1 | 0x9 | 0xA, _) if !self.payload.is_empty() && self.first & RSV1 == 0 => {
                write!(f, ": {}", quoted(&self.payload))
            }
            _ => Ok(()),
        }
    }
}

fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let begin: String = text.chars().take(SHOWN).collect();
    let rest = if begin.len() < text.len() { "…" } else { "" };
    format!("{begin:?}{rest}")
}

fn opcode(opcode: u8) -> Cow<'static, str> {
    match opcode {
        0x0 => "Continuation".into(),
        0x1 => "Text".into(),
        0x2 => "Binary".into(),
        0x8 => "Close".into(),
        0x9 => "Ping".into(),
        0xA => "Pong".into(),
        other => format!("opcode {other:#x}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{BINARY, CLOSE, FIN, TEXT, close_payload};

    #[test]
    fn a_frame_is_shown_with_its_bytes_and_their_meaning() {
        let shown = |frame: Frame| frame.to_string();
        assert_eq!(
            shown(Frame::masked(TEXT, "Hello")),
            "81 85 37 fa 21 3d 7f 9f 4d 51 58 · Text, masked, 5 bytes: \"Hello\""
        );
        assert_eq!(
            shown(Frame::unmasked(CLOSE, close_payload(1000, "bye"))),
            "88 05 03 e8 62 79 65 · Close, 5 bytes: 1000 \"bye\""
        );
        assert_eq!(
            shown(Frame::unmasked(BINARY & !FIN | RSV2, []).announce(3).form(Form::Bits16)),
            "22 7e 00 03 · Binary, not the last fragment, RSV2, 0 bytes of 3 announced in the form of \
             16 bits"
        );
        assert_eq!(shown(Frame::unmasked(0x83, [1])), "83 01 01 · opcode 0x3, 1 byte");
    }

    #[test]
    fn of_a_long_payload_the_beginning_is_shown() {
        let shown = Frame::unmasked(TEXT, "é".repeat(1000)).to_string();
        assert!(shown.starts_with("81 7e 07 d0 c3 a9 c3"), "{shown}");
        assert!(shown.contains(" … · Text, 2000 bytes: \"éé"), "{shown}");
        assert!(shown.ends_with("é\"…") && shown.len() < 300, "{shown}");
    }
}
