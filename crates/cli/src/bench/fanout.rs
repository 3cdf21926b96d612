//! `sockeye bench fanout`: one publishes, many hear it, and how long that takes to each of them.
//!
//! For any server on which what one WebSocket sends comes to all: a channel of `sockeye serve`, or
//! a server that broadcasts.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::SinkExt as _;
use futures_util::future::try_join_all;
use sockeye::{Message, WebSocket, Writer};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::Common;
use super::echo::positive;
use super::report::{DELIVERIES, Report};
use super::run::{self, Start, Tally, Times};
use crate::units::Size;

/// The digits at the beginning of a message that say when it was meant to leave.
const STAMP: usize = 20;

/// What all subscribers have heard.
#[derive(Debug)]
struct Heard {
    /// What the times in the messages count from.
    epoch: Instant,
    count: AtomicU64,
    /// Told when another message may have come to everybody.
    more: Notify,
}

/// Publish to many subscribers of one channel
#[derive(Debug, Args)]
pub(super) struct Fanout {
    /// How many connections listen
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    subscribers: usize,

    /// How many connections publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    publishers: usize,

    /// How many messages a second are published, by all publishers together
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,

    /// Publish so many at once instead, and the next when the last of them has come to everybody
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["rate", "publishers"])]
    in_flight: Option<usize>,

    /// How large each message is, at least 20 bytes
    #[arg(long, value_name = "SIZE", default_value = "128")]
    size: Size,

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
        let threads = self.common.threads().min(self.subscribers);
        let watched = self.common.watched()?;
        let heard = Heard { epoch: Instant::now(), count: AtomicU64::new(0), more: Notify::new() };
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, start, &heard)
            })?;
        let expected = self.rate as f64 * outcome.took.as_secs_f64() * self.subscribers as f64;
        let delivered = outcome.tally.latencies.len() as f64;
        let mut report = Report::of(&DELIVERIES, self.title(), outcome);
        if self.in_flight.is_none() {
            report.figure("delivered of what was due", 100.0 * delivered / expected, "%");
        }
        Ok(report)
    }

    fn title(&self) -> String {
        let Self { subscribers, publishers, rate, size, .. } = self;
        let pace = match self.in_flight {
            Some(in_flight) => format!("{in_flight} messages in flight"),
            None => format!("{publishers} publishers, {rate} messages/s"),
        };
        format!("fan-out: {subscribers} subscribers, {pace}, {} bytes", size.0)
    }

    /// Every `threads`-th subscriber, beginning with number `thread`; the first thread publishes.
    async fn load(
        &self,
        thread: usize,
        threads: usize,
        start: Start,
        heard: &Heard,
    ) -> anyhow::Result<Tally> {
        let target = &self.common.target;
        let mut subscribers = Vec::new();
        for number in (thread..self.subscribers).step_by(threads) {
            subscribers.push(target.open(number).await?);
        }
        let mut publishers = Vec::new();
        for number in (thread..self.publishers).step_by(threads) {
            publishers.push((number, target.open(self.subscribers + number).await?));
        }
        let times = start.all_open().await?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let listening = subscribers.into_iter().map(|socket| {
            let (times, tally) = (times.clone(), Rc::clone(&tally));
            async move { self.listen(socket, &times, heard, &tally).await }
        });
        let publishing = publishers
            .into_iter()
            .map(|(number, socket)| self.publish(socket, number, &times, heard));
        tokio::try_join!(try_join_all(listening), try_join_all(publishing))?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }

    /// Publishes, and takes what it hears itself off the socket.
    async fn publish(
        &self,
        socket: WebSocket,
        number: usize,
        times: &Times,
        heard: &Heard,
    ) -> anyhow::Result<()> {
        let (mut reader, writer) = socket.split();
        let sending = async {
            match self.in_flight {
                Some(in_flight) => self.in_rounds(writer, in_flight, times, heard).await?,
                None => self.on_time(writer, number, times, heard).await?,
            }
            sleep_until(times.until.into()).await;
            Ok(())
        };
        let hearing = async {
            while let Some(message) = reader.recv().await {
                message?;
            }
            bail!("the server has closed the connection of a publisher")
        };
        tokio::select! {
            sent = sending => sent,
            heard = hearing => heard,
        }
    }

    /// Each message at its time, however long the others take.
    async fn on_time(
        &self,
        mut writer: Writer,
        number: usize,
        times: &Times,
        heard: &Heard,
    ) -> anyhow::Result<()> {
        let interval = Duration::from_secs_f64(self.publishers as f64 / self.rate as f64);
        let mut due = times.begin + interval.mul_f64(number as f64 / self.publishers as f64);
        while due < times.until {
            sleep_until(due.into()).await;
            while due <= Instant::now() && due < times.until {
                writer.feed(self.message(heard, due)).await?;
                due += interval;
            }
            writer.flush().await?;
        }
        Ok(())
    }

    /// So many at once, and the next when they have come to everybody.
    async fn in_rounds(
        &self,
        mut writer: Writer,
        in_flight: usize,
        times: &Times,
        heard: &Heard,
    ) -> anyhow::Result<()> {
        let mut due = 0;
        while Instant::now() < times.until {
            for _ in 0..in_flight {
                writer.feed(self.message(heard, Instant::now())).await?;
            }
            writer.flush().await?;
            due += (in_flight * self.subscribers) as u64;
            let all_have_heard = async {
                while heard.count.load(Relaxed) < due {
                    heard.more.notified().await;
                }
            };
            tokio::select! {
                () = all_have_heard => {}
                () = sleep_until(times.until.into()) => {}
            }
        }
        Ok(())
    }

    fn message(&self, heard: &Heard, intended: Instant) -> Message {
        let stamp = (intended - heard.epoch).as_nanos();
        let padding = self.size.in_memory() - STAMP;
        format!("{stamp:0STAMP$}{:x<padding$}", "").into()
    }

    /// Counts what comes, by the times that the messages carry.
    async fn listen(
        &self,
        mut socket: WebSocket,
        times: &Times,
        heard: &Heard,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let hearing = async {
            loop {
                let message =
                    socket.recv().await.context("the server has closed a connection")??;
                let bytes = message.as_bytes();
                let stamp = bytes.get(..STAMP).and_then(|digits| str::from_utf8(digits).ok());
                let nanos = stamp.and_then(|digits| digits.parse().ok());
                let nanos = nanos.context("a message came that nobody of us has sent")?;
                let intended = heard.epoch + Duration::from_nanos(nanos);
                tally.borrow_mut().message(times, intended, bytes.len());
                let count = heard.count.fetch_add(1, Relaxed) + 1;
                if self.in_flight.is_some() && count.is_multiple_of(self.subscribers as u64) {
                    heard.more.notify_one();
                }
            }
        };
        tokio::select! {
            heard = hearing => heard,
            () = sleep_until(times.until.into()) => Ok(()),
        }
    }
}
