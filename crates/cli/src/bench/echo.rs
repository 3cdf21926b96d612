//! `sockeye bench echo`: every message comes back, and how long that takes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, SinkExt as _};
use sockeye::{Message, Reader, WebSocket, Writer};
use tokio::time::sleep_until;

use super::Common;
use super::report::{MESSAGES, Report};
use super::run::{self, Start, Tally, Times};
use crate::units::Size;

/// Send messages to a server that sends them back
#[derive(Debug, Args)]
pub(super) struct Echo {
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,

    /// How large each message is
    #[arg(long, value_name = "SIZE", default_value = "125")]
    size: Size,

    /// How many messages of a connection are on their way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, conflicts_with = "rate")]
    in_flight: usize,

    /// Send so many messages a second, over all connections, whether the server keeps up or not
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,

    /// Send what is in this file instead of a row of x
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) common: Common,
}

impl Echo {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let message = self.message()?;
        let threads = self.common.threads().min(self.connections).max(1);
        let watched = self.common.watched()?;
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, &message, start)
            })?;
        let title = self.title(message.as_bytes().len());
        let all = outcome.tally.all;
        let mut report = Report::of(&MESSAGES, title, outcome);
        if let Some(bytes) = self.common.target.received() {
            report.figure("wire", bytes as f64 / all.max(1) as f64, "bytes/message");
        }
        Ok(report)
    }

    fn title(&self, size: usize) -> String {
        let Self { connections, in_flight, rate, .. } = self;
        let pace = match rate {
            Some(rate) => format!("{rate} messages/s"),
            None => format!("{in_flight} in flight on each"),
        };
        let kind = if self.text { "text" } else { "binary" };
        format!("echo: {connections} connections, {size} bytes {kind}, {pace}")
    }

    /// Every `threads`-th connection, beginning with number `thread`.
    async fn load(
        &self,
        thread: usize,
        threads: usize,
        message: &Message,
        start: Start,
    ) -> anyhow::Result<Tally> {
        let numbers = (thread..self.connections).step_by(threads);
        let mut sockets = Vec::new();
        for number in numbers {
            sockets.push((number, self.common.target.open(number).await?));
        }
        let times = start.all_open().await?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let loads = sockets.into_iter().map(|(number, socket)| {
            let tally = Rc::clone(&tally);
            let times = times.clone();
            async move {
                match self.rate {
                    None => self.closed_loop(socket, message, &times, &tally).await,
                    Some(rate) => {
                        let pace = self.pace(number, rate, &times);
                        open_loop(socket, message, pace, &times, &tally).await
                    }
                }
            }
        });
        try_join_all(loads).await?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }

    fn message(&self) -> anyhow::Result<Message> {
        let payload = match &self.file {
            Some(path) => {
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => vec![b'x'; self.size.in_memory()],
        };
        Ok(match self.text {
            true => Message::from(String::from_utf8(payload).context("--text wants UTF-8")?),
            false => Message::from(payload),
        })
    }

    /// The next message goes out when one has come back.
    async fn closed_loop(
        &self,
        mut socket: WebSocket,
        message: &Message,
        times: &Times,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let mut sent = VecDeque::new();
        for _ in 0..self.in_flight {
            sent.push_back(Instant::now());
            socket.feed(message.clone()).await?;
        }
        socket.flush().await?;
        while Instant::now() < times.until {
            let mut next = socket.recv().await;
            // All that has come is answered in one write.
            loop {
                came_back(next, message, &mut sent, times, &mut tally.borrow_mut())?;
                sent.push_back(Instant::now());
                socket.feed(message.clone()).await?;
                match socket.recv().now_or_never() {
                    Some(more) => next = more,
                    None => break,
                }
            }
            socket.flush().await?;
        }
        Ok(())
    }

    /// When connection number `number` begins, and how long it waits between messages: the
    /// connections take turns.
    fn pace(&self, number: usize, rate: u64, times: &Times) -> (Instant, Duration) {
        let interval = Duration::from_secs_f64(self.connections as f64 / rate.max(1) as f64);
        (times.begin + interval.mul_f64(number as f64 / self.connections as f64), interval)
    }
}

/// Messages go out at their times, whatever comes back.
async fn open_loop(
    socket: WebSocket,
    message: &Message,
    pace: (Instant, Duration),
    times: &Times,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let (reader, writer) = socket.split();
    let sent = RefCell::new(VecDeque::new());
    tokio::select! {
        sending = send_on_time(writer, message, pace, times, &sent) => sending,
        reading = read_all(reader, message, times, tally, &sent) => reading,
    }
}

/// Sends each message at its time, however long the others take.
async fn send_on_time(
    mut writer: Writer,
    message: &Message,
    (first, interval): (Instant, Duration),
    times: &Times,
    sent: &RefCell<VecDeque<Instant>>,
) -> anyhow::Result<()> {
    let mut due = first;
    while due < times.until {
        sleep_until(due.into()).await;
        while due <= Instant::now() && due < times.until {
            sent.borrow_mut().push_back(due);
            writer.feed(message.clone()).await?;
            due += interval;
        }
        writer.flush().await?;
    }
    sleep_until(times.until.into()).await;
    Ok(())
}

async fn read_all(
    mut reader: Reader,
    message: &Message,
    times: &Times,
    tally: &RefCell<Tally>,
    sent: &RefCell<VecDeque<Instant>>,
) -> anyhow::Result<()> {
    loop {
        let back = reader.recv().await;
        came_back(back, message, &mut sent.borrow_mut(), times, &mut tally.borrow_mut())?;
    }
}

/// Counts a message that came back, by the time at which it was meant to go out.
fn came_back(
    back: Option<Result<Message, sockeye::Error>>,
    message: &Message,
    sent: &mut VecDeque<Instant>,
    times: &Times,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let back = back.context("the server has closed a connection")??;
    let intended = sent.pop_front().context("the server sent more than was sent to it")?;
    if back != *message {
        bail!("the server does not echo: something else came back");
    }
    tally.message(times, intended, back.as_bytes().len());
    Ok(())
}

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("write a number above 0")
}
