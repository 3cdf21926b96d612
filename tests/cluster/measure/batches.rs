//! What the servers of NATS spend on a message, by how it is published: one by one or in atomic batches, and with
//! which subjects for the answers.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use sockeye_testing::PATIENCE;
use sockeye_tests::nats::Nats;
use tokio::time::timeout;

use crate::cost::cpu_time;
use crate::{Rounds, bare, median};

const STREAM: &str = "probe";
const SUBJECT: &str = "probe.c.bench";
const WINDOW: usize = 256;

/// How messages are published.
#[derive(Clone, Copy)]
enum How {
    /// One by one, all answers to one subject.
    OneSubject,
    /// One by one, each answer to a subject that is used once.
    NewSubjects,
    /// In atomic batches of that many, with one answer for each.
    Batches(usize),
}

impl How {
    fn text(self) -> String {
        match self {
            Self::OneSubject => "one by one, one subject for all answers".to_owned(),
            Self::NewSubjects => "one by one, a subject for each answer".to_owned(),
            Self::Batches(size) => format!("atomic batches of {size}"),
        }
    }

    /// How many messages have one answer.
    fn size(self) -> usize {
        match self {
            Self::OneSubject | Self::NewSubjects => 1,
            Self::Batches(size) => size,
        }
    }
}

const ALL: [How; 6] = [
    How::OneSubject,
    How::NewSubjects,
    How::Batches(1),
    How::Batches(8),
    How::Batches(64),
    How::Batches(256),
];

pub(crate) fn measure(rounds: Rounds) -> String {
    let nats = Nats::start();
    let mut client = nats.client_of(0);
    // As a node makes its own.
    let stream = format!(
        r#"{{"name":"{STREAM}","subjects":["probe.c.>"],"retention":"limits","storage":"file","num_replicas":3,
        "max_msgs_per_subject":1001,"discard":"new","allow_direct":true,"allow_rollup_hdrs":true,
        "allow_atomic":true,"duplicate_window":360000000000,
        "republish":{{"src":"probe.c.>","dest":"probe.l.>"}}}}"#
    );
    let made = client.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream);
    assert!(!made.contains("error"), "{made}");
    // Not at the leader: most nodes are not.
    let server = (nats.leader_of(STREAM) + 1) % 3;
    let mut figures = ALL.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..rounds.count {
        for (how, [rates, costs]) in ALL.into_iter().zip(&mut figures) {
            let (rate, cost) = publish(&nats, server, how, rounds.time);
            rates.push(rate);
            costs.push(cost);
        }
    }
    let mut table = format!(
        "### What three servers spend on a message of 128 B, {WINDOW} under way\n\n\
         By the bare client, which listens to what is published again, as a node does.\n\n\
         | | messages/s | servers, µs for a message |\n|---|---|---|\n"
    );
    for (how, [rates, costs]) in ALL.into_iter().zip(figures) {
        table += &format!("| {} | {:.0} | {:.1} |\n", how.text(), median(rates), median(costs));
    }
    table
}

/// The rate, and the servers' processor time for a message.
fn publish(nats: &Nats, server: usize, how: How, time: Duration) -> (f64, f64) {
    let cpu = || nats.ids().into_iter().map(cpu_time).sum::<f64>();
    let runtime = bare::runtime();
    runtime.block_on(async {
        let client = bare::connect(&nats.url(server)).await;
        let mut live = bare::subscribe(&client, "probe.l.>").await;
        let listening = tokio::spawn(async move { while live.next().await.is_some() {} });
        let inbox = client.new_inbox();
        let mut answers = bare::subscribe(&client, &format!("{inbox}.*")).await;
        let mut sending = Sending { client, inbox, how, number: 0 };
        let (before, begun, mut acknowledged) = (cpu(), Instant::now(), 0);
        sending.send(WINDOW / how.size()).await;
        while begun.elapsed() < time {
            let answered = answered(&mut answers).await;
            acknowledged += answered * how.size();
            sending.send(answered).await;
        }
        let (seconds, spent) = (begun.elapsed().as_secs_f64(), cpu() - before);
        listening.abort();
        (acknowledged as f64 / seconds, spent / acknowledged as f64)
    })
}

/// How many answers have come: one at least.
async fn answered(answers: &mut Subscriber) -> usize {
    let (mut count, mut next) = (0, timeout(PATIENCE, answers.next()).await.expect("an answer"));
    while let Some(answer) = next {
        assert!(answer.payload.starts_with(b"{\"stream\""), "{:?}", answer.payload);
        count += 1;
        next = answers.next().now_or_never().flatten();
    }
    count
}

struct Sending {
    client: Client,
    inbox: String,
    how: How,
    number: u64,
}

impl Sending {
    /// What has that many answers.
    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.number += 1;
            match self.how {
                How::OneSubject => self.one(format!("{}.all", self.inbox)).await,
                How::NewSubjects => self.one(format!("{}.{:x}", self.inbox, self.number)).await,
                How::Batches(size) => self.batch(size).await,
            }
        }
    }

    async fn one(&self, reply: String) {
        let payload = vec![b'x'; 128].into();
        let sent = self.client.publish_with_reply(SUBJECT, reply, payload).await;
        sent.expect("NATS is there");
    }

    async fn batch(&self, size: usize) {
        for sequence in 1..=size {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Batch-Id", format!("{:x}", self.number));
            headers.insert("Nats-Batch-Sequence", sequence.to_string());
            let payload = vec![b'x'; 128].into();
            let sent = if sequence < size {
                self.client.publish_with_headers(SUBJECT, headers, payload).await
            } else {
                headers.insert("Nats-Batch-Commit", "1");
                let reply = format!("{}.all", self.inbox);
                self.client.publish_with_reply_and_headers(SUBJECT, reply, headers, payload).await
            };
            sent.expect("NATS is there");
        }
    }
}
