//! The channels over HTTP, for a program that has a listener of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sockeye::internals::Origin;
use sockeye::{BadOrigin, SendRings};
use sockeye_hub::Hub;
use sockeye_hub::store::OpenError;
use tokio::runtime::Handle;

use crate::app::App;
use crate::auth::{Authority, Revocation, Revocations, RevokeError};
use crate::channel_rule::{ChannelRule, ChannelRules, histories, policies};
use crate::conn::accept;
use crate::events::Delivery;
use crate::fanout::Groups;
use crate::http::origin::{Allowed, OriginRule};
use crate::lifecycle::drain::Drain;
use crate::lifecycle::sweep::Sweeper;
use crate::limits::Limits;
use crate::limits::client_addresses::{AddressSource, ClientAddresses, needed_for};
use crate::limits::pace::Paces;
use crate::metrics::Metrics;
use crate::metrics::connections::ConnectionRegister;
use crate::net::io::{Io, UringError};
use crate::net::listener::BindError;
use crate::options::ChannelOptions;
use crate::rate::Rate;
use crate::routes::admin;
use crate::routes::{self, RouteTable};
use crate::trace::Traces;
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
    /// Tokens decide, or the authoriser does.
    #[error(
        "`auth_key` and `authorizer` contradict each other: an authoriser can ask a key itself"
    )]
    TwoAuthorizers,
    /// An option counts by subject, and nothing says what the subject of a caller is.
    #[error("`{0}` needs an `auth_key` or an `authorizer`: without one callers have no subject")]
    NoSubjects(&'static str),
    /// A rule for some channels says how much is kept, and a backplane keeps them.
    #[error(
        "`channel` says how much history some channels keep, and with `backplane` all keep the same: leave \
         `history_count`, `history_bytes` and `history_age` out of the rules"
    )]
    HistoryOfSome,
    /// The directory for the channels cannot be used.
    #[error("cannot keep channels: `data` {0}")]
    Data(#[from] OpenError),
    /// The system has no io_uring for the program.
    #[error("{0}; or set `io` to auto or epoll")]
    Uring(#[from] UringError),
}

/// What [`Channels`] are made of: [`Channels::builder`].
#[derive(Clone, Debug)]
pub struct ChannelsBuilder {
    options: ChannelOptions,
    addresses: ClientAddresses,
    public_origin: Option<Origin>,
    secure: bool,
}

impl ChannelsBuilder {
    /// How the channels behave. Default: that of [`ChannelOptions`].
    pub fn options(mut self, options: ChannelOptions) -> Self {
        self.options = options;
        self
    }

    /// Where the addresses of clients come from. Default: `Unknown`, and then no option may count by address.
    pub fn client_addresses(mut self, addresses: ClientAddresses) -> Self {
        self.addresses = addresses;
        self
    }

    /// Where clients find the program, such as `https://shop.example`: its pages are the program's own, under
    /// whatever `Host` a proxy in front asks for. With `https` responses say that the name is never to be used
    /// without TLS. Default: the request's own `Host`, and the scheme of [`secure`](Self::secure).
    ///
    /// # Errors
    ///
    /// [`BadOrigin`] if that is not one origin.
    pub fn public_origin(mut self, origin: &str) -> Result<Self, BadOrigin> {
        self.public_origin = Some(origin.parse()?);
        Ok(self)
    }

    /// Whether clients come by TLS, so that pages of `https:` and the request's `Host` are the program's own.
    /// Default: no.
    pub fn secure(mut self, is_secure: bool) -> Self {
        self.secure = is_secure;
        self
    }

    /// The channels, of the options' `backplane` or `data` directory, or new ones in memory. With `data` it may
    /// block as long as a disk does.
    ///
    /// Within a runtime of tokio they are swept from now on, otherwise from the first request on.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoAddresses`] if an option counts by address and the addresses are unknown;
    /// [`BuildError::TwoAuthorizers`] if there are an `auth_key` and an `authorizer`; [`BuildError::NoSubjects`] if an option
    /// counts by subject and there is neither; [`BuildError::HistoryOfSome`] if there is a
    /// `backplane` and a rule of `channel` says how much is kept; [`BuildError::Data`] if the directory is in use or cannot be used;
    /// [`BuildError::Uring`] if `io` asks for io_uring, and it cannot be used.
    pub fn build(self) -> Result<Channels, BuildError> {
        if self.options.auth_key.is_some() && self.options.authorizer.is_some() {
            return Err(BuildError::TwoAuthorizers);
        }
        if let Some(option) = self.options.without_subjects() {
            return Err(BuildError::NoSubjects(option));
        }
        if keeps_differently(&self.options) {
            return Err(BuildError::HistoryOfSome);
        }
        let is_needed = match needed_for(&self.options) {
            Some(option) if matches!(self.addresses, ClientAddresses::Unknown) => {
                return Err(BuildError::NoAddresses(option));
            }
            option => option.is_some(),
        };
        let hub = open_hub(&self.options)?;
        let revocations = revocations(&self.options)?;
        let rings = self.options.io.rings()?;
        let channels = self.made_of((hub, revocations, rings), is_needed);
        channels.app.keep_tasks();
        Ok(channels)
    }

    /// The same for a [`Server`](crate::Server), which knows the addresses of its clients, and tells nothing before it
    /// serves.
    pub(crate) fn open_for_server(self) -> Result<Channels, BindError> {
        // The router of the server may be used elsewhere, too.
        let is_needed = needed_for(&self.options).is_some();
        let hub = open_hub(&self.options)?;
        let revocations = revocations(&self.options)?;
        let rings = self.options.io.rings()?;
        Ok(self.made_of((hub, revocations, rings), is_needed))
    }

    fn made_of(self, parts: (Hub, Revocations, Option<SendRings>), is_needed: bool) -> Channels {
        let Self { options, addresses, public_origin, secure } = self;
        let origins = OriginRule {
            allowed: Some(Allowed::new(options.allow_origin.clone(), options.option_names)),
            any_host: options.is_exposed(),
            secure: public_origin.as_ref().map_or(secure, Origin::is_secure),
            public: public_origin,
            names: options.option_names,
        };
        Channels::of(parts, &options, origins, AddressSource { addresses, is_needed })
    }
}

/// The channels over HTTP, without a listener: for a program that has one.
///
/// ```
/// # let _ = || {
/// use std::net::SocketAddr;
///
/// use sockeye_server::{Channels, ClientAddresses};
///
/// let channels = Channels::builder().client_addresses(ClientAddresses::ConnectInfo).build()?;
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
    /// Begins to make channels.
    pub fn builder() -> ChannelsBuilder {
        ChannelsBuilder {
            options: ChannelOptions::default(),
            addresses: ClientAddresses::Unknown,
            public_origin: None,
            secure: false,
        }
    }

    fn of(
        (hub, revocations, rings): (Hub, Revocations, Option<SendRings>),
        options: &ChannelOptions,
        origins: OriginRule,
        addresses: AddressSource,
    ) -> Self {
        let records = hub.backplane().and_then(|backplane| backplane.records());
        let metrics = Arc::new(metrics(options, &hub));
        let register = ConnectionRegister::new(Arc::clone(&metrics));
        let rules = Arc::new(ChannelRules::new(&options.channel));
        let deliver = |sink| Delivery::of(&hub, sink, Arc::clone(&rules));
        let events = options.events.clone().map(deliver);
        let app = App {
            hub,
            origins,
            authority: Authority::new(options.auth_key.clone(), records, Arc::new(revocations))
                .asking(options.authorizer.clone())
                .under(Arc::clone(&rules)),
            limits: Arc::new(Limits::new(options, addresses)),
            max_message: options.max_message,
            rules,
            names: options.option_names,
            sweeper: Sweeper::default(),
            events,
            plain_config: Arc::new(websocket::config(options, options.max_message)),
            v1_config: Arc::new(v1::config(options)),
            anonymous_config: Arc::new(v1::anonymous_config(options)),
            command_rate: Rate::per_second(options.max_commands.unwrap_or(v1::MAX_COMMANDS)),
            message_rate: options.max_commands.map(Rate::per_second),
            paces: options.max_commands.map(|max| Paces::new(Rate::per_second(max))),
            subject_paces: options
                .max_publications_per_subject
                .map(|max| Paces::new(Rate::per_second(max)).into()),
            auth_timeout: options.auth_timeout,
            body_timeout: options.body_timeout,
            write_timeout: options.write_timeout,
            deflate: options.deflate.clone(),
            heartbeat: options.heartbeat,
            drain: Drain::new(),
            groups: Groups::new(Arc::clone(&register), rings),
            register,
            traces: traces(options),
            metrics,
        };
        app.sweeper.keep(&app.hub);
        tracing::info!(io = %app.groups.io(), "how messages for many WebSockets are sent");
        Self { app: Arc::new(app) }
    }

    /// Applies the options that can change while clients are connected: `allow_origin`, `auth_key`
    /// where there was one, `max_requests_per_address` and `max_bad_tokens_per_address`.
    ///
    /// With another key, tokens of the old one and their tickets are refused from then on; what they
    /// have opened stays open until they expire.
    pub fn reload(&self, options: &ChannelOptions) {
        if let Some(allowed) = &self.app.origins.allowed {
            allowed.set(options.allow_origin.clone());
        }
        self.app.authority.reload(options.auth_key.as_ref());
        self.app.limits.reload(options);
    }

    /// Refuses tokens from now on, before they expire, and ends what they have opened. With `data` it is in force
    /// after a restart, too. In a cluster each node is to be told.
    ///
    /// # Errors
    ///
    /// When it cannot be told which tokens it means, when too many are revoked, where there are no tokens, and when
    /// it could not be stored.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        self.app.authority.revoke(revocation).await
    }

    /// The hub, to publish and subscribe inside the program. It is swept as long as there are these channels, a
    /// clone of them, or a router.
    pub fn hub(&self) -> &Hub {
        &self.app.hub
    }

    /// How messages for many plain WebSockets are handed to the system: [`Io::Epoll`] or [`Io::Uring`].
    pub fn io(&self) -> Io {
        self.app.groups.io()
    }

    /// The routes with their middleware: `/c/{channel}` and what is below it, `/connect`, and the
    /// console at `/`. Nested in another router at `/live`, `/live` leads to the console.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// The same without the console, its files and `/sockeye.js`, and without an answer for other paths: to be
    /// merged with routes of the program's own.
    pub fn api_router(&self) -> Router {
        routes::api_router(&self.app)
    }

    /// Drains the connections: WebSockets get close code 1012, spread over a part of `within`, so that
    /// their clients do not reconnect all at once. Returns when all connections have ended, at once
    /// when there are none, or when `within` is over; the result is the number that were still open.
    ///
    /// New WebSockets are refused from then on. At the end the [events](ChannelOptions::events) that wait are to be taken
    /// within 5 s more, and with a backplane the other nodes are told that no member is present here any more.
    pub async fn drain(&self, within: Duration) -> usize {
        let left = self.begin_to_drain(within).await;
        self.finish().await;
        left
    }

    /// Begins to tell who comes and goes: a server serves from now on.
    pub(crate) fn begin_to_serve(&self) {
        self.app.keep_tasks();
    }

    /// Tells what is to be told when the connections have ended.
    pub(crate) async fn finish(&self) {
        self.app.finish().await;
    }

    /// Begins to drain, at once; the future waits until all connections have ended.
    pub(crate) fn begin_to_drain(&self, within: Duration) -> impl Future<Output = usize> {
        self.app.drain.begin(within);
        // Some connections have no task that waits for it. They learn of it though the future is dropped.
        let app = Arc::clone(&self.app);
        let wake = async move { app.register.wake_parked().await };
        let rest = match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(wake);
                None
            }
            Err(_) => Some(wake),
        };
        async {
            if let Some(wake) = rest {
                wake.await;
            }
            self.app.drain.drained().await
        }
    }

    /// The routes for operators, for a program with a listener of its own: `/healthz`, `/readyz`,
    /// `/metrics`, `/connections`, `/channels`, `/disconnect` and `/tap`. Danger: they show who is connected from where and
    /// what is published, and end connections; let operators alone reach them.
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
fn metrics(options: &ChannelOptions, hub: &Hub) -> Metrics {
    Metrics::new(Arc::clone(&options.log_lines_lost), hub.backplane().map(|_| hub.clone()))
}

#[cfg(not(feature = "prometheus"))]
fn metrics(_: &ChannelOptions, _: &Hub) -> Metrics {
    Metrics
}

/// The spans of publications.
#[cfg(feature = "traces")]
fn traces(options: &ChannelOptions) -> Traces {
    Traces(options.tracer.clone())
}

#[cfg(not(feature = "traces"))]
fn traces(_: &ChannelOptions) -> Traces {
    Traces
}

/// Whether rules say how much is kept of some channels, and the engine keeps as much of all.
pub(crate) fn keeps_differently(options: &ChannelOptions) -> bool {
    options.backplane.is_some() && options.channel.iter().any(ChannelRule::bounds_history)
}

/// The channels themselves, wherever the options say that they are kept.
fn open_hub(options: &ChannelOptions) -> Result<Hub, OpenError> {
    match &options.backplane {
        Some(backplane) => Ok(Hub::with_backplane(hub_options(options), Arc::clone(backplane))),
        #[cfg(feature = "fjall")]
        None => Hub::open(hub_options(options)),
        #[cfg(not(feature = "fjall"))]
        None => Ok(Hub::new(hub_options(options))),
    }
}

/// The tokens that are revoked, wherever the options say that this is kept.
fn revocations(options: &ChannelOptions) -> Result<Revocations, OpenError> {
    #[cfg(feature = "fjall")]
    if let Some(path) = &options.data {
        let kept = Revocations::kept_in(path);
        return kept.map_err(|error| OpenError::Io { path: path.clone(), error });
    }
    let _ = options;
    Ok(Revocations::default())
}

/// What the options say of the channels themselves.
fn hub_options(options: &ChannelOptions) -> sockeye_hub::Options {
    let kept = sockeye_hub::Options::default();
    #[cfg(feature = "fjall")]
    let kept = kept.data(options.data.clone());
    kept.history_count(options.history_count)
        .history_bytes(options.history_bytes)
        .history_age(options.history_age)
        .history(histories(&options.channel))
        .policies(policies(&options.channel, &options.policy))
        .max_channels(options.max_channels)
        .max_bytes(options.max_bytes)
        .max_form_bytes(options.max_wire_forms)
}
