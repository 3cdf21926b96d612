//! A publisher: it publishes its messages one after the other, each until it is acknowledged.

use std::thread;
use std::time::{Duration, Instant};

use super::transport::{self, Position};
use super::{CHANNEL, PERSEVERANCE, Stage};

/// What one publisher did, in its order.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The messages that were acknowledged, and where they are.
    pub(super) acknowledged: Vec<(String, Position)>,
    /// Those that were refused, and must never be seen.
    pub(super) refused: Vec<String>,
    /// Those that no server acknowledged in time.
    pub(super) given_up: Vec<String>,
}

/// One in this many messages is sent once more in a form that must be refused, and another one without a key, once.
const REFUSED_ONE_IN: u64 = 50;
/// How long an answer may take to what is sent once: longer than a server holds it.
const ONCE: Duration = Duration::from_secs(20);

/// Publishes the messages of one publisher.
pub(super) fn publish(stage: &Stage, publisher: u64, messages: u64) -> Published {
    let (agent, patient) = (transport::agent(Duration::from_secs(5)), transport::agent(ONCE));
    let mut published = Published::default();
    for number in 0..messages {
        if number % REFUSED_ONE_IN == 0 {
            let id = format!("refused-{publisher}-{number}");
            let answer = post(&agent, stage, &id, Sent::Reserved);
            assert!(!matches!(answer, Some((201, _))), "a reserved event name was taken");
            published.refused.push(id);
            let id = format!("once-{publisher}-{number}");
            match post(&patient, stage, &id, Sent::Once) {
                Some((201, body)) => {
                    let at = Position::of(&body).expect("a position");
                    published.acknowledged.push((id, at));
                }
                // Nothing is known of what got no answer, or this one.
                Some((503, body)) if body.to_string().contains("Idempotency-Key") => {}
                Some(_) => published.refused.push(id),
                None => {}
            }
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
    let deadline = Instant::now() + PERSEVERANCE;
    while Instant::now() < deadline {
        match post(agent, stage, id, Sent::WithKey) {
            Some((201, body)) => return Position::of(&body),
            // No server, or one that is only just starting.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}

/// How a message is sent.
enum Sent {
    /// With a key: a repeat is not stored again.
    WithKey,
    /// Without one.
    Once,
    /// With the name of an event that is not allowed.
    Reserved,
}

/// One attempt: the status and the body of the answer, if there was one.
fn post(
    agent: &ureq::Agent,
    stage: &Stage,
    id: &str,
    sent: Sent,
) -> Option<(u16, serde_json::Value)> {
    let url = format!("{}/c/{CHANNEL}", stage.url());
    let request = agent.post(&url).header("Content-Type", "application/json");
    let request = match sent {
        Sent::WithKey => request.header("Idempotency-Key", format!("\"{id}\"")),
        Sent::Once => request,
        Sent::Reserved => request.header("Sockeye-Event", "gap"),
    };
    let mut answer = request.send(format!("{{\"id\":\"{id}\"}}")).ok()?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().ok()?;
    Some((status, serde_json::from_str(&body).ok()?))
}
