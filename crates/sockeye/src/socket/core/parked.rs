//! The tasks that wait for a connection.

use std::task::{Context, Waker};

/// Their wakers: of the task that reads, and of the others.
#[derive(Default)]
pub(super) struct Parked {
    pub(super) reader: Option<Waker>,
    pub(super) others: Option<Box<Others>>,
}

/// The tasks that wait for room to send, for everything to be written, or for the end.
#[derive(Default)]
pub(super) struct Others(Vec<Waker>);

impl Parked {
    pub(super) fn park_reader(&mut self, cx: &Context<'_>) {
        match &mut self.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
    }

    pub(super) fn park_other(&mut self, cx: &Context<'_>) {
        let Others(others) = &mut **self.others.get_or_insert_default();
        if !others.iter().any(|waker| waker.will_wake(cx.waker())) {
            others.push(cx.waker().clone());
        }
    }
}

impl Others {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}
