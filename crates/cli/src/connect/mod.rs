//! `sockeye connect`: a WebSocket client for people and pipes.

mod awaited;
mod by_transport;
mod frames;
mod handshake;
mod hex;
mod json;
mod screen;
mod session;
mod source;
mod transcript;
mod typed;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use anyhow::{anyhow, bail};
use clap::{ArgAction, Args};
use sockeye::{
    Closed,
    reconnect::{Backoff, Decision, Down},
};
use sockeye_server::Transport;
use tokio::time::{Instant, sleep, timeout};

use self::{
    awaited::Awaited,
    screen::{Form, Screen},
    session::{Over, Seen, Session},
    source::{InputOptions, Source},
    transcript::Transcript,
};
use crate::{
    channel::transport,
    flags::request::{Request, url},
    flags::route::Route,
    flags::units::{Size, Time, deadline, number, some_size, time},
    system::stop::Stop,
    terminal::input::{self, Separator},
    terminal::output::{OutputError, OutputReader, complain},
    terminal::prompt::Prompt,
};

/// Open a WebSocket: type and see, or pipe in and out
///
/// On a terminal each line typed is sent as a text message and messages are shown as they come, above
/// the line that is being typed. Lines that begin with a slash are commands: /help lists them, and
/// //text sends a line that begins with a slash. Ctrl-D closes.
///
/// In a pipe each line of the input is sent as a text message and each message is printed as a line; at
/// the end of the input it listens until nothing has come for --wait, closes with 1000, and prints
/// what still comes. With --expect or -n it waits for that instead.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sockeye connect ws://127.0.0.1:8080/c/chat
  echo hello | sockeye connect ws://127.0.0.1:9001
  echo hello | sockeye connect --expect hello --timeout 5s ws://127.0.0.1:9001
  sockeye connect -n 1 'ws://127.0.0.1:8080/c/chat?after=-1' < /dev/null
  sockeye connect --json -t --wait 1s 'ws://127.0.0.1:8080/c/chat?after=-3' < /dev/null
  sockeye connect -vv --ping-interval 1s --wait 2s ws://127.0.0.1:9001 < /dev/null
  sockeye connect --whole --binary ws://127.0.0.1:9001 < picture.png > same.png
  find . -name '*.png' -print0 | sockeye connect --null ws://127.0.0.1:9001 | xargs -0 ls
  printf 'a\\n/ping\\n/close 4000 bye\\n' | sockeye connect --commands ws://127.0.0.1:9001
  echo 'ff 00' | sockeye connect --hex ws://127.0.0.1:9001
  echo hello | sockeye connect --log session.jsonl ws://127.0.0.1:9001
  sockeye connect --replay session.jsonl ws://127.0.0.1:9001
  sockeye connect --reconnect --ping-interval 25s ws://127.0.0.1:9001
  echo hello | sockeye connect --transport sse http://127.0.0.1:8080/c/chat
  echo hello | sockeye connect --http2 --cacert authority.pem wss://localhost:9443/c/chat
  sockeye connect -v -H 'Cookie: id=1' ws://127.0.0.1:9001 < /dev/null

Exit status: 0 when the connection was closed in order (and what --expect or -n asks for has come), 1
when not, 2 on wrong usage.")]
pub(crate) struct Connect {
    /// Where to connect to: ws://HOST[:PORT]/PATH, or wss://; with --transport also http:// or https://
    #[arg(value_parser = url)]
    url: String,

    #[command(flatten)]
    request: Request,

    /// Offer compression (permessage-deflate)
    #[arg(long)]
    compressed: bool,

    /// Open it on an HTTP/2 connection (RFC 8441): with wss:// where the server agrees, with ws:// at once
    #[arg(long, conflicts_with = "location")]
    http2: bool,

    /// Read and write a channel of Sockeye's by this transport; ws is the WebSocket that is used without it
    #[arg(long, value_name = "TRANSPORT", value_parser = transport::any())]
    #[arg(conflicts_with_all = ["compressed", "http2", "location", "reconnect", "ping_interval", "subprotocol"])]
    transport: Option<Transport>,

    /// Connect again, after a growing delay, when the connection breaks or cannot be opened
    #[arg(long)]
    reconnect: bool,

    /// Send each line as a binary message; without it the input has to be UTF-8
    #[arg(long)]
    binary: bool,

    /// Write all messages in hexadecimal, and read lines like that, to send as binary messages
    #[arg(long, conflicts_with = "binary")]
    hex: bool,

    /// Send all of the input as one message, and print messages as they are, with no line break behind them
    #[arg(long, conflicts_with = "null")]
    whole: bool,

    /// Messages end with a NUL and not with a line break, in the input and in the output
    #[arg(short = '0', long)]
    null: bool,

    /// Take lines that begin with a slash for commands in a pipe, too
    #[arg(long)]
    commands: bool,

    /// Show JSON on several lines
    #[arg(long, conflicts_with = "hex")]
    json: bool,

    /// Show the time (UTC) before each message
    #[arg(short, long)]
    timestamps: bool,

    /// Write a transcript of all messages to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Send again what was sent in this transcript, with its timing, in the place of the input
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["binary", "hex", "whole", "null", "commands"])]
    replay: Option<PathBuf>,

    /// Send pings in this interval, and say how long their pongs took
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    ping_interval: Option<Time>,

    /// End when a message with this text has come; fail if the connection ends before
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,

    /// End after N messages, or N with the text of --expect; fail if the connection ends before
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>)]
    count: Option<u64>,

    /// Fail when it takes longer than this
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    timeout: Option<Time>,

    /// At the end of the input, close when nothing has come for this long
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    wait: Duration,

    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    connect_timeout: Time,

    /// The largest message to accept, and the largest file to /send
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = some_size)]
    max_message: Size,

    /// The most frames that one message may come in
    #[arg(long, value_name = "N", default_value_t = 65536)]
    #[arg(value_parser = number::<usize>)]
    max_fragments: usize,

    #[command(flatten)]
    route: Route,

    /// Follow redirects, up to ten
    #[arg(short = 'L', long)]
    location: bool,

    /// Show the handshake and the close, on stderr; twice (-vv) each frame, too
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// How many lines are read ahead of those that are sent: a slow server is not to be drowned.
const AHEAD: usize = 16;

/// Codes that say that all is well.
const ORDERLY: [u16; 3] = [1000, 1001, 1005];

impl Connect {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(self.converse_in_time());
        // The thread that reads the input may be waiting for a line that is not wanted any more.
        runtime.shutdown_background();
        result
    }

    async fn converse_in_time(&self) -> anyhow::Result<()> {
        let transcript = self.log.as_deref().map(Transcript::create).transpose()?;
        let screen = Screen::new(self.form(), transcript);
        let mut session = self.session(&screen);
        let mut stop = Stop::with_deadline()?;
        let conversing = async {
            match self.transport {
                None | Some(Transport::Ws) => self.converse(&mut session, &mut stop).await,
                Some(transport) => self.converse_by(transport, &mut session, &mut stop).await,
            }
        };
        let result = match self.timeout {
            Some(Time(limit)) => {
                let late = |_| anyhow!("--timeout: it takes more than {}", Time(limit));
                timeout(limit, conversing).await.map_err(late)
            }
            None => Ok(conversing.await),
        };
        screen.close_prompt();
        result.unwrap_or_else(|late| {
            let awaited = session.seen.awaited.borrow();
            Err(if awaited.is_set() { late.context(awaited.to_string()) } else { late })
        })
    }

    fn form(&self) -> Form {
        let has_extras = self.hex || self.json || self.timestamps;
        let end = match (self.whole && !has_extras, self.null) {
            (true, _) => None,
            (_, true) => Some(0),
            _ => Some(b'\n'),
        };
        Form { json: self.json, timestamps: self.timestamps, hex: self.hex, end }
    }

    fn session(&self, screen: &Screen) -> Session {
        let is_typed = io::stdin().is_terminal();
        let reading = InputOptions {
            binary: self.binary,
            hex: self.hex,
            commands: self.commands || is_typed && !self.whole && !self.null,
            is_typed,
            max_file: self.max_message.0,
        };
        Session {
            screen: screen.clone(),
            source: Source::new(reading, screen.clone()),
            unsent: None,
            seen: Seen::new(Awaited::new(self.expect.clone(), self.count)),
            wait: self.wait,
            ping_interval: self.ping_interval.map(|Time(interval)| interval),
            output: OutputReader::watch(),
        }
    }

    /// Connects, once or again and again.
    async fn converse(&self, session: &mut Session, stop: &mut Stop) -> anyhow::Result<()> {
        let (backoff, mut failures) = (Backoff::default(), 0);
        loop {
            let begun = Instant::now();
            let opened = tokio::select! {
                opened = self.open(&session.screen) => opened?,
                () = stop.requested() => bail!("interrupted before there was a connection"),
                () = session.source.interrupted() => bail!("interrupted while there was no connection"),
            };
            let down = match opened {
                Err(error) => Down::NotOpened(error),
                Ok(opened) => {
                    session.screen.opened(self.name())?;
                    self.begin_reading(&mut session.source, &session.screen)?;
                    let over = session.run(opened.socket, stop).await?;
                    let (Over::Done(_, closed) | Over::Ended(closed)) = &over;
                    session.screen.closed(closed)?;
                    match over {
                        Over::Done(code, closed) => {
                            return self.conclude(&closed, code.as_u16(), session);
                        }
                        Over::Ended(closed) => Down::Closed(closed),
                    }
                }
            };
            let delay = match down.decision() {
                _ if !self.reconnect => return self.give_up(down, session),
                Decision::Final => return self.give_up(down, session),
                Decision::Retry => Duration::ZERO,
                Decision::RetryAfter(delay) => delay,
            };
            failures = if begun.elapsed() > backoff.stable_after { 1 } else { failures + 1 };
            let delay = backoff.delay(failures, delay);
            let seconds = delay.as_secs_f64();
            session.screen.note(&format!("* {down}; connecting again in {seconds:.1} s"));
            tokio::select! {
                () = sleep(delay) => {}
                () = stop.requested() => bail!("interrupted while there was no connection"),
                () = session.source.interrupted() => bail!("interrupted while there was no connection"),
                () = session.output.gone() => return Err(OutputError::closed().into()),
            }
        }
    }

    /// Reads the input, from the first connection on.
    fn begin_reading(&self, source: &mut Source, screen: &Screen) -> anyhow::Result<()> {
        if source.is_open() {
            return Ok(());
        }
        if let Some(path) = &self.replay {
            source.replay(transcript::sent(path)?);
            return Ok(());
        }
        let separator = match (self.whole, self.null) {
            (true, _) => Separator::End,
            (_, true) => Separator::Nul,
            _ => Separator::Line,
        };
        let has_prompt =
            separator == Separator::Line && io::stdin().is_terminal() && io::stdout().is_terminal();
        if has_prompt {
            let (lines, prompt) = Prompt::open()?;
            screen.set_prompt(prompt);
            source.read_lines(lines);
        } else {
            source.read_lines(input::messages(separator, AHEAD));
        }
        Ok(())
    }

    /// Says how it ended, if asked to or if it did not end well.
    fn conclude(&self, closed: &Closed, own: u16, session: &Session) -> anyhow::Result<()> {
        session.screen.close_prompt();
        let code = closed.code();
        let awaited = session.seen.awaited.borrow();
        let is_missed = awaited.is_set() && !awaited.has_come();
        if !closed.is_clean() || !ORDERLY.contains(&code) && code != own {
            return Err(match is_missed {
                true => anyhow!("{closed}").context(awaited.to_string()),
                false => anyhow!("{closed}"),
            });
        }
        if self.verbose > 0 {
            complain(format_args!("* {closed}"));
        }
        if is_missed {
            bail!("{awaited}: {closed}");
        }
        Ok(())
    }

    /// Ends with what has ended the connection, or kept it from being opened.
    fn give_up(&self, down: Down, session: &Session) -> anyhow::Result<()> {
        match down {
            Down::Closed(closed) => self.conclude(&closed, 1000, session),
            Down::NotOpened(error) => Err(self.not_opened(error)),
            Down::Failed(error) => Err(error.into()),
        }
    }
}
