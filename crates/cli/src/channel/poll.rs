//! Reading a channel by requests: those that wait for messages, or one in an interval.

use std::time::Duration;

use ::http::{Method, header::ETAG};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Channel, Ended, Failure,
    feed::{FeedEvent, Sink},
    http::{Http, Question, nonsense},
    message::{End, Gap, Message, position},
};

/// How long a request waits for messages, in seconds.
const WAIT: u64 = 25;
/// Messages in one answer at most.
const LIMIT: &str = "1000";
/// How much longer an answer may be than the longest message: the server puts 1 MiB of payload into one,
/// which may grow sixfold in JSON, and has something to say of each message.
const PAGE: usize = 8 << 20;
/// How long it takes at least from one question to the next while the server answers with nothing,
/// although it is asked to wait.
const EARLY: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(deserialize_with = "position")]
    at: String,
    messages: Vec<Message>,
    gap: Option<Gap>,
    #[serde(default)]
    end: bool,
}

/// Reads by requests that wait until there is something.
pub(crate) async fn wait(channel: &Channel, after: &str, sink: &mut impl Sink) -> Ended {
    read(channel, after, sink, None).await
}

/// Reads by a request in each interval.
pub(crate) async fn repeat(
    channel: &Channel,
    after: &str,
    interval: Duration,
    sink: &mut impl Sink,
) -> Ended {
    read(channel, after, sink, Some(interval)).await
}

async fn read(
    channel: &Channel,
    after: &str,
    sink: &mut impl Sink,
    interval: Option<Duration>,
) -> Ended {
    let mut http = Http::new(channel);
    let mut after = after.to_owned();
    if after == "now" {
        // What comes between two requests that both begin at "now" would be missed.
        after = newest(&mut http).await?;
        sink.take(FeedEvent::Open)?;
        sink.take(FeedEvent::At(after.clone()))?;
    }
    let wait = WAIT.to_string();
    loop {
        let mut parameters = vec![("after", after.as_str()), ("limit", LIMIT)];
        // A poll that does not wait has to say that it listens.
        parameters.push(if interval.is_none() { ("wait", &wait) } else { ("presence", "1") });
        let mut question = Question::new(Method::GET, parameters);
        question.patience = Duration::from_secs(WAIT);
        let asked = Instant::now();
        let max = channel.max_message.saturating_add(PAGE);
        let answer = http.ask_whole(&question, max).await?;
        let page: Page = serde_json::from_slice(&answer).map_err(nonsense)?;
        sink.take(FeedEvent::Open)?;
        let is_empty = page.messages.is_empty();
        if let Some(gap) = page.gap {
            sink.take(FeedEvent::Gap(gap))?;
        }
        for message in page.messages {
            sink.next_may_come().await;
            sink.take(FeedEvent::Message(message))?;
        }
        if page.end {
            sink.take(FeedEvent::End(End::new(page.at.clone())))?;
        }
        after = page.at;
        sink.take(FeedEvent::At(after.clone()))?;
        match interval {
            _ if !is_empty => {}
            Some(interval) => sleep(interval).await,
            None => sleep_until(asked + EARLY).await,
        }
    }
}

/// Where the channel is.
pub(crate) async fn newest(http: &mut Http<'_>) -> Result<String, Failure> {
    let answer = http.ask(&Question::new(Method::HEAD, Vec::new())).await?;
    let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
    match etag {
        Some(etag) => Ok(etag.trim_start_matches("W/").trim_matches('"').to_owned()),
        None => Err(Failure::broken("this is not a channel of sockeye's: it has no position")),
    }
}
