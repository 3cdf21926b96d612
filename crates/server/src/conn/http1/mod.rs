//! HTTP/1.1: a connection from its first request to its end.
//!
//! hyper reads requests and writes responses. A response that takes long is
//! [detached](crate::conn::detach) with its connection and [written without
//! hyper](crate::conn::response_writer); then hyper drives the connection again.

mod head_timer;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;

use self::head_timer::HeadTimer;
use crate::conn::MAX_HEAD;
use crate::conn::detach::{DetachService, DetachSlot, Detached};
use crate::conn::evict::Evict;
use crate::conn::response_writer::write_response;
use crate::conn::service::Routes;
use crate::lifecycle::drain::ConnectionGuard;
use crate::net::shared_io::SharedIo;
use crate::net::write_deadline::WriteDeadline;

/// What a connection reads ahead or has waiting to be written, in bytes at most.
const MAX_BUFFER: usize = 64 * 1024;

/// HTTP/1.1 with the limits of this server. A client that has shut down its sending side gets its
/// response.
pub(crate) fn builder(head_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .half_close(true)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    http
}

/// How long a connection waits for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimeouts {
    /// For the first byte of its head.
    pub(crate) idle: Duration,
    /// For the rest of it.
    pub(crate) head: Duration,
}

/// What serves one connection.
pub(crate) struct Http1Connection {
    pub(crate) http: Arc<http1::Builder>,
    pub(crate) timeouts: RequestTimeouts,
    pub(crate) routes: Routes,
    pub(crate) guard: ConnectionGuard,
}

impl Http1Connection {
    /// Drives the connection to its end, or until a response is detached: that continues in a task of
    /// its own, which is as small as can be. An upgrade ends it, too: the WebSocket has a task of its
    /// own, and what HTTP needed is gone.
    pub(crate) fn serve<S>(self, io: WriteDeadline<S>) -> Pin<Box<dyn Future<Output = ()> + Send>>
    where
        S: Evict,
    {
        Box::pin(async move {
            match self.drive(io).await {
                Some((io, detached)) if detached.body_writes() => {
                    tokio::spawn(self.finish_shared(SharedIo::new(io), detached));
                }
                Some((io, detached)) => drop(tokio::spawn(self.finish_detached(io, detached))),
                None => {}
            }
        })
    }

    /// Writes a detached response, and serves what follows on the connection.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn finish_detached<S>(
        self,
        mut io: WriteDeadline<S>,
        detached: Detached,
    ) -> impl Future<Output = ()> + Send
    where
        S: Evict,
    {
        async move {
            match write_response(&mut io, detached).await {
                Ok(true) => drop(tokio::spawn(self.serve(io))),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "connection failed"),
            }
        }
    }

    /// The same, where others write to the connection, too.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn finish_shared<S>(
        self,
        mut io: SharedIo<S>,
        detached: Detached,
    ) -> impl Future<Output = ()> + Send
    where
        S: Evict,
    {
        async move {
            let written = write_response(&mut io, detached).await;
            match (written, io.take()) {
                (Ok(true), Some(io)) => drop(tokio::spawn(self.serve(io))),
                (Ok(_), _) => {}
                (Err(error), _) => tracing::debug!(%error, "connection failed"),
            }
        }
    }

    /// Lets hyper drive the connection, until it ends or a response is detached.
    async fn drive<S>(&self, mut io: WriteDeadline<S>) -> Option<(WriteDeadline<S>, Detached)>
    where
        S: Evict,
    {
        io.guard_heads();
        let (slot, shared) = (Arc::new(DetachSlot::default()), Arc::clone(io.shared()));
        let (routes, service_slot) = (self.routes.clone(), Arc::clone(&slot));
        let service = DetachService { routes, slot: service_slot, connection: Arc::clone(&shared) };
        let timer = HeadTimer { timeouts: self.timeouts, connection: Arc::clone(&shared) };
        let mut http = (*self.http).clone();
        http.timer(timer).header_read_timeout(self.timeouts.idle);
        let mut connection = http.serve_connection(TokioIo::new(io), service).with_upgrades();
        let driven = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Driven::Ended(ended)),
            // hyper has just written all it had, unless the write waits: then a part of the previous
            // response is left, and this one stays with hyper, too.
            Poll::Pending if slot.can_detach() && !shared.write_waits() => {
                Poll::Ready(Driven::Detached)
            }
            Poll::Pending => shared.poll_evicted(cx).map(|()| Driven::Evicted),
        });
        let ended = tokio::select! {
            ended = driven => ended,
            deadline = self.guard.draining() => {
                Pin::new(&mut connection).graceful_shutdown();
                Driven::Ended(timeout_at(deadline, &mut connection).await.unwrap_or(Ok(())))
            }
        };
        match ended {
            Driven::Ended(Ok(())) => {
                drop(connection);
                if let Some(upgrade) = slot.refused_upgrade()
                    && let Ok(upgraded) = upgrade.await
                {
                    let _ = TokioIo::new(upgraded).shutdown().await;
                }
                None
            }
            Driven::Ended(Err(error)) => {
                tracing::debug!(%error, "connection failed");
                None
            }
            Driven::Evicted => {
                let parts = connection.into_parts()?;
                // A request that came too late for another response, or a part of one.
                let has_begun = shared.has_next_request() || !parts.read_buf.is_empty();
                let (io, ahead) = parts.io.into_inner().into_parts();
                io.evict(has_begun || !ahead.is_empty());
                None
            }
            Driven::Detached => {
                let parts = connection.into_parts()?;
                let mut io = parts.io.into_inner();
                io.put_back(&parts.read_buf);
                Some((io, slot.take()?))
            }
        }
    }
}

/// How far hyper has driven a connection.
enum Driven {
    Ended(hyper::Result<()>),
    /// Its response takes long.
    Detached,
    /// It was evicted for another.
    Evicted,
}

#[cfg(test)]
mod tests;
