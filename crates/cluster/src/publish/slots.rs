//! The subjects for answers: a few, used again and again.
//!
//! Each server on the way of an answer remembers which subscriptions a subject has, and has to look for those of each
//! new one: with a subject for each message that took three microseconds of a message's twenty. So a subject is used
//! again as soon as its answer has come. An answer that is given up may still come, and one of a leader that has
//! died is given again by the next: neither is taken for that of a later message. Nor is what a server says that was
//! stopped for a while and still takes itself for the leader: it has been sent what the next leader has stored, and says
//! of it that it is being stored, or that it came too late.

use std::fmt;
use std::str::FromStr;

use async_nats::Subject;
use sockeye_hub::Epoch;

use super::ack::{Ack, Failure};

/// One sending of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// The number of the message in the queue.
    pub(super) number: u64,
    /// How often it had been sent by then.
    pub(super) sent: u32,
}

/// The place of one message whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    index: u32,
    /// How often an answer was given up here.
    round: u32,
}

/// As the last token of a subject.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.index, self.round)
    }
}

/// Not what [`Display`](fmt::Display) writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSlot;

impl FromStr for Slot {
    type Err = NoSlot;

    fn from_str(text: &str) -> Result<Self, NoSlot> {
        let (index, round) = text.split_once('-').ok_or(NoSlot)?;
        let index = u32::from_str_radix(index, 16).map_err(|_| NoSlot)?;
        let round = u32::from_str_radix(round, 16).map_err(|_| NoSlot)?;
        Ok(Self { index, round })
    }
}

/// What an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// That sending.
    To(Flight),
    /// That sending, or one before it with the same subject: what has become of it is not known.
    Perhaps(Flight),
    /// Nothing that is waited for.
    Nothing,
    /// A message that was stored no later than one that was answered before what is waited for was sent: it is that
    /// answer again, or the stream gives sequences again.
    Earlier,
}

/// The slots of a shard: as many as there were messages under way at once.
#[derive(Debug)]
pub(super) struct Slots {
    /// What their subjects begin with.
    inbox: String,
    all: Vec<SlotState>,
    /// The indexes of those that are free. The last is taken first, so that a few are enough for few messages.
    free: Vec<u32>,
    /// That of the sequences.
    epoch: Option<Epoch>,
}

#[derive(Debug)]
struct SlotState {
    slot: Slot,
    subject: Subject,
    /// What is sent with this subject and has no answer yet.
    flight: Option<Flight>,
    /// Whether its subject had an answer before.
    is_used: bool,
    /// The greatest sequence that was answered here.
    last: u64,
}

impl SlotState {
    /// Whatever comes under the subject that it had is to nothing.
    fn renew(&mut self, inbox: &str) {
        self.slot.round = self.slot.round.wrapping_add(1);
        self.subject = format!("{inbox}{}", self.slot).into();
        self.is_used = false;
    }
}

impl Slots {
    /// With subjects that begin with `inbox`.
    pub(super) fn new(inbox: &str) -> Self {
        Self { inbox: inbox.to_owned(), all: Vec::new(), free: Vec::new(), epoch: None }
    }

    /// Sequences are those of that epoch from now on.
    pub(super) fn follow(&mut self, epoch: Epoch) {
        if self.epoch.replace(epoch) != Some(epoch) {
            self.all.iter_mut().for_each(|state| state.last = 0);
        }
    }

    /// A slot for a sending, and the subject for its answer: one without an answer before if that has to be certain.
    pub(super) fn take(&mut self, flight: Flight) -> (Slot, Subject) {
        let index = self.free.pop().unwrap_or_else(|| {
            // No more than the window of the queue.
            let index = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
            let slot = Slot { index, round: 0 };
            let subject = format!("{}{slot}", self.inbox).into();
            self.all.push(SlotState { slot, subject, flight: None, is_used: false, last: 0 });
            index
        });
        let state = &mut self.all[index as usize];
        if flight.sent > 1 && state.is_used {
            state.renew(&self.inbox);
        }
        state.flight = Some(flight);
        (state.slot, state.subject.clone())
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, slot: Slot, ack: &Ack) -> Answered {
        let state = self.all.get_mut(slot.index as usize).filter(|state| state.slot == slot);
        let Some((state, flight)) =
            state.and_then(|state| state.flight.map(|flight| (state, flight)))
        else {
            return Answered::Nothing;
        };
        match *ack {
            Ack::Stored { seq, duplicate: false } if seq <= state.last => return Answered::Earlier,
            Ack::Stored { seq, duplicate: false } => {
                (state.flight, state.is_used, state.last) = (None, true, seq);
                self.free.push(slot.index);
                return Answered::To(flight);
            }
            _ => {}
        }
        // It is rare, and whether there is no other answer is not as certain.
        let may_be_of_another = match *ack {
            // Only the message before has that.
            Ack::Stored { seq, .. } => seq == state.last,
            _ => !is_of_every_leader(ack),
        };
        let is_certain = !(state.is_used && may_be_of_another);
        self.give_up(slot);
        if is_certain { Answered::To(flight) } else { Answered::Perhaps(flight) }
    }

    /// An answer is waited for no longer: if it comes, it is to nothing.
    pub(super) fn give_up(&mut self, slot: Slot) {
        let state = self.all.get_mut(slot.index as usize).filter(|state| state.slot == slot);
        if let Some(state) = state
            && state.flight.take().is_some()
        {
            state.renew(&self.inbox);
            self.free.push(slot.index);
        }
    }
}

/// Whether no server says this of a message that another one has stored: that no server leads, that the message is too large
/// or that the stream is full.
fn is_of_every_leader(ack: &Ack) -> bool {
    matches!(ack, Ack::Again | Ack::Refused(Failure::TooLarge | Failure::NoSpace))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn flight(number: u64) -> Flight {
        Flight { number, sent: 1 }
    }

    fn stored(seq: u64) -> Ack {
        Ack::Stored { seq, duplicate: false }
    }

    #[test]
    fn a_subject_is_used_again_when_its_answer_has_come() {
        let mut slots = Slots::new("_INBOX.a.");
        let (first, subject) = slots.take(flight(1));
        assert_eq!((subject.as_str(), first.to_string().as_str()), ("_INBOX.a.0-0", "0-0"));
        let (second, subject) = slots.take(flight(2));
        assert_eq!(subject.as_str(), "_INBOX.a.1-0");
        assert_eq!(slots.answered(first, &stored(7)), Answered::To(flight(1)));
        assert_eq!(slots.take(flight(3)).1.as_str(), "_INBOX.a.0-0");
        assert_eq!(slots.answered(second, &stored(8)), Answered::To(flight(2)));
        assert_eq!(slots.answered(first, &stored(9)), Answered::To(flight(3)));
        assert_eq!(slots.answered(first, &stored(10)), Answered::Nothing);
    }

    #[test]
    fn an_answer_that_is_given_twice_is_not_one_to_the_next_message() {
        let mut slots = Slots::new("");
        let (slot, _) = slots.take(flight(1));
        assert_eq!(slots.answered(slot, &stored(7)), Answered::To(flight(1)));
        assert_eq!(slots.take(flight(2)).0, slot);
        assert_eq!(slots.answered(slot, &stored(7)), Answered::Earlier);
        assert_eq!(slots.answered(slot, &stored(8)), Answered::To(flight(2)));
        slots.take(flight(3));
        // That of the last but one.
        assert_eq!(slots.answered(slot, &stored(7)), Answered::Earlier);
        assert_eq!(slots.answered(slot, &stored(9)), Answered::To(flight(3)));
    }

    #[test]
    fn what_another_server_may_say_of_the_message_before_is_not_believed_at_once() {
        for ack in [
            Ack::Stored { seq: 7, duplicate: true },
            Ack::InProgress(Duration::ZERO),
            Ack::Refused(Failure::Conflict),
            Ack::Refused(Failure::Busy),
            Ack::Refused(Failure::Failed),
        ] {
            let mut slots = Slots::new("");
            let (slot, _) = slots.take(flight(1));
            assert_eq!(slots.answered(slot, &stored(7)), Answered::To(flight(1)));
            assert_eq!(slots.take(flight(2)).0, slot);
            assert_eq!(slots.answered(slot, &ack), Answered::Perhaps(flight(2)), "{ack:?}");
            // It is sent again, and its subject has no other answer.
            let again = Flight { number: 2, sent: 2 };
            let (slot, subject) = slots.take(again);
            assert_eq!(subject.as_str(), "0-1");
            assert_eq!(slots.answered(slot, &ack), Answered::To(again), "{ack:?}");
        }
    }

    #[test]
    fn what_is_sent_again_has_a_subject_without_an_answer() {
        let mut slots = Slots::new("");
        let (slot, _) = slots.take(flight(1));
        assert_eq!(slots.answered(slot, &stored(7)), Answered::To(flight(1)));
        assert_eq!(slots.take(Flight { number: 2, sent: 2 }).1.as_str(), "0-1");
        // One that was never used is as good.
        assert_eq!(slots.take(Flight { number: 3, sent: 2 }).1.as_str(), "1-0");
    }

    #[test]
    fn what_every_server_says_is_believed() {
        for ack in [
            Ack::Again,
            Ack::Refused(Failure::TooLarge),
            Ack::Refused(Failure::NoSpace),
            Ack::Stored { seq: 5, duplicate: true },
        ] {
            let mut slots = Slots::new("");
            let (slot, _) = slots.take(flight(1));
            assert_eq!(slots.answered(slot, &stored(7)), Answered::To(flight(1)));
            slots.take(flight(2));
            assert_eq!(slots.answered(slot, &ack), Answered::To(flight(2)), "{ack:?}");
        }
    }

    #[test]
    fn the_sequences_of_a_new_epoch_begin_anew() {
        let mut slots = Slots::new("");
        slots.follow("k3f9ab".parse().unwrap());
        let (slot, _) = slots.take(flight(1));
        assert_eq!(slots.answered(slot, &stored(7)), Answered::To(flight(1)));
        slots.take(flight(2));
        slots.follow("k3f9ab".parse().unwrap());
        assert_eq!(slots.answered(slot, &stored(3)), Answered::Earlier);
        slots.follow("zzzzzz".parse().unwrap());
        assert_eq!(slots.answered(slot, &stored(3)), Answered::To(flight(2)));
    }

    #[test]
    fn an_answer_that_was_given_up_is_to_nothing() {
        let mut slots = Slots::new("");
        let (slot, _) = slots.take(flight(1));
        slots.give_up(slot);
        slots.give_up(slot);
        let (next, subject) = slots.take(flight(2));
        assert_eq!(subject.as_str(), "0-1");
        assert_eq!(slots.answered(slot, &stored(7)), Answered::Nothing);
        slots.give_up(slot);
        assert_eq!(slots.answered(next, &stored(8)), Answered::To(flight(2)));
        // What is refused may be answered otherwise by another server: it has another subject, too.
        slots.take(flight(3));
        assert_eq!(slots.answered(next, &Ack::Refused(Failure::NoSpace)), Answered::To(flight(3)));
        assert_eq!(slots.take(flight(4)).1.as_str(), "0-2");
    }

    proptest! {
        #[test]
        fn a_slot_is_found_again_by_its_name(index: u32, round: u32) {
            let slot = Slot { index, round };
            prop_assert_eq!(slot.to_string().parse(), Ok(slot));
        }

        /// The answers that the leader gives come in any order, some of them again and again.
        #[test]
        fn each_answer_is_to_the_message_that_it_was_given_to(
            steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut slots = Slots::new("");
            let (mut number, mut seq) = (0, 0);
            let mut flying: Vec<(Slot, u64)> = Vec::new();
            // Of each slot what was answered: the sequence, and the message.
            let mut given: Vec<(Slot, u64)> = Vec::new();
            for (step, which) in steps {
                match step {
                    0 => {
                        number += 1;
                        let (slot, _) = slots.take(flight(number));
                        prop_assert!(flying.iter().all(|(other, _)| *other != slot));
                        flying.push((slot, number));
                    }
                    1 if !flying.is_empty() => {
                        let (slot, number) = flying.swap_remove(which.index(flying.len()));
                        seq += 1;
                        prop_assert_eq!(slots.answered(slot, &stored(seq)), Answered::To(flight(number)));
                        given.push((slot, seq));
                    }
                    2 if !given.is_empty() => {
                        let (slot, seq) = given[which.index(given.len())];
                        let answered = slots.answered(slot, &stored(seq));
                        prop_assert!(!matches!(answered, Answered::To(_)), "{:?}", answered);
                    }
                    3 if !flying.is_empty() => {
                        let (slot, _) = flying.swap_remove(which.index(flying.len()));
                        slots.give_up(slot);
                        seq += 1;
                        given.push((slot, seq));
                    }
                    _ => {}
                }
            }
        }
    }
}
