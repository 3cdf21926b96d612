//! `sockeye bench echo`: every message comes back, and how long that takes.

use std::cell::RefCell;
use std::collections::VecDeque;
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

    #[command(flatten)]
    pub(super) common: Common,
}

impl Echo {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let threads = self.common.threads().min(self.connections).max(1);
        let watched = self.common.watched()?;
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, start)
            })?;
        Ok(Report::of(&MESSAGES, self.title(), outcome))
    }

    fn title(&self) -> String {
        let Self { connections, size, in_flight, rate, .. } = self;
        let pace = match rate {
            Some(rate) => format!("{rate} messages/s"),
            None => format!("{in_flight} in flight on each"),
        };
        let kind = if self.text { "text" } else { "binary" };
        format!("echo: {connections} connections, {} bytes {kind}, {pace}", size.0)
    }

    /// Every `threads`-th connection, beginning with number `thread`.
    async fn load(&self, thread: usize, threads: usize, start: Start) -> anyhow::Result<Tally> {
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
                    None => self.closed_loop(socket, &times, &tally).await,
                    Some(rate) => self.open_loop(socket, number, rate, &times, &tally).await,
                }
            }
        });
        try_join_all(loads).await?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }

    fn message(&self) -> Message {
        let payload = "x".repeat(self.size.in_memory());
        if self.text { Message::from(payload) } else { Message::from(payload.into_bytes()) }
    }

    /// The next message goes out when one has come back.
    async fn closed_loop(
        &self,
        mut socket: WebSocket,
        times: &Times,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let message = self.message();
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
                self.came_back(next, &mut sent, times, &mut tally.borrow_mut())?;
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

    /// Messages go out at their times, whatever comes back.
    async fn open_loop(
        &self,
        socket: WebSocket,
        number: usize,
        rate: u64,
        times: &Times,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let (reader, writer) = socket.split();
        let sent = RefCell::new(VecDeque::new());
        // The connections take turns within the interval.
        let interval = Duration::from_secs_f64(self.connections as f64 / rate.max(1) as f64);
        let first = times.begin + interval.mul_f64(number as f64 / self.connections as f64);
        tokio::select! {
            sending = self.send_on_time(writer, first, interval, times, &sent) => sending?,
            reading = self.read_all(reader, times, tally, &sent) => reading?,
        }
        Ok(())
    }

    async fn send_on_time(
        &self,
        mut writer: Writer,
        first: Instant,
        interval: Duration,
        times: &Times,
        sent: &RefCell<VecDeque<Instant>>,
    ) -> anyhow::Result<()> {
        let message = self.message();
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
        &self,
        mut reader: Reader,
        times: &Times,
        tally: &RefCell<Tally>,
        sent: &RefCell<VecDeque<Instant>>,
    ) -> anyhow::Result<()> {
        loop {
            let message = reader.recv().await;
            self.came_back(message, &mut sent.borrow_mut(), times, &mut tally.borrow_mut())?;
        }
    }

    fn came_back(
        &self,
        message: Option<Result<Message, sockeye::Error>>,
        sent: &mut VecDeque<Instant>,
        times: &Times,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let message = message.context("the server has closed a connection")??;
        let came = message.as_bytes().len();
        let intended = sent.pop_front().context("the server sent more than was sent to it")?;
        if came != self.size.in_memory() {
            bail!("the server does not echo: {came} bytes came back, not {}", self.size.0);
        }
        tally.message(times, intended, came);
        Ok(())
    }
}

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("write a number above 0")
}
