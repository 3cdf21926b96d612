//! The header of the PROXY protocol: any bytes are one, or none, or not enough; and of what follows
//! nothing is read.
#![no_main]

use arbitrary::Arbitrary;
use futures_util::FutureExt as _;
use libfuzzer_sys::fuzz_target;
use sockeye_server::internals::read_proxy_header;

#[derive(Debug, Arbitrary)]
enum Beginning {
    Nothing,
    Line,
    Signature,
}

fuzz_target!(|input: (Beginning, &[u8])| {
    let begin: &[u8] = match input.0 {
        Beginning::Nothing => b"",
        Beginning::Line => b"PROXY TCP4 ",
        Beginning::Signature => b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
    };
    let look = |bytes: &[u8]| {
        let mut rest = bytes;
        let read = read_proxy_header(&mut rest).now_or_never().expect("bytes do not wait");
        (read.ok(), bytes.len() - rest.len())
    };
    let bytes = [begin, input.1].concat();
    let (read, length) = look(&bytes);
    if read.is_some() {
        assert_eq!(look(&[&bytes, &b"more"[..]].concat()), (read, length));
    }
});
