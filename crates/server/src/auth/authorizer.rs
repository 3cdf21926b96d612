//! An authoriser of the program's own: it decides in the place of tokens.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::request::Parts;
use sockeye_hub::ChannelName;
use tokio::sync::Semaphore;

use super::claims::{Claims, NumericDate};
use super::credentials;
use super::grants::Right;
use super::key::AuthKey;

/// How many questions one authoriser is asked at once; more wait.
pub(super) const MAX_ASKS: usize = 256;

/// Decides who may do what with channels, in the place of tokens: by the session of a cookie, a header that a
/// proxy sets, an API key, or another service.
///
/// It is asked on every transport, for live messages, history, presence and publishing alike. What it answers is
/// kept for the request or the connection that it was asked for, and no longer than [`Decision::good_for`]. What
/// is still open then is asked for again, some time before, and ends if the answer is no.
///
/// Whatever is no answer is a no: an error, a panic, and silence of 10 s are `503` for the client. At most 256
/// questions are asked at once; more wait, within the same 10 s.
///
/// ```
/// use http::request::Parts;
/// use sockeye_server::{AuthorizeError, Authorizer, ChannelName, Decision, Identified, Right};
///
/// /// Each customer reads the channel of its own orders, and none publishes.
/// struct Shop;
///
/// impl Authorizer for Shop {
///     type Session = String;
///
///     async fn identify(
///         &self,
///         request: &Parts,
///     ) -> Result<Option<Identified<String>>, AuthorizeError> {
///         let cookies = request.headers.get("cookie").and_then(|line| line.to_str().ok());
///         let customer = cookies.and_then(|line| line.strip_prefix("session="));
///         // A real one looks the session up.
///         Ok(customer.map(|name| Identified::new(name.to_owned()).subject(name)))
///     }
///
///     async fn authorize(
///         &self,
///         customer: &String,
///         right: Right,
///         channel: &ChannelName,
///     ) -> Result<Decision, AuthorizeError> {
///         let is_own = channel.as_str() == format!("orders:{customer}");
///         Ok((right == Right::Read && is_own).into())
///     }
/// }
/// ```
pub trait Authorizer: Send + Sync + 'static {
    /// What it knows of a caller.
    type Session: Send + Sync + 'static;

    /// Whose request it is, by its headers, query and extensions, a [`ClientAddress`](crate::ClientAddress)
    /// among them; `None` if it names none. The console is there for all; anything else is `401` then.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Invalid`] for credentials that are not good, which is `401`, and `429` from an address that
    /// has tried too many (`max_bad_tokens_per_address`).
    fn identify(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<Option<Identified<Self::Session>>, AuthorizeError>> + Send;

    /// Whether the caller has the right on the channel.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Unavailable`] if that cannot be found out now.
    fn authorize(
        &self,
        session: &Self::Session,
        right: Right,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<Decision, AuthorizeError>> + Send;

    /// Whose token it is that a connection of `sockeye.v1` sends with `auth`: on `/connect` in the place of
    /// credentials in the request, or to go on when they end. By default no token is good.
    ///
    /// # Errors
    ///
    /// As for [`identify`](Self::identify).
    fn authenticate(
        &self,
        token: &str,
    ) -> impl Future<Output = Result<Identified<Self::Session>, AuthorizeError>> + Send {
        let _ = token;
        async { Err(AuthorizeError::Invalid) }
    }
}

/// Why an [`Authorizer`] has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizeError {
    /// The credentials are not good.
    #[error("the credentials are not good")]
    Invalid,
    /// It cannot be found out now. The reason is logged, not told to the client.
    #[error("the authoriser cannot decide: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl AuthorizeError {
    /// It cannot be found out now, for this reason.
    pub fn unavailable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(why.into())
    }
}

/// A caller that an [`Authorizer`] knows.
#[derive(Clone, Debug)]
pub struct Identified<S> {
    pub(super) session: S,
    pub(super) subject: Option<String>,
    pub(super) good_for: Option<Duration>,
}

impl<S> Identified<S> {
    /// A caller without a name, for as long as what it opens is open.
    pub fn new(session: S) -> Self {
        Self { session, subject: None, good_for: None }
    }

    /// Its name: presence shows it, and its publications are charged to it. 1 to 255 bytes without control
    /// characters, line separators and controls of the direction of text. Default: none, and then it is only
    /// counted, and its publications are charged to its address.
    pub fn subject(mut self, name: impl Into<String>) -> Self {
        self.subject = Some(name.into());
        self
    }

    /// After how long all that it has opened ends, whatever is decided meanwhile. Default: never.
    pub fn good_for(mut self, time: Duration) -> Self {
        self.good_for = Some(time);
        self
    }
}

/// What an [`Authorizer`] says to one right on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub(super) is_allowed: bool,
    pub(super) good_for: Duration,
}

impl Decision {
    /// How long a yes is good for if it does not say.
    pub const GOOD_FOR: Duration = Duration::from_mins(1);

    /// Yes.
    pub fn allow() -> Self {
        Self { is_allowed: true, good_for: Self::GOOD_FOR }
    }

    /// No.
    pub fn refuse() -> Self {
        Self { is_allowed: false, good_for: Duration::ZERO }
    }

    /// For how long: what is still open then is asked for again. Less than a second is a second. Default: a
    /// minute for a yes, a second for a no.
    pub fn good_for(mut self, time: Duration) -> Self {
        self.good_for = time;
        self
    }
}

impl From<bool> for Decision {
    fn from(is_allowed: bool) -> Self {
        if is_allowed { Self::allow() } else { Self::refuse() }
    }
}

/// Tokens of this key: what they grant is good until they expire. For an authoriser that knows other credentials
/// beside them; by itself it does what the option `auth_key` does, without tickets.
impl Authorizer for AuthKey {
    type Session = Claims;

    async fn identify(
        &self,
        request: &Parts,
    ) -> Result<Option<Identified<Claims>>, AuthorizeError> {
        let mut tokens = credentials::tokens(&request.headers, true);
        match (tokens.next(), tokens.next()) {
            (None, _) => Ok(None),
            (Some(token), None) => Authorizer::authenticate(self, token).await.map(Some),
            // It would be ambiguous which one counts (RFC 6750 §2).
            (Some(_), Some(_)) => Err(AuthorizeError::Invalid),
        }
    }

    async fn authorize(
        &self,
        claims: &Claims,
        right: Right,
        channel: &ChannelName,
    ) -> Result<Decision, AuthorizeError> {
        Ok(claims.channels.allow(right, channel).into())
    }

    async fn authenticate(&self, token: &str) -> Result<Identified<Claims>, AuthorizeError> {
        let claims = self.verify_soon(token).await.map_err(|_| AuthorizeError::Invalid)?;
        let now = NumericDate::now();
        let left = claims.exp.map_or(Duration::ZERO, |exp| exp.0.saturating_sub(now.0));
        let (subject, identified) = (claims.sub.clone(), Identified::new(claims).good_for(left));
        Ok(match subject {
            Some(subject) => identified.subject(subject),
            None => identified,
        })
    }
}

/// An [`Authorizer`] of any type. Clones are the same one.
#[derive(Clone)]
pub struct AnyAuthorizer(pub(super) Arc<Asked>);

/// An authoriser, and how much it is asked.
pub(super) struct Asked {
    pub(super) authorizer: Box<dyn Erased>,
    pub(super) asks: Semaphore,
    pub(super) questions: Questions,
}

/// What was asked, for operators.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: AtomicU64,
    asked: AtomicU64,
    failed: AtomicU64,
}

/// A question that has no answer until this is dropped.
pub(super) struct OpenQuestion<'q>(&'q Questions);

impl Questions {
    pub(super) fn begin(&self) -> OpenQuestion<'_> {
        self.open.fetch_add(1, Relaxed);
        self.asked.fetch_add(1, Relaxed);
        OpenQuestion(self)
    }

    /// What came was no answer.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}

impl Drop for OpenQuestion<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// How much an authoriser is asked.
#[cfg(feature = "prometheus")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AuthorizerFigures {
    /// Questions without an answer yet, with those that wait for their turn.
    pub(crate) open: u64,
    /// All questions so far.
    pub(crate) asked: u64,
    /// Those that had no answer: errors, panics, and silence.
    pub(crate) failed: u64,
}

impl AnyAuthorizer {
    /// The same without its type.
    pub fn new(authorizer: impl Authorizer) -> Self {
        Self::with(authorizer, MAX_ASKS)
    }

    /// The same for one that bounds by itself how much it asks of others at once: it is asked without a bound, so that
    /// what it answers from memory waits for no other answer.
    ///
    /// Danger: what it does not bound is bounded by the number of requests and connections alone.
    pub fn bounding_itself(authorizer: impl Authorizer) -> Self {
        Self::with(authorizer, Semaphore::MAX_PERMITS)
    }

    fn with(authorizer: impl Authorizer, asks: usize) -> Self {
        let (asks, questions) = (Semaphore::new(asks), Questions::default());
        Self(Arc::new(Asked { authorizer: Box::new(authorizer), asks, questions }))
    }

    #[cfg(feature = "prometheus")]
    pub(crate) fn figures(&self) -> AuthorizerFigures {
        let Questions { open, asked, failed } = &self.0.questions;
        let [open, asked, failed] = [open, asked, failed].map(|count| count.load(Relaxed));
        AuthorizerFigures { open, asked, failed }
    }
}

impl fmt::Debug for AnyAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyAuthorizer")
    }
}

/// A session of any type.
pub(super) type AnySession = Arc<dyn Any + Send + Sync>;
/// An answer that may take its time.
pub(super) type Asking<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, AuthorizeError>> + Send + 'a>>;

/// An [`Authorizer`] without the type of its sessions.
pub(super) trait Erased: Send + Sync {
    fn identify<'a>(&'a self, request: &'a Parts) -> Asking<'a, Option<Identified<AnySession>>>;

    fn authorize<'a>(
        &'a self,
        session: &'a AnySession,
        right: Right,
        channel: &'a ChannelName,
    ) -> Asking<'a, Decision>;

    fn authenticate<'a>(&'a self, token: &'a str) -> Asking<'a, Identified<AnySession>>;
}

impl<A: Authorizer> Erased for A {
    fn identify<'a>(&'a self, request: &'a Parts) -> Asking<'a, Option<Identified<AnySession>>> {
        Box::pin(async move { Ok(Authorizer::identify(self, request).await?.map(erased)) })
    }

    fn authorize<'a>(
        &'a self,
        session: &'a AnySession,
        right: Right,
        channel: &'a ChannelName,
    ) -> Asking<'a, Decision> {
        Box::pin(async move {
            match session.downcast_ref::<A::Session>() {
                Some(session) => Authorizer::authorize(self, session, right, channel).await,
                None => Err(AuthorizeError::unavailable("the session is of another authoriser")),
            }
        })
    }

    fn authenticate<'a>(&'a self, token: &'a str) -> Asking<'a, Identified<AnySession>> {
        Box::pin(async move { Ok(erased(Authorizer::authenticate(self, token).await?)) })
    }
}

fn erased<S: Send + Sync + 'static>(identified: Identified<S>) -> Identified<AnySession> {
    let Identified { session, subject, good_for } = identified;
    Identified { session: Arc::new(session), subject, good_for }
}
