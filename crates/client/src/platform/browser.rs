//! Those of a browser: its timers, and its one thread.

#![allow(clippy::unused_self, reason = "the interface is that of tokio and the system")]

mod tasks;

use std::{pin::Pin, str::FromStr, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use http::HeaderValue;
use url::Url;
pub(crate) use web_time::{Instant, SystemTime};

pub(crate) use self::tasks::{AbortHandle, JoinError, JoinSet};

/// A future that a task may wait for.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;
/// A function of the application that is asked for something.
pub(crate) type Asked<T> = Arc<dyn Fn() -> T>;
/// A function of the application that is told something.
pub(crate) type Told<T> = Box<dyn Fn(&T)>;

/// There is one thread: everything stays on it.
pub trait MaybeSend {}
impl<T> MaybeSend for T {}

/// The same.
pub trait MaybeSync {}
impl<T> MaybeSync for T {}

/// Why there is no way to a server: a browser does not say, so there is none of these.
#[derive(Debug, thiserror::Error)]
#[error("there is no way to the server")]
pub struct ConnectError(());

/// The longest that a timer of a browser waits.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
/// The bound of the first random wait, and of the later ones.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// The longest that a server's own wish to be left alone is heeded.
const LONGEST_HINT: Duration = Duration::from_secs(300);

/// Runs it in a task.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(task);
}

/// Waits that long.
pub(crate) async fn sleep(time: Duration) {
    let mut left = time;
    loop {
        let piece = left.min(LONGEST);
        // Rounded up, so that it is not over before its time.
        let millis = piece.as_nanos().div_ceil(1_000_000);
        TimeoutFuture::new(u32::try_from(millis).unwrap_or(i32::MAX as u32)).await;
        left -= piece;
        if left.is_zero() {
            return;
        }
    }
}

/// Waits until then.
pub(crate) async fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now())).await;
}

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for it that long.
pub(crate) async fn timeout<T>(
    time: Duration,
    what: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let (what, time) = (std::pin::pin!(what), std::pin::pin!(sleep(time)));
    match select(what, time).await {
        Either::Left((came, _)) => Ok(came),
        Either::Right(_) => Err(Elapsed),
    }
}

/// How long to wait after that many failures in a row: a random time, behind the one that the server asked for.
pub(crate) fn backoff(failures: u32, hint: Duration) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(30));
    hint.min(LONGEST_HINT) + crate::random::up_to(doubled.min(LAST_WAIT))
}

/// No error of connecting is told.
pub(crate) fn final_error(error: ConnectError) -> Result<ConnectError, ConnectError> {
    Err(error)
}

/// The URL of a server.
#[derive(Debug, Clone)]
pub struct Address {
    url: Url,
    authorization: Option<HeaderValue>,
}

/// A text is not the URL of a server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl Address {
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A browser takes no zones.
    pub(crate) fn zone(&self) -> Option<&str> {
        None
    }

    /// The name and password of the URL as a header.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let wrong = |why: &str| AddressError(format!("not the URL of a server: {why}"));
        let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        if url.fragment().is_some() {
            return Err(wrong("it has a fragment"));
        }
        url.set_scheme(scheme).map_err(|()| wrong("its scheme cannot be used"))?;
        let name = (url.username().to_owned(), url.password().map(str::to_owned));
        let authorization = match name {
            (name, None) if name.is_empty() => None,
            (name, password) => {
                let decoded = |text: &str| {
                    url::form_urlencoded::parse(
                        format!("a={}", text.replace('+', "%2B")).as_bytes(),
                    )
                    .next()
                    .map_or_else(String::new, |(_, text)| text.into_owned())
                };
                let pair = format!("{}:{}", decoded(&name), decoded(&password.unwrap_or_default()));
                let header = format!("Basic {}", STANDARD.encode(pair));
                let mut header =
                    HeaderValue::try_from(header).map_err(|_| wrong("its name cannot be sent"))?;
                header.set_sensitive(true);
                Some(header)
            }
        };
        let _ = (url.set_username(""), url.set_password(None));
        Ok(Self { url, authorization })
    }
}
