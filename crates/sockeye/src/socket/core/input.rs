//! The bytes that a connection has received and not decoded yet. Memory follows what has arrived.
//!
//! A header announces the length of its frame, and the peer may send no more than that. So no memory is
//! reserved for what is announced: a connection that waits for more holds at most three times what has
//! arrived, plus [`SLACK`]. Large messages in transit may hold larger buffers as long as all of them
//! together stay within [`SPARE`]: a buffer that served large messages before takes the next one without
//! a copy or a fresh page.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::BytesMut;

use super::read_buffers::{self, READ_SIZE};

/// What may be held beside a multiple of what has arrived, in bytes.
const SLACK: usize = 1 << 10;
/// Input up to this size is copied into a buffer of the thread's for a read, and out of it after;
/// what is longer keeps a buffer of its own, which grows with it. A buffer also grows when it has less
/// room than this.
const SMALL: usize = 4 << 10;

/// What all inputs of the process together may hold beyond their own bounds, and the pools of its threads beyond small
/// buffers, in bytes.
pub(super) const SPARE: usize = 16 << 20;

/// What is left of [`SPARE`].
static LEFT: AtomicUsize = AtomicUsize::new(SPARE);

/// The input of one connection. `None` while there is none: most connections have nothing to read.
#[derive(Default)]
pub(super) struct Input(Option<Box<Buffer>>);

/// A buffer for input, which has memory.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) bytes: BytesMut,
    /// The size of the allocation behind it. What was cut off its front is part of that, too.
    allotted: usize,
    /// What it holds beyond its own bound.
    lent: Lent,
}

/// A part of [`SPARE`], until it is dropped.
#[derive(Default)]
struct Lent(usize);

impl Lent {
    fn take(count: usize) -> Option<Self> {
        let take = |left: usize| left.checked_sub(count);
        LEFT.fetch_update(Relaxed, Relaxed, take).ok().map(|_| Self(count))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0 > 0 {
            LEFT.fetch_add(self.0, Relaxed);
        }
    }
}

impl Input {
    /// What was read together with the handshake. Nothing is kept of the buffer of that.
    pub(super) fn new(rest: &[u8]) -> Self {
        Self((!rest.is_empty()).then(|| Box::new(Buffer::new(BytesMut::from(rest)))))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|buffer| buffer.bytes.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    /// The bytes, to take from the front of; `nothing` if there are none.
    pub(super) fn bytes<'a>(&'a mut self, nothing: &'a mut BytesMut) -> &'a mut BytesMut {
        self.0.as_mut().map_or(nothing, |buffer| &mut buffer.bytes)
    }

    /// Makes room for a read, and gives what to read behind. The frame that is being received lacks `missing` bytes;
    /// 0 if that is not known.
    pub(super) fn make_room(&mut self, missing: usize) -> &mut BytesMut {
        let buffer = self.0.get_or_insert_with(read_buffers::take);
        if !buffer.has_room(missing) {
            buffer.make_room(missing);
        }
        &mut buffer.bytes
    }

    /// Shrinks to a size in proportion to what has arrived: there is nothing to read now.
    pub(super) fn settle(&mut self, missing: usize) {
        match &mut self.0 {
            Some(buffer) if !buffer.bytes.is_empty() => buffer.settle(missing),
            _ => self.release(),
        }
    }

    /// Forgets what has arrived, and gives the buffer back to the thread's pool: each connection that ends has just
    /// read, and the next one would allocate a buffer anew.
    pub(super) fn discard(&mut self) {
        if let Some(mut buffer) = self.0.take()
            && buffer.clear()
        {
            read_buffers::give_back(buffer);
        }
    }

    /// Gives the empty buffer back to the thread's pool.
    pub(super) fn release(&mut self) {
        if let Some(buffer) = self.0.take() {
            read_buffers::give_back(buffer);
        }
    }
}

impl Buffer {
    pub(super) fn new(bytes: BytesMut) -> Self {
        Self { allotted: bytes.capacity(), bytes, lent: Lent::default() }
    }

    /// It is not used for a while. Whether there is something to use again, and what it has beyond a buffer for reads
    /// can be lent.
    pub(super) fn rest(&mut self) -> bool {
        self.lent = Lent::default();
        match Lent::take(self.allotted.saturating_sub(2 * READ_SIZE)) {
            Some(lent) => {
                self.lent = lent;
                self.bytes.capacity() > 0
            }
            None => false,
        }
    }

    /// Empties it for a read of [`READ_SIZE`] bytes. Whether it could: what was cut off its front may be held.
    pub(super) fn clear(&mut self) -> bool {
        self.bytes.clear();
        self.lent = Lent::default();
        let is_free = self.bytes.try_reclaim(READ_SIZE);
        // Where there was room enough, what was cut off its front is still a part of it.
        self.allotted = self.allotted.max(self.bytes.capacity());
        is_free
    }

    fn has_room(&self, missing: usize) -> bool {
        let used = self.bytes.len();
        let room = self.bytes.capacity() - used;
        used > SMALL && missing > 0 && room >= missing || room >= SMALL
    }

    fn make_room(&mut self, missing: usize) {
        let used = self.bytes.len();
        self.lent = Lent::default();
        let (more, lent) = growth(used, missing);
        // If the messages cut off its front are dropped, their space can be reused.
        if self.bytes.try_reclaim(more.max(READ_SIZE.saturating_sub(used))) {
            self.allotted = self.allotted.max(self.bytes.capacity());
            return;
        }
        let cut = self.allotted.saturating_sub(self.bytes.capacity());
        let has_cut = cut > SMALL;
        if used <= SMALL || has_cut && used <= READ_SIZE / 2 {
            let mut other = read_buffers::take();
            other.bytes.extend_from_slice(&self.bytes);
            std::mem::swap(self, &mut other);
            read_buffers::give_back(other);
            return;
        }
        if has_cut {
            *self = Self::new(copy(&self.bytes, used + more));
        } else {
            self.bytes.reserve(more);
            self.allotted = self.bytes.capacity() + cut;
        }
        self.lent = lent;
    }

    fn settle(&mut self, missing: usize) {
        let used = self.bytes.len();
        self.lent = Lent::default();
        let excess = self.allotted.saturating_sub(2 * used + used.clamp(SLACK, 2 * SMALL));
        if excess > 0 {
            // A small copy is cheap.
            if used > SMALL
                && let Some(lent) = Lent::take(excess)
            {
                self.lent = lent;
                return;
            }
            let more = if used > SMALL { missing.min(used) } else { 0 };
            let mut large = Box::new(Self::new(copy(&self.bytes, used + more)));
            std::mem::swap(self, &mut large);
            read_buffers::give_back(large);
        }
    }
}

/// By how much a buffer grows: to twice what is in it or, as long as that can be lent, to what the frame
/// comes to, in one step or a few.
fn growth(used: usize, missing: usize) -> (usize, Lent) {
    let more = missing.clamp(SMALL, used.max(SMALL));
    let most = missing.clamp(SMALL, 16 * used.max(READ_SIZE));
    match Lent::take(most - more) {
        Some(lent) => (most, lent),
        None => (more, Lent::default()),
    }
}

fn copy(bytes: &[u8], capacity: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(capacity);
    buffer.extend_from_slice(bytes);
    buffer
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use proptest::prelude::*;

    use super::*;

    /// Something happens to the input.
    #[derive(Clone, Debug)]
    enum Step {
        /// That many bytes arrive, and then none are there.
        Arrive(usize),
        /// A message is cut off the front, and held or dropped.
        Cut(usize, bool),
        /// A header is read.
        Skip(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => prop_oneof![1..40_usize, 1..200_000_usize].prop_map(Step::Arrive),
            1 => (0..100_000_usize, any::<bool>()).prop_map(|(count, held)| Step::Cut(count, held)),
            1 => (0..14_usize).prop_map(Step::Skip),
        ]
    }

    impl Input {
        fn buffer(&mut self) -> &mut Buffer {
            self.0.get_or_insert_default()
        }

        /// Reads as a connection does: until the transport has no more.
        fn arrive(&mut self, mut bytes: &[u8], missing: usize) {
            while !bytes.is_empty() {
                let input = self.make_room(missing);
                let room = input.capacity() - input.len();
                assert!(room > 0);
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                input.extend_from_slice(now);
                bytes = later;
            }
            self.make_room(missing);
            self.settle(missing);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn memory_follows_what_arrived_whatever_was_announced(
            steps in prop::collection::vec((step(), 0..5_000_000_usize), 1..40),
        ) {
            let (mut input, mut expected, mut held) = (Input::default(), Vec::new(), Vec::new());
            let source: Vec<u8> = (0..400_000).map(|number| (number % 251) as u8).collect();
            for (step, missing) in steps {
                match step {
                    Step::Arrive(count) => {
                        let bytes = &source[expected.len() % 1000..][..count];
                        expected.extend_from_slice(bytes);
                        input.arrive(bytes, missing);
                    }
                    Step::Cut(count, is_held) => {
                        let message = input.buffer().bytes.split_to(count.min(expected.len())).freeze();
                        expected.drain(..message.len());
                        if is_held {
                            held.push(message);
                        }
                        input.settle(missing);
                    }
                    Step::Skip(count) => {
                        let count = count.min(expected.len());
                        input.buffer().bytes.advance(count);
                        expected.drain(..count);
                        input.settle(missing);
                    }
                }
                prop_assert_eq!(&input.buffer().bytes[..], &expected[..]);
                let Buffer { bytes, allotted, lent } = input.buffer();
                prop_assert!(bytes.capacity() <= *allotted);
                prop_assert!(
                    *allotted - lent.0 <= 3 * bytes.len() + SLACK,
                    "{allotted} bytes for {}", bytes.len()
                );
            }
        }
    }

    /// A message of a megabyte that trickles in is copied a few times in all, not at every read.
    #[test]
    fn copies_add_up_to_a_few_times_the_message() {
        // Each test has a process of its own (cargo nextest).
        let _all = Lent::take(SPARE).expect("no other test has taken any");
        let (mut input, total) = (Input::default(), 1 << 20);
        let (mut copied, chunk) = (0, [7; 1448]);
        while input.len() < total {
            let (before, length) = (input.buffer().bytes.as_ptr(), input.len());
            input.make_room(total - length);
            if input.buffer().bytes.as_ptr() != before {
                copied += length;
            }
            let (before, length) = (input.buffer().bytes.as_ptr(), length + chunk.len());
            input.buffer().bytes.extend_from_slice(&chunk);
            input.settle(total.saturating_sub(length));
            if input.buffer().bytes.as_ptr() != before {
                copied += length;
            }
        }
        assert!(copied <= 3 * total, "{copied} bytes were copied");
    }

    #[test]
    fn a_connection_that_ends_leaves_its_buffer_to_the_next_one() {
        let (mut ended, mut next) = (Input::default(), Input::default());
        ended.make_room(0).extend_from_slice(b"something unread");
        let buffer = ended.bytes(&mut BytesMut::new()).as_ptr();
        ended.discard();
        assert!(ended.is_empty() && next.make_room(0).is_empty());
        assert_eq!(next.bytes(&mut BytesMut::new()).as_ptr(), buffer);
    }

    #[test]
    fn what_is_spare_is_there_again_when_it_is_not_needed() {
        let mut input = Input::default();
        input.arrive(&[7; 5000], 1 << 20);
        assert!(input.buffer().lent.0 > 0 && input.buffer().allotted >= READ_SIZE);
        let mut others: Vec<Input> = Vec::new();
        while others.last_mut().is_none_or(|other| other.buffer().lent.0 > 0) {
            let mut other = Input::default();
            other.arrive(&[7; 5000], 1 << 20);
            others.push(other);
        }
        assert!(others.last_mut().is_some_and(|last| last.buffer().allotted <= 3 * 5000 + SLACK));
        drop(others);
        // The message is whole, and was taken: its buffer waits for the next.
        input.buffer().bytes.clear();
        input.settle(0);
        assert_eq!(LEFT.load(Relaxed), SPARE);
    }
}
