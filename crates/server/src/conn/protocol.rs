//! Which HTTP a connection speaks: it begins with the HTTP/2 preface, or with the head of an HTTP/1.1
//! request.
//!
//! The first head is awaited here and not in hyper, which allocates 8 KiB before a byte has arrived:
//! before its first request a connection holds only what it has sent.

use httparse::{EMPTY_HEADER, Request, Status};

use crate::conn::MAX_HEAD;

/// The preface of a client with prior knowledge of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As many headers as hyper accepts.
pub(crate) const MAX_HEADERS: usize = 100;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A whole head has arrived, or bytes that hyper refuses.
    Http1,
    /// The preface has arrived.
    Http2,
}

/// Detects the protocol from what a client sends, piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProtocolDetector {
    /// How many bytes were examined.
    seen: usize,
}

impl ProtocolDetector {
    /// Examines all that has arrived; `None` while more is needed.
    pub fn detect(&mut self, arrived: &[u8]) -> Option<Protocol> {
        let new = arrived.get(self.seen..).unwrap_or_default();
        let is_first = self.seen == 0;
        self.seen = arrived.len();
        if arrived.starts_with(PREFACE) {
            return Some(Protocol::Http2);
        }
        if PREFACE.starts_with(arrived) {
            return None;
        }
        // A piece without the end of a line completes no head: a head that arrives byte by byte is not
        // parsed for each byte.
        let is_whole = (is_first || new.contains(&b'\n')) && is_head(arrived);
        (is_whole || arrived.len() >= MAX_HEAD).then_some(Protocol::Http1)
    }
}

/// Whether it is a whole head, or bytes that cannot become one.
fn is_head(bytes: &[u8]) -> bool {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    !matches!(Request::new(&mut headers).parse(bytes), Ok(Status::Partial))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(pieces: &[&[u8]]) -> Option<Protocol> {
        let (mut detector, mut arrived) = (ProtocolDetector::default(), Vec::new());
        pieces.iter().find_map(|piece| {
            arrived.extend_from_slice(piece);
            detector.detect(&arrived)
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
    fn bytes_that_are_not_a_head_are_detected_at_once() {
        for garbage in [&b"\x16\x03\x01\x02"[..], b"GET /\x01", b"GET / HTTP/9.9\r\n"] {
            assert_eq!(look(&[garbage]), Some(Protocol::Http1), "{garbage:?}");
        }
        let long = vec![b'a'; MAX_HEAD];
        assert_eq!(look(&[b"GET / HTTP/1.1\r\nx: ", &long]), Some(Protocol::Http1));
    }

    proptest! {
        /// In whatever pieces it arrives, a head is detected at its end, never before.
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
            let mut detector = ProtocolDetector::default();
            for cut in cuts {
                prop_assert_eq!(detector.detect(&head[..cut]), None);
            }
            prop_assert_eq!(detector.detect(&head), Some(Protocol::Http1));
        }

        #[test]
        fn any_bytes_can_be_examined(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            look(&pieces);
        }
    }
}
