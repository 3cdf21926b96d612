//! One connection of a session: what is sent on it, what is shown of it, and how it ends.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::pending,
    time::Duration,
};

use futures_util::SinkExt;
use sockeye::{CloseCode, CloseFrame, Closed, Message, MessageKind, Reader, WebSocket, Writer};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep_until, timeout},
};

use super::{
    awaited::Awaited,
    screen::Screen,
    source::{Next, Source},
};
use crate::{
    system::stop::Stop,
    terminal::output::{OutputError, OutputReader},
};

/// How long a server may take to close the connection of a program whose output is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// For how long nothing is sent before a program whose output is gone ends.
const IDLE: Duration = Duration::from_millis(500);

/// What outlasts a connection.
pub(super) struct Session {
    pub(super) screen: Screen,
    pub(super) source: Source,
    /// What was taken from the input and is not sent.
    pub(super) unsent: Option<Message>,
    pub(super) seen: Seen,
    /// At the end of the input, close when nothing has come for this long.
    pub(super) wait: Duration,
    pub(super) ping_interval: Option<Duration>,
    pub(super) output: OutputReader,
}

/// What has come so far.
pub(super) struct Seen {
    pub(super) awaited: RefCell<Awaited>,
    last: Cell<Instant>,
    /// Since when nothing is sent; not there while something is.
    idle_since: Cell<Option<Instant>>,
}

/// How a connection has ended.
pub(super) enum Over {
    /// This side had nothing more to do, and has closed with this code.
    Done(CloseCode, Closed),
    /// The server closed it, or it failed.
    Ended(Closed),
}

/// Why messages are shown no longer.
enum Shown {
    /// The connection is at its end.
    All,
    /// What was awaited has come.
    Enough,
}

impl Seen {
    pub(super) fn new(awaited: Awaited) -> Self {
        let now = Instant::now();
        let awaited = RefCell::new(awaited);
        Self { awaited, last: Cell::new(now), idle_since: Cell::new(Some(now)) }
    }

    /// Notes that something comes.
    pub(super) fn stir(&self) {
        self.last.set(Instant::now());
    }

    /// Notes that something is being sent, or is sent.
    pub(super) fn sends(&self, is_sending: bool) {
        self.idle_since.set((!is_sending).then(Instant::now));
    }

    /// Waits until the reader of the output has gone, and nothing was sent for a moment: what the input has is sent all
    /// the same.
    pub(super) async fn left(&self, output: &mut OutputReader) {
        output.gone().await;
        loop {
            let until = self.idle_since.get().unwrap_or_else(Instant::now) + IDLE;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Counts a message; gives whether that is enough.
    pub(super) fn count(&self, payload: &[u8]) -> bool {
        let mut awaited = self.awaited.borrow_mut();
        awaited.count(payload);
        awaited.has_come()
    }

    /// Waits until nothing has come for that while, from now on. Where something is awaited it is
    /// waited for.
    pub(super) async fn quiet(&self, wait: Duration) {
        if self.awaited.borrow().is_set() {
            return pending().await;
        }
        let now = Instant::now();
        loop {
            let until = self.last.get().max(now) + wait;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Session {
    /// Sends and shows until one of the sides has had enough.
    pub(super) async fn run(&mut self, socket: WebSocket, stop: &mut Stop) -> anyhow::Result<Over> {
        let (mut reader, writer) = socket.split();
        let (ask, asked) = mpsc::unbounded_channel();
        self.seen.sends(false);
        let Self { screen, source, unsent, seen, wait, ping_interval, output } = self;
        let sending = async {
            let sending = send_and_wait(source, unsent, &writer, (screen, seen), *wait, &ask);
            tokio::select! {
                sent = sending => sent,
                () = stop.requested() => Ok(CloseCode::NORMAL.into()),
            }
        };
        let shown = {
            let showing = show(&mut reader, screen, seen);
            tokio::pin!(showing);
            tokio::select! {
                // What has come is shown before what follows from it is said.
                biased;
                shown = &mut showing => shown,
                () = seen.left(output) => Err(OutputError::closed().into()),
                sent = sending => return close_after(sent, &writer, showing).await,
                never = ping(&writer, asked, *ping_interval, screen) => match never {},
            }
        };
        // Nothing more is shown.
        let closing = async { tokio::join!(writer.close(CloseCode::NORMAL), drain(&mut reader)).0 };
        match shown {
            Ok(Shown::All) => Ok(Over::Ended(writer.ended().await)),
            Ok(Shown::Enough) => Ok(Over::Done(CloseCode::NORMAL, closing.await)),
            Err(error) => {
                let _ = timeout(LAST_WORDS, closing).await;
                Err(error)
            }
        }
    }
}

/// Closes after the last message was sent, or could not be. What still comes is shown meanwhile.
async fn close_after(
    sent: anyhow::Result<CloseFrame>,
    writer: &Writer,
    showing: impl Future<Output = anyhow::Result<Shown>>,
) -> anyhow::Result<Over> {
    let (frame, result) = match sent {
        Ok(frame) => (frame, Ok(())),
        Err(error) => (CloseCode::NORMAL.into(), Err(error)),
    };
    let code = frame.code();
    let closing = async { Ok(writer.close(frame).await) };
    let (closed, _) = tokio::try_join!(closing, showing)?;
    result?;
    Ok(Over::Done(code, closed))
}

/// Sends what comes from the input, and waits at its end until nothing more comes. Gives the Close.
async fn send_and_wait(
    source: &mut Source,
    unsent: &mut Option<Message>,
    writer: &Writer,
    (screen, seen): (&Screen, &Seen),
    wait: Duration,
    ask: &UnboundedSender<()>,
) -> anyhow::Result<CloseFrame> {
    if let Some(frame) = send(source, unsent, writer, (screen, seen), ask).await? {
        return Ok(frame);
    }
    // The server answers what it has got.
    SinkExt::<Message>::flush(&mut writer.clone()).await?;
    seen.quiet(wait).await;
    Ok(CloseCode::NORMAL.into())
}

/// Sends what comes from the input. At its end that is `None`, or the Close that was asked for.
async fn send(
    source: &mut Source,
    unsent: &mut Option<Message>,
    writer: &Writer,
    (screen, seen): (&Screen, &Seen),
    ask: &UnboundedSender<()>,
) -> anyhow::Result<Option<CloseFrame>> {
    loop {
        if let Some(message) = unsent.clone() {
            seen.sends(true);
            if let Err(error) = writer.send(message.clone()).await {
                if writer.closed().is_none() {
                    return Err(error.into());
                }
                // What has ended the connection is told by its reader; the message is still to be sent.
                return pending().await;
            }
            screen.sent(&message)?;
            *unsent = None;
            seen.sends(false);
        }
        match source.next().await? {
            Next::Send(message) => *unsent = Some(message),
            // A person types on; in a pipe the next line may be `/close`.
            Next::Ping if source.is_typed() => drop(ask.send(())),
            Next::Ping => match writer.ping().await {
                Ok(time) => screen.note(&pong(time)),
                Err(_) => return pending().await,
            },
            Next::Close(frame) => return Ok(Some(frame)),
            Next::Interrupted => return Ok(Some(CloseCode::NORMAL.into())),
            Next::End => return Ok(None),
        }
    }
}

/// Shows messages until the connection ends or what is awaited has come.
async fn show(reader: &mut Reader, screen: &Screen, seen: &Seen) -> anyhow::Result<Shown> {
    // How it failed, if it did, is said at the end.
    while let Some(Ok(mut message)) = reader.recv_stream().await {
        let (kind, mut payload) = (message.kind(), Vec::new());
        while let Some(chunk) = message.chunk().await {
            seen.stir();
            let Ok(chunk) = chunk else { return Ok(Shown::All) };
            payload.extend_from_slice(&chunk);
        }
        seen.stir();
        let message = match kind {
            MessageKind::Binary => Message::from(payload),
            MessageKind::Text => match String::from_utf8(payload) {
                Ok(text) => text.into(),
                Err(error) => error.into_bytes().into(),
            },
        };
        screen.message(&message)?;
        if seen.count(message.as_bytes()) {
            return Ok(Shown::Enough);
        }
    }
    Ok(Shown::All)
}

/// Reads what comes, for the Close behind it.
async fn drain(reader: &mut Reader) {
    while let Some(Ok(_)) = reader.recv().await {}
}

/// Sends pings, in an interval or when asked to, and says how long their pongs took.
async fn ping(
    writer: &Writer,
    mut asked: UnboundedReceiver<()>,
    interval: Option<Duration>,
    screen: &Screen,
) -> Infallible {
    let mut next = interval.map(|interval| Instant::now() + interval);
    loop {
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => next = interval.map(|interval| Instant::now() + interval),
            Some(()) = asked.recv() => {}
        }
        match writer.ping().await {
            Ok(time) => screen.note(&pong(time)),
            Err(_) => return pending().await,
        }
    }
}

/// What is said of a pong.
fn pong(time: Duration) -> String {
    format!("* pong in {:.3} ms", time.as_secs_f64() * 1000.0)
}
