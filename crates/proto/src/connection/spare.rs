//! Buffers for what is to be transmitted, lent by the thread: a connection that has written everything
//! gives them back, and the next one to send has no need to allocate.
//!
//! As with what [compression](crate::deflate) borrows: no result depends on whether there is one.

use alloc::{boxed::Box, vec::Vec};
#[cfg(feature = "std")]
use core::cell::Cell;

use super::outbox::Waiting;

/// A buffer that has grown beyond this is freed. This many bytes are what a read of small messages
/// comes to when each is answered.
const MOST: usize = 32 << 10;

#[cfg(feature = "std")]
thread_local! {
    static SPARE: Cell<Option<Box<Waiting>>> = const { Cell::new(None) };
    /// Of one that holds large payloads, and no small ones.
    static SPARE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty queue, with or without memory for what comes.
pub(super) fn take() -> Box<Waiting> {
    // There is none while the thread ends.
    #[cfg(feature = "std")]
    return SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
    #[cfg(not(feature = "std"))]
    Box::default()
}

/// An empty buffer, with or without memory.
pub(super) fn take_buffer() -> Vec<u8> {
    #[cfg(feature = "std")]
    return SPARE_BUFFER.try_with(Cell::take).unwrap_or_default();
    #[cfg(not(feature = "std"))]
    Vec::new()
}

/// Returns a queue whose contents are no longer needed.
#[cfg_attr(
    not(feature = "std"),
    expect(clippy::boxed_local, reason = "with std it is kept as it is")
)]
pub(super) fn give_back(mut waiting: Box<Waiting>) {
    if waiting.clear() <= MOST {
        // While the thread ends it is freed.
        #[cfg(feature = "std")]
        let _ = SPARE.try_with(|spare| spare.set(Some(waiting)));
    }
}

/// The same with a buffer.
pub(super) fn give_back_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MOST {
        buffer.clear();
        #[cfg(feature = "std")]
        let _ = SPARE_BUFFER.try_with(|spare| spare.set(buffer));
    }
}
