//! Reading a channel by requests: those that wait for messages, or one in an interval.

use std::{fmt, time::Duration};

use ::http::Method;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{FeedEvent, Sink};
use crate::{
    Position,
    endpoint::Endpoint,
    failure::{Ended, Failure, Problem, retry_after},
    http::{Http, Question},
    message::{End, Gap, Message},
    platform::{Instant, sleep, sleep_until},
};

/// How long a request waits for messages, in seconds.
const WAIT: u64 = 25;
/// Messages in one answer at most: the server's bound, and what is asked for.
const MOST: usize = 1000;
const LIMIT: &str = "1000";
/// How long it takes at least from one question to the next while the server answers with nothing,
/// although it is asked to wait.
const EARLY: Duration = Duration::from_secs(1);

/// What a poll is answered with.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) at: Position,
    #[serde(deserialize_with = "few")]
    pub(crate) messages: Vec<Message>,
    pub(crate) gap: Option<Gap>,
    #[serde(default)]
    pub(crate) end: bool,
}

/// As many messages as are asked for at most: small ones take several times their bytes.
fn few<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<Message>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Message>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a list of {MOST} messages at most")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Message>, A::Error> {
            let mut messages = Vec::new();
            while let Some(message) = list.next_element()? {
                if messages.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                messages.push(message);
            }
            Ok(messages)
        }
    }

    json.deserialize_seq(Few)
}

/// How requests follow each other.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each waits at the server until there is something.
    Held,
    /// The same, once two short ones have shown that held requests get through: the first is answered at once,
    /// the second within two seconds.
    Probing,
    /// One in each interval, as long as there is nothing new.
    Interval(Duration),
}

impl Pace {
    /// For how many seconds the server holds a request, after that many on this connection.
    fn wait(self, asked: usize) -> u64 {
        match (self, asked) {
            (Self::Interval(_), _) | (Self::Probing, 0) => 0,
            (Self::Probing, 1) => 2,
            _ => WAIT,
        }
    }
}

/// Reads by requests from there on, until something ends it.
///
/// # Errors
///
/// Always: with what ended it.
pub async fn read(endpoint: &Endpoint, after: &str, pace: Pace, sink: &mut impl Sink) -> Ended {
    let mut http = Http::default();
    let mut after = after.to_owned();
    if after == "now" {
        // What comes between two requests that both begin at "now" would be missed.
        let newest = newest(endpoint, &mut http).await?;
        after = newest.to_string();
        sink.take(FeedEvent::Open)?;
        sink.take(FeedEvent::At(newest))?;
    }
    for asked in 0_usize.. {
        let began = Instant::now();
        let wait = pace.wait(asked);
        let (page, retry) = ask(endpoint, &mut http, &after, wait).await?;
        sink.take(FeedEvent::Open)?;
        // A page that leads nowhere is no reason to ask again at once, whatever is in it.
        let is_empty = page.messages.is_empty() || *page.at == *after;
        after = page.at.to_string();
        pass_on(page, sink).await?;
        if !retry.is_zero() {
            return Err(Failure::later(Problem::new("the server has ended the poll"), retry));
        }
        match pace {
            _ if !is_empty => {}
            Pace::Interval(interval) => sleep(interval).await,
            Pace::Held | Pace::Probing if wait > 0 => sleep_until(began + EARLY).await,
            Pace::Held | Pace::Probing => {}
        }
    }
    Err(Failure::broken("there were too many polls"))
}

/// Asks for a page, which the server may hold back for that many seconds; and how long the server wants to be left alone.
async fn ask(
    endpoint: &Endpoint,
    http: &mut Http,
    after: &str,
    wait: u64,
) -> Result<(Page, Duration), Failure> {
    let seconds = wait.to_string();
    let mut parameters = vec![("after", after), ("limit", LIMIT)];
    // A poll that does not wait has to say that it listens.
    parameters.push(if wait > 0 { ("wait", &seconds) } else { ("presence", "1") });
    let mut question = Question::new(Method::GET, parameters);
    question.hold = Duration::from_secs(wait);
    page(endpoint, http, &question).await
}

/// What asks for a page of a channel.
pub(crate) fn page_after<'q>(after: &'q str, limit: &'q str) -> Question<'q> {
    Question::new(Method::GET, vec![("after", after), ("limit", limit)])
}

/// Reads a page.
pub(crate) fn read_page(endpoint: &Endpoint, answer: &[u8]) -> Result<Page, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::broken(endpoint.is_none_for(error)))
}

async fn page(
    endpoint: &Endpoint,
    http: &mut Http,
    question: &Question<'_>,
) -> Result<(Page, Duration), Failure> {
    let answer = http.ask_whole(endpoint, question, endpoint.max_page()).await?;
    Ok((read_page(endpoint, answer.body())?, retry_after(answer.headers())))
}

/// Passes a page on, and where the reader is then.
async fn pass_on(page: Page, sink: &mut impl Sink) -> Result<(), Failure> {
    if let Some(gap) = page.gap {
        sink.next_may_come().await;
        sink.take(FeedEvent::Gap(gap))?;
    }
    for message in page.messages {
        sink.next_may_come().await;
        sink.take(FeedEvent::Message(message))?;
    }
    if page.end {
        sink.take(FeedEvent::End(End::new(page.at.clone())))?;
    }
    sink.take(FeedEvent::At(page.at))
}

/// Where the channel is.
pub(crate) async fn newest(endpoint: &Endpoint, http: &mut Http) -> Result<Position, Failure> {
    // The answer to `HEAD` says it too, but not why there is none.
    let (page, _) = page(endpoint, http, &page_after("now", "1")).await?;
    Ok(page.at)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_page_has_as_many_messages_as_are_asked_for_at_most() {
        let address = "http://127.0.0.1/c/chat".parse().unwrap();
        let endpoint = Endpoint::new(&address, HeaderMap::new());
        let page = |count: usize| {
            let messages = vec![r#"{"at":"k.1","ts":1}"#; count].join(",");
            read_page(&endpoint, format!(r#"{{"at":"k.1","messages":[{messages}]}}"#).as_bytes())
        };
        assert_eq!(LIMIT, MOST.to_string());
        assert_eq!(page(MOST).unwrap().messages.len(), MOST);
        let refused = page(MOST + 1).unwrap_err().to_string();
        assert!(refused.contains("a list of 1000 messages at most"), "{refused}");
    }
}
