//! A session that is parked: what is kept of it, and how it goes on.

use std::sync::Arc;

use sockeye_hub::Resting;

use super::PlainSession;
use crate::app::App;
use crate::auth::{Caller, Ends};
use crate::conn::http2::StreamBudget;
use crate::fanout::Membership;
use crate::limits::pace::Pace;

/// A session that is parked. Dropped, it ends as the session does.
pub(super) struct AtRest(
    /// `None` when it goes on.
    Option<Kept>,
);

/// What is kept of a session that is parked: all else follows from this.
struct Kept {
    membership: Membership,
    app: Arc<App>,
    caller: Caller,
    resting: Resting,
    /// Of its guard.
    number: u64,
    incoming: sockeye::Reader,
    rare: Option<Box<Rare>>,
}

/// What few parked sessions have.
struct Rare {
    ends: Ends<'static>,
    pace: Option<Box<Pace>>,
}

impl AtRest {
    /// Keeps of a session what the rest of it is made of again.
    pub(super) fn new(session: PlainSession) -> Self {
        let membership = session.membership.expect("one without is not parked");
        let PlainSession {
            app,
            caller,
            reader,
            channel_read,
            record,
            guard,
            presence,
            incoming,
            ends,
            pace,
            ..
        } = session;
        record.rest(channel_read);
        let is_rare = ends.may_come() || pace.is_some();
        Self(Some(Kept {
            membership,
            app,
            caller,
            resting: reader.rest(presence),
            number: guard.rest(),
            incoming,
            rare: is_rare.then(|| Box::new(Rare { ends, pace })),
        }))
    }

    /// The session again, once.
    pub(super) fn take(&mut self) -> Option<PlainSession> {
        let Kept { membership, app, caller, resting, number, incoming, rare } = self.0.take()?;
        let (record, channel_read, offset) = membership.deliveries().resume(&app.register);
        let (reader, presence) = resting.resume(membership.outlook(), offset);
        let Rare { ends, pace } = rare.map_or_else(Rare::default, |rare| *rare);
        Some(PlainSession {
            guard: app.drain.resume(number),
            outgoing: incoming.writer(),
            // A stream of HTTP/2, which has one, is not a member of a group.
            stream_budget: StreamBudget::default(),
            membership: Some(membership),
            app,
            caller,
            reader,
            channel_read,
            record,
            presence,
            incoming,
            ends,
            pace,
        })
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Default for Rare {
    fn default() -> Self {
        Self { ends: Ends::never(), pace: None }
    }
}
