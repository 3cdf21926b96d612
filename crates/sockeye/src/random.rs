//! Randomness for keys, nonces and delays, from the system's generator.

use std::{cell::RefCell, time::Duration};

/// Sixteen fresh bytes for `Sec-WebSocket-Key`.
pub(crate) fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    fill(&mut nonce);
    nonce
}

/// An unpredictable masking key. Drawn from the system many at a time: a system call per
/// frame would cost more than the frame.
pub(crate) fn mask_key() -> [u8; 4] {
    const KEYS: usize = 256;
    thread_local! {
        static DRAWN: RefCell<Vec<[u8; 4]>> = const { RefCell::new(Vec::new()) };
    }
    let drawn = DRAWN.try_with(|keys| {
        let mut keys = keys.borrow_mut();
        if keys.is_empty() {
            let mut bytes = [0; 4 * KEYS];
            fill(&mut bytes);
            keys.extend_from_slice(bytes.as_chunks().0);
        }
        keys.pop().unwrap_or_default()
    });
    // There are none while the thread ends.
    drawn.unwrap_or_else(|_| {
        let mut key = [0; 4];
        fill(&mut key);
        key
    })
}

/// A time between nothing and `limit`, each as likely.
pub(crate) fn up_to(limit: Duration) -> Duration {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    limit.mul_f64(f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

fn fill(bytes: &mut [u8]) {
    // A system without randomness cannot open a WebSocket safely, nor much else.
    #[expect(clippy::expect_used, reason = "no safe way to go on")]
    getrandom::fill(bytes).expect("the system gives no random bytes");
}
