//! Who makes a request, and what he may do: the one authoriser of every transport.
//!
//! [`access::guard`](crate::access::guard) puts the [`Caller`] into each request; whoever answers
//! asks him before anything is read, published or told, live or from the history.

use std::sync::Arc;

use axum::extract::Request;
use sockeye_hub::ChannelName;

use crate::problem::Problem;
use crate::query;

/// What can be done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Messages, now and from the history, and the position.
    Read,
    /// Publishing, and deleting the history.
    Write,
    /// Seeing who is there.
    Presence,
}

/// Who makes a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    id: Option<Arc<str>>,
}

impl Caller {
    /// The caller that a request names.
    pub(crate) fn named_by(request: &Request) -> Result<Self, Problem> {
        let id = query::parameter(request.uri(), "as")?;
        Ok(Self { id: id.map(Arc::from) })
    }

    /// The caller of a request that has passed the guard.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// The name he goes by in presence; anonymous callers have none.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether he may do that with the channel, and the answer he gets if not.
    pub(crate) fn may(&self, _right: Right, _channel: &ChannelName) -> Result<(), Problem> {
        Ok(())
    }

    /// Waits until what he was given has expired: then what it opened ends.
    pub(crate) async fn expired(&self) {
        std::future::pending().await
    }
}
