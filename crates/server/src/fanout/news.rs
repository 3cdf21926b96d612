//! What a group gives to its members.

use sockeye_hub::{Budget, Page, SharedReader};

/// What comes after the place of the member that is farthest behind. What is published while it is given to the members
/// goes with it, to those that are still to be given something.
#[derive(Debug)]
pub(super) struct News {
    reader: SharedReader,
    /// What a member is given at once.
    at_once: Budget,
    /// The offset before the page.
    from: u64,
    page: Page,
    /// What follows the page, and does not go with it.
    later: Option<Page>,
}

impl News {
    /// None yet.
    pub(super) fn new(reader: SharedReader, at_once: Budget) -> Self {
        let (from, page) = (reader.offset(), Page::empty(reader.position()));
        Self { reader, at_once, from, page, later: None }
    }

    /// Waits for the next page, in the place of the one that all members were given. Cancel-safe.
    pub(super) async fn next(&mut self) {
        let from = self.to();
        let page = match self.later.take() {
            Some(page) => page,
            None => self.reader.next_page(self.at_once).await,
        };
        (self.from, self.page) = (from, page);
    }

    /// Takes what has come meanwhile, as far as it goes with the page. Whether anything does.
    pub(super) fn grow(&mut self) -> bool {
        if self.later.is_some() {
            return false;
        }
        let Some(next) = self.reader.try_next_page(self.at_once) else { return false };
        let joined = self.page.followed_by(&next, self.at_once);
        match joined {
            Some(joined) => self.page = joined,
            None => self.later = Some(next),
        }
        self.later.is_none()
    }

    /// All members have what is up to that offset.
    pub(super) fn forget(&mut self, offset: u64) {
        (self.from, self.page) = (offset, self.page.after(offset));
    }

    /// What a member is given that stands at that offset.
    pub(super) fn after(&self, offset: u64) -> Page {
        self.page.after(offset)
    }

    /// Whether there is something to be told to each member by itself.
    pub(super) fn is_for_each_alone(&self) -> bool {
        self.page.gap.is_some() || self.page.end
    }

    /// The offset before it.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// The offset behind it.
    pub(super) fn to(&self) -> u64 {
        self.page.at.offset
    }
}
