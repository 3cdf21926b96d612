//! Tokens: one for good, or asked for when one is needed.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    failure::{Failure, Problem},
    platform::{Asked, BoxFuture, Instant, SystemTime, timeout},
};

/// How long a function that gives tokens may take.
const WITHIN: Duration = Duration::from_secs(30);
/// When it is asked again after it has failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

type Answer = BoxFuture<Result<String, String>>;

/// Where tokens come from.
#[derive(Clone, Default)]
pub(crate) enum TokenSource {
    #[default]
    None,
    Fixed(String),
    Asked(Asked<Answer>),
}

/// A token, and when a fresh one is to be asked for.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: Arc<str>,
    pub(crate) header: HeaderValue,
    pub(crate) fresh_until: Option<Instant>,
}

/// The tokens of a client.
#[derive(Default)]
pub(crate) struct Tokens {
    source: TokenSource,
    /// The last that was given. One is asked for at a time.
    last: Mutex<Option<Token>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tokens")
    }
}

impl Tokens {
    pub(crate) fn new(source: TokenSource) -> Self {
        Self { source, last: Mutex::default() }
    }

    /// The last token has expired at the server. Whether another may come.
    pub(crate) fn expired(&self) -> bool {
        if let Ok(mut last) = self.last.try_lock() {
            *last = None;
        }
        matches!(self.source, TokenSource::Asked(_))
    }

    /// The token to send, if there is one.
    pub(crate) async fn current(&self) -> Result<Option<Token>, Failure> {
        self.other_than(None).await
    }

    /// Another token than the one that the server has refused; none if there is none.
    pub(crate) async fn other_than(&self, refused: Option<&str>) -> Result<Option<Token>, Failure> {
        let mut last = self.last.lock().await;
        let is_refused = |token: &Token| refused == Some(&*token.text);
        let ask = match &self.source {
            TokenSource::None => return Ok(None),
            TokenSource::Fixed(text) => {
                let token = Token::new(text.clone(), None)?;
                return Ok(Some(token).filter(|token| !is_refused(token)));
            }
            TokenSource::Asked(ask) => ask,
        };
        let is_fresh =
            |token: &&Token| token.fresh_until.is_none_or(|until| Instant::now() < until);
        if let Some(token) = last.as_ref().filter(is_fresh).filter(|token| !is_refused(token)) {
            return Ok(Some(token.clone()));
        }
        let failed = |why: String| {
            let problem = Problem::new(format!("there is no token: {why}"));
            Failure::later(problem, AGAIN_AFTER)
        };
        let answer = timeout(WITHIN, ask()).await;
        let answer =
            answer.map_err(|_| failed(format!("the function took more than {WITHIN:?}")))?;
        let text = answer.map_err(failed)?;
        let fresh_until = lifetime(&text).map(|left| Instant::now() + left.mul_f64(0.8));
        let token = Token::new(text, fresh_until)?;
        *last = Some(token.clone());
        // The same one again would be refused again.
        Ok(Some(token).filter(|token| !is_refused(token)))
    }
}

impl Token {
    fn new(text: String, fresh_until: Option<Instant>) -> Result<Self, Failure> {
        let header = HeaderValue::try_from(format!("Bearer {text}"));
        let mut header =
            header.map_err(|_| Failure::refused("the token has characters that none can have"))?;
        header.set_sensitive(true);
        Ok(Self { text: text.into(), header, fresh_until })
    }
}

/// How long a JSON Web Token lasts, by this clock or, if that is wrong, by its own dates.
fn lifetime(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: Option<f64>,
        iat: Option<f64>,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let Claims { exp, iat } = serde_json::from_slice(&claims).ok()?;
    let exp = exp?;
    let now = SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs_f64();
    let left = match exp - now {
        left if left > 0.0 => left,
        _ => exp - iat?,
    };
    // A year is as good as longer.
    Duration::try_from_secs_f64(left.min(365.0 * 86_400.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_lifetime_is_what_is_left_or_what_the_token_says_of_itself() {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let left = lifetime(&token(&format!("{{\"exp\":{}}}", now + 100))).unwrap();
        assert!((90..=100).contains(&left.as_secs()), "{left:?}");
        assert_eq!(lifetime(&token("{\"iat\":100,\"exp\":160}")), Some(Duration::from_secs(60)));
        for without in [&*token("{}"), &token("{\"exp\":1}"), &token("nothing"), "opaque", ""] {
            assert_eq!(lifetime(without), None, "{without}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_asked_for_once_until_it_is_refused_or_old() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let count = move || counter.load(std::sync::atomic::Ordering::SeqCst);
        let source = TokenSource::Asked(Arc::new(move || {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // Dates of the past: by its own dates it lasts a minute.
            let text = token(&format!("{{\"iat\":100,\"exp\":160,\"jti\":{number}}}"));
            Box::pin(async move { Ok(text) })
        }));
        let tokens = Tokens::new(source);
        let first = tokens.current().await.unwrap().unwrap();
        assert_eq!(tokens.current().await.unwrap().unwrap().text, first.text);
        assert_eq!(count(), 1);
        let second = tokens.other_than(Some(&first.text)).await.unwrap().unwrap();
        assert_ne!(second.text, first.text);
        assert_eq!(count(), 2);
        tokio::time::advance(Duration::from_secs(49)).await;
        assert_ne!(tokens.current().await.unwrap().unwrap().text, second.text);
    }

    #[tokio::test]
    async fn a_fixed_token_that_is_refused_has_no_other() {
        let tokens = Tokens::new(TokenSource::Fixed("opaque".to_owned()));
        assert!(tokens.current().await.unwrap().is_some());
        assert!(tokens.other_than(Some("opaque")).await.unwrap().is_none());
    }
}
