//! A reader that does not read, because something else does in its place.

use std::sync::{Arc, LazyLock};

use super::reader::{Reader, Seat};
use super::shared_reader::Outlook;
use crate::log::Cursor;
use crate::presence::Stay;
use crate::{Lease, Position};

/// A [`Reader`] at rest, and the presence that goes with it, in less memory: it counts as both until it is dropped.
///
/// For a connection that is idle while a [`SharedReader`](crate::SharedReader) reads for it. Where it stands then and how
/// it reads is what that one knows.
#[derive(Debug)]
pub struct Resting {
    /// `None` when it goes on.
    seat: Option<Seat>,
    /// If it is present, the name under which it is.
    presence: Option<Arc<PresenceName>>,
}

/// `None` for a client that is only counted.
type PresenceName = Option<Arc<str>>;

/// That of most: they share it.
static COUNTED: LazyLock<Arc<PresenceName>> = LazyLock::new(Arc::default);

impl Resting {
    pub(super) fn new(seat: Seat, lease: Option<Lease>) -> Self {
        let presence = lease.and_then(Lease::into_stay).map(|stay| match stay.id {
            None => Arc::clone(&COUNTED),
            named => Arc::new(named),
        });
        Self { seat: Some(seat), presence }
    }

    /// Goes on behind that offset, with an outlook that it had on its channel.
    ///
    /// # Panics
    ///
    /// If the outlook is of another channel.
    pub fn resume(mut self, outlook: &Outlook, offset: u64) -> (Reader, Option<Lease>) {
        let lease = self.take_lease();
        let seat = self.seat.take().expect("it is taken once");
        assert!(Arc::ptr_eq(&seat.channel, &outlook.channel), "the outlook of its channel");
        let at = Position { epoch: outlook.epoch, offset };
        let cursor = Cursor::usual(at, outlook.forgets, outlook.policy);
        (Reader::resumed(seat, cursor), lease)
    }

    fn take_lease(&mut self) -> Option<Lease> {
        let Seat { registry, channel } = self.seat.as_ref()?;
        let id = (*self.presence.take()?).clone();
        let (presence, channel) = (Arc::clone(&registry.presence), channel.name.clone());
        Some(Lease::resumed(Stay { presence, channel, id }))
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        drop(self.take_lease());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelName, Hub, PayloadRef, Publication, Start};

    /// Each connection at rest has one.
    #[test]
    fn it_has_24_bytes() {
        assert!(size_of::<Resting>() <= 24, "{}", size_of::<Resting>());
    }

    #[test]
    fn it_counts_as_a_reader_and_as_present_and_goes_on_where_it_is_told() {
        let hub = Hub::default();
        let chat: ChannelName = "chat".parse().unwrap();
        let reader = || hub.subscribe(&chat, Start::Now);
        let counts = || (reader().readers() - 1, hub.presence(&chat).count);
        let first = reader();
        let outlook = first.outlook().unwrap();
        let (ann, nameless) = (hub.join(&chat, Some("ann")), hub.join(&chat, None));
        let resting = [first.rest(Some(ann)), reader().rest(Some(nameless)), reader().rest(None)];
        assert_eq!((counts(), &*hub.presence(&chat).members[0].id), ((3, 2), "ann"));
        for text in ["one", "two"] {
            hub.publish(&chat, Publication::of(PayloadRef::Text(text))).wait().unwrap();
        }
        let resumed = resting.map(|resting| resting.resume(&outlook, 1));
        assert_eq!(counts(), (3, 2));
        for (mut reader, lease) in resumed {
            assert_eq!(reader.position().offset, 1);
            let page = reader.try_next_page(crate::Budget::entries(8)).unwrap();
            assert_eq!((page.entries.len(), page.gap.is_none()), (1, true));
            drop(reader.rest(lease));
        }
        assert_eq!(counts(), (0, 0));
    }
}
