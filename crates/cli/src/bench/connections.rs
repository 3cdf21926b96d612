//! `sockeye bench connections`: how many stay open, how fast they open, and what each costs: idle,
//! and idle again after messages.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use sockeye::{Reader, Writer};
use tokio::sync::Barrier;

use super::Common;
use super::echo::positive;
use super::payload::{Messages, Payload};
use super::process::{Usage, Watched};
use super::report::Report;
use super::run::{self, Start, Tally};

/// How many connections of a thread have their messages under way at once.
const AT_ONCE: usize = 256;

/// Open connections and hold them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye bench connections ws://127.0.0.1:9001 --connections 10000 --pid $(pgrep -xn sockeye)
  sockeye bench connections ws://127.0.0.1:9001 --messages 1,16 --size 1k --pid 4711
  sockeye bench connections ws://127.0.0.1:8080/c/chat --duration 60s --json")]
pub(super) struct Connections {
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    connections: usize,

    /// When all have been idle, let each send N messages at once and get them back, and look at the
    /// server's memory again after another --duration; 1,16 does that once with 1 and once with 16
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = positive, requires = "pid")]
    messages: Vec<usize>,

    #[command(flatten)]
    payload: Payload,

    #[command(flatten)]
    pub(super) common: Common,
}

/// What the threads have in common.
struct Course {
    payload: Messages,
    watched: Option<Watched>,
    opened: Mutex<AllOpen>,
    /// Where the threads wait for each other between one round of messages and the next.
    between: Barrier,
    /// What the server's process holds after each round of messages, in bytes.
    memory: Mutex<Vec<u64>>,
}

/// How it was when the last connection was open.
struct AllOpen {
    at: Instant,
    usage: Option<Usage>,
}

impl Connections {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let threads = self.common.threads().min(self.connections);
        let watched = self.common.watched()?;
        let before = watched.as_ref().map(Watched::read).transpose()?;
        let begun = Instant::now();
        let course = Course {
            payload: self.payload.messages()?,
            watched,
            opened: Mutex::new(AllOpen { at: begun, usage: before }),
            between: Barrier::new(threads),
            memory: Mutex::default(),
        };
        let outcome =
            run::run(threads, self.common.window(), course.watched.as_ref(), |thread, start| {
                self.hold(thread, threads, start, &course)
            })?;
        let opened = course.opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        let memory = course.memory.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = self.connections as f64;
        let mut report = Report::new(format!("connections: {} held", self.connections));
        report.figure("opened", count / (opened.at - begun).as_secs_f64(), "connections/s");
        if let (Some(before), Some(opened), Some(idle)) = (before, opened.usage, outcome.usage) {
            let handshakes = opened.since(&before).cpu.as_secs_f64();
            report.figure("server CPU per handshake", handshakes * 1e6 / count, "µs");
            let each = |resident: u64| resident.saturating_sub(before.resident) as f64 / count;
            report.figure("server memory per connection", each(idle.resident), "bytes");
            for (messages, resident) in self.messages.iter().zip(memory) {
                let name = format!("server memory per connection after {messages}");
                report.figure(name, each(resident), "bytes");
            }
            let cores = idle.cpu.as_secs_f64() / outcome.took.as_secs_f64();
            report.figure("server CPU while they idle", 100.0 * cores, "% of a core");
        }
        let sent = self.connections * self.messages.iter().sum::<usize>();
        if let Some(bytes) = self.common.target.received().filter(|_| sent > 0) {
            report.figure("wire", bytes as f64 / sent as f64, "bytes/message");
        }
        report.latencies_of(outcome.tally.latencies);
        Ok(report)
    }

    /// Opens this thread's share, holds it through the window, and gives how long each took to open.
    async fn hold(
        &self,
        thread: usize,
        threads: usize,
        start: Start,
        course: &Course,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut held = Vec::new();
        for number in (thread..self.connections).step_by(threads) {
            let begun = Instant::now();
            held.push(self.common.target.open(number).await?.split());
            tally.note(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        course.note_opened()?;
        let times = start.all_open().await?;
        tokio::time::sleep_until(times.until.into()).await;
        let lost = held.iter().filter(|(reader, _)| reader.closed().is_some()).count();
        let mut all_well = match lost {
            0 => Ok(()),
            lost => Err(anyhow::anyhow!("{lost} connections did not stay open")),
        };
        for &count in &self.messages {
            if all_well.is_ok() {
                all_well = exchange(&mut held, &course.payload, count).await;
            }
            // A thread that has failed comes too: the others wait for all of them.
            let is_leader = course.between.wait().await.is_leader();
            if is_leader {
                tokio::time::sleep(self.common.duration).await;
                course.note_memory();
            }
            course.between.wait().await;
        }
        all_well.map(|()| tally)
    }
}

impl Course {
    /// Notes how it is now: the last thread's word stands.
    fn note_opened(&self) -> anyhow::Result<()> {
        let usage = self.watched.as_ref().map(Watched::read).transpose()?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        *opened = AllOpen { at: Instant::now(), usage };
        Ok(())
    }

    fn note_memory(&self) {
        // A process that is gone shows in the connections, too.
        if let Some(Ok(usage)) = self.watched.as_ref().map(Watched::read) {
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(usage.resident);
        }
    }
}

/// Every connection sends that many messages at once, and gets them back.
async fn exchange(
    held: &mut [(Reader, Writer)],
    messages: &Messages,
    count: usize,
) -> anyhow::Result<()> {
    let exchanges = held.iter_mut().map(|(reader, writer)| async move {
        let sending = async {
            for number in 0..count {
                writer.feed(messages.after(number).clone()).await?;
            }
            anyhow::Ok(writer.flush().await?)
        };
        let receiving = async {
            for number in 0..count {
                let back = reader.recv().await.context("the server has closed a connection")??;
                let is_echo = back == *messages.after(number);
                ensure!(is_echo, "the server does not echo: something else came back");
            }
            Ok(())
        };
        tokio::try_join!(sending, receiving).map(|_| ())
    });
    stream::iter(exchanges).buffer_unordered(AT_ONCE).try_collect().await
}
