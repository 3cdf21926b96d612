//! The server: listeners, the connections they bring, and the end of both.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sockeye::internals::{Acceptor, max_connections};
use sockeye_hub::Hub;
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::sleep;

use crate::admin;
use crate::listener::{BindError, Listener, LocalAddress};
use crate::log;
use crate::opening::Service;
use crate::options::{Listen, ServerOptions};
use crate::router::Channels;

/// The head of a request with its line and headers, in bytes. Of headers there may be 100, which
/// is hyper's own limit.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// How often old messages are dropped from channels that nobody uses.
const SWEEP: Duration = Duration::from_secs(5);

/// A channel server on addresses of its own.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye_server::{Server, ServerOptions};
///
/// let server = Server::bind(ServerOptions::default()).await?;
/// println!("{}", server.local_addrs()[0]); // http://127.0.0.1:8080
/// server.run_until(tokio::signal::ctrl_c()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    channels: Channels,
    listeners: Vec<Listener>,
    local_addrs: Vec<LocalAddress>,
    admin: Option<(Listener, LocalAddress)>,
    options: ServerOptions,
}

impl Server {
    /// Listens on every address of the options; connections wait until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`BindError::Exposed`] for an address that is not loopback, unless the options
    /// have an `auth_key` or say `open`; [`BindError::NoProxy`] for `proxy_protocol` without a
    /// `trust_proxy`; [`BindError::Io`] when the operating system refuses;
    /// [`BindError::Data`] when the directory for the channels can not be used.
    pub async fn bind(mut options: ServerOptions) -> Result<Self, BindError> {
        options.max_connections = options.max_connections.or_else(max_connections);
        if options.proxy_protocol && options.trust_proxy.is_empty() {
            return Err(BindError::NoProxy);
        }
        let mut listeners = Vec::with_capacity(options.listen.len());
        let mut local_addrs = Vec::with_capacity(options.listen.len());
        for address in &options.listen {
            for listener in Listener::bind(address, options.is_exposed()).await? {
                let local = listener
                    .local_address()
                    .map_err(|source| BindError::Io { address: address.clone(), source })?;
                local_addrs.push(match local {
                    LocalAddress::Tcp(address) if options.tls.is_some() => {
                        LocalAddress::Tls(address)
                    }
                    local => local,
                });
                listeners.push(listener);
            }
        }
        let admin = match &options.admin {
            Some(address) => Some(Self::bind_admin(address).await?),
            None => None,
        };
        let (channels, options) = open(options).await?;
        Ok(Self { channels, listeners, local_addrs, admin, options })
    }

    /// An address for operators may be any; of one that others reach there is a warning. A name is its
    /// first address.
    async fn bind_admin(address: &Listen) -> Result<(Listener, LocalAddress), BindError> {
        let failed = |source| BindError::Admin { address: address.clone(), source };
        let listeners = Listener::bind(address, true).await.map_err(|error| match error {
            BindError::Io { source, .. } => failed(source),
            other => other,
        })?;
        let missing = || failed(io::ErrorKind::AddrNotAvailable.into());
        let listener = listeners.into_iter().next().ok_or_else(missing)?;
        let local = listener.local_address().map_err(failed)?;
        if local.tcp().is_some_and(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                address = %local,
                "whoever reaches the address of --admin sees, without a token, who is connected from \
                 where: let nobody but operators reach it"
            );
        }
        Ok((listener, local))
    }

    /// The addresses it listens on, in the order of the options, with the ports it really has.
    pub fn local_addrs(&self) -> &[LocalAddress] {
        &self.local_addrs
    }

    /// The address for operators, if there is one, with the port it really has.
    pub fn admin_addr(&self) -> Option<&LocalAddress> {
        self.admin.as_ref().map(|(_, address)| address)
    }

    /// The channels over HTTP, to tell them other options while the server runs
    /// ([`Channels::reload`]).
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The channels, to publish and subscribe inside the program.
    pub fn hub(&self) -> &Hub {
        self.channels.hub()
    }

    /// The routes the server answers by.
    pub fn router(&self) -> Router {
        self.channels.router()
    }

    /// Serves for ever.
    ///
    /// # Errors
    ///
    /// When a listening socket breaks. Connections that break concern nobody else.
    pub async fn run(self) -> io::Result<()> {
        self.run_until(std::future::pending::<()>()).await
    }

    /// Serves until `shutdown` is ready, then lets everybody finish and returns: see
    /// [`Channels::drain`]. With nobody connected it returns at once. Connections that are still
    /// there at the end of the drain end with the runtime.
    ///
    /// # Errors
    ///
    /// When a listening socket breaks. Connections that break concern nobody else.
    pub async fn run_until<S: Future>(self, shutdown: S) -> io::Result<()> {
        let service = Arc::new(Service::new(&self.channels, &self.options));
        let mut tasks = JoinSet::new();
        for (listener, address) in self.listeners.into_iter().zip(&self.local_addrs) {
            tracing::info!(%address, max_connections = self.options.max_connections, "listening");
            tasks.spawn(accept(listener, Arc::clone(&service)));
        }
        let mut operators = JoinSet::new();
        if let Some((listener, address)) = self.admin {
            tracing::info!(%address, "listening for operators");
            let any_host = address.tcp().is_some_and(|address| !address.ip().is_loopback());
            let router = admin::router(self.channels.shared(), any_host);
            operators.spawn(admin::serve(listener, router, self.options.clone()));
        }
        tasks.spawn(sweep(self.channels.hub().clone()));
        tasks.spawn(tell_rest_of_log());
        tokio::select! {
            _ = shutdown => {}
            Some(broken) = tasks.join_next() => return broken?,
            Some(broken) = operators.join_next() => return broken?,
        }
        tracing::info!("stopping");
        // First whoever asks is told that no clients should be sent here any more, then none come.
        let drain = self.channels.begin_to_drain(self.options.drain);
        tasks.shutdown().await;
        let left = drain.await;
        log::tell_last();
        match left {
            0 => tracing::info!("everybody has left"),
            cut_off => tracing::warn!(connections = cut_off, "cut off at the end of the drain"),
        }
        Ok(())
    }
}

/// Opens the channels, on a thread that may wait for a disk.
async fn open(options: ServerOptions) -> Result<(Channels, ServerOptions), BindError> {
    let open = move || Channels::open_for_server(&options).map(|channels| (channels, options));
    match spawn_blocking(open).await {
        Ok(opened) => Ok(opened?),
        Err(ended) => resume_unwind(ended.into_panic()),
    }
}

/// Drops old messages, for ever. Channels in use do it themselves as they are used.
async fn sweep(hub: Hub) -> io::Result<()> {
    loop {
        sleep(SWEEP).await;
        let mut sweep = hub.begin_sweep();
        while sweep.slice() {
            // Whatever else is to run has its turn between any two slices.
            yield_now().await;
        }
    }
}

/// Tells each second what the log left out, for ever.
async fn tell_rest_of_log() -> io::Result<()> {
    loop {
        sleep(Duration::from_secs(1)).await;
        log::tell_rest();
    }
}

/// Takes connections for ever, each into a task of its own. Aborted when the server stops.
async fn accept(listener: Listener, service: Arc<Service>) -> io::Result<()> {
    let mut acceptor = Acceptor::new(service.pending().clone());
    let incomings = listener.incomings(service.is_secure());
    loop {
        let connection = acceptor.accept(&incomings).await?;
        service.receive(connection);
    }
}
