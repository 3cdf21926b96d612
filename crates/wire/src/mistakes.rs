//! What is wrong with a frame by itself (RFC 6455 §5, §7.4).

use crate::Role;
use crate::frame::{Form, Frame, RSV1, RSV2, RSV3};

impl Frame {
    /// What this end must not have sent in this frame, whatever came before it: empty for a right one.
    /// The first reserved bit counts: callers that have agreed on an extension clear it.
    #[must_use]
    pub fn mistakes(&self, sender: Role) -> Vec<&'static str> {
        let is_control = self.opcode() & 0x8 != 0;
        let mistakes = [
            (self.first & (RSV1 | RSV2 | RSV3) != 0, "a reserved bit"),
            (matches!(self.opcode(), 0x3..=0x7 | 0xB..=0xF), "an unknown opcode"),
            (self.mask.is_none() && sender == Role::Client, "a client's frame without a mask"),
            (self.mask.is_some() && sender == Role::Server, "a server's frame with a mask"),
            (self.form != Form::shortest(self.length), "a length not in its shortest form"),
            (self.length > i64::MAX as u64, "a length of more than 63 bits"),
            (self.length != self.payload.len() as u64, "a length that is not the payload's"),
            (is_control && !self.fin(), "a control frame in fragments"),
            (is_control && self.length > 125, "a control frame of more than 125 bytes"),
        ];
        let mistakes = mistakes.into_iter().filter(|(is_made, _)| *is_made).map(|(_, what)| what);
        mistakes.chain(self.mistake_in_text()).chain(self.mistake_in_close()).collect()
    }

    /// A text in one frame, not compressed, is UTF-8 (RFC 6455 §5.6).
    fn mistake_in_text(&self) -> Option<&'static str> {
        let is_text = self.fin() && self.opcode() == 0x1 && self.first & RSV1 == 0;
        (is_text && str::from_utf8(&self.payload).is_err()).then_some("a text that is not UTF-8")
    }

    /// RFC 6455 §5.5.1, §7.4.
    fn mistake_in_close(&self) -> Option<&'static str> {
        if self.opcode() != 0x8 || self.payload.is_empty() {
            return None;
        }
        let Some((code, reason)) = self.payload.split_first_chunk() else {
            return Some("a Close payload of one byte");
        };
        match u16::from_be_bytes(*code) {
            1000..=1003 | 1007..=1014 | 3000..=4999 => {
                str::from_utf8(reason).is_err().then_some("a reason that is not UTF-8")
            }
            _ => Some("a close code that must not be sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{BINARY, CLOSE, FIN, PING, TEXT, close_payload};

    #[test]
    fn right_frames_have_no_mistakes() {
        for role in [Role::Client, Role::Server] {
            let frames = [
                Frame::sent_by(role, TEXT, "Zürich"),
                Frame::sent_by(role, TEXT & !FIN, b"\xC3"),
                Frame::sent_by(role, BINARY, vec![0xFF; 70_000]),
                Frame::sent_by(role, PING, [7; 125]),
                Frame::sent_by(role, CLOSE, []),
                Frame::sent_by(role, CLOSE, close_payload(4999, "bye")),
            ];
            for frame in frames {
                assert_eq!(frame.mistakes(role), [""; 0], "{frame}");
            }
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let close = |code, reason: &[u8]| Frame::unmasked(CLOSE, close_payload(code, reason));
        let wrong = [
            (Frame::unmasked(BINARY | RSV3, []), "a reserved bit"),
            (Frame::unmasked(0x83, []), "an unknown opcode"),
            (Frame::masked(TEXT, []), "a server's frame with a mask"),
            (Frame::unmasked(TEXT, "x").form(Form::Bits16), "a length not in its shortest form"),
            (Frame::unmasked(TEXT, "x").announce(2), "a length that is not the payload's"),
            (Frame::unmasked(PING & !FIN, []), "a control frame in fragments"),
            (Frame::unmasked(PING, [0; 126]), "a control frame of more than 125 bytes"),
            (Frame::unmasked(TEXT, [0xFF]), "a text that is not UTF-8"),
            (Frame::unmasked(CLOSE, [3]), "a Close payload of one byte"),
            (close(1005, b""), "a close code that must not be sent"),
            (close(1000, b"\xFF"), "a reason that is not UTF-8"),
        ];
        for (frame, mistake) in wrong {
            assert_eq!(frame.mistakes(Role::Server), [mistake], "{frame}");
        }
        let mistakes = Frame::unmasked(TEXT, []).mistakes(Role::Client);
        assert_eq!(mistakes, ["a client's frame without a mask"]);
        let mistakes = Frame::unmasked(BINARY, []).announce(1 << 63).mistakes(Role::Server);
        assert!(mistakes.contains(&"a length of more than 63 bits"), "{mistakes:?}");
    }
}
