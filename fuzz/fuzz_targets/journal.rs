//! The journal of the store: any bytes have an end of what is whole, and whatever follows it, those
//! before it are found again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_hub::internals::journal::{End, read};

fuzz_target!(|files: (&[u8], &[u8])| {
    let mut before = End::default();
    for bytes in [files.0, files.1] {
        let end = read(bytes, before, None).expect("memory can be read");
        let offset = usize::try_from(end.offset).expect("it is in memory");
        let whole = &bytes[..offset];
        assert_eq!(read(whole, before, None).expect("memory can be read"), end);
        for torn in [&bytes[offset..], &[0; 32]] {
            let torn = [whole, &torn[..torn.len() / 2]].concat();
            let found = read(&torn[..], before, None).expect("memory can be read");
            assert!(found.offset >= end.offset);
        }
        before = end;
    }
});
