//! The routes as one connection reaches them.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use hyper::body::Incoming;

use crate::conn::answer::{AnswerFuture, Handler};
use crate::limits::peer::Peer;

/// The routes as one connection calls them.
#[derive(Clone)]
pub(crate) struct Routes {
    pub(crate) peer: Peer,
    pub(crate) handler: Arc<dyn Handler>,
}

impl Routes {
    /// Answers a request, to which it adds the peer.
    pub(crate) fn call(&self, mut request: hyper::Request<Incoming>) -> AnswerFuture {
        request.extensions_mut().insert(self.peer.clone());
        self.handler.answer(request.map(Body::new))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("peer", &self.peer).finish_non_exhaustive()
    }
}
