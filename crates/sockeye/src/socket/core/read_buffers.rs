//! Read buffers, a few for each thread: a connection has one only while it has unread input.

#![expect(clippy::vec_box, reason = "each moves to a connection and back as it is, a pointer")]

use std::cell::{Cell, RefCell};

use bytes::{Bytes, BytesMut};
use sockeye_proto::{Message, Text};

use super::input::Buffer;
#[cfg(test)]
use super::input::SPARE;

/// The size of a read, in bytes.
pub(super) const READ_SIZE: usize = 64 << 10;
/// How many buffers a thread keeps.
const KEPT: usize = 4;
/// Messages below this size are copied while the application keeps messages.
const SMALL: usize = 4 << 10;
/// For how many messages a thread copies after it has found a message that was kept.
const WARY: u32 = 1024;

thread_local! {
    static POOL: RefCell<Vec<Box<Buffer>>> = const { RefCell::new(Vec::new()) };
    static COPIES_TO_COME: Cell<u32> = const { Cell::new(0) };
}

/// An empty buffer with room for [`READ_SIZE`] bytes.
pub(super) fn take() -> Box<Buffer> {
    // There is none while the thread ends.
    if let Ok(Some(mut buffer)) = POOL.try_with(|pool| pool.borrow_mut().pop()) {
        if !buffer.clear() {
            // The application still holds a message of the last read, and with it the whole buffer.
            COPIES_TO_COME.set(WARY);
            *buffer = Buffer::new(BytesMut::with_capacity(READ_SIZE));
        }
        return buffer;
    }
    Box::new(Buffer::new(BytesMut::with_capacity(READ_SIZE)))
}

/// Returns an unused buffer to the thread's pool.
pub(super) fn give_back(mut buffer: Box<Buffer>) {
    // All of it is with the application, or it is too large to be kept.
    if !buffer.rest() {
        return;
    }
    // While the thread ends it is freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}

/// Copies a small message out of its read buffer if the application has lately kept messages: each would
/// keep a whole buffer alive. An application that drops its messages never pays for this.
pub(crate) fn detach(message: Message) -> Message {
    if !is_worth_a_copy(message.len()) {
        return message;
    }
    match message {
        Message::Text(text) => Message::Text(Text::from(text.as_str())),
        Message::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(&bytes)),
    }
}

/// The same for a part of a message.
pub(crate) fn detach_bytes(bytes: Bytes) -> Bytes {
    if is_worth_a_copy(bytes.len()) { Bytes::copy_from_slice(&bytes) } else { bytes }
}

fn is_worth_a_copy(length: usize) -> bool {
    let wary = COPIES_TO_COME.get();
    let copies = wary > 0 && length < SMALL;
    COPIES_TO_COME.set(wary - u32::from(copies));
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_kept_do_not_keep_their_buffers_for_long() {
        let mut kept = Vec::new();
        let mut allocated = std::collections::HashSet::new();
        for _ in 0..1000 {
            let mut buffer = take();
            buffer.bytes.extend_from_slice(b"hello");
            let message = Message::Binary(buffer.bytes.split().freeze());
            allocated.insert(buffer.bytes.as_ptr() as usize / READ_SIZE);
            kept.push(detach(message));
            give_back(buffer);
        }
        assert!(allocated.len() <= 8, "{} buffers for 1000 kept messages", allocated.len());
    }

    #[test]
    fn what_large_messages_leave_behind_is_bounded() {
        for _ in 0..KEPT {
            let grown = BytesMut::with_capacity(SPARE);
            give_back(Box::new(Buffer::new(grown)));
        }
        let kept =
            POOL.with_borrow(|pool| pool.iter().map(|kept| kept.bytes.capacity()).sum::<usize>());
        assert!(kept <= SPARE + KEPT * 2 * READ_SIZE, "{kept} bytes");
    }

    #[test]
    fn messages_that_are_used_up_are_never_copied() {
        for _ in 0..100 {
            let mut buffer = take();
            buffer.bytes.extend_from_slice(b"hello");
            let message = Message::Binary(buffer.bytes.split().freeze());
            let address = message.as_bytes().as_ptr();
            let message = detach(message);
            assert_eq!(message.as_bytes().as_ptr(), address);
            give_back(buffer);
        }
    }
}
