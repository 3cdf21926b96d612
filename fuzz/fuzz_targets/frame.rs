//! Frame headers: any bytes give a header or one violation, no later than its first wrong byte, and
//! what is written is what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::internals::{Header, Rules};

fuzz_target!(|input: (bool, bool, bool, &[u8])| {
    let (masked, rsv1, long_lengths, bytes) = input;
    let rules = Rules { masked, rsv1, long_lengths };
    let verdict = Header::decode(bytes, rules);

    let first = (0..=bytes.len().min(14))
        .map(|cut| Header::decode(&bytes[..cut], rules))
        .find(|verdict| !matches!(verdict, Ok(None)));
    assert_eq!(first.unwrap_or(Ok(None)), verdict);

    let Ok(Some((header, size))) = verdict else { return };
    assert!((2..=14).contains(&size) && size <= bytes.len());
    let (encoded, encoded_size) = header.encode();
    let encoded = &encoded[..encoded_size];
    assert_eq!(Header::decode(encoded, rules), Ok(Some((header, encoded_size))));
    if long_lengths {
        assert!(encoded_size <= size);
    } else {
        assert_eq!(encoded, &bytes[..size]);
    }
});
