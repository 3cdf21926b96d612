//! The caller of a request, and what it may do: the one authoriser of every transport.
//!
//! [`middleware::guard`](crate::routes::middleware::guard) puts the [`Caller`] into each request; what answers
//! it asks the caller before anything is read, published or told, live or from the history. Without a key
//! any request may do anything; with one, only what a [`token`] grants.
//!
//! - [`credentials`]: where a request has its token or ticket.
//! - [`token`], [`claims`], [`grants`]: verifying a token, and what it says.
//! - [`key`], [`sign`]: the key that verifies tokens, and one that signs them.
//! - [`tickets`], [`shared_tickets`]: one-time stand-ins for a token, for URLs; on one server, in a cluster.
//! - [`caller`]: the caller of a request, and what it may do; [`problems`]: why it may not.
//! - [`authorizer`], [`asked`]: an authoriser of the program's own, and what it has said of a caller.
//! - [`account`]: what a caller's publications are charged to.
//! - [`name`]: names that are safe to show.

mod account;
mod asked;
mod authorizer;
mod caller;
mod claims;
mod credentials;
mod grants;
mod key;
mod name;
mod problems;
mod shared_tickets;
mod sign;
mod tickets;
mod token;

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::Request;
use http::HeaderValue;
use http::header::ORIGIN;
use sockeye::internals::Network;
use sockeye_hub::Position;
use sockeye_hub::backplane::Records;
use tokio::time::Instant;

use self::account::PackedNetwork;
pub(crate) use self::asked::Lost;
pub use self::authorizer::{AnyAuthorizer, AuthorizeError, Authorizer, Decision, Identified};
use self::caller::Identity;
pub(crate) use self::caller::{Caller, Ending};
pub use self::claims::{Audience, Claims, NumericDate};
use self::credentials::Credential;
pub use self::grants::{BadRight, Grants, Right, Rights};
pub use self::key::{Algorithm, AuthKey, KeyError};
pub(crate) use self::problems::no_token;
use self::problems::{no_such_ticket, not_good};
use self::shared_tickets::{Presented, SharedStream, SharedTickets};
pub use self::sign::{SignError, SigningKey};
pub(crate) use self::tickets::GOOD_FOR as TICKET_GOOD_FOR;
use self::tickets::{TicketStream, Tickets, TooMany};
pub use self::token::TokenError;

use crate::channel_rule::ChannelRules;
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
    /// What decides in the place of tokens.
    authorizer: Option<AnyAuthorizer>,
    /// What holds for some channels, for every caller.
    rules: Arc<ChannelRules>,
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
        Self { keyring, records, authorizer: None, rules: Arc::default() }
    }

    /// The same, where the authoriser decides if there is one.
    pub(crate) fn asking(self, authorizer: Option<AnyAuthorizer>) -> Self {
        Self { authorizer, ..self }
    }

    /// Whether an authoriser decides.
    pub(crate) fn is_asking(&self) -> bool {
        self.authorizer.is_some()
    }

    /// The same, with these rules for some channels.
    pub(crate) fn under(self, rules: Arc<ChannelRules>) -> Self {
        Self { rules, ..self }
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

    /// The caller of the request, and the request. A request without credentials is anonymous: it may load the
    /// console, or authenticate later.
    pub(crate) async fn identify(
        &self,
        request: Request,
        network: Option<Network>,
    ) -> Result<(Caller, Request), Problem> {
        let Some(authorizer) = &self.authorizer else {
            let caller = self.identify_by_token(&request, network).await?;
            return Ok((caller.under(&self.rules), request));
        };
        let (head, body) = request.into_parts();
        let session = Box::pin(authorizer.identified(&head, network)).await?;
        let identity =
            session.map_or(Identity::Unidentified, |session| Identity::Asked(session.into()));
        Ok((Caller(identity).under(&self.rules), Request::from_parts(head, body)))
    }

    fn identify_by_token(
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

    /// The caller that a connection authenticates as, or why the token is invalid.
    pub(crate) async fn authenticate(
        &self,
        token: &str,
        network: Option<Network>,
    ) -> Result<Caller, Problem> {
        let Some(authorizer) = &self.authorizer else {
            return Ok(self.caller(token)?.under(&self.rules));
        };
        let session = Box::pin(authorizer.authenticated(token, network)).await?;
        Ok(Caller(Identity::Asked(session.into())).under(&self.rules))
    }

    /// The bearer of the token, or why it is invalid.
    fn caller(&self, token: &str) -> Result<Caller, Problem> {
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

/// A question in progress.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>;

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
