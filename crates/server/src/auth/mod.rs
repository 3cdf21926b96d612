//! The caller of a request, and what it may do: the one authoriser of every transport.
//!
//! [`middleware::guard`](crate::routes::middleware::guard) puts the [`Caller`] into each request; what answers
//! it asks the caller before anything is read, published or told, live or from the history. Without a key
//! any request may do anything; with one, only what a [`token`] grants.
//!
//! - [`credentials`]: where a request has its token or ticket.
//! - [`token`], [`claims`], [`grants`]: verifying a token, and what it says.
//! - [`key`], [`der`], [`sign`]: the key that verifies tokens, and one that signs them.
//! - [`tickets`], [`shared_tickets`]: one-time stand-ins for a token, for URLs; on one server, in a cluster.
//! - [`account`]: what a caller's publications are charged to.
//! - [`name`]: names that are safe to show.

mod account;
mod claims;
mod credentials;
mod der;
mod grants;
mod key;
mod name;
mod shared_tickets;
mod sign;
mod tickets;
mod token;

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::Request;
use http::HeaderValue;
use http::header::{ORIGIN, WWW_AUTHENTICATE};
use sockeye::internals::Network;
use sockeye_hub::backplane::Records;
use sockeye_hub::{ChannelName, Position};
use tokio::time::{Instant, sleep_until};

use self::account::PackedNetwork;
pub use self::claims::{Audience, Claims, NumericDate};
use self::credentials::Credential;
pub use self::grants::{BadRight, Grants, Right, Rights};
pub use self::key::{Algorithm, AuthKey, KeyError};
use self::shared_tickets::{Presented, SharedStream, SharedTickets};
pub use self::sign::{SignError, SigningKey};
pub(crate) use self::tickets::GOOD_FOR as TICKET_GOOD_FOR;
use self::tickets::{TicketStream, Tickets, TooMany};
pub use self::token::TokenError;

use crate::http::problem::{Code, Problem};

/// The longest that anything stays open with one token, however far its `exp` is.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Decides what requests to one server may do.
#[derive(Debug)]
pub(crate) struct Authority {
    /// `None` where there are no tokens.
    keyring: Option<RwLock<Arc<Keyring>>>,
    /// Where tickets are in a cluster.
    records: Option<Arc<dyn Records>>,
}

/// Why there is no ticket.
#[derive(Debug)]
pub(crate) enum NoTicket {
    Refused(Problem),
    /// Too many tickets are unused; after this time one of them will have expired.
    TooMany(Duration),
}

/// A key, and the tickets issued for tokens of that key: they are discarded with it.
#[derive(Debug)]
struct Keyring {
    key: AuthKey,
    tickets: TicketBook,
}

/// Where tickets are.
#[derive(Debug)]
enum TicketBook {
    /// On this server.
    Own(Tickets),
    /// In the cluster.
    Shared(SharedTickets),
}

/// A stream that a ticket has opened.
#[derive(Debug)]
enum OpenedStream {
    Own(TicketStream),
    Shared(SharedStream),
}

impl OpenedStream {
    /// Records where the stream begins.
    fn begins(&self, from: Position) {
        match self {
            Self::Own(stream) => stream.begins(from),
            Self::Shared(stream) => stream.begins(from),
        }
    }
}

impl Authority {
    /// With `records` tickets are shared with all nodes that have the same.
    pub(crate) fn new(key: Option<AuthKey>, records: Option<Arc<dyn Records>>) -> Self {
        let keyring = key.map(|key| RwLock::new(Keyring::new(key, records.as_ref())));
        Self { keyring, records }
    }

    /// Replaces the key, where there was one. Whether there are tokens at all stays as it is.
    pub(crate) fn reload(&self, key: Option<&AuthKey>) {
        let (Some(current), Some(key)) = (&self.keyring, key) else { return };
        let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.key.is_same_as(key) {
            *current = Keyring::new(key.clone(), self.records.as_ref());
        }
    }

    /// Whether there are tokens at all.
    pub(crate) fn has_tokens(&self) -> bool {
        self.keyring.is_some()
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let current = self.keyring.as_ref()?.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }

    /// The memory of tickets, in bytes.
    pub(crate) fn ticket_bytes(&self) -> usize {
        self.keyring().map_or(0, |keyring| match &keyring.tickets {
            TicketBook::Own(tickets) => tickets.cost(),
            TicketBook::Shared(tickets) => tickets.cost(),
        })
    }

    /// The caller of the request. A request without a token is anonymous: it may load the console, or
    /// authenticate later.
    pub(crate) fn identify(
        &self,
        request: &Request,
        network: Option<Network>,
    ) -> impl Future<Output = Result<Caller, Problem>> + Send + use<> {
        // A request cannot be held while something is waited for.
        let shown = self.shown(request, network);
        async move {
            match shown? {
                Shown::Caller(caller) => Ok(caller),
                Shown::Ticket(redeeming) => redeeming.await,
            }
        }
    }

    fn shown(&self, request: &Request, network: Option<Network>) -> Result<Shown, Problem> {
        let Some(keyring) = self.keyring() else {
            let network = PackedNetwork::of(network);
            let name = credentials::name(request)?;
            return Ok(Shown::Caller(Caller(Identity::Unchecked(name, network))));
        };
        let ticket = match Credential::of(request)? {
            None => return Ok(Shown::Caller(Caller::default())),
            Some(Credential::Token(token)) => return keyring.caller(token).map(Shown::Caller),
            Some(Credential::Ticket(ticket)) => ticket,
        };
        if let TicketBook::Own(tickets) = &keyring.tickets {
            let session = tickets.redeem(&ticket, request).ok_or_else(no_such_ticket)?;
            return Ok(Shown::Caller(Caller(Identity::Bearer(session))));
        }
        let presented = Presented::of(request);
        Ok(Shown::Ticket(Box::pin(async move { keyring.redeem(&ticket, &presented).await })))
    }

    /// A ticket for the token of the request. A request with a ticket gets none: a used ticket could be
    /// renewed that way.
    pub(crate) fn issue_ticket(
        &self,
        request: &Request,
    ) -> impl Future<Output = Result<String, NoTicket>> + Send + use<> {
        let bearer = self.bearer(request);
        async move {
            let Bearer { keyring, token, session, origin } = bearer?;
            match &keyring.tickets {
                TicketBook::Shared(tickets) => tickets.issue(&token, &session, origin).await,
                TicketBook::Own(tickets) => {
                    let issued = tickets.issue(&token, session, origin).map_err(|_| {
                        let detail = "The operating system provides no random bytes.";
                        NoTicket::Refused(Problem::new(Code::Internal, detail))
                    })?;
                    issued.map_err(|TooMany(wait)| NoTicket::TooMany(wait))
                }
            }
        }
    }

    /// The token that a request for a ticket has, and what it grants.
    fn bearer(&self, request: &Request) -> Result<Bearer, NoTicket> {
        let Some(keyring) = self.keyring() else {
            let detail = "This server uses no tokens, so there are no tickets: leave them out.";
            return Err(NoTicket::Refused(Problem::new(Code::NotFound, detail)));
        };
        let credential = Credential::of(request).map_err(NoTicket::Refused)?;
        let Some(Credential::Token(token)) = credential else {
            return Err(NoTicket::Refused(no_token()));
        };
        let caller = keyring.caller(token).map_err(NoTicket::Refused)?;
        let Identity::Bearer(session) = caller.0 else { return Err(NoTicket::Refused(no_token())) };
        // The middleware has checked that the origin is allowed.
        let origin = request.headers().get(ORIGIN).cloned();
        let token = token.to_owned();
        Ok(Bearer { keyring, token, session, origin })
    }

    /// The bearer of the token, or why it is invalid.
    pub(crate) fn caller(&self, token: &str) -> Result<Caller, Problem> {
        // Where nothing is verified, a token changes nothing.
        let Some(keyring) = self.keyring() else {
            return Ok(Caller(Identity::Unchecked(None, PackedNetwork::of(None))));
        };
        keyring.caller(token)
    }
}

/// What a request shows.
enum Shown {
    Caller(Caller),
    /// A ticket, on which the cluster is asked.
    Ticket(Redeeming),
}

type Redeeming = Pin<Box<dyn Future<Output = Result<Caller, Problem>> + Send>>;

/// The client that asks for a ticket.
struct Bearer {
    keyring: Arc<Keyring>,
    token: String,
    session: Arc<Session>,
    origin: Option<HeaderValue>,
}

impl Keyring {
    fn new(key: AuthKey, records: Option<&Arc<dyn Records>>) -> Arc<Self> {
        let tickets = match records {
            Some(records) => TicketBook::Shared(SharedTickets::new(Arc::clone(records))),
            None => TicketBook::Own(Tickets::default()),
        };
        Arc::new(Self { key, tickets })
    }

    /// Asks the cluster on a ticket. Where it cannot be asked nothing is said of the ticket.
    async fn redeem(&self, ticket: &str, presented: &Presented) -> Result<Caller, Problem> {
        let TicketBook::Shared(tickets) = &self.tickets else { return Err(no_such_ticket()) };
        let redeemed = tickets.redeem(&self.key, ticket, presented).await;
        match redeemed.map_err(shared_tickets::unavailable)? {
            Some(session) => Ok(Caller(Identity::Bearer(Arc::new(session)))),
            None => Err(no_such_ticket()),
        }
    }

    fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let now = NumericDate::now();
        let claims = self.key.verify(token, now).map_err(|wrong| not_good(&wrong))?;
        Ok(Caller(Identity::Bearer(Arc::new(Session::new(claims, token, now)))))
    }
}

/// The caller of a request, and what it may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(Identity);

#[derive(Clone, Debug, Default)]
enum Identity {
    /// There are no tokens here; the name is what the caller calls itself.
    Unchecked(Option<Arc<str>>, PackedNetwork),
    /// The request has no token.
    #[default]
    Anonymous,
    Bearer(Arc<Session>),
}

/// What a valid token grants, and until when.
#[derive(Debug)]
struct Session {
    claims: Claims,
    /// The name of its account.
    account: Box<str>,
    /// Its `exp` by the system's clock, and by the clock of timers.
    exp: NumericDate,
    ends: Instant,
    /// The stream that a ticket has opened with it.
    stream: Option<OpenedStream>,
}

impl Session {
    fn new(claims: Claims, token: &str, now: NumericDate) -> Self {
        let exp = claims.exp.unwrap_or(now);
        let left = exp.0.saturating_sub(now.0).min(LONGEST);
        let account = account::of_token(&claims, token);
        Self { claims, account, exp, ends: Instant::now() + left, stream: None }
    }

    /// The same for a stream that a ticket opens.
    fn with_stream(&self, stream: OpenedStream) -> Self {
        let Self { claims, account, exp, ends, .. } = self;
        let (claims, account) = (claims.clone(), account.clone());
        Self { claims, account, exp: *exp, ends: *ends, stream: Some(stream) }
    }

    fn has_ended(&self) -> bool {
        NumericDate::now() >= self.exp || Instant::now() >= self.ends
    }
}

impl Caller {
    /// The caller of a request that has passed the middleware.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whether a token is needed before the caller may do anything.
    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.0, Identity::Anonymous)
    }

    /// Whether the request had a good token.
    pub(crate) fn is_bearer(&self) -> bool {
        matches!(self.0, Identity::Bearer(_))
    }

    /// The caller of a connection after `fresh` has authenticated on it. The subject stays the same:
    /// what the connection has opened was opened for it.
    pub(crate) fn renewed(&self, fresh: Self) -> Result<Self, Problem> {
        match (&self.0, &fresh.0) {
            // Where nothing is verified, a token changes nothing.
            (Identity::Unchecked(..), _) => Ok(self.clone()),
            (Identity::Bearer(_), _) if self.id() != fresh.id() => {
                let detail = "The token has another subject: open another connection with it.";
                Err(Problem::new(Code::Forbidden, detail))
            }
            _ => Ok(fresh),
        }
    }

    /// The caller's name in presence; anonymous callers have none.
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.0 {
            Identity::Unchecked(name, _) => name.as_deref(),
            Identity::Anonymous => None,
            Identity::Bearer(session) => session.claims.sub.as_deref(),
        }
    }

    /// A stream of events begins at this position, and whether the channel has reached it. A ticket
    /// that opens the stream again reaches back no further; one that claimed a position in the future
    /// could.
    pub(crate) fn opens_events(&self, from: Position, exists: bool) -> Result<(), Problem> {
        let Identity::Bearer(session) = &self.0 else { return Ok(()) };
        let Some(stream) = &session.stream else { return Ok(()) };
        if !exists {
            return Err(no_such_ticket());
        }
        stream.begins(from);
        Ok(())
    }

    /// Whether the caller has the right on the channel, and the problem if not.
    pub(crate) fn may(&self, right: Right, channel: &ChannelName) -> Result<(), Problem> {
        match &self.0 {
            Identity::Unchecked(..) => Ok(()),
            Identity::Anonymous => Err(no_token()),
            Identity::Bearer(session) if session.has_ended() => Err(expired()),
            Identity::Bearer(session) if session.claims.channels.allow(right, channel) => Ok(()),
            Identity::Bearer(_) => Err(not_granted(right)),
        }
    }

    /// Waits until the token has expired: then what it opened ends. An anonymous caller has nothing
    /// that could expire.
    pub(crate) async fn expired(&self) {
        match &self.0 {
            // Boxed: where there are no tokens, there is no memory for a timer.
            Identity::Bearer(session) => Box::pin(sleep_until(session.ends)).await,
            Identity::Unchecked(..) | Identity::Anonymous => std::future::pending().await,
        }
    }
}

/// `401` without an error code: the request has no token (RFC 6750 §3.1).
pub(crate) fn no_token() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "A token is needed: send it as `Authorization: Bearer TOKEN`. `sockeye token` makes one.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sockeye\""))
}

/// `401`: the token has expired.
pub(crate) fn expired() -> Problem {
    not_good(&TokenError::Expired)
}

/// `401`: the token is invalid (RFC 6750 §3.1).
fn not_good(wrong: &TokenError) -> Problem {
    let challenge = match wrong {
        TokenError::Expired => {
            "Bearer realm=\"sockeye\", error=\"invalid_token\", error_description=\"The token has expired\""
        }
        _ => "Bearer realm=\"sockeye\", error=\"invalid_token\"",
    };
    Problem::new(Code::Unauthorized, format_args!("Get another token: {wrong}."))
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `401`: the ticket is invalid.
fn no_such_ticket() -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"invalid_token\"";
    let detail =
        "The ticket is unknown, used, expired or for another origin: get one by POST /tickets.";
    Problem::new(Code::Unauthorized, detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `403`: the token is valid and does not grant this.
fn not_granted(right: Right) -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"insufficient_scope\"";
    Problem::new(
        Code::Forbidden,
        format_args!("The token does not grant `{right}` on this channel."),
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
