//! Who makes a request, and what he may do: the one authoriser of every transport.
//!
//! [`access::guard`](crate::access::guard) puts the [`Caller`] into each request; whoever answers
//! asks him before anything is read, published or told, live or from the history. Without a key
//! anybody may do anything; with one, nobody may do what no [`token`] grants him.

mod account;
mod claims;
mod credentials;
mod der;
mod grants;
pub(crate) mod issue;
mod key;
mod name;
mod sign;
mod tickets;
mod token;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::Request;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use sockeye_hub::{ChannelName, Position};
use tokio::time::{Instant, sleep_until};

use self::account::PackedNetwork;
pub use self::claims::{Audience, Claims, NumericDate};
use self::credentials::Credential;
pub use self::grants::{BadRight, Grants, Right, Rights};
pub use self::key::{Algorithm, AuthKey, KeyError};
pub use self::sign::{SignError, SigningKey};
use self::tickets::{TicketStream, Tickets};
pub use self::token::TokenError;
use crate::peer::Peer;
use crate::problem::{Code, Problem};

/// The longest that anything stays open on one token, however far its `exp` is.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What says who may do what on one server.
#[derive(Debug)]
pub(crate) struct Authority(Option<RwLock<Arc<Keyring>>>);

/// A key, and the tickets that tokens of that key were exchanged for: with the key they go.
#[derive(Debug)]
struct Keyring {
    key: AuthKey,
    tickets: Tickets,
}

impl Authority {
    pub(crate) fn new(key: Option<AuthKey>) -> Self {
        Self(key.map(|key| RwLock::new(Arc::new(Keyring { key, tickets: Tickets::default() }))))
    }

    /// Takes another key, where there was one. Whether there are tokens at all stays as it is.
    pub(crate) fn reload(&self, key: Option<&AuthKey>) {
        let (Some(current), Some(key)) = (&self.0, key) else { return };
        let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.key.is_same_as(key) {
            *current = Arc::new(Keyring { key: key.clone(), tickets: Tickets::default() });
        }
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let current = self.0.as_ref()?.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }

    /// What tickets take in memory, in bytes.
    pub(crate) fn ticket_bytes(&self) -> usize {
        self.keyring().map_or(0, |keyring| keyring.tickets.cost())
    }

    /// Who makes the request. One who shows no token where they are needed is let in as a stranger:
    /// he may nothing but look at the console, or show a token later.
    pub(crate) fn admit(&self, request: &Request, peer: &Peer) -> Result<Caller, Problem> {
        let Some(keyring) = self.keyring() else {
            let network = PackedNetwork::of(peer.network());
            let name = credentials::name(request)?;
            return Ok(Caller(Standing::Anybody(name, network)));
        };
        match Credential::of(request)? {
            None => Ok(Caller::default()),
            Some(Credential::Token(token)) => keyring.caller(token),
            Some(Credential::Ticket(ticket)) => match keyring.tickets.redeem(&ticket, request) {
                Some(pass) => Ok(Caller(Standing::Bearer(pass))),
                None => Err(no_such_ticket()),
            },
        }
    }

    /// The bearer of the token, or why it is none.
    pub(crate) fn caller(&self, token: &str) -> Result<Caller, Problem> {
        // Where nothing is checked, a token changes nothing.
        let Some(keyring) = self.keyring() else {
            return Ok(Caller(Standing::Anybody(None, PackedNetwork::of(None))));
        };
        keyring.caller(token)
    }
}

impl Keyring {
    fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let now = NumericDate::now();
        let claims = self.key.verify(token, now).map_err(|wrong| not_good(&wrong))?;
        Ok(Caller(Standing::Bearer(Arc::new(Pass::new(claims, token, now)))))
    }
}

/// Who makes a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(Standing);

#[derive(Clone, Debug, Default)]
enum Standing {
    /// There are no tokens here; the name is the one he gives himself.
    Anybody(Option<Arc<str>>, PackedNetwork),
    /// One who has shown no token.
    #[default]
    Stranger,
    Bearer(Arc<Pass>),
}

/// What a token that was found good gives, and for how long.
#[derive(Debug)]
struct Pass {
    claims: Claims,
    /// The name of its account.
    account: Box<str>,
    /// Its `exp` by the system's clock, and by the clock that timers go by.
    exp: NumericDate,
    ends: Instant,
    /// The stream that a ticket has opened with it.
    stream: Option<TicketStream>,
}

impl Pass {
    fn new(claims: Claims, token: &str, now: NumericDate) -> Self {
        let exp = claims.exp.unwrap_or(now);
        let left = exp.0.saturating_sub(now.0).min(LONGEST);
        let account = account::of_token(&claims, token);
        Self { claims, account, exp, ends: Instant::now() + left, stream: None }
    }

    /// The same for a stream that a ticket opens.
    fn with_stream(&self, stream: TicketStream) -> Self {
        let Self { claims, account, exp, ends, .. } = self;
        let (claims, account) = (claims.clone(), account.clone());
        Self { claims, account, exp: *exp, ends: *ends, stream: Some(stream) }
    }

    fn has_ended(&self) -> bool {
        NumericDate::now() >= self.exp || Instant::now() >= self.ends
    }
}

impl Caller {
    /// The caller of a request that has passed the guard.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whether he has still to show a token before he may do anything.
    pub(crate) fn is_stranger(&self) -> bool {
        matches!(self.0, Standing::Stranger)
    }

    /// What he becomes on a connection on which `fresh` was shown to be good. A connection stays
    /// the same person's: what it opened was opened for him.
    pub(crate) fn renewed(&self, fresh: Self) -> Result<Self, Problem> {
        match (&self.0, &fresh.0) {
            // Where nothing is checked, a token changes nothing.
            (Standing::Anybody(..), _) => Ok(self.clone()),
            (Standing::Bearer(_), _) if self.id() != fresh.id() => {
                let detail = "The token is somebody else's: open another connection with it.";
                Err(Problem::new(Code::Forbidden, detail))
            }
            _ => Ok(fresh),
        }
    }

    /// The name he goes by in presence; anonymous callers have none.
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.0 {
            Standing::Anybody(name, _) => name.as_deref(),
            Standing::Stranger => None,
            Standing::Bearer(pass) => pass.claims.sub.as_deref(),
        }
    }

    /// Events begin at this position, which the channel has reached, or not. A ticket that opens them
    /// again reaches back no further; one that says that it has seen what is still to come could.
    pub(crate) fn opens_events(&self, from: Position, exists: bool) -> Result<(), Problem> {
        let Standing::Bearer(pass) = &self.0 else { return Ok(()) };
        let Some(stream) = &pass.stream else { return Ok(()) };
        if !exists {
            return Err(no_such_ticket());
        }
        stream.begins(from);
        Ok(())
    }

    /// Whether he may do that with the channel, and the answer he gets if not.
    pub(crate) fn may(&self, right: Right, channel: &ChannelName) -> Result<(), Problem> {
        match &self.0 {
            Standing::Anybody(..) => Ok(()),
            Standing::Stranger => Err(no_token()),
            Standing::Bearer(pass) if pass.has_ended() => Err(expired()),
            Standing::Bearer(pass) if pass.claims.channels.allow(right, channel) => Ok(()),
            Standing::Bearer(_) => Err(not_granted(right)),
        }
    }

    /// Waits until what he was given has expired: then what it opened ends. A stranger was given
    /// nothing, so there is nothing to end.
    pub(crate) async fn expired(&self) {
        match &self.0 {
            // In a box: where there are no tokens, there is no room for a timer.
            Standing::Bearer(pass) => Box::pin(sleep_until(pass.ends)).await,
            Standing::Anybody(..) | Standing::Stranger => std::future::pending().await,
        }
    }
}

/// `401` without an error code: nothing was shown (RFC 6750 §3.1).
fn no_token() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "A token is needed: send it as `Authorization: Bearer TOKEN`. `sockeye token` makes one.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sockeye\""))
}

/// `401`: the token has come to its end.
pub(crate) fn expired() -> Problem {
    not_good(&TokenError::Expired)
}

/// `401`: a token that is not good (RFC 6750 §3.1).
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

/// `401`: a ticket that is good for nothing.
fn no_such_ticket() -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"invalid_token\"";
    let detail = "The ticket is unknown, used, too old or another page's: POST /tickets gives one.";
    Problem::new(Code::Unauthorized, detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `403`: a good token that does not say this.
fn not_granted(right: Right) -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"insufficient_scope\"";
    Problem::new(
        Code::Forbidden,
        format_args!("The token does not grant `{right}` on this channel."),
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
