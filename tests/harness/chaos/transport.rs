//! Four transports, each as a bare client of its own, where no code of ours is under this test but the server's; and the
//! clients for Rust, JavaScript and Python, by any of their transports.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use sockeye_client::{Client, Item};

use super::CHANNEL;
use crate::script::{Script, folder, python};
use sockeye_testing::frame::{Frame, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::{Head, request_with};

/// A position in a channel's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: String,
    pub(super) offset: u64,
}

/// What a transport brings.
#[derive(Debug)]
pub(super) enum Event {
    Message { at: Position, id: String },
    Gap(Value),
}

/// How a stretch is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Poll,
    LongPoll,
    EventStream,
    WebSocket,
    /// The client for Rust: by one of its transports, or by what gets through.
    RustClient,
    /// The same of the client for JavaScript, in Node.
    JavaScriptClient,
    /// The same of the client for Python.
    PythonClient,
}

/// A language that there is a client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The crate `sockeye-client`.
    Rust,
    /// `clients/js`, in Node.
    JavaScript,
    /// `clients/python`.
    Python,
}

/// An argument that names no [`Language`].
#[derive(Debug)]
pub struct UnknownLanguage;

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(word: &str) -> Result<Self, UnknownLanguage> {
        match word {
            "rust" => Ok(Self::Rust),
            "javascript" => Ok(Self::JavaScript),
            "python" => Ok(Self::Python),
            _ => Err(UnknownLanguage),
        }
    }
}

/// The transports of the clients for JavaScript and Python; after the last comes what gets through.
const WORDS: [&str; 4] = ["v1", "sse", "longpoll", "poll"];

/// How long a stretch waits for more before the reader hops on.
const SILENCE: Duration = Duration::from_secs(1);

impl Transport {
    pub(super) const COUNT: usize = 7;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Poll,
        Self::LongPoll,
        Self::EventStream,
        Self::WebSocket,
        Self::RustClient,
        Self::JavaScriptClient,
        Self::PythonClient,
    ];

    /// The bare ones, and the clients for these languages.
    pub(super) fn with_clients_for(languages: &[Language]) -> Vec<Self> {
        let is_in = |transport: &Self| match transport {
            Self::RustClient => languages.contains(&Language::Rust),
            Self::JavaScriptClient => languages.contains(&Language::JavaScript),
            Self::PythonClient => languages.contains(&Language::Python),
            _ => true,
        };
        Self::ALL.into_iter().filter(is_in).collect()
    }

    /// Reads from behind `after` until `deliver` has enough, nothing more comes, or it breaks. The lot says which of its
    /// transports a client takes.
    pub(super) fn read(
        self,
        url: &str,
        after: &str,
        lot: u32,
        deliver: &mut dyn FnMut(Event) -> bool,
    ) -> io::Result<()> {
        match self {
            Self::Poll => poll(&format!("{url}/c/{CHANNEL}?after={after}&limit=1000"), deliver),
            Self::LongPoll => poll(&format!("{url}/c/{CHANNEL}?after={after}&wait=1"), deliver),
            Self::EventStream => event_stream(url, after, deliver),
            Self::WebSocket => websocket(url, after, deliver),
            Self::RustClient => rust_client(url, after, lot, deliver),
            Self::JavaScriptClient => {
                let mut node = Command::new("node");
                node.arg(folder().join("harness/chaos/reader.mjs"));
                script(&mut node, url, after, lot, deliver)
            }
            Self::PythonClient => {
                let mut reader = Command::new(python());
                reader.arg(folder().join("harness/chaos/reader.py"));
                reader.env("PYTHONPATH", folder().join("../clients/python/src"));
                reader.env("PYTHONDONTWRITEBYTECODE", "1");
                script(&mut reader, url, after, lot, deliver)
            }
        }
    }
}

/// An HTTP client that gives any status as an answer, and gives up after `timeout`.
pub(super) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).timeout_global(Some(timeout)).build().into()
}

/// The channel's position.
pub(super) fn end(url: &str) -> Option<Position> {
    let answer = agent(SILENCE).head(format!("{url}/c/{CHANNEL}")).call().ok()?;
    let etag = answer.headers().get("etag")?.to_str().ok()?;
    Position::parse(etag.trim_matches('"'))
}

fn poll(url: &str, deliver: &mut dyn FnMut(Event) -> bool) -> io::Result<()> {
    let mut answer = agent(SILENCE * 5).get(url).call().map_err(io::Error::other)?;
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_string();
    let body: Value = serde_json::from_str(&body.map_err(io::Error::other)?)?;
    if let Some(gap) = body.get("gap") {
        deliver(Event::Gap(gap.clone()));
    }
    // A poll is one answer: all of it has come, however much the reader wanted.
    for message in body["messages"].as_array().ok_or_else(|| unexpected(&body))? {
        deliver(event(message)?);
    }
    Ok(())
}

fn event_stream(url: &str, after: &str, deliver: &mut dyn FnMut(Event) -> bool) -> io::Result<()> {
    let request = agent(SILENCE * 3).get(format!("{url}/c/{CHANNEL}?after={after}&meta=1"));
    let answer = request.header("Accept", "text/event-stream").call().map_err(io::Error::other)?;
    if answer.status() != 200 {
        return Err(io::Error::other(format!("status {}", answer.status())));
    }
    let mut data = String::new();
    for line in BufReader::new(answer.into_body().into_reader()).lines() {
        let line = line?;
        if let Some(more) = line.strip_prefix("data:") {
            data.push_str(more.strip_prefix(' ').unwrap_or(more));
        } else if line.is_empty() && !data.is_empty() {
            let json: Value = serde_json::from_str(&data)?;
            data.clear();
            if !deliver(event(&json)?) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `sockeye.v1` on the channel's own URL.
fn websocket(url: &str, after: &str, deliver: &mut dyn FnMut(Event) -> bool) -> io::Result<()> {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let path = format!("/c/{CHANNEL}?after={after}");
    let request = request_with(&path, "Sec-WebSocket-Protocol: sockeye.v1\r\n");
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?;
    if head.status() != 101 {
        return Err(io::Error::other(head.first_line));
    }
    loop {
        let frame = match Frame::read(&mut reader) {
            Ok(frame) => frame,
            // Nothing more comes for now.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        match frame.first {
            PING => reader.get_mut().write_all(&masked(PONG, &frame.payload))?,
            TEXT => {
                let json: Value = serde_json::from_slice(&frame.payload)?;
                let is_news = json.get("at").is_some() || json.get("gap").is_some();
                if is_news && json.get("hello").is_none() && !deliver(event(&json)?) {
                    return Ok(());
                }
            }
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// The client for Rust, which goes on by itself when it breaks.
fn rust_client(
    url: &str,
    after: &str,
    lot: u32,
    deliver: &mut dyn FnMut(Event) -> bool,
) -> io::Result<()> {
    let all = sockeye_client::Transport::ALL;
    let mut client = Client::builder(url).poll_interval(Duration::from_millis(50));
    // None of them means what gets through.
    if let Some(transport) = all.get(lot as usize % (all.len() + 1)) {
        client = client.transports([*transport]);
    }
    let client = client.build().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut messages = client.subscribe(CHANNEL).after(after).buffer(64);
        loop {
            let Ok(item) = tokio::time::timeout(SILENCE, messages.next()).await else {
                // Nothing more comes for now.
                return Ok(());
            };
            let event = match item.transpose().map_err(io::Error::other)? {
                Some(Item::Message(message)) => {
                    let json: Value = message.json()?;
                    let id = json["id"].as_str().ok_or_else(|| unexpected(&json))?.to_owned();
                    let at =
                        Position::parse(message.position()).ok_or_else(|| unexpected(&json))?;
                    Event::Message { at, id }
                }
                Some(Item::Gap(gap)) => Event::Gap(serde_json::to_value(gap)?),
                other => return Err(io::Error::other(format!("not a message: {other:?}"))),
            };
            if !deliver(event) {
                return Ok(());
            }
        }
    })
}

/// A client of another language, in a process of its own.
fn script(
    command: &mut Command,
    url: &str,
    after: &str,
    lot: u32,
    deliver: &mut dyn FnMut(Event) -> bool,
) -> io::Result<()> {
    command.args([url, CHANNEL, after]);
    command.args(WORDS.get(lot as usize % (WORDS.len() + 1)));
    let mut reader = Script::spawn(command);
    // Its beginning takes the longer the more the machine has to do.
    let mut patience = SILENCE * 10;
    while let Some(json) = reader.report_within(patience)? {
        if !deliver(event(&json)?) {
            break;
        }
        patience = SILENCE;
    }
    Ok(())
}

/// A message or a gap from its JSON, the same on every transport.
fn event(json: &Value) -> io::Result<Event> {
    if let Some(gap) = json.get("gap") {
        return Ok(Event::Gap(gap.clone()));
    }
    let id = json["data"]["id"].as_str().ok_or_else(|| unexpected(json))?;
    let at = Position::of(json).ok_or_else(|| unexpected(json))?;
    Ok(Event::Message { at, id: id.to_owned() })
}

fn unexpected(json: &Value) -> io::Error {
    io::Error::other(format!("not what the interface says: {json}"))
}

impl Position {
    /// The `at` of a JSON object.
    pub(super) fn of(json: &Value) -> Option<Self> {
        Self::parse(json["at"].as_str()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('.')?;
        Some(Self { epoch: epoch.to_owned(), offset: offset.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}
