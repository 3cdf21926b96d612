//! Serves operators, on an address of their own.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sockeye::Listener;
use sockeye::internals::{
    Accepted, Acceptor, ConnectionLimiter, Pending, PendingConnections, Permit, share_of_reserve,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::conn::accept::first_request;
use crate::conn::early::{NO_DESCRIPTORS, NO_PLACE};
use crate::net::listener::{IncomingConnections, limit_send_buffers};
use crate::net::write_deadline::WriteDeadline;
use crate::options::ServerOptions;

/// Socket buffer for a response that its client does not read, in bytes; the kernel may use twice that.
pub(crate) const SEND_BUFFER: usize = 32 << 10;

/// How long a write may make no progress.
pub(crate) const MAX_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the listener fails, one request on each connection. The drain does not count these, so
/// that watching a drain does not prolong it.
///
/// There are few connections, and each ends soon if its client does not read, so they cannot hold much
/// memory. Each holds a clone of `open`.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    options: ServerOptions,
    open: mpsc::Sender<Infallible>,
) -> io::Result<()> {
    let service = Arc::new(OperatorService::new(router, &options));
    let pending = PendingConnections::default();
    let limiter = ConnectionLimiter::new(Some(share_of_reserve()), None);
    let mut acceptor = Acceptor::new(pending.clone());
    if let Err(error) = limit_send_buffers(&listener, SEND_BUFFER) {
        tracing::debug!(%error, "the socket buffer cannot be limited");
    }
    let incomings = IncomingConnections { listener: &listener, refusal: NO_DESCRIPTORS };
    loop {
        let connection = acceptor.accept(&incomings).await?;
        let Ok(permit) = limiter.acquire(None, || pending.evict_oldest()) else {
            connection.refuse(NO_PLACE);
            continue;
        };
        let (service, pending) = (Arc::clone(&service), pending.register());
        let held = (permit, open.clone());
        match connection {
            Accepted::Tcp(stream, _) => tokio::spawn(service.answer(stream, pending, held)),
            #[cfg(unix)]
            Accepted::Unix(stream) => tokio::spawn(service.answer(stream, pending, held)),
        };
        if limiter.is_full() {
            // A connection that has ended for this one is closed now.
            yield_now().await;
        }
    }
}

/// Answers operators' requests.
struct OperatorService {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    head_timeout: Duration,
    write_timeout: Duration,
}

impl OperatorService {
    fn new(router: Router, options: &ServerOptions) -> Self {
        let mut http = crate::conn::http1::builder(options.head_timeout);
        http.keep_alive(false);
        Self {
            http,
            router: TowerToHyperService::new(router),
            head_timeout: options.head_timeout,
            write_timeout: options.channels.write_timeout.min(MAX_WRITE_TIMEOUT),
        }
    }

    /// Answers a request; `held` is what the connection has until it ends.
    async fn answer<S>(
        self: Arc<Self>,
        stream: S,
        pending: Pending,
        held: (Permit, mpsc::Sender<Infallible>),
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut io = WriteDeadline::new(stream, self.write_timeout, pending);
        if first_request(&mut io, self.head_timeout).await.is_err() || !io.shared().settle() {
            return;
        }
        io.guard_heads();
        if let Err(error) = self.http.serve_connection(TokioIo::new(io), self.router.clone()).await
        {
            tracing::debug!(%error, "connection to the admin address failed");
        }
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    /// With a paused clock.
    #[tokio::test(start_paused = true)]
    async fn an_operator_that_takes_nothing_is_cut_off_in_ten_seconds() {
        let router = Router::new().route("/", get(async || "x".repeat(100_000)));
        let (pending, limiter) =
            (PendingConnections::default(), ConnectionLimiter::new(Some(1), None));
        let service =
            |options: &ServerOptions| Arc::new(OperatorService::new(router.clone(), options));
        let mut short = ServerOptions::default();
        short.channels.write_timeout = Duration::from_secs(3);
        for (options, limit) in [(ServerOptions::default(), 10), (short, 3)] {
            let (mut client, server) = duplex(1024);
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let (open, mut ended) = mpsc::channel(1);
            let held = (limiter.acquire(None, || false).unwrap(), open);
            let begun = Instant::now();
            service(&options).answer(server, pending.register(), held).await;
            assert_eq!(ended.recv().await, None);
            assert_eq!(begun.elapsed(), Duration::from_secs(limit));
            assert_eq!((limiter.len(), pending.len()), (0, 0));
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), 1024);
        }
    }
}
