//! `sockeye bench fanout`: some clients publish, many receive it, and how long that takes to each of them
//! and to the last.
//!
//! Each subscriber is a connection and no more: [`load_client`] reads into a buffer that all connections of
//! a thread share, and what is spoken on it ([`protocol`]) is read as far as the load needs.

mod deliveries;
mod events;
mod http;
mod lines;
mod load_client;
mod load_publisher;
mod message;
mod mqtt;
mod nats;
mod polls;
mod posts;
mod protocol;
mod transport;
mod v1;
mod websocket;

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sockeye_server::Transport;
use tokio::time::sleep_until;

use self::deliveries::{Deliveries, Subscribers};
pub(super) use self::http::Resource;
use self::load_client::{Buffer, LoadClient};
use self::load_publisher::LoadPublisher;
use self::message::STAMP;
use self::protocol::Protocol;
use self::transport::FanoutTransport;
use super::Common;
use super::echo::positive;
use super::report::{DELIVERIES, Report};
use super::run::{self, Start, Tally};
use crate::flags::request::url;
use crate::flags::units::{Size, time};

/// How many connections a thread opens at once.
const OPENING: usize = 16;

/// Publish to many subscribers of one channel
///
/// For channels of `sockeye serve` over each of their transports, and for any server on which what
/// is sent by one comes to all. A message is text that says when it was meant to be published.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye bench fanout ws://127.0.0.1:8080/c/bench --subscribers 1000 --rate 100
  sockeye bench fanout http://127.0.0.1:8080/c/bench --transport sse --json
  sockeye bench fanout http://127.0.0.1:8080/c/bench --transport poll --interval 5s
  sockeye bench fanout ws://127.0.0.1/sub/bench --publish-to http://127.0.0.1/pub/bench
  sockeye bench fanout ws://127.0.0.1:9222/ --transport nats --channel bench
  sockeye bench fanout ws://127.0.0.1:9001/ --transport mqtt --in-flight 1")]
pub(super) struct Fanout {
    /// How many connections listen
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    subscribers: usize,

    /// How many connections publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    publishers: usize,

    /// How many messages a second are published, by all publishers together
    #[arg(long, value_name = "N", default_value = "100", value_parser = per_second)]
    rate: f64,

    /// Publish this many at once instead, and the next when the last of them has come to all
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["rate", "publishers"])]
    in_flight: Option<usize>,

    /// How large each message is, at least 20 bytes
    #[arg(long, value_name = "SIZE", default_value = "128")]
    size: Size,

    /// How the subscribers listen; publishers do the same, or use POST where one can only listen
    #[arg(long, value_name = "TRANSPORT", default_value = "ws", value_parser = FanoutTransport::parser())]
    transport: FanoutTransport,

    /// How long a subscriber leaves between two polls; the subscribers' are spread over it
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    interval: Duration,

    /// Publish there instead: by POST to an http:// URL, by WebSocket to a ws:// URL
    #[arg(long, value_name = "URL", value_parser = url)]
    publish_to: Option<String>,

    /// The channel, subject or topic where the URL does not say it: on /connect, with nats and mqtt
    #[arg(long, value_name = "NAME", default_value = "bench")]
    channel: String,

    #[command(flatten)]
    pub(super) common: Common,
}

impl Fanout {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        if self.size.in_memory() < STAMP {
            bail!(
                "a message needs {STAMP} bytes for the time at which it was sent: --size {STAMP}"
            );
        }
        if self.interval.is_zero() {
            bail!("polls need some time between them: --interval 1s");
        }
        let threads = self.common.threads().min(self.subscribers);
        let watched = self.common.watched()?;
        let deliveries = Deliveries::by_threads(threads);
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, start, &deliveries)
            })?;
        let expected = self.rate * outcome.took.as_secs_f64() * self.subscribers as f64;
        let delivered = outcome.tally.latencies.len() as f64;
        let (received, sent) = (outcome.tally.received as f64, outcome.tally.sent as f64);
        let mut report = Report::of(&DELIVERIES, self.title(), outcome);
        if self.in_flight.is_none() {
            report.figure("delivered of what was due", 100.0 * delivered / expected, "%");
        }
        if delivered > 0.0 {
            report.figure("wire to subscribers", received / delivered, "bytes/delivery");
            report.figure("wire from subscribers", sent / delivered, "bytes/delivery");
        }
        Ok(report)
    }

    fn title(&self) -> String {
        let Self { subscribers, publishers, rate, size, .. } = self;
        let pace = match self.in_flight {
            Some(1) => "one message in flight".to_owned(),
            Some(in_flight) => format!("{in_flight} messages in flight"),
            None if *publishers == 1 => format!("{rate} messages/s"),
            None => format!("{rate} messages/s by {publishers} publishers"),
        };
        let over = self.transport.title();
        format!("fan-out over {over}: {subscribers} subscribers, {pace}, {} bytes", size.0)
    }

    /// Every `threads`-th subscriber and publisher, beginning with number `thread`.
    async fn load(
        &self,
        thread: usize,
        threads: usize,
        start: Start,
        deliveries: &Deliveries,
    ) -> anyhow::Result<Tally> {
        let buffer = Buffer::default();
        let subscribers: Vec<_> = stream::iter((thread..self.subscribers).step_by(threads))
            .map(|number| self.subscriber(number, &buffer))
            .buffered(OPENING)
            .try_collect()
            .await?;
        let publishers: Vec<_> = stream::iter((thread..self.publishers).step_by(threads))
            .map(|number| self.publisher(number, &buffer))
            .buffered(OPENING)
            .try_collect()
            .await?;
        let times = start.all_open().await?;
        let counted =
            RefCell::new(Subscribers::of_thread(deliveries, subscribers.len(), times.clone()));
        let listening = (thread..).step_by(threads).zip(subscribers).map(|(number, client)| {
            let phase = self.interval.mul_f64(number as f64 / self.subscribers as f64);
            self.listen(client, times.begin + phase, &buffer, &counted)
        });
        let publishing = publishers.into_iter().map(|(client, number)| {
            let size = self.size.in_memory();
            let buffer = &buffer;
            let publisher = LoadPublisher { client, buffer, deliveries, times: &times, size };
            self.run_publisher(publisher, number)
        });
        let working = async {
            tokio::try_join!(try_join_all(listening), try_join_all(publishing)).map(|_| ())
        };
        tokio::select! {
            broken = working => broken?,
            () = sleep_until(times.until.into()) => {}
        }
        Ok(counted.into_inner().tally)
    }

    /// Hears what comes, asking for it first at `begin` where that is to be asked for in an interval.
    async fn listen(
        &self,
        mut client: LoadClient<dyn Protocol>,
        begin: Instant,
        buffer: &Buffer,
        counted: &RefCell<Subscribers<'_>>,
    ) -> anyhow::Result<Infallible> {
        let mut hear = |payload: &[u8], now| counted.borrow_mut().hear(payload, now);
        let mut ask = begin;
        loop {
            let turn = client.turn(buffer, &mut hear);
            let turn = if self.transport == FanoutTransport::Channel(Transport::Poll) {
                tokio::select! {
                    turn = turn => turn?,
                    () = sleep_until(ask.into()) => {
                        client.protocol().ask();
                        ask = (ask + self.interval).max(Instant::now());
                        continue;
                    }
                }
            } else {
                turn.await?
            };
            counted.borrow_mut().traffic(&turn);
        }
    }

    async fn run_publisher(
        &self,
        publisher: LoadPublisher<'_>,
        number: usize,
    ) -> anyhow::Result<Infallible> {
        match self.in_flight {
            Some(in_flight) => publisher.in_rounds(in_flight).await,
            None => {
                let interval = Duration::from_secs_f64(1.0 / self.rate);
                publisher.on_time(interval * number as u32, interval * self.publishers as u32).await
            }
        }
    }
}

/// A rate per second, which need not be a whole number.
fn per_second(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        // Once a day is seldom enough, and a time that can be counted in.
        Ok(rate) if (1e-5..=1e9).contains(&rate) => Ok(rate),
        _ => Err("write a rate as 100 or 0.5"),
    }
}
