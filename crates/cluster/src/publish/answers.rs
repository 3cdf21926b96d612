//! The answers to what is published into a shard: all of them come by one subscription, and the subject of each
//! names the slot of the message that it is to.

use async_nats::{Client, Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};

use super::ack::{self, Ack};
use super::slots::Slot;

/// The most answers that are taken at once.
const AT_ONCE: usize = 512;

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

    /// What the subjects of all answers begin with.
    pub(super) fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Waits for an answer, and gives it with those that are there already. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<(Slot, Ack)> {
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

/// What an answer says, and in which slot.
fn read(message: &Message, inbox: &str) -> Option<(Slot, Ack)> {
    let slot = message.subject.strip_prefix(inbox)?.parse().ok()?;
    Some((slot, ack::read(message)))
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
        let slot = "1000-2".parse().unwrap();
        let mut answer = message("_INBOX.a.1000-2", HeaderMap::new(), br#"{"stream":"s","seq":7}"#);
        let stored = Ack::Stored { seq: 7, duplicate: false };
        assert_eq!(read(&answer, INBOX), Some((slot, stored)));
        answer.status = Some(StatusCode::NO_RESPONDERS);
        assert_eq!(read(&answer, INBOX), Some((slot, Ack::Again)));
    }

    proptest! {
        #[test]
        fn any_subject_names_one_or_none(subject in "(_INBOX\\.a\\.)?[0-9a-f+-]{0,20}|\\PC{0,20}") {
            let _ = read(&message(&subject, HeaderMap::new(), b"{}"), INBOX);
        }
    }
}
