//! How a connection begins: with the preface of HTTP/2, or with the head of a request of HTTP/1.1.
//!
//! The first head is awaited here and not in hyper, which has a buffer of 8 KiB for it before a byte
//! has arrived: what a client holds before its first request is what it has sent.

use httparse::{EMPTY_HEADER, Request, Status};

use crate::server::MAX_HEAD;

/// What a client that knows that the server speaks HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As many headers as hyper takes.
pub(crate) const MAX_HEADERS: usize = 100;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A whole head has arrived, or something that hyper refuses.
    Http1,
    /// The preface has arrived.
    Http2,
}

/// Looks at what a client sends, piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beginning {
    /// How much of it was looked at.
    seen: usize,
}

impl Beginning {
    /// Looks at all that has arrived; `None` while more has to.
    pub fn look(&mut self, arrived: &[u8]) -> Option<Protocol> {
        let new = arrived.get(self.seen..).unwrap_or_default();
        let is_first = self.seen == 0;
        self.seen = arrived.len();
        if arrived.starts_with(PREFACE) {
            return Some(Protocol::Http2);
        }
        if PREFACE.starts_with(arrived) {
            return None;
        }
        // A piece without the end of a line completes no head: one that arrives byte by byte is not
        // parsed for each byte.
        let is_whole = (is_first || new.contains(&b'\n')) && is_head(arrived);
        (is_whole || arrived.len() >= MAX_HEAD).then_some(Protocol::Http1)
    }
}

/// Whether it is a whole head, or none that could become one.
fn is_head(bytes: &[u8]) -> bool {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    !matches!(Request::new(&mut headers).parse(bytes), Ok(Status::Partial))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(pieces: &[&[u8]]) -> Option<Protocol> {
        let (mut beginning, mut arrived) = (Beginning::default(), Vec::new());
        pieces.iter().find_map(|piece| {
            arrived.extend_from_slice(piece);
            beginning.look(&arrived)
        })
    }

    #[test]
    fn a_preface_is_known_in_pieces_and_what_differs_from_it_is_not_one() {
        for cut in 1..PREFACE.len() {
            let (first, second) = PREFACE.split_at(cut);
            assert_eq!(look(&[first]), None, "{cut}");
            assert_eq!(look(&[first, second]), Some(Protocol::Http2), "{cut}");
        }
        assert_eq!(look(&[b"P", b"OST / HTTP/1.1\r\nHost: a\r\n\r\n"]), Some(Protocol::Http1));
        assert_eq!(look(&[b"PRI * HTTP/2.0\r\n\r\nxx"]), Some(Protocol::Http1));
    }

    #[test]
    fn what_is_no_head_is_told_at_once() {
        for garbage in [&b"\x16\x03\x01\x02"[..], b"GET /\x01", b"GET / HTTP/9.9\r\n"] {
            assert_eq!(look(&[garbage]), Some(Protocol::Http1), "{garbage:?}");
        }
        let long = vec![b'a'; MAX_HEAD];
        assert_eq!(look(&[b"GET / HTTP/1.1\r\nx: ", &long]), Some(Protocol::Http1));
    }

    proptest! {
        /// In whatever pieces it arrives, a head is found whole, and never before its end.
        #[test]
        fn a_head_is_found_at_its_end(
            path in "/[a-z]{0,20}",
            values in prop::collection::vec("[ -~]{0,30}", 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let fields: String = values.iter().map(|value| format!("x-a: {value}\r\n")).collect();
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(head.len())).collect();
            cuts.sort_unstable();
            let mut beginning = Beginning::default();
            for cut in cuts {
                prop_assert_eq!(beginning.look(&head[..cut]), None);
            }
            prop_assert_eq!(beginning.look(&head), Some(Protocol::Http1));
        }

        #[test]
        fn any_bytes_are_looked_at(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            look(&pieces);
        }
    }
}
