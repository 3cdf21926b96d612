//! Refuses heads of requests that hyper accepts, and that another reader of the same bytes would take for
//! something else: request smuggling (RFC 9112 §11.2).
//!
//! - a line that ends with a bare LF (RFC 9112 §2.2);
//! - `Content-Length` together with `Transfer-Encoding` (RFC 9112 §6.1), which hyper takes by the latter;
//! - a `Transfer-Encoding` other than `chunked`, once (RFC 9112 §6.1, §7).
//!
//! hyper has no hook for the bytes of a head, so the guard looks at the bytes on their way to hyper. It
//! follows the lengths of bodies to find the next head, and spoils a head that is to be refused ([`SPOILED`]), which
//! hyper answers with 400, and ends the connection. The first request of a connection
//! is refused in words before that (`early`).

use std::mem;

/// What hyper reads in place of the rest of a head that is to be refused.
pub(crate) const SPOILED: &[u8] = b"\0\r\n\r\n";

/// More than a whole head may have: hyper refuses it.
const MAX_LINE: usize = 64 << 10;

/// The longest line whose memory is kept for the next one.
const KEPT_LINE: usize = 512;

/// Follows what a client sends on one connection of HTTP/1.1.
#[derive(Debug, Default)]
pub(crate) struct HeadGuard {
    state: MessagePart,
    /// The line of a head or of a chunk's size, as far as it has come.
    line: Vec<u8>,
    head: Head,
    /// How many heads were complete.
    heads: u32,
    /// Whether the client is refused: nothing of it is given on any more.
    refuses: bool,
    /// Whether nothing is given on until the answer is known: it may be that of an upgrade.
    holds: bool,
}

/// Where in a message the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum MessagePart {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// hyper refuses what has come, or is going to: nothing is to be looked at any more.
    Over,
}

/// What is known of a head.
#[derive(Debug, Default)]
struct Head {
    has_begun: bool,
    length: Option<u64>,
    codings: Vec<u8>,
    is_coded: bool,
    upgrades: bool,
}

impl HeadGuard {
    /// Looks at bytes on their way, and says how many of them may be given on now: all, or those up to the
    /// end of a request to which the answer comes first, or to what is to be [refused](Self::refuses).
    pub(crate) fn look(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() && !self.holds && !self.refuses {
            let rest = &bytes[done..];
            done += match self.state {
                MessagePart::Over => rest.len(),
                MessagePart::Body(left) => {
                    self.skip(rest.len(), left, MessagePart::Body, MessagePart::Head)
                }
                MessagePart::Chunk(left) => {
                    self.skip(rest.len(), left, MessagePart::Chunk, MessagePart::ChunkEnd)
                }
                _ => self.look_at_line(rest),
            };
        }
        done
    }

    /// Whether the answer to a request comes before what follows it, when that many have been answered.
    pub(crate) fn holds(&mut self, answered: u32) -> bool {
        self.holds &= answered < self.heads;
        self.holds
    }

    /// Whether the next byte, and all after it, is to be replaced by [`SPOILED`].
    pub(crate) fn refuses(&self) -> bool {
        self.refuses
    }

    /// Skips bytes of a body, as many as are there; says how many that were.
    fn skip(
        &mut self,
        there: usize,
        left: u64,
        same: fn(u64) -> MessagePart,
        next: MessagePart,
    ) -> usize {
        let here = usize::try_from(left).map_or(there, |left| left.min(there));
        match left - here as u64 {
            0 if next == MessagePart::Head => self.end_message(),
            0 => self.state = next,
            left => self.state = same(left),
        }
        here
    }

    /// Takes bytes up to the end of a line, or all there are.
    fn look_at_line(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            self.bound_line();
            return bytes.len();
        };
        self.line.extend_from_slice(&bytes[..end]);
        let mut line = mem::take(&mut self.line);
        self.refuses = line.pop() != Some(b'\r') || !self.end_line(&line);
        line.clear();
        if line.capacity() <= KEPT_LINE {
            self.line = line;
        }
        end + usize::from(!self.refuses)
    }

    /// What is longer than a head may be is refused for that.
    fn bound_line(&mut self) {
        if self.line.len() > MAX_LINE {
            (self.state, self.line) = (MessagePart::Over, Vec::new());
        }
    }

    /// Takes a whole line; `false` if it is to be refused.
    fn end_line(&mut self, line: &[u8]) -> bool {
        match self.state {
            MessagePart::Head if line.is_empty() && self.head.has_begun => return self.end_head(),
            MessagePart::Head => self.head.take_line(line),
            MessagePart::ChunkSize => match chunk_size(line) {
                Some(0) => self.state = MessagePart::Trailer,
                Some(size) => self.state = MessagePart::Chunk(size),
                None => return false,
            },
            MessagePart::ChunkEnd if line.is_empty() => self.state = MessagePart::ChunkSize,
            MessagePart::ChunkEnd => return false,
            MessagePart::Trailer if line.is_empty() => self.end_message(),
            MessagePart::Trailer
            | MessagePart::Body(_)
            | MessagePart::Chunk(_)
            | MessagePart::Over => {}
        }
        true
    }

    fn end_head(&mut self) -> bool {
        self.heads = self.heads.wrapping_add(1);
        if self.head.is_coded {
            self.state = MessagePart::ChunkSize;
            return self.head.length.is_none()
                && self.head.codings.eq_ignore_ascii_case(b"chunked");
        }
        match self.head.length {
            None | Some(0) => self.end_message(),
            Some(length) => self.state = MessagePart::Body(length),
        }
        true
    }

    fn end_message(&mut self) {
        self.state = MessagePart::Head;
        self.holds = mem::take(&mut self.head).upgrades;
    }
}

impl Head {
    fn take_line(&mut self, line: &[u8]) {
        if !mem::replace(&mut self.has_begun, !line.is_empty()) {
            self.upgrades = line.starts_with(b"CONNECT ");
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            // hyper refuses one that is not a number, and a second one that differs.
            let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            self.length = Some(number.unwrap_or(u64::MAX));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if mem::replace(&mut self.is_coded, true) {
                self.codings.push(b',');
            }
            self.codings.extend_from_slice(value);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrades = true;
        }
    }
}

/// The size in a chunk's first line, before its extensions (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What hyper is given of bytes that come in pieces of this size, and whether it holds.
    fn given(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let (mut guard, mut given) = (HeadGuard::default(), Vec::new());
        for piece in bytes.chunks(size) {
            given.extend_from_slice(&piece[..guard.look(piece)]);
        }
        given.extend_from_slice(if guard.refuses() { SPOILED } else { b"" });
        (given, guard.holds(0))
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SIZED: &str =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\na\nb: c\n\n\n\r\nd";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
                           5;x=y\r\n\n\n\n\n\n\r\n00A\r\n0123456789\r\n0\r\nT: t\r\n\r\n";

    #[test]
    fn requests_in_order_pass_as_they_are_in_whatever_pieces() {
        let bytes = [GET, "\r\n", SIZED, CHUNKED, GET, CHUNKED, SIZED, GET].concat().into_bytes();
        for size in 1..=bytes.len() {
            assert_eq!(given(&bytes, size), (bytes.clone(), false), "{size}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_spoiled_wherever_it_comes() {
        let bad = [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ];
        for bad in bad {
            for before in ["", GET, SIZED, CHUNKED] {
                let bytes = [before, bad].concat().into_bytes();
                for size in 1..=bytes.len() {
                    let (given, _) = given(&bytes, size);
                    assert_eq!(given[..before.len()], *before.as_bytes());
                    let spoiled = &given[before.len()..];
                    assert!(spoiled.ends_with(SPOILED), "{bad}");
                    let mut fields = [httparse::EMPTY_HEADER; 16];
                    let parsed = httparse::Request::new(&mut fields).parse(spoiled);
                    assert!(parsed.is_err(), "{bad}");
                }
            }
        }
    }

    #[test]
    fn behind_a_request_for_another_protocol_the_answer_comes_first() {
        let upgrade = "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
        let bytes = [GET, upgrade, "\n\n\nframes"].concat().into_bytes();
        let whole = [GET, upgrade].concat().into_bytes();
        assert_eq!(given(&bytes, bytes.len()), (whole, true));
        let mut guard = HeadGuard::default();
        guard.look(&bytes);
        assert!(guard.holds(1), "only the first is answered");
        assert!(!guard.holds(2));
        // It was refused, and the next request is looked at as any.
        assert_eq!(guard.look(b"GET / HTTP/1.1\nHost: a\r\n\r\n"), 14);
        assert!(guard.refuses());
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut guard = HeadGuard::default();
            for piece in pieces {
                let given = guard.look(&piece);
                prop_assert!(given == piece.len() || guard.refuses() || guard.holds(0));
            }
        }
    }
}
