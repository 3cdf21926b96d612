//! The server: its listeners, and its start and end.

pub(crate) mod operators;

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sockeye::Listener;
use sockeye::internals::{Acceptor, max_connections};
use sockeye_hub::Hub;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use crate::channels::{Channels, keeps_differently};
use crate::conn::accept::ConnectionService;
use crate::log;
use crate::net::listener::{BindError, IncomingConnections, Listen, LocalAddress, bind};
use crate::option_names::OptionNames;
use crate::options::ServerOptions;
use crate::routes::admin;

/// How long operators have at the end for the rest of their answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
    /// [`BindError::Data`] when the directory for the channels cannot be used.
    pub async fn bind(options: ServerOptions) -> Result<Self, BindError> {
        check(&options)?;
        let mut listeners = Vec::with_capacity(options.listen.len());
        for address in &options.listen {
            listeners.extend(bind(address, options.channels.is_exposed()).await?);
        }
        Self::with_listeners(listeners, options).await
    }

    /// Serves on these sockets, in place of the addresses in the options: for a service manager that
    /// listens before the server runs. Connections wait until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// As for [`bind`](Self::bind).
    pub async fn with_listeners(
        listeners: Vec<Listener>,
        mut options: ServerOptions,
    ) -> Result<Self, BindError> {
        check(&options)?;
        let max = &mut options.channels.max_connections;
        *max = max.or_else(max_connections);
        let mut local_addrs = Vec::with_capacity(listeners.len());
        for listener in &listeners {
            let address = LocalAddress::of(listener).map_err(BindError::Socket)?;
            if let (Some(tcp), false) = (address.tcp(), options.channels.is_exposed())
                && !tcp.ip().is_loopback()
            {
                return Err(BindError::Exposed(Listen::Tcp(tcp.to_string())));
            }
            local_addrs.push(address.with_tls(options.tls.is_some()));
        }
        let admin = match &options.admin {
            Some(address) => Some(Self::bind_admin(address, options.channels.option_names).await?),
            None => None,
        };
        let (channels, options) = open(options).await?;
        Ok(Self { channels, listeners, local_addrs, admin, options })
    }

    /// The address for operators may be any; one that is not loopback is warned of. Of a name the first
    /// address is used.
    async fn bind_admin(
        address: &Listen,
        names: OptionNames,
    ) -> Result<(Listener, LocalAddress), BindError> {
        let failed = |source| BindError::Admin { address: address.clone(), source };
        let listeners = bind(address, true).await.map_err(|error| match error {
            BindError::Io { source, .. } => failed(source),
            other => other,
        })?;
        let missing = || failed(io::ErrorKind::AddrNotAvailable.into());
        let listener = listeners.into_iter().next().ok_or_else(missing)?;
        let local = LocalAddress::of(&listener).map_err(failed)?;
        if local.tcp().is_some_and(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                address = %local,
                "anyone who can reach the address of {} sees, without a token, who is connected \
                 from where: let operators alone reach it",
                names.of("admin")
            );
        }
        Ok((listener, local))
    }

    /// The addresses it listens on, in the order of the options, with the ports that were assigned.
    pub fn local_addrs(&self) -> &[LocalAddress] {
        &self.local_addrs
    }

    /// The address for operators, if there is one, with the port that was assigned.
    pub fn admin_addr(&self) -> Option<&LocalAddress> {
        self.admin.as_ref().map(|(_, address)| address)
    }

    /// The channels over HTTP, to [reload](Channels::reload) options while the server runs.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The hub, to publish and subscribe inside the program.
    pub fn hub(&self) -> &Hub {
        self.channels.hub()
    }

    /// The routes of the server.
    pub fn router(&self) -> Router {
        self.channels.router()
    }

    /// Serves until a listener fails.
    ///
    /// # Errors
    ///
    /// When a listening socket fails. A connection that fails affects no other.
    pub async fn run(self) -> io::Result<()> {
        self.run_until(std::future::pending::<()>()).await
    }

    /// Serves until `shutdown` is ready, then drains and returns: see [`Channels::drain`]. Without
    /// connections it returns at once. Connections that are open at the end of the drain end with the
    /// runtime.
    ///
    /// # Errors
    ///
    /// When a listening socket fails. A connection that fails affects no other.
    pub async fn run_until<S: Future>(self, shutdown: S) -> io::Result<()> {
        let service =
            Arc::new(ConnectionService::new(self.channels.connection_parts(), &self.options));
        self.channels.begin_to_serve();
        let mut tasks = JoinSet::new();
        for (listener, address) in self.listeners.into_iter().zip(&self.local_addrs) {
            tracing::info!(%address, max_connections = self.options.channels.max_connections, "listening");
            tasks.spawn(accept(listener, Arc::clone(&service)));
        }
        let mut operators = JoinSet::new();
        let (open, mut answered) = mpsc::channel(1);
        match self.admin {
            Some((listener, address)) => {
                tracing::info!(%address, "listening for operators");
                let any_host = address.tcp().is_some_and(|address| !address.ip().is_loopback());
                let router = admin::router(self.channels.shared(), any_host);
                operators.spawn(operators::serve(listener, router, self.options.clone(), open));
            }
            None => drop(open),
        }
        tasks.spawn(tell_rest_of_log());
        tokio::select! {
            _ = shutdown => {}
            Some(broken) = tasks.join_next() => return broken?,
            Some(broken) = operators.join_next() => return broken?,
        }
        tracing::info!("stopping");
        // First readiness says that no clients should be sent here, then no connections are accepted.
        let drain = self.channels.begin_to_drain(self.options.drain);
        tasks.shutdown().await;
        let left = drain.await;
        self.channels.finish().await;
        // Taps have been told that this is the end: those who read get it.
        operators.shutdown().await;
        let _ = timeout(LAST_ANSWERS, answered.recv()).await;
        log::tell_last();
        match left {
            0 => tracing::info!("drained"),
            cut_off => tracing::warn!(connections = cut_off, "cut off at the end of the drain"),
        }
        Ok(())
    }
}

/// Opens the channels, on a thread that may block.
async fn open(options: ServerOptions) -> Result<(Channels, ServerOptions), BindError> {
    let (of_channels, secure) = (options.channels.clone(), options.tls.is_some());
    let open = move || Channels::builder().options(of_channels).secure(secure).open_for_server();
    match spawn_blocking(open).await {
        Ok(opened) => Ok((opened?, options)),
        Err(ended) => resume_unwind(ended.into_panic()),
    }
}

/// Whether the options fit each other: it is said which proxies are believed, where a proxy is to say who the client is,
/// and who decides.
fn check(options: &ServerOptions) -> Result<(), BindError> {
    if options.proxy_protocol && options.channels.trust_proxy.is_empty() {
        return Err(BindError::NoProxy);
    }
    if options.channels.auth_key.is_some() && options.channels.authorizer.is_some() {
        return Err(BindError::TwoAuthorizers);
    }
    if let Some(option) = options.channels.without_subjects() {
        return Err(BindError::NoSubjects(option));
    }
    if keeps_differently(&options.channels) {
        return Err(BindError::HistoryOfSome);
    }
    Ok(())
}

/// Logs each second how many lines were left out, until aborted.
async fn tell_rest_of_log() -> io::Result<()> {
    loop {
        sleep(Duration::from_secs(1)).await;
        log::tell_rest();
    }
}

/// Accepts connections until aborted, each in a task of its own.
async fn accept(listener: Listener, service: Arc<ConnectionService>) -> io::Result<()> {
    let mut acceptor = Acceptor::new(service.pending().clone());
    let incomings = IncomingConnections { listener: &listener, refusal: service.refusal() };
    loop {
        let connection = acceptor.accept(&incomings).await?;
        service.serve(connection);
        if service.is_full() {
            // A connection that has ended for this one is closed now.
            yield_now().await;
        }
    }
}
