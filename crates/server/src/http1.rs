//! HTTP/1.1: a connection from its first request to its end.
//!
//! hyper reads requests and writes answers. An answer that takes long is set aside with its
//! connection ([`aside`](crate::aside)), written without hyper ([`carry`](crate::carry)), and then
//! the connection is hyper's again.

mod head_timer;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use self::head_timer::HeadTimer;
use crate::aside::{AtDesk, Desk, SetAside};
use crate::carry::carry;
use crate::drain::Guest;
use crate::impatient::Impatient;
use crate::peer::Routes;
use crate::server::MAX_HEAD;

/// What a connection reads ahead or has waiting to be written, in bytes at most.
const MAX_BUFFER: usize = 64 * 1024;

/// HTTP/1.1 with the limits of this server. A client that has shut its end down gets its answer.
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
pub(crate) struct Patience {
    /// For the first byte of its head.
    pub(crate) idle: Duration,
    /// For the rest of it.
    pub(crate) head: Duration,
}

/// What one connection is served with.
pub(crate) struct Connection {
    pub(crate) http: Arc<http1::Builder>,
    pub(crate) patience: Patience,
    pub(crate) routes: Routes,
    pub(crate) guest: Guest,
}

impl Connection {
    /// Drives the connection to its end, or until an answer takes long: that goes on in a task of
    /// its own, which is as small as can be. An upgrade ends it, too: the WebSocket has a task of
    /// its own, and what HTTP needed is gone.
    pub(crate) fn serve<S>(self, io: Impatient<S>) -> Pin<Box<dyn Future<Output = ()> + Send>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Box::pin(async move {
            if let Some((io, set_aside)) = self.drive(io).await {
                tokio::spawn(self.carry(io, set_aside));
            }
        })
    }

    /// Carries on what was set aside, and serves what comes on the connection after it.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn carry<S>(self, mut io: Impatient<S>, set_aside: SetAside) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        async move {
            match carry(&mut io, set_aside).await {
                Ok(true) => drop(tokio::spawn(self.serve(io))),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "connection broke"),
            }
        }
    }

    /// Lets hyper drive the connection. Gives what is to be set aside, with the connection.
    async fn drive<S>(&self, io: Impatient<S>) -> Option<(Impatient<S>, SetAside)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (desk, shared) = (Arc::new(Desk::default()), Arc::clone(io.shared()));
        let (routes, desk_too) = (self.routes.clone(), Arc::clone(&desk));
        let service = AtDesk { routes, desk: desk_too, connection: Arc::clone(&shared) };
        let timer = HeadTimer { patience: self.patience, connection: Arc::clone(&shared) };
        let mut http = (*self.http).clone();
        http.timer(timer).header_read_timeout(self.patience.idle);
        let mut connection = http.serve_connection(TokioIo::new(io), service).with_upgrades();
        let driven = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            // hyper has just written all it had, unless the connection takes no more: then there
            // is something of the answer before, and this one is hyper's, too.
            Poll::Pending if desk.has_work_to_set_aside() && !shared.write_waits() => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        let ended = tokio::select! {
            ended = driven => ended,
            deadline = self.guest.told_to_leave() => {
                Pin::new(&mut connection).graceful_shutdown();
                Some(timeout_at(deadline, &mut connection).await.unwrap_or(Ok(())))
            }
        };
        match ended {
            Some(Ok(())) => {
                drop(connection);
                if let Some(upgrade) = desk.refused_upgrade()
                    && let Ok(upgraded) = upgrade.await
                {
                    let _ = TokioIo::new(upgraded).shutdown().await;
                }
                None
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "connection broke");
                None
            }
            None => {
                let parts = connection.into_parts()?;
                let mut io = parts.io.into_inner();
                io.put_back(&parts.read_buf);
                Some((io, desk.clear()?))
            }
        }
    }
}

#[cfg(test)]
mod tests;
