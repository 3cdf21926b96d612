//! Publishing: once, however often it takes.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::Client;
use crate::{
    Error, Payload, Position, Problem, Publication,
    connection::PublishOrder,
    endpoint::Endpoint,
    failure::{Failure, nonsense},
    frame::Refusal,
    http::{MAX_ANSWER, Question},
    platform::{BoxFuture, backoff, final_error, sleep},
    token::Token,
};

/// How often a publication is sent before it is given up.
const ATTEMPTS: u32 = 6;
/// Messages of one request at most: the server's bound.
pub(crate) const MOST_LINES: usize = 1000;
/// When a request of many has this many bytes, the rest goes into another.
const MANY_BYTES: usize = 1 << 20;
/// The longest answer to many.
const MAX_RESULTS: usize = 2 << 20;

/// A publication that is on its way once it is awaited: made by [`Client::publish`].
#[derive(Debug, Clone)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publish {
    client: Client,
    publication: Publication,
}

#[derive(Deserialize)]
struct Published {
    at: Position,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    at: Option<Position>,
    err: Option<Refusal>,
}

impl Publish {
    /// Names the event: 1 to 64 visible ASCII characters. Default: none.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.publication = self.publication.event(name);
        self
    }

    /// Sets the idempotency key, as [`Publication::key`] does.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.publication = self.publication.key(key);
        self
    }
}

impl IntoFuture for Publish {
    type Output = Result<Position, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.client.publish_one(self.publication).await })
    }
}

impl Client {
    /// Publishes on a channel, and gives the position once the server has it: over the WebSocket that reads channels,
    /// if there is one, and else by a request. What breaks is sent again, up to six times, under a key by which the
    /// server knows it: it is published once.
    ///
    /// Publications that are awaited one after the other keep their order.
    ///
    /// ```no_run
    /// # async fn example(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// let position = client.publish("chat", "hello").event("greeting").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the server refuses, or is not reached.
    pub fn publish(&self, channel: impl Into<String>, payload: impl Into<Payload>) -> Publish {
        Publish { client: self.clone(), publication: Publication::new(channel, payload) }
    }

    /// Publishes many messages, on one channel or several, in their order: up to 1000 in a request, each with a key,
    /// so that a request that is repeated publishes none twice. Gives a result for each, in their order: the position, or
    /// why the server refuses that one; the others are published all the same.
    ///
    /// ```no_run
    /// # async fn example(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// use sockeye_client::Publication;
    ///
    /// let numbers = (1..=3).map(|number| Publication::new("numbers", number.to_string()));
    /// for result in client.publish_all(numbers).await? {
    ///     println!("{:?}", result.map_err(|problem| problem.message));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When a request fails each time: what had been published before is published.
    pub async fn publish_all(
        &self,
        publications: impl IntoIterator<Item = Publication>,
    ) -> Result<Vec<Result<Position, Problem>>, Error> {
        let endpoint = self.core().endpoint.below("publish");
        let failed = |failure| Error::of(endpoint.name(), failure);
        let mut lines = Vec::new();
        for publication in publications {
            crate::name::check(publication.channel())?;
            let line = publication.keyed().and_then(|keyed| keyed.line()).map_err(failed)?;
            lines.push(line);
        }
        let mut results = Vec::with_capacity(lines.len());
        while results.len() < lines.len() {
            let rest = &lines[results.len()..];
            let mut bytes = 0;
            let fits = |line: &&String| {
                let fits = bytes < MANY_BYTES;
                bytes += line.len();
                fits
            };
            let some: Vec<&str> =
                rest.iter().take(MOST_LINES).take_while(fits).map(String::as_str).collect();
            let mut answered = self.publish_some(&endpoint, &some).await.map_err(failed)?;
            answered.truncate(some.len());
            results.extend(answered);
        }
        Ok(results)
    }

    /// Ends a channel, after its last message: readers get what is there, and then the end. Gives the position of the
    /// end. To end a channel again changes nothing.
    ///
    /// # Errors
    ///
    /// When the server refuses, or is not reached.
    pub async fn end(&self, channel: &str) -> Result<Position, Error> {
        crate::name::check(channel)?;
        let endpoint = self.core().channel(channel);
        let failed = |failure| Error::of(endpoint.name(), failure);
        let question = Question::new(Method::POST, vec![("close", "1")]);
        let (mut backoff, mut shown) = (Attempts::default(), Shown::default());
        loop {
            let failure = match self.position(&endpoint, &question, &mut shown).await {
                Ok(at) => return Ok(at),
                Err(failure) => failure,
            };
            backoff.again(failure).await.map_err(failed)?;
        }
    }

    async fn publish_one(&self, publication: Publication) -> Result<Position, Error> {
        crate::name::check(publication.channel())?;
        let endpoint = self.core().channel(publication.channel());
        let failed = |failure| Error::of(endpoint.name(), failure);
        let publication = Arc::new(publication.keyed().map_err(failed)?);
        let question = publication.question().map_err(failed)?;
        let mut attempts = Attempts::default();
        let mut shown = Shown::default();
        loop {
            let by_socket = match attempts.made {
                0 => self.by_socket(&endpoint, &publication).await,
                _ => None,
            };
            let published = match by_socket {
                // The token has expired: a request is sent with a fresh one.
                Some(Err(Failure::Refused(problem))) if problem.is_unauthorized() => {
                    self.position(&endpoint, &question, &mut shown).await
                }
                Some(published) => published,
                None => self.position(&endpoint, &question, &mut shown).await,
            };
            match published {
                Ok(at) => return Ok(at),
                Err(failure) => attempts.again(failure).await.map_err(failed)?,
            }
        }
    }

    /// Publishes over the WebSocket, if there is one.
    async fn by_socket(
        &self,
        endpoint: &Endpoint,
        publication: &Arc<Publication>,
    ) -> Option<Result<Position, Failure>> {
        let publisher = self.publisher()?;
        let (reply, answer) = oneshot::channel();
        let order = PublishOrder { publication: Arc::clone(publication), reply };
        let lost = |_| Failure::broken("the connection was lost");
        let published = async {
            publisher.send(order).await.map_err(|_| Failure::broken("the connection was lost"))?;
            answer.await.map_err(lost)?
        };
        Some(endpoint.in_time(published).await)
    }

    /// Asks for something whose answer is a position, with this token.
    async fn position(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        shown: &mut Shown,
    ) -> Result<Position, Failure> {
        let answer = self.ask_as(endpoint, question, MAX_ANSWER, shown).await?;
        let Ok(Published { at }) = serde_json::from_slice(&answer) else {
            let why = endpoint.is_none_for("it answers with something else than a position");
            return Err(Failure::refused(why));
        };
        Ok(at)
    }

    /// Publishes some of many, and gives a result for each that was looked at.
    async fn publish_some(
        &self,
        endpoint: &Endpoint,
        lines: &[&str],
    ) -> Result<Vec<Result<Position, Problem>>, Failure> {
        let mut question = Question::new(Method::POST, Vec::new());
        let kind = HeaderValue::from_static("application/x-ndjson");
        question.headers.insert(CONTENT_TYPE, kind);
        question.body = Bytes::from(lines.join("\n") + "\n");
        let mut attempts = Attempts::default();
        let mut shown = Shown::default();
        let answer = loop {
            match self.ask_as(endpoint, &question, MAX_RESULTS, &mut shown).await {
                Ok(answer) => break answer,
                Err(failure) => attempts.again(failure).await?,
            }
        };
        let Results { results } = serde_json::from_slice(&answer).map_err(nonsense)?;
        if results.is_empty() {
            return Err(nonsense("there is no result for what was published"));
        }
        let outcome = |Outcome { at, err }| match (at, err) {
            (_, Some(refusal)) => Ok(Err(Problem::from(refusal))),
            (Some(at), None) => Ok(Ok(at)),
            (None, None) => Err(nonsense("a result without a position")),
        };
        results.into_iter().map(outcome).collect()
    }

    /// Asks, with the token; with a fresh one, if that is refused.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        max: usize,
    ) -> Result<Bytes, Failure> {
        self.ask_as(endpoint, question, max, &mut Shown::default()).await
    }

    /// Asks with this token; with a fresh one, if that is refused, which takes its place. A publication that is
    /// repeated keeps its token while that is good: the server knows keys by the `sub`, or else by the token.
    async fn ask_as(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        max: usize,
        shown: &mut Shown,
    ) -> Result<Bytes, Failure> {
        let tokens = &self.core().tokens;
        let token = match std::mem::take(shown) {
            Shown::NotYet => tokens.current().await?,
            Shown::Sent(token) => token,
        };
        *shown = Shown::Sent(token.clone());
        let header = token.as_ref().map(|token| &token.header);
        let asked = self.ask_with(&endpoint.clone().bearer(header), question, max).await;
        let (Err(Failure::Refused(problem)), Some(refused)) = (&asked, &token) else {
            return asked;
        };
        if !problem.is_unauthorized() {
            return asked;
        }
        match tokens.other_than(Some(&refused.text)).await? {
            Some(fresh) => {
                let endpoint = endpoint.clone().bearer(Some(&fresh.header));
                *shown = Shown::Sent(Some(fresh));
                self.ask_with(&endpoint, question, max).await
            }
            None => asked,
        }
    }

    async fn ask_with(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        max: usize,
    ) -> Result<Bytes, Failure> {
        let mut http = self.idle();
        let answer = http.ask_whole(endpoint, question, max).await?;
        self.keep(http);
        Ok(answer.into_body())
    }
}

/// The token that a request was sent with, once it was, and whether there is one.
#[derive(Default)]
enum Shown {
    #[default]
    NotYet,
    Sent(Option<Token>),
}

/// Attempts at one request.
#[derive(Default)]
pub(crate) struct Attempts {
    pub(crate) made: u32,
}

impl Attempts {
    /// Waits for the next attempt after one has failed; an error if there is none.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        self.made += 1;
        let retry = match failure {
            Failure::Refused(_) | Failure::Enough => return Err(failure),
            failure if self.made >= ATTEMPTS => return Err(failure),
            Failure::Unreachable(error) => {
                if let Ok(error) = final_error(*error) {
                    return Err(Failure::unreachable(error));
                }
                Duration::ZERO
            }
            Failure::Broken { retry, .. } => retry,
        };
        sleep(backoff(self.made, retry)).await;
        Ok(())
    }
}
