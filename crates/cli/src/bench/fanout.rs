//! `sockeye bench fanout`: one publishes, many hear it, and how long that takes to each of them.
//!
//! For any server on which what one WebSocket sends comes to all: a channel of `sockeye serve`, or
//! a server that broadcasts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::SinkExt as _;
use futures_util::future::try_join_all;
use sockeye::WebSocket;
use tokio::time::sleep_until;

use super::Common;
use super::echo::positive;
use super::report::{MESSAGES, Report};
use super::run::{self, Start, Tally, Times};
use crate::units::Size;

/// The digits at the beginning of a message that say when it was meant to leave.
const STAMP: usize = 20;

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
        let epoch = Instant::now();
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, start, epoch)
            })?;
        let Self { subscribers, publishers, rate, size, .. } = &self;
        let expected = *rate as f64 * outcome.took.as_secs_f64() * *subscribers as f64;
        let title = format!(
            "fan-out: {publishers} publishers, {subscribers} subscribers, {rate} messages/s of {} \
             bytes",
            size.0
        );
        let delivered = outcome.tally.latencies.len() as f64;
        let mut report = Report::of(&MESSAGES, title, outcome);
        report.figure("delivered of what was due", 100.0 * delivered / expected, "%");
        Ok(report)
    }

    /// Every `threads`-th subscriber, beginning with number `thread`; the first thread publishes.
    async fn load(
        &self,
        thread: usize,
        threads: usize,
        start: Start,
        epoch: Instant,
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
            async move { listen(socket, &times, epoch, &tally).await }
        });
        let publishing = publishers
            .into_iter()
            .map(|(number, socket)| self.publish(socket, number, times.clone(), epoch));
        tokio::try_join!(try_join_all(listening), try_join_all(publishing))?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }

    /// Publishes at its times, and takes what it hears itself off the socket.
    async fn publish(
        &self,
        socket: WebSocket,
        number: usize,
        times: Times,
        epoch: Instant,
    ) -> anyhow::Result<()> {
        let (mut reader, mut writer) = socket.split();
        let interval = Duration::from_secs_f64(self.publishers as f64 / self.rate as f64);
        let mut due = times.begin + interval.mul_f64(number as f64 / self.publishers as f64);
        let padding = "x".repeat(self.size.in_memory() - STAMP);
        let sending = async {
            while due < times.until {
                sleep_until(due.into()).await;
                while due <= Instant::now() && due < times.until {
                    let stamp = (due - epoch).as_nanos();
                    writer.feed(format!("{stamp:0STAMP$}{padding}").into()).await?;
                    due += interval;
                }
                writer.flush().await?;
            }
            sleep_until(times.until.into()).await;
            anyhow::Ok(())
        };
        let hearing = async {
            while let Some(message) = reader.recv().await {
                message?;
            }
            anyhow::bail!("the server has closed the connection of a publisher")
        };
        tokio::select! {
            sent = sending => sent,
            heard = hearing => heard,
        }
    }
}

/// Counts what comes, by the times that the messages carry.
async fn listen(
    mut socket: WebSocket,
    times: &Times,
    epoch: Instant,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let hearing = async {
        loop {
            let message = socket.recv().await.context("the server has closed a connection")??;
            let bytes = message.as_bytes();
            let stamp = bytes.get(..STAMP).and_then(|digits| str::from_utf8(digits).ok());
            let nanos = stamp.and_then(|digits| digits.parse().ok());
            let nanos = nanos.context("a message came that nobody of us has sent")?;
            let intended = epoch + Duration::from_nanos(nanos);
            tally.borrow_mut().message(times, intended, bytes.len());
        }
    };
    tokio::select! {
        heard = hearing => heard,
        () = sleep_until(times.until.into()) => Ok(()),
    }
}
