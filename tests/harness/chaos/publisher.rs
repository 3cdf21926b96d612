//! A publisher: it publishes its messages one after the other, each until it is acknowledged.

use std::thread;
use std::time::{Duration, Instant};

use super::transport::{self, Position};
use super::{CHANNEL, Stage};
use crate::PATIENCE;

/// What one publisher did, in its order.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The messages that were acknowledged, and where they are.
    pub(super) acknowledged: Vec<(String, Position)>,
    /// Those that were refused, and must never be seen.
    pub(super) refused: Vec<String>,
    /// Those that nobody took, though there was time enough.
    pub(super) given_up: Vec<String>,
}

/// One in so many messages is sent once more in a form that must be refused.
const REFUSED_ONE_IN: u64 = 50;

/// Publishes the messages of one publisher.
pub(super) fn publish(stage: &Stage, publisher: u64, messages: u64) -> Published {
    let agent = transport::agent(Duration::from_secs(5));
    let mut published = Published::default();
    for number in 0..messages {
        if number % REFUSED_ONE_IN == 0 {
            let id = format!("refused-{publisher}-{number}");
            let answer = post(&agent, stage, &id, Some("gap"));
            assert!(!matches!(answer, Some((201, _))), "a reserved event name was taken");
            published.refused.push(id);
        }
        let id = format!("{publisher}-{number}");
        match until_acknowledged(&agent, stage, &id) {
            Some(position) => {
                stage.one_more();
                published.acknowledged.push((id, position));
            }
            None => {
                published.given_up.push(id);
                break;
            }
        }
    }
    published
}

/// Publishes under one key until the server says where the message is.
fn until_acknowledged(agent: &ureq::Agent, stage: &Stage, id: &str) -> Option<Position> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match post(agent, stage, id, None) {
            Some((201, body)) => return Position::of(&body),
            // No server, or one that is only just starting.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}

/// One attempt: the status and the body of the answer, if there was one.
fn post(
    agent: &ureq::Agent,
    stage: &Stage,
    id: &str,
    event: Option<&str>,
) -> Option<(u16, serde_json::Value)> {
    let url = format!("{}/c/{CHANNEL}", stage.url());
    let request = agent.post(&url).header("Content-Type", "application/json");
    let request = match event {
        Some(event) => request.header("Sockeye-Event", event),
        None => request.header("Idempotency-Key", format!("\"{id}\"")),
    };
    let mut answer = request.send(format!("{{\"id\":\"{id}\"}}")).ok()?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().ok()?;
    Some((status, serde_json::from_str(&body).ok()?))
}
