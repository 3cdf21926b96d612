//! The answers to what is published into a shard: all of them come by one subscription, and the subject of each
//! names the message that it is to.

use std::fmt;
use std::str::FromStr;

use async_nats::{Client, Message, Subject, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};

use super::ack::{self, Ack};

/// The most answers that are taken at once.
const AT_ONCE: usize = 512;

/// One sending of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// The number of the message in the queue.
    pub(super) number: u64,
    /// How often it had been sent by then.
    pub(super) sent: u32,
}

/// As the last token of a subject.
impl fmt::Display for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.number, self.sent)
    }
}

/// Not what [`Display`](fmt::Display) writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoFlight;

impl FromStr for Flight {
    type Err = NoFlight;

    fn from_str(text: &str) -> Result<Self, NoFlight> {
        let (number, sent) = text.split_once('-').ok_or(NoFlight)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| NoFlight)?;
        let sent = u32::from_str_radix(sent, 16).map_err(|_| NoFlight)?;
        Ok(Self { number, sent })
    }
}

/// What comes back from the stream.
pub(super) struct Answers {
    /// What the subjects of all answers begin with.
    inbox: String,
    /// `None` when the connection has ended for good.
    subscription: Option<Subscriber>,
}

impl Answers {
    /// Listens before anything is published over the same connection: so no answer is missed.
    pub(super) async fn open(client: &Client) -> Self {
        let inbox = format!("{}.", client.new_inbox());
        let subscribed = client.subscribe(format!("{inbox}*")).await;
        Self { inbox, subscription: subscribed.ok() }
    }

    /// The subject for the answer to that sending.
    pub(super) fn subject(&self, flight: Flight) -> Subject {
        format!("{}{flight}", self.inbox).into()
    }

    /// Waits for an answer, and gives it with those that are there already. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<(Flight, Ack)> {
        let Some(subscription) = &mut self.subscription else {
            return std::future::pending().await;
        };
        let mut answers = Vec::new();
        let mut next = subscription.next().await;
        loop {
            match next {
                Some(message) => answers.extend(read(&message, &self.inbox)),
                None => {
                    self.subscription = None;
                    return answers;
                }
            }
            if answers.len() >= AT_ONCE {
                return answers;
            }
            next = match subscription.next().now_or_never() {
                Some(next) => next,
                None => return answers,
            };
        }
    }
}

/// What an answer says, and of which sending.
fn read(message: &Message, inbox: &str) -> Option<(Flight, Ack)> {
    let flight = message.subject.strip_prefix(inbox)?.parse().ok()?;
    Some((flight, ack::read(message)))
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::message::tests::message;

    const INBOX: &str = "_INBOX.a.";

    #[test]
    fn an_answer_names_what_it_is_to() {
        let flight = Flight { number: 4096, sent: 2 };
        assert_eq!(flight.to_string(), "1000-2");
        let mut answer = message("_INBOX.a.1000-2", HeaderMap::new(), br#"{"stream":"s","seq":7}"#);
        let stored = Ack::Stored { seq: 7, duplicate: false };
        assert_eq!(read(&answer, INBOX), Some((flight, stored)));
        answer.status = Some(StatusCode::NO_RESPONDERS);
        assert_eq!(read(&answer, INBOX), Some((flight, Ack::Again)));
    }

    proptest! {
        #[test]
        fn a_sending_is_found_again_by_its_name(number: u64, sent: u32) {
            let flight = Flight { number, sent };
            prop_assert_eq!(flight.to_string().parse(), Ok(flight));
        }

        #[test]
        fn any_subject_names_one_or_none(subject in "(_INBOX\\.a\\.)?[0-9a-f+-]{0,20}|\\PC{0,20}") {
            let _ = read(&message(&subject, HeaderMap::new(), b"{}"), INBOX);
        }
    }
}
