//! The keys of an issuer: any bytes are a set, or none, and a set replaces another as a whole or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_server::{AuthKey, KeySet, NumericDate};

fuzz_target!(|input: (&[u8], &str)| {
    let (json, token) = input;
    let Ok(keys) = KeySet::from_json(json) else { return };
    assert!((1..=KeySet::MAX_KEYS).contains(&keys.len()));
    assert_eq!(keys.replace(json), Ok(false));
    assert!(keys.replace(b"{}").is_err() && !keys.is_empty());
    let key = AuthKey::from_set(keys);
    assert!(key.verify(token, NumericDate::now()).is_err(), "the fuzzer has no private key");
});
