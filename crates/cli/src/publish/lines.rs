//! Publishing the lines of the input: many in flight, in their order.

use std::{cell::RefCell, io, time::Duration};

use anyhow::{anyhow, bail};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use sockeye::{CloseCode, Message, Reader, Writer};
use sockeye_client::internals::v1::{self, Answer as Answered};
use sockeye_server::Transport;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    ATTEMPTS, Publish, Sender,
    message::{Keys, Kind},
    window::{Answer, Window},
};
use crate::{
    channel::{Channel, Failure, backoff::Backoff},
    flags::pace::Pace,
    system::stop::Stop,
    terminal::input::{self, Separator},
    terminal::output::{OutputError, complain, print_line},
    terminal::progress::{Progress, input_length},
};

/// How many lines are read ahead of those that are sent.
const AHEAD: usize = 256;

/// What the server says of one line alone; what else it says it would say of the next one, too.
const OF_A_LINE: [&str; 3] = ["too_large: ", "bad_json: ", "this is not JSON"];

/// The lines of the input, on their way into a channel.
pub(super) struct Lines<'p> {
    channel: &'p Channel,
    kind: Kind,
    transport: Option<Transport>,
    input: mpsc::Receiver<io::Result<Vec<u8>>>,
    pace: Pace,
    keys: Keys,
    state: RefCell<LinesState>,
    signals: Signals,
}

/// What sending and receiving tell each other.
#[derive(Default)]
struct Signals {
    /// Something was answered: there may be room for a line.
    room: Notify,
    /// There are no more lines, or one was refused before it was sent.
    news: Notify,
}

/// What sending and receiving share.
struct LinesState {
    window: Window,
    /// The most bytes that the server takes for a message.
    limit: usize,
    /// Whether no more lines are to be read.
    has_ended: bool,
    outcome: LinesOutcome,
}

/// What has become of the lines so far.
struct LinesOutcome {
    published: u64,
    failed: u64,
    bytes: u64,
    progress: Progress,
    /// Positions that are to be printed.
    positions: String,
}

impl<'p> Lines<'p> {
    pub(super) fn new(publish: &Publish, channel: &'p Channel) -> anyhow::Result<Self> {
        let outcome = LinesOutcome {
            published: 0,
            failed: 0,
            bytes: 0,
            progress: Progress::new(input_length()),
            positions: String::new(),
        };
        let window = Window::new(publish.in_flight);
        let state = LinesState { window, limit: usize::MAX, has_ended: false, outcome };
        Ok(Self {
            channel,
            kind: publish.kind(),
            transport: publish.transport,
            input: input::messages(Separator::Line, AHEAD),
            pace: Pace::new(publish.rate),
            keys: Keys::new()?,
            state: RefCell::new(state),
            signals: Signals::default(),
        })
    }

    /// Publishes all of them, or those that were read before it is told to stop.
    pub(super) async fn publish(mut self, stop: &mut Stop) -> anyhow::Result<()> {
        let is_v1 = matches!(self.transport, None | Some(Transport::V1));
        if !is_v1 || !self.publish_in_flight(stop).await? {
            self.publish_one_by_one(stop).await?;
        }
        let LinesState { outcome, .. } = self.state.into_inner();
        match outcome.failed {
            0 => Ok(()),
            failed => {
                bail!("{failed} of {} lines were not published", failed + outcome.published)
            }
        }
    }

    /// Publishes by `sockeye.v1`; `false` if that does not work here and nothing was read.
    async fn publish_in_flight(&mut self, stop: &mut Stop) -> anyhow::Result<bool> {
        let (mut backoff, mut attempts, mut published) = (Backoff::default(), 0, 0);
        let mut has_worked = false;
        loop {
            let failure = match self.connection(stop, &mut has_worked).await {
                Ok(()) => return Ok(true),
                Err(failure) => failure,
            };
            let (error, retry) = match failure {
                Failure::Unreachable(error) if !has_worked => return Err(error),
                Failure::Refused(_) | Failure::Broken { .. }
                    if !has_worked && self.transport.is_none() =>
                {
                    return Ok(false);
                }
                Failure::Unreachable(error) => (error, Duration::ZERO),
                Failure::Broken { why, retry } => (anyhow!(why), retry),
                failure => return Err(failure.into_error()),
            };
            let now = self.state.borrow().outcome.published;
            if now > published {
                (published, attempts) = (now, 0);
            }
            attempts += 1;
            if attempts == ATTEMPTS {
                return Err(self.state.borrow().not_acknowledged(error));
            }
            self.state.borrow().tell_order(&error);
            tokio::select! {
                () = sleep(backoff.delay(attempts == 1, retry)) => {}
                () = stop.requested() => return Err(self.interrupted()),
            }
        }
    }

    fn interrupted(&self) -> anyhow::Error {
        match self.state.borrow().window.unanswered() {
            Some((first, last)) => {
                anyhow!("interrupted before lines {first} to {last} were all acknowledged")
            }
            None => anyhow!("interrupted before there was a connection"),
        }
    }

    /// Publishes on one connection until all is answered.
    async fn connection(&mut self, stop: &mut Stop, has_worked: &mut bool) -> Result<(), Failure> {
        let socket = tokio::select! {
            socket = v1::open_to_publish(self.channel.endpoint()) => {
                socket.map_err(|failure| self.channel.failure(failure))?
            }
            () = stop.requested() => return Err(Failure::Refused(self.interrupted().to_string())),
        };
        *has_worked = true;
        self.state.borrow_mut().window.begin();
        let (mut reader, writer) = socket.split();
        let Self { channel, kind, input, pace, keys, state, signals, .. } = self;
        let receiving = receive(&mut reader, channel, state, signals);
        let sending = async {
            let mut writer = writer.clone();
            Sending { kind, input, pace, keys, state, signals }.run(&mut writer, stop).await
        };
        let result = tokio::select! {
            result = receiving => result,
            failure = sending => Err(failure),
        };
        state.borrow_mut().outcome.print()?;
        if result.is_ok() {
            // All is acknowledged; how the connection ends makes no difference.
            let _ = timeout(Duration::from_secs(1), writer.close(CloseCode::NORMAL)).await;
        }
        result
    }

    /// Publishes each line when the one before it is acknowledged.
    async fn publish_one_by_one(&mut self, stop: &mut Stop) -> anyhow::Result<()> {
        let mut sender = Sender::new(self.channel, self.kind.clone(), self.transport)?;
        let outcome = &mut self.state.get_mut().outcome;
        let mut number = 0;
        loop {
            let line = tokio::select! {
                line = self.input.recv() => line,
                () = stop.requested() => None,
            };
            let Some(line) = line else { return Ok(()) };
            let data = Bytes::from(line.map_err(input::cannot_read)?);
            number += 1;
            self.pace.next().await;
            let length = data.len();
            match sender.send(data).await {
                Ok(at) => outcome.published(length, &at),
                Err(Failure::Refused(why)) if is_of_a_line(&why) => {
                    outcome.refused(number, length, &why);
                }
                Err(failure) => {
                    let error = failure.into_error();
                    return Err(if number == 1 { error } else { at_line(number, &error) });
                }
            }
            outcome.print()?;
        }
    }
}

/// What sends lines.
struct Sending<'s> {
    kind: &'s Kind,
    input: &'s mut mpsc::Receiver<io::Result<Vec<u8>>>,
    pace: &'s mut Pace,
    keys: &'s mut Keys,
    state: &'s RefCell<LinesState>,
    signals: &'s Signals,
}

impl Sending<'_> {
    /// Sends lines as long as there is room; ends with what keeps it from that.
    async fn run(mut self, writer: &mut Writer, stop: &mut Stop) -> Failure {
        loop {
            match self.step(writer, stop).await {
                Ok(()) => {}
                Err(failure) => return failure,
            }
        }
    }

    async fn step(&mut self, writer: &mut Writer, stop: &mut Stop) -> Result<(), Failure> {
        if let Some(command) = self.next_command() {
            return writer.feed(Message::from(command)).await.map_err(Failure::broken);
        }
        let is_to_wait = {
            let state = self.state.borrow();
            state.has_ended || !state.window.has_room()
        };
        if is_to_wait {
            flush(writer).await?;
            self.signals.room.notified().await;
            return Ok(());
        }
        let line = match self.input.try_recv() {
            Ok(line) => Some(line),
            Err(_) => {
                flush(writer).await?;
                tokio::select! {
                    line = self.input.recv() => line,
                    () = stop.requested() => None,
                }
            }
        };
        let Some(line) = line else {
            self.state.borrow_mut().has_ended = true;
            self.signals.news.notify_one();
            return Ok(());
        };
        let line = line.map_err(|error| Failure::Unreachable(input::cannot_read(error)))?;
        if self.pace.pause().is_some() {
            flush(writer).await?;
        }
        self.pace.next().await;
        self.state.borrow_mut().window.add(line, self.keys.next());
        Ok(())
    }

    /// The command for the next line that is to be sent. A line that cannot be one is refused here.
    fn next_command(&self) -> Option<String> {
        let mut state = self.state.borrow_mut();
        let LinesState { window, limit, outcome, .. } = &mut *state;
        loop {
            let line = window.next()?;
            let number = line.number;
            let why = match self.kind.command(number, &line.data, &line.key) {
                _ if line.data.len() > *limit => {
                    format!("too_large: the server takes {limit} bytes at most")
                }
                Ok(command) => return Some(command),
                Err(failure) => failure.into_error().to_string(),
            };
            window.answer(number, Answer::Refused(why));
            outcome.settle(window);
            self.signals.news.notify_one();
        }
    }
}

async fn flush(writer: &mut Writer) -> Result<(), Failure> {
    SinkExt::<Message>::flush(writer).await.map_err(Failure::broken)
}

/// Takes answers until all lines have one and there are no more lines.
async fn receive(
    reader: &mut Reader,
    channel: &Channel,
    state: &RefCell<LinesState>,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut retry = Duration::ZERO;
    loop {
        {
            let state = &mut *state.borrow_mut();
            state.outcome.settle(&mut state.window);
            if state.window.is_empty() && state.has_ended {
                return Ok(());
            }
            if state.window.has_again() && state.window.is_answered() {
                let why = state.window.why_again().unwrap_or_default();
                return Err(Failure::Broken { why: why.to_owned(), retry });
            }
        }
        signals.room.notify_one();
        let received = match reader.recv().now_or_never() {
            Some(received) => Some(received),
            None => {
                let is_waited_for = {
                    let mut state = state.borrow_mut();
                    state.outcome.print()?;
                    !state.window.is_answered()
                };
                let next = async {
                    tokio::select! {
                        received = reader.recv() => Ok(Some(received)),
                        () = signals.news.notified() => Ok(None),
                    }
                };
                if is_waited_for { channel.in_time(next).await? } else { next.await? }
            }
        };
        let Some(received) = received else { continue };
        let received = match received {
            Some(Ok(received)) => received,
            Some(Err(error)) => return Err(Failure::Broken { why: error.to_string(), retry }),
            None => return Err(channel.failure(v1::ended(reader.closed(), retry))),
        };
        match v1::answer(&received).map_err(|failure| channel.failure(failure))? {
            Answered::Bye(time) => retry = time,
            answer => state.borrow_mut().take(answer)?,
        }
    }
}

impl LinesState {
    /// The error that ends it, with the lines that it leaves.
    fn not_acknowledged(&self, error: anyhow::Error) -> anyhow::Error {
        match self.window.unanswered() {
            Some((first, last)) if first == last => {
                error.context(format!("line {first} was not acknowledged"))
            }
            Some((first, last)) => {
                error.context(format!("lines {first} to {last} were not all acknowledged"))
            }
            None => error,
        }
    }

    /// Tells of lines that come behind those that they stand before.
    fn tell_order(&self, error: &anyhow::Error) {
        for (line, before) in self.window.out_of_order() {
            self.outcome.tell(line, &format!("comes after line {before}: {error}"));
        }
    }

    /// Takes what the server says.
    fn take(&mut self, answer: Answered) -> Result<(), Failure> {
        match answer {
            Answered::Limit(limit) => self.limit = limit,
            Answered::Published(id, at) => self.window.answer(id, Answer::At(at.to_string())),
            Answered::Refused(id, problem) if problem.retry => {
                self.window.answer(id, Answer::Again(problem.message));
            }
            Answered::Refused(id, problem) if is_of_a_line(&problem.message) => {
                self.window.answer(id, Answer::Refused(problem.message));
            }
            Answered::Refused(id, problem) => {
                let why = problem.message;
                let why = if id == 1 { why } else { at_line(id, &anyhow!(why)).to_string() };
                return Err(Failure::Refused(why));
            }
            Answered::Bye(_) | Answered::Other => {}
        }
        Ok(())
    }
}

impl LinesOutcome {
    /// Takes what has an outcome out of the window.
    fn settle(&mut self, window: &mut Window) {
        while let Some((line, answer)) = window.take() {
            match answer {
                Answer::At(at) => self.published(line.data.len(), &at),
                Answer::Refused(why) | Answer::Again(why) => {
                    self.refused(line.number, line.data.len(), &why);
                }
            }
        }
    }

    fn published(&mut self, length: usize, at: &str) {
        self.published += 1;
        self.positions.push_str(at);
        self.positions.push('\n');
        self.advance(length);
    }

    fn refused(&mut self, number: u64, length: usize, why: &str) {
        self.failed += 1;
        self.tell(number, why);
        self.advance(length);
    }

    /// Says on stderr what is with a line.
    fn tell(&self, number: u64, what: &str) {
        self.progress.beside(|| complain(format_args!("sockeye: line {number}: {what}")));
    }

    fn advance(&mut self, length: usize) {
        // With what ended the line.
        self.bytes += length as u64 + 1;
        self.progress.show(self.bytes, self.published + self.failed);
    }

    /// Prints the positions that have come.
    fn print(&mut self) -> Result<(), OutputError> {
        match self.positions.pop() {
            Some(_) => print_line(&std::mem::take(&mut self.positions)),
            None => Ok(()),
        }
    }
}

fn is_of_a_line(why: &str) -> bool {
    OF_A_LINE.iter().any(|code| why.starts_with(code))
}

/// The error of a line behind which no other was sent.
fn at_line(number: u64, error: &anyhow::Error) -> anyhow::Error {
    anyhow!("line {number}: {error:#}; the lines after it were not sent")
}
