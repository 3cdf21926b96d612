//! The channels over HTTP, for a program that has a listener of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sockeye_hub::Hub;
use sockeye_hub::store::OpenError;

use crate::app::App;
use crate::auth::Authority;
use crate::conn::accept;
use crate::http::origin::{Allowed, OriginRule};
use crate::lifecycle::drain::Drain;
use crate::limits::Limits;
use crate::limits::client_addresses::{AddressSource, ClientAddresses, needed_for};
use crate::limits::pace::Paces;
use crate::metrics::Metrics;
use crate::metrics::connections::ConnectionRegister;
use crate::options::ServerOptions;
use crate::rate::Rate;
use crate::routes::admin;
use crate::routes::{self, RouteTable};
use crate::transports::v1;
use crate::transports::websocket;

/// Why channels could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option counts by client address, and there is no source of addresses.
    #[error(
        "{0} needs the addresses of clients: give ClientAddresses::ConnectInfo and serve with \
         into_make_service_with_connect_info::<SocketAddr>(), or ClientAddresses::hook, or set the \
         option to None"
    )]
    NoAddresses(&'static str),
    /// The directory for the channels cannot be used.
    #[error("cannot keep channels: {0}")]
    Data(#[from] OpenError),
}

/// Where client addresses come from, if that is enough for the options.
fn source(
    options: &ServerOptions,
    addresses: ClientAddresses,
) -> Result<AddressSource, BuildError> {
    match needed_for(options) {
        Some(option) if matches!(addresses, ClientAddresses::Unknown) => {
            Err(BuildError::NoAddresses(option))
        }
        needed => Ok(AddressSource { addresses, is_needed: needed.is_some() }),
    }
}

/// The channels over HTTP, without a listener: for a program that has one.
///
/// ```
/// # let _ = || {
/// use std::net::SocketAddr;
///
/// use sockeye_server::{Channels, ClientAddresses, ServerOptions};
///
/// let channels = Channels::new(&ServerOptions::default(), ClientAddresses::ConnectInfo)?;
/// let program = axum::Router::new().nest("/live", channels.router());
/// let program = program.into_make_service_with_connect_info::<SocketAddr>();
/// # Ok::<(), sockeye_server::BuildError>(())
/// # };
/// ```
///
/// Clones are the same channels.
#[derive(Clone, Debug)]
pub struct Channels {
    app: Arc<App>,
}

impl Channels {
    /// New, empty channels in memory. Of the options, those about listening, `data` and `backplane` are not
    /// used.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoAddresses`] if an option counts by address and the addresses are unknown.
    pub fn new(options: &ServerOptions, addresses: ClientAddresses) -> Result<Self, BuildError> {
        let source = source(options, addresses)?;
        Ok(Self::of(Hub::new(hub_options(options)), options, source))
    }

    /// The channels of the options' `backplane` or `data` directory, or new ones in memory. Those about
    /// listening are not used. It may block as long as a disk does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new); [`BuildError::Data`] if the directory is in use or cannot be used.
    pub fn open(options: &ServerOptions, addresses: ClientAddresses) -> Result<Self, BuildError> {
        let source = source(options, addresses)?;
        Ok(Self::of(open_hub(options)?, options, source))
    }

    /// The same for a [`Server`](crate::Server), which knows the addresses of its clients.
    pub(crate) fn open_for_server(options: &ServerOptions) -> Result<Self, OpenError> {
        // The router of the server may be used elsewhere, too.
        let is_needed = needed_for(options).is_some();
        let source = AddressSource { addresses: ClientAddresses::Unknown, is_needed };
        Ok(Self::of(open_hub(options)?, options, source))
    }

    fn of(hub: Hub, options: &ServerOptions, addresses: AddressSource) -> Self {
        let origins = OriginRule {
            allowed: Some(Allowed::new(options.allow_origin.clone())),
            any_host: options.is_exposed(),
            secure: options.tls.is_some(),
        };
        let records = hub.backplane().and_then(|backplane| backplane.records());
        let metrics = Arc::new(metrics(options, &hub));
        let app = App {
            hub,
            origins,
            authority: Authority::new(options.auth_key.clone(), records),
            limits: Arc::new(Limits::new(options, addresses)),
            max_message: options.max_message,
            plain_config: Arc::new(websocket::config(options, options.max_message)),
            v1_config: Arc::new(v1::config(options)),
            anonymous_config: Arc::new(v1::anonymous_config(options)),
            command_rate: Rate::per_second(options.max_commands.unwrap_or(v1::MAX_COMMANDS)),
            message_rate: options.max_commands.map(Rate::per_second),
            paces: options.max_commands.map(|max| Paces::new(Rate::per_second(max))),
            auth_timeout: options.auth_timeout,
            body_timeout: options.body_timeout,
            write_timeout: options.write_timeout,
            deflate: options.deflate.clone(),
            heartbeat: options.heartbeat,
            drain: Drain::new(),
            register: ConnectionRegister::new(Arc::clone(&metrics)),
            metrics,
        };
        Self { app: Arc::new(app) }
    }

    /// Applies the options that can change while clients are connected: `allow_origin`, `auth_key`
    /// where there was one, `max_requests_per_address` and `max_bad_tokens_per_address`.
    ///
    /// With another key, tokens of the old one and their tickets are refused from then on; what they
    /// have opened stays open until they expire.
    pub fn reload(&self, options: &ServerOptions) {
        if let Some(allowed) = &self.app.origins.allowed {
            allowed.set(options.allow_origin.clone());
        }
        self.app.authority.reload(options.auth_key.as_ref());
        self.app.limits.reload(options);
    }

    /// The hub, to publish and subscribe inside the program. A [`Server`](crate::Server) sweeps it; a
    /// program without one calls [`Hub::sweep`] every few seconds, or messages of idle channels stay
    /// longer than they should.
    pub fn hub(&self) -> &Hub {
        &self.app.hub
    }

    /// The routes with their middleware: `/c/{channel}` and what is below it, `/connect`, and the
    /// console at `/`. Nested in another router at `/live`, `/live` leads to the console.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// Drains the connections: WebSockets get close code 1012, spread over a part of `within`, so that
    /// their clients do not reconnect all at once. Returns when all connections have ended, at once
    /// when there are none, or when `within` is over; the result is the number that were still open.
    ///
    /// New WebSockets are refused from then on. With a backplane the other nodes are told at the end that
    /// no member is present here any more.
    pub async fn drain(&self, within: Duration) -> usize {
        let left = self.begin_to_drain(within).await;
        self.app.hub.leave_cluster().await;
        left
    }

    /// Begins to drain, at once; the future waits until all connections have ended.
    pub(crate) fn begin_to_drain(&self, within: Duration) -> impl Future<Output = usize> {
        self.app.drain.begin(within);
        self.app.drain.drained()
    }

    /// The routes for operators, for a program with a listener of its own: `/healthz`, `/readyz`,
    /// `/metrics` and `/connections`. Danger: they show who is connected from where; let operators
    /// alone reach them.
    pub fn admin_router(&self) -> Router {
        admin::router(self.shared(), true)
    }

    /// What the connections of a [`Server`](crate::Server) share with the channels.
    pub(crate) fn connection_parts(&self) -> accept::ConnectionContext {
        accept::ConnectionContext {
            limits: Arc::clone(&self.app.limits),
            drain: self.app.drain.clone(),
            metrics: Arc::clone(&self.app.metrics),
            handler: Arc::new(RouteTable::new(self.shared())),
        }
    }

    pub(crate) fn shared(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }
}

/// The counters, with those of the log and of the engine.
#[cfg(feature = "prometheus")]
fn metrics(options: &ServerOptions, hub: &Hub) -> Metrics {
    Metrics::new(Arc::clone(&options.log_lines_lost), hub.backplane().map(|_| hub.clone()))
}

#[cfg(not(feature = "prometheus"))]
fn metrics(_: &ServerOptions, _: &Hub) -> Metrics {
    Metrics
}

/// The channels themselves, wherever the options say that they are kept.
fn open_hub(options: &ServerOptions) -> Result<Hub, OpenError> {
    match &options.backplane {
        Some(backplane) => Ok(Hub::with_backplane(hub_options(options), Arc::clone(backplane))),
        #[cfg(feature = "fjall")]
        None => Hub::open(hub_options(options)),
        #[cfg(not(feature = "fjall"))]
        None => Ok(Hub::new(hub_options(options))),
    }
}

/// What the options say of the channels themselves.
fn hub_options(options: &ServerOptions) -> sockeye_hub::Options {
    let kept = sockeye_hub::Options::default();
    #[cfg(feature = "fjall")]
    let kept = kept.data(options.data.clone());
    kept.history_count(options.history_count)
        .history_bytes(options.history_bytes)
        .history_age(options.history_age)
        .policies(options.policy.clone())
        .max_channels(options.max_channels)
        .max_bytes(options.max_bytes)
        .max_form_bytes(options.max_wire_forms)
}
