//! The resources and their paths.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use sockeye_hub::Hub;
use sockeye_hub::store::OpenError;

use crate::addresses::{AddressSource, ClientAddresses, needed_for};
use crate::auth::{self, Authority};
use crate::drain::Drain;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::origin::{Allowed, OriginRule};
use crate::pace::{Paces, Rate};
use crate::problem::Problem;
use crate::visit::Visits;
use crate::{access, admin, channel, console, presence, promise, v1, websocket};

/// What the resources share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) origins: OriginRule,
    pub(crate) authority: Authority,
    pub(crate) limits: Limits,
    pub(crate) max_message: usize,
    /// The limits of plain WebSockets and of `sockeye.v1`, shared by all of them.
    pub(crate) plain_config: Arc<sockeye::Config>,
    pub(crate) v1_config: Arc<sockeye::Config>,
    /// The limits of `sockeye.v1` until a token was shown.
    pub(crate) anonymous_config: Arc<sockeye::Config>,
    /// How fast commands of `sockeye.v1` may come, and messages on a plain WebSocket.
    pub(crate) command_rate: Rate,
    pub(crate) message_rate: Option<Rate>,
    /// How fast each may publish by requests.
    pub(crate) paces: Option<Paces>,
    pub(crate) auth_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// How WebSockets are compressed.
    pub(crate) deflate: Option<sockeye::DeflateConfig>,
    pub(crate) max_http2_buffer: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) visits: Arc<Visits>,
}

/// Why there are no channels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option counts by the addresses of clients, and nothing tells them.
    #[error(
        "{0} needs the addresses of clients: give ClientAddresses::ConnectInfo and serve with \
         into_make_service_with_connect_info::<SocketAddr>(), or ClientAddresses::hook, or set the \
         option to None"
    )]
    NoAddresses(&'static str),
    /// The directory for the channels can not be used.
    #[error("cannot keep channels: {0}")]
    Data(#[from] OpenError),
}

/// Where addresses come from, if the options can do with that.
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
    /// New, empty channels in memory. Of the options, those about listening and `data` are not
    /// used.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoAddresses`] if an option counts by address and the addresses are unknown.
    pub fn new(options: &ServerOptions, addresses: ClientAddresses) -> Result<Self, BuildError> {
        let source = source(options, addresses)?;
        Ok(Self::of(Hub::new(hub_options(options)), options, source))
    }

    /// The channels in the `data` directory of the options, or new ones in memory. Those about
    /// listening are not used. It may block as long as a disk does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new); [`BuildError::Data`] if the directory is in use or can not be used.
    pub fn open(options: &ServerOptions, addresses: ClientAddresses) -> Result<Self, BuildError> {
        let source = source(options, addresses)?;
        Ok(Self::of(Hub::open(hub_options(options))?, options, source))
    }

    /// The same for a [`Server`](crate::Server), which knows the addresses of its clients.
    pub(crate) fn open_for_server(options: &ServerOptions) -> Result<Self, OpenError> {
        // Its router may be used elsewhere, too.
        let is_needed = needed_for(options).is_some();
        let source = AddressSource { addresses: ClientAddresses::Unknown, is_needed };
        Ok(Self::of(Hub::open(hub_options(options))?, options, source))
    }

    fn of(hub: Hub, options: &ServerOptions, addresses: AddressSource) -> Self {
        let origins = OriginRule {
            allowed: Some(Allowed::new(options.allow_origin.clone())),
            any_host: options.is_exposed(),
            secure: options.tls.is_some(),
        };
        let metrics = Arc::new(Metrics::new(Arc::clone(&options.log_lines_lost)));
        let app = App {
            hub,
            origins,
            authority: Authority::new(options.auth_key.clone()),
            limits: Limits::new(options, addresses),
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
            max_http2_buffer: options.max_http2_buffer,
            heartbeat: options.heartbeat,
            drain: Drain::new(),
            visits: Visits::new(Arc::clone(&metrics)),
            metrics,
        };
        Self { app: Arc::new(app) }
    }

    /// Takes over the options that can change while clients are connected: `allow_origin`, `auth_key`
    /// where there was one, `max_requests_per_address` and `max_bad_tokens_per_address`.
    ///
    /// With another key, tokens of the old one and their tickets are refused from then on; what they have
    /// opened stays open until they expire.
    pub fn reload(&self, options: &ServerOptions) {
        if let Some(allowed) = &self.app.origins.allowed {
            allowed.set(options.allow_origin.clone());
        }
        self.app.authority.reload(options.auth_key.as_ref());
        self.app.limits.reload(options);
    }

    /// The channels themselves, to publish and subscribe inside the program. A
    /// [`Server`](crate::Server) sweeps them; a program without one calls [`Hub::sweep`] every few
    /// seconds, or messages of channels that nobody uses stay longer than they should.
    pub fn hub(&self) -> &Hub {
        &self.app.hub
    }

    /// The routes, with the origin rules round them: `/c/{channel}` and what is below it,
    /// `/connect`, and the console at `/`. Nested in another router at `/live`, `/live` leads to the
    /// console.
    pub fn router(&self) -> Router {
        self.routes().layer(from_fn(promise::keep))
    }

    /// The same for one who [keeps](promise) what they promise.
    pub(crate) fn routes(&self) -> Router {
        let console = console::FILES
            .iter()
            .fold(Router::new(), |routes, file| routes.route(file.path, file.route()));
        console
            .route("/", console::front())
            .route("/c/{channel}", any(channel::answer))
            .route("/c/{channel}/presence", any(presence::answer))
            .route("/connect", any(websocket::connect))
            .route("/tickets", any(auth::issue::answer))
            .fallback(async || Problem::not_found())
            .layer(from_fn_with_state(Arc::clone(&self.app), access::guard))
            .with_state(Arc::clone(&self.app))
    }

    /// Sends everybody away: WebSockets get close code 1012, spread over a part of `within`, and
    /// come back to whoever serves then. Returns when all have left, at once when nobody is
    /// connected, or when `within` is over; gives how many were still there.
    ///
    /// New WebSockets are refused from then on.
    pub async fn drain(&self, within: Duration) -> usize {
        self.begin_to_drain(within).await
    }

    /// Begins to send everybody away, at once; the future waits until they have left.
    pub(crate) fn begin_to_drain(&self, within: Duration) -> impl Future<Output = usize> {
        self.app.drain.begin(within);
        self.app.drain.everybody_left()
    }

    /// What operators ask for, for a program with a listener of its own: `/healthz`, `/readyz`,
    /// `/metrics` and `/connections`. Keep others from it: it shows who is connected from where.
    pub fn admin_router(&self) -> Router {
        admin::router(self.shared(), true)
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.app.metrics)
    }

    pub(crate) fn shared(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }
}

/// What the options say of the channels themselves.
fn hub_options(options: &ServerOptions) -> sockeye_hub::Options {
    sockeye_hub::Options {
        data: options.data.clone(),
        history_count: options.history_count,
        history_bytes: options.history_bytes,
        history_age: options.history_age,
        policies: options.policy.clone(),
        max_channels: options.max_channels,
        max_bytes: options.max_bytes,
        max_form_bytes: options.max_wire_forms,
        ..Default::default()
    }
}
