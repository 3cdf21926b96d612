//! A buffer for what is to be transmitted, lent by the thread: a connection that has written everything
//! gives it back, and the next one to send has no need to allocate.
//!
//! As with what [compression](crate::deflate) borrows: no result depends on whether there is one.

use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::cell::Cell;

/// A buffer that has grown beyond this is freed. This many bytes are what a read of small messages
/// comes to when each is answered.
const MOST: usize = 32 << 10;

#[cfg(feature = "std")]
thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer, with or without memory.
pub(super) fn take() -> Vec<u8> {
    // There is none while the thread ends.
    #[cfg(feature = "std")]
    return SPARE.try_with(Cell::take).unwrap_or_default();
    #[cfg(not(feature = "std"))]
    Vec::new()
}

/// Returns a buffer whose contents are no longer needed.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MOST {
        buffer.clear();
        // While the thread ends it is freed.
        #[cfg(feature = "std")]
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}
