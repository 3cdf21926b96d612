//! How a connection begins: whatever arrives is HTTP/2, HTTP/1.1 or not enough, and more bytes do not
//! take back what was decided.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_server::internals::{Protocol, ProtocolDetector};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|pieces: Vec<&[u8]>| {
    let (mut detector, mut arrived) = (ProtocolDetector::default(), Vec::new());
    for piece in pieces {
        arrived.extend_from_slice(piece);
        match detector.detect(&arrived) {
            Some(Protocol::Http2) => return assert!(arrived.starts_with(PREFACE)),
            Some(Protocol::Http1) => return assert!(!PREFACE.starts_with(&arrived)),
            None => assert!(arrived.len() < 16 << 10 || PREFACE.starts_with(&arrived)),
        }
    }
});
