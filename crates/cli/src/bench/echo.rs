//! `sockeye bench echo`: every message comes back, and how long that takes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, SinkExt as _};
use sockeye::{Error, Message, Reader, WebSocket, Writer};
use tokio::time::sleep_until;

use super::Common;
use super::payload::{Messages, Payload};
use super::report::{MESSAGES, Report};
use super::run::{self, Start, Tally, Times, exactly};

/// Send messages to a server that sends them back
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye bench echo ws://127.0.0.1:9001 --connections 200 --size 125 --pid $(pgrep -xn sockeye)
  sockeye bench echo ws://127.0.0.1:9001 --rate 20000 --duration 30s --html echo.html
  sockeye bench echo ws://127.0.0.1:9001 --in-flight 16 --json")]
pub(super) struct Echo {
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,

    /// How many messages of a connection are on their way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, conflicts_with = "rate")]
    in_flight: usize,

    /// Send this many messages a second, over all connections, whether the server keeps up or not
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

    #[command(flatten)]
    payload: Payload,

    #[command(flatten)]
    pub(super) common: Common,
}

impl Echo {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let messages = self.payload.messages()?;
        let threads = self.common.threads().min(self.connections).max(1);
        let watched = self.common.watched()?;
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, &messages, start)
            })?;
        let title = self.title(messages.size());
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
        let kind = self.payload.kind();
        format!("echo: {connections} connections, {size} bytes {kind}, {pace}")
    }

    /// Every `threads`-th connection, beginning with number `thread`.
    async fn load(
        &self,
        thread: usize,
        threads: usize,
        messages: &Messages,
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
                let flight = Flight::new(messages);
                match self.rate {
                    None => self.closed_loop(socket, flight, &times, &tally).await,
                    Some(rate) => {
                        let pace = self.pace(number, rate, &times);
                        open_loop(socket, flight, pace, &times, &tally).await
                    }
                }
            }
        });
        try_join_all(loads).await?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }

    /// The next message goes out when one has come back.
    async fn closed_loop(
        &self,
        mut socket: WebSocket,
        mut flight: Flight<'_>,
        times: &Times,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        for _ in 0..self.in_flight {
            socket.feed(flight.depart(Instant::now())).await?;
        }
        socket.flush().await?;
        while Instant::now() < times.until {
            let mut next = socket.recv().await;
            // All that has come is answered in one write.
            loop {
                flight.came_back(next, times, &mut tally.borrow_mut())?;
                socket.feed(flight.depart(Instant::now())).await?;
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

/// The messages of a connection that are on their way: each comes back in its turn.
struct Flight<'a> {
    messages: &'a Messages,
    /// When those that are out were meant to go.
    departures: VecDeque<Instant>,
    departed: usize,
    returned: usize,
}

impl<'a> Flight<'a> {
    fn new(messages: &'a Messages) -> Self {
        Self { messages, departures: VecDeque::new(), departed: 0, returned: 0 }
    }

    /// The next message, which was meant to go at this time.
    fn depart(&mut self, intended: Instant) -> Message {
        self.departures.push_back(intended);
        self.departed += 1;
        self.messages.after(self.departed - 1).clone()
    }

    /// Counts a message that came back, by the time at which it was meant to go out.
    fn came_back(
        &mut self,
        back: Option<Result<Message, Error>>,
        times: &Times,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let back = back.context("the server has closed a connection")??;
        let intended = self.departures.pop_front();
        let intended = intended.context("the server sent more than was sent to it")?;
        if back != *self.messages.after(self.returned) {
            bail!("the server does not echo: something else came back");
        }
        self.returned += 1;
        tally.message(times, intended, back.as_bytes().len());
        Ok(())
    }
}

/// Messages go out at their times, whatever comes back.
async fn open_loop(
    socket: WebSocket,
    flight: Flight<'_>,
    pace: (Instant, Duration),
    times: &Times,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let (reader, writer) = socket.split();
    let flight = RefCell::new(flight);
    tokio::select! {
        sending = send_on_time(writer, pace, times, &flight) => sending,
        reading = read_all(reader, times, tally, &flight) => reading,
    }
}

/// Sends each message at its time, however long the others take.
async fn send_on_time(
    mut writer: Writer,
    (first, interval): (Instant, Duration),
    times: &Times,
    flight: &RefCell<Flight<'_>>,
) -> anyhow::Result<()> {
    let mut due = first;
    while due < times.until {
        exactly(due).await;
        while due <= Instant::now() && due < times.until {
            let message = flight.borrow_mut().depart(due);
            writer.feed(message).await?;
            due += interval;
        }
        writer.flush().await?;
    }
    sleep_until(times.until.into()).await;
    Ok(())
}

async fn read_all(
    mut reader: Reader,
    times: &Times,
    tally: &RefCell<Tally>,
    flight: &RefCell<Flight<'_>>,
) -> anyhow::Result<()> {
    loop {
        let back = reader.recv().await;
        flight.borrow_mut().came_back(back, times, &mut tally.borrow_mut())?;
    }
}

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("write a number above 0")
}
