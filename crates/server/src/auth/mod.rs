//! The caller of a request, and what it may do: the one authoriser of every transport.
//!
//! [`middleware::guard`](crate::routes::middleware::guard) puts the [`Caller`] into each request; what answers
//! it asks the caller before anything is read, published or told, live or from the history. Without a key
//! any request may do anything; with one, only what a [`token`] grants.
//!
//! - [`credentials`]: where a request has its token or ticket.
//! - [`token`], [`claims`], [`grants`]: verifying a token, and what it says.
//! - [`key`], [`sign`]: the key that verifies tokens, and one that signs them; [`key_set`]: the keys of an issuer.
//! - [`revocations`], [`revoked_file`]: tokens that are not valid any more, and the file that has them.
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
mod key_set;
mod name;
mod problems;
mod revocations;
mod revoked_file;
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
use tokio::time::{Instant, sleep_until};

use self::account::PackedNetwork;
pub(crate) use self::asked::Lost;
#[cfg(feature = "prometheus")]
pub(crate) use self::authorizer::AuthorizerFigures;
pub use self::authorizer::{AnyAuthorizer, AuthorizeError, Authorizer, Decision, Identified};
use self::caller::Identity;
pub(crate) use self::caller::{Caller, Ending, Ends};
pub use self::claims::{Audience, Claims, NumericDate};
use self::credentials::Credential;
pub use self::grants::{BadRight, Grants, Right, Rights};
pub use self::key::{Algorithm, AuthKey, KeyError};
pub use self::key_set::{KeySet, KeySetError};
pub(crate) use self::problems::no_token;
use self::problems::{no_such_ticket, not_good};
pub(crate) use self::revocations::Revocations;
pub use self::revocations::{Revocation, RevokeError};
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
    revocations: Arc<Revocations>,
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
    revocations: Arc<Revocations>,
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
    pub(crate) fn new(
        key: Option<AuthKey>,
        records: Option<Arc<dyn Records>>,
        revocations: Arc<Revocations>,
    ) -> Self {
        let keyring = |key| RwLock::new(Keyring::new(key, records.as_ref(), &revocations));
        let keyring = key.map(keyring);
        Self { keyring, records, revocations, authorizer: None, rules: Arc::default() }
    }

    /// Refuses tokens from now on, and ends what they have opened.
    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        match self.has_tokens() {
            true => self.revocations.add(revocation).await,
            false => Err(RevokeError::NoTokens),
        }
    }

    /// How many tokens and subjects are revoked.
    pub(crate) fn revoked(&self) -> usize {
        self.revocations.len()
    }

    /// Whether the key of a token may be looked for, which takes its time.
    pub(crate) fn looks_for_keys(&self) -> bool {
        self.keyring().is_some_and(|keyring| keyring.key.set().is_some())
    }

    /// How many keys of an issuer there are, and how often they could not be fetched.
    pub(crate) fn issuer_keys(&self) -> Option<(u64, u64)> {
        let keyring = self.keyring()?;
        keyring.key.set().map(|keys| (keys.len() as u64, keys.failures()))
    }

    /// The same, where the authoriser decides if there is one.
    pub(crate) fn asking(self, authorizer: Option<AnyAuthorizer>) -> Self {
        Self { authorizer, ..self }
    }

    /// Whether an authoriser decides.
    pub(crate) fn is_asking(&self) -> bool {
        self.authorizer.is_some()
    }

    /// How much the authoriser is asked, if there is one.
    #[cfg(feature = "prometheus")]
    pub(crate) fn authorizer_figures(&self) -> AuthorizerFigures {
        self.authorizer.as_ref().map(AnyAuthorizer::figures).unwrap_or_default()
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
            *current = Keyring::new(key.clone(), self.records.as_ref(), &self.revocations);
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
        request: Box<Request>,
        network: Option<Network>,
    ) -> Result<(Caller, Box<Request>), Problem> {
        let Some(authorizer) = &self.authorizer else {
            let caller = self.identify_by_token(&request, network).await?;
            return Ok((caller.under(&self.rules), request));
        };
        let (head, body) = (*request).into_parts();
        let session = Box::pin(authorizer.identified(&head, network)).await?;
        let identity =
            session.map_or(Identity::Unidentified, |session| Identity::Asked(session.into()));
        let request = Box::new(Request::from_parts(head, body));
        Ok((Caller(identity).under(&self.rules), request))
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
                Shown::Awaited(caller) => caller.await,
            }
        }
    }

    fn shown(&self, request: &Request, network: Option<Network>) -> Result<Shown, Problem> {
        let Some(keyring) = self.keyring() else {
            let network = PackedNetwork::of(network);
            let name = credentials::name(request)?;
            return Ok(Shown::Caller(Caller(Identity::unchecked(name, network))));
        };
        let ticket = match Credential::of(request)? {
            None => return Ok(Shown::Caller(Caller::default())),
            Some(Credential::Token(token)) => {
                return match keyring.caller(token) {
                    Err(TokenError::UnknownKey) => {
                        let token = token.to_owned();
                        let found = async move { keyring.found(&token).await };
                        Ok(Shown::Awaited(Box::pin(found)))
                    }
                    caller => caller.map(Shown::Caller).map_err(|wrong| not_good(&wrong)),
                };
            }
            Some(Credential::Ticket(ticket)) => ticket,
        };
        if let TicketBook::Own(tickets) = &keyring.tickets {
            let session = tickets.redeem(&ticket, request).ok_or_else(no_such_ticket)?;
            return Ok(Shown::Caller(Caller(Identity::Bearer(session))));
        }
        let presented = Presented::of(request);
        Ok(Shown::Awaited(Box::pin(async move { keyring.redeem(&ticket, &presented).await })))
    }

    /// A ticket for the token of the request. A request with a ticket gets none: a used ticket could be
    /// renewed that way.
    pub(crate) fn issue_ticket(
        &self,
        request: &Request,
    ) -> impl Future<Output = Result<String, NoTicket>> + Send + use<> {
        let bearer = self.bearer(request);
        async move {
            let Bearer { keyring, token, origin } = bearer?;
            let caller = keyring.found(&token).await.map_err(NoTicket::Refused)?;
            let Identity::Bearer(session) = caller.0 else {
                return Err(NoTicket::Refused(no_token()));
            };
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

    /// The token that a request for a ticket has.
    fn bearer(&self, request: &Request) -> Result<Bearer, NoTicket> {
        let Some(keyring) = self.keyring() else {
            let detail = "This server uses no tokens, so there are no tickets: leave them out.";
            return Err(NoTicket::Refused(Problem::new(Code::NotFound, detail)));
        };
        let credential = Credential::of(request).map_err(NoTicket::Refused)?;
        let Some(Credential::Token(token)) = credential else {
            return Err(NoTicket::Refused(no_token()));
        };
        // The middleware has checked that the origin is allowed.
        let origin = request.headers().get(ORIGIN).cloned();
        let token = token.to_owned();
        Ok(Bearer { keyring, token, origin })
    }

    /// The caller that a connection authenticates as, or why the token is invalid.
    pub(crate) async fn authenticate(
        &self,
        token: &str,
        network: Option<Network>,
    ) -> Result<Caller, Problem> {
        let Some(authorizer) = &self.authorizer else {
            return Ok(self.caller(token).await?.under(&self.rules));
        };
        let session = Box::pin(authorizer.authenticated(token, network)).await?;
        Ok(Caller(Identity::Asked(session.into())).under(&self.rules))
    }

    /// The bearer of the token, or why it is invalid.
    async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        // Where nothing is verified, a token changes nothing.
        let Some(keyring) = self.keyring() else {
            return Ok(Caller(Identity::Unchecked(PackedNetwork::of(None))));
        };
        keyring.found(token).await
    }
}

/// What a request shows.
enum Shown {
    Caller(Caller),
    /// A ticket, on which the cluster is asked; or a token whose key is looked for.
    Awaited(Redeeming),
}

/// A question in progress.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>;

type Redeeming = Pin<Box<dyn Future<Output = Result<Caller, Problem>> + Send>>;

/// The client that asks for a ticket.
struct Bearer {
    keyring: Arc<Keyring>,
    token: String,
    origin: Option<HeaderValue>,
}

impl Keyring {
    fn new(
        key: AuthKey,
        records: Option<&Arc<dyn Records>>,
        revocations: &Arc<Revocations>,
    ) -> Arc<Self> {
        let tickets = match records {
            Some(records) => TicketBook::Shared(SharedTickets::new(Arc::clone(records))),
            None => TicketBook::Own(Tickets::default()),
        };
        Arc::new(Self { key, tickets, revocations: Arc::clone(revocations) })
    }

    /// Asks the cluster on a ticket. Where it cannot be asked nothing is said of the ticket.
    async fn redeem(&self, ticket: &str, presented: &Presented) -> Result<Caller, Problem> {
        let TicketBook::Shared(tickets) = &self.tickets else { return Err(no_such_ticket()) };
        let redeemed = tickets.redeem(&self.key, ticket, presented).await;
        match redeemed.map_err(shared_tickets::unavailable)? {
            Some(session) if self.revocations.are_for(&session.claims) => Err(no_such_ticket()),
            Some(session) => {
                let session = session.under(&self.revocations);
                Ok(Caller(Identity::Bearer(Arc::new(session))))
            }
            None => Err(no_such_ticket()),
        }
    }

    /// The bearer of the token.
    fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        let now = NumericDate::now();
        let claims = self.key.verify(token, now)?;
        if self.revocations.are_for(&claims) {
            return Err(TokenError::Revoked);
        }
        let session = Session::new(claims, token, now).under(&self.revocations);
        Ok(Caller(Identity::Bearer(Arc::new(session))))
    }

    /// The same, where a key that is missing is looked for first.
    async fn found(&self, token: &str) -> Result<Caller, Problem> {
        let caller = match self.caller(token) {
            Err(TokenError::UnknownKey) if self.key.look_again().await => self.caller(token),
            caller => caller,
        };
        caller.map_err(|wrong| not_good(&wrong))
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
    /// What may end it before.
    revocations: Option<Arc<Revocations>>,
}

impl Session {
    fn new(claims: Claims, token: &str, now: NumericDate) -> Self {
        let exp = claims.exp.unwrap_or(now);
        let left = exp.0.saturating_sub(now.0).min(LONGEST);
        let account = account::of_token(&claims, token);
        let ends = Instant::now() + left;
        Self { claims, account, exp, ends, stream: None, revocations: None }
    }

    /// The same, until it is revoked.
    fn under(self, revocations: &Arc<Revocations>) -> Self {
        Self { revocations: Some(Arc::clone(revocations)), ..self }
    }

    /// The same for a stream that a ticket opens.
    fn with_stream(&self, stream: OpenedStream) -> Self {
        let Self { claims, account, exp, ends, revocations, .. } = self;
        let (claims, account, revocations) = (claims.clone(), account.clone(), revocations.clone());
        Self { claims, account, exp: *exp, ends: *ends, stream: Some(stream), revocations }
    }

    fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// Why it has ended, if it has.
    fn end(&self) -> Option<TokenError> {
        if NumericDate::now() >= self.exp || Instant::now() >= self.ends {
            return Some(TokenError::Expired);
        }
        let revocations = self.revocations.as_ref()?;
        revocations.are_for(&self.claims).then_some(TokenError::Revoked)
    }

    /// Waits until it has ended.
    async fn ended(&self) -> Ending {
        let expired = sleep_until(self.ends);
        let Some(revocations) = &self.revocations else {
            expired.await;
            return Ending::Expired;
        };
        tokio::select! {
            biased;
            () = expired => Ending::Expired,
            () = revocations.come_for(&self.claims) => Ending::Revoked,
        }
    }
}
