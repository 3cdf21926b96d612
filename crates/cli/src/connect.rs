//! `sockeye connect`: a WebSocket client for people and pipes.

use std::{
    cell::Cell,
    env,
    fmt::Write as _,
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use futures_util::SinkExt;
use http::{
    HeaderName, HeaderValue, Response,
    header::{AUTHORIZATION, ORIGIN},
};
use sockeye::{
    Address, AddressError, Client, CloseCode, Closed, Config, ConnectError, DeflateConfig, Message,
    MessageKind, Opened, Reader, ResponseError, Writer,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    explain,
    output::{complain, print_with},
    prompt::Prompt,
    stop::Stop,
    units::{Size, Time, deadline, number, some_size, time},
    visible,
    way::Way,
};

/// Open a WebSocket: type and see, or pipe in and out
///
/// On a terminal each line typed is sent as a text message and messages are shown as they come;
/// Ctrl-D closes. In a pipe each line of the input is sent as a text message and each message is
/// printed as a line; at the end of the input it listens until nothing has come for --wait, closes
/// with 1000, and prints what still comes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye connect ws://127.0.0.1:8080/c/chat
  echo hello | sockeye connect ws://127.0.0.1:9001
  sockeye connect --wait 10s ws://127.0.0.1:8080/c/chat < /dev/null
  sockeye connect --cacert authority.pem -x socks5h://127.0.0.1:1080 wss://internal.example
  sockeye connect --token eyJhbGciOi... ws://127.0.0.1:8080/c/chat
  sockeye connect -v -H 'Cookie: id=1' ws://127.0.0.1:9001")]
pub(crate) struct Connect {
    /// Where to connect to: ws://HOST[:PORT]/PATH, or wss://
    #[arg(value_parser = url)]
    url: String,

    /// Add a header to the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Offer a subprotocol; may be given several times, the preferred one first
    #[arg(short, long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Say which page this pretends to be on
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<HeaderValue>,

    /// Offer compression (permessage-deflate)
    #[arg(long)]
    compressed: bool,

    /// Show this access token; for a channel (/c/NAME) SOCKEYE_TOKEN in the environment says it, too
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// Authenticate with a name and a password (basic authentication)
    #[arg(short, long, value_name = "NAME:PASSWORD", conflicts_with = "token")]
    user: Option<String>,

    /// Send each line as a binary message; without it the input has to be UTF-8
    #[arg(long)]
    binary: bool,

    /// At the end of the input, close when nothing has come for this long
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    wait: Duration,

    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    connect_timeout: Time,

    /// The largest message to accept
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = some_size)]
    max_message: Size,

    /// The most frames that one message may come in
    #[arg(long, value_name = "N", default_value_t = 65536)]
    #[arg(value_parser = number::<usize>)]
    max_fragments: usize,

    #[command(flatten)]
    way: Way,

    /// Follow redirects, up to ten
    #[arg(short = 'L', long)]
    location: bool,

    /// Show the handshake and the close, on stderr
    #[arg(short, long)]
    verbose: bool,
}

impl Connect {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(self.talk());
        // The thread that reads the input may be waiting for a line that nobody wants any more.
        runtime.shutdown_background();
        result
    }

    async fn talk(self) -> anyhow::Result<()> {
        let mut stop = Stop::with_deadline()?;
        let (reader, writer) = self.open().await?.socket.split();
        let (lines, output) = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let (lines, prompt) = Prompt::open()?;
            (lines, Output::Prompt(prompt))
        } else {
            (piped_lines(), Output::Pipe)
        };
        let closed = {
            let last_came = Cell::new(Instant::now());
            let quiet = Quiet { last_came: &last_came, wait: self.wait };
            let sending = send_lines(lines, &writer, self.binary, quiet, &mut stop);
            let printing = print_messages(reader, output, &last_came);
            tokio::pin!(sending, printing);
            tokio::select! {
                result = &mut printing => {
                    result?;
                    writer.closed()
                }
                result = &mut sending => {
                    // What still comes is printed while the connection closes.
                    let closing = async { Ok(writer.close(CloseCode::NORMAL).await) };
                    let (closed, ()) = tokio::try_join!(closing, printing)?;
                    result?;
                    Some(closed)
                }
            }
        };
        closed.map_or(Ok(()), |closed| self.conclude(&closed))
    }

    async fn open(&self) -> anyhow::Result<Opened> {
        let opened = self.client()?.open().await;
        match opened {
            Ok(opened) => {
                if self.verbose {
                    show_lines("> ", &String::from_utf8_lossy(&opened.request));
                    show_response(&opened.response);
                }
                Ok(opened)
            }
            Err(ConnectError::Response(ResponseError::Status(response))) => {
                if self.verbose {
                    show_response(&response);
                }
                let why = explain::refusal(&response);
                bail!("{} is not a WebSocket: {why}{}", self.url, self.channel_hint());
            }
            Err(error) => Err(explain::connect_error(error, &self.way)),
        }
    }

    /// Where a channel is, for a URL that may have been meant for one.
    fn channel_hint(&self) -> String {
        match self.url.parse::<Address>() {
            Ok(address) if !address.url().path().starts_with("/c/") => {
                format!("; a channel of Sockeye's is at {}", with_path(&address, "/c/NAME"))
            }
            _ => String::new(),
        }
    }

    fn client(&self) -> anyhow::Result<Client> {
        let config = Config::default()
            .max_message_size(self.max_message.in_memory())
            .max_fragments(self.max_fragments);
        let mut client = Client::new(&self.url)?
            .timeout(self.connect_timeout.0)
            .config(config)
            .deflate(self.compressed.then(DeflateConfig::default));
        client = self.way.apply(client)?.follow_redirects(if self.location { 10 } else { 0 });
        for (name, value) in &self.headers {
            client = client.header(name.clone(), value.clone());
        }
        if let Some(origin) = &self.origin {
            client = client.header(ORIGIN, origin.clone());
        }
        if let Some(credentials) = self.credentials() {
            let value = HeaderValue::from_str(&credentials);
            let mut value = value.context("a token has visible characters and nothing else")?;
            value.set_sensitive(true);
            client = client.header(AUTHORIZATION, value);
        }
        Ok(self.subprotocol.iter().fold(client, |client, name| client.subprotocol(name)))
    }

    /// What `Authorization` says, beside what a URL or a header may say. A token of the environment is a
    /// channel server's, and nobody else's business.
    fn credentials(&self) -> Option<String> {
        if let Some(user) = &self.user {
            return Some(format!("Basic {}", STANDARD.encode(user)));
        }
        let from_environment = || {
            let url = self.url.parse::<Address>().ok()?;
            let is_free = url.authorization().is_none()
                && self.headers.iter().all(|(name, _)| name != AUTHORIZATION);
            let is_channel = url.url().path().starts_with("/c/");
            let token = env::var("SOCKEYE_TOKEN").ok().filter(|token| !token.is_empty());
            token.filter(|_| is_free && is_channel)
        };
        let token = self.token.clone().or_else(from_environment);
        token.map(|token| format!("Bearer {token}"))
    }

    /// Says how it ended, if asked to or if it did not end well.
    fn conclude(&self, closed: &Closed) -> anyhow::Result<()> {
        let code = closed.code();
        if !closed.is_clean() || !matches!(code, 1000 | 1001 | 1005) {
            bail!("{closed}");
        }
        if self.verbose {
            complain(format_args!("* {closed}"));
        }
        Ok(())
    }
}

/// When nothing more is to be expected: a while after the last bytes have come.
struct Quiet<'c> {
    last_came: &'c Cell<Instant>,
    wait: Duration,
}

impl Quiet<'_> {
    /// Waits until nothing has come for that while, from now on.
    async fn begins(&self) {
        let now = Instant::now();
        loop {
            let until = self.last_came.get().max(now) + self.wait;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Sends lines until there are no more and nothing comes any more, or Ctrl-C.
async fn send_lines(
    mut lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    writer: &Writer,
    binary: bool,
    quiet: Quiet<'_>,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let sending = async {
        let mut number = 0;
        while let Some(line) = lines.recv().await {
            let line = line.context("cannot read the input")?;
            number += 1;
            let message = match binary {
                true => Message::from(line),
                false => Message::from(String::from_utf8(line).map_err(|_| {
                    anyhow!("line {number} of the input is not UTF-8: --binary sends bytes")
                })?),
            };
            writer.send(message).await?;
        }
        // The server answers what it has got.
        SinkExt::<Message>::flush(&mut writer.clone()).await?;
        quiet.begins().await;
        Ok(())
    };
    tokio::select! {
        result = sending => result,
        () = stop.requested() => Ok(()),
    }
}

/// Prints messages until the connection ends.
async fn print_messages(
    mut reader: Reader,
    mut output: Output,
    last_came: &Cell<Instant>,
) -> anyhow::Result<()> {
    // How it failed, if it did, is said at the end.
    while let Some(Ok(mut message)) = reader.recv_stream().await {
        let (kind, mut payload) = (message.kind(), Vec::new());
        while let Some(chunk) = message.chunk().await {
            last_came.set(Instant::now());
            let Ok(chunk) = chunk else { return Ok(()) };
            payload.extend_from_slice(&chunk);
        }
        last_came.set(Instant::now());
        output.print(kind, payload)?;
    }
    Ok(())
}

/// Where messages are shown.
enum Output {
    Prompt(Prompt),
    Pipe,
}

impl Output {
    fn print(&mut self, kind: MessageKind, payload: Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Prompt(prompt) => prompt.print(match kind {
                MessageKind::Text => visible::lines(&String::from_utf8_lossy(&payload)).into(),
                MessageKind::Binary => format!("{} bytes: {}", payload.len(), hex(&payload)),
            }),
            Self::Pipe => Ok(print_with(|out| out.write_all(&payload))?),
        }
    }
}

/// A piece of binary data for the eye.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text = String::with_capacity(2 * SHOWN);
    for byte in bytes.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > SHOWN { text + "…" } else { text }
}

/// The input's lines. A reader of its own: a slow server is not to be drowned, and a line that never
/// ends is not to fill the memory without being sent.
fn piped_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut input = BufReader::new(tokio::io::stdin()).split(b'\n');
        while let Some(line) = input.next_segment().await.transpose() {
            let is_last = line.is_err();
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                line
            });
            if sender.send(line).await.is_err() || is_last {
                return;
            }
        }
    });
    lines
}

fn show_response<B>(response: &Response<B>) {
    let mut text = format!("{:?} {}\n", response.version(), response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    show_lines("< ", &text);
}

fn show_lines(prefix: &str, text: &str) {
    for line in text.trim_end().lines() {
        complain(format_args!("{prefix}{line}"));
    }
}

/// The URL of another path on the same server.
pub(crate) fn with_path(address: &Address, path: &str) -> String {
    let mut url = address.url().clone();
    url.set_path(path);
    url.set_query(None);
    // A URL that has a host has room for a user name, and for none.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

pub(crate) fn url(text: &str) -> Result<String, String> {
    match text.parse::<Address>() {
        Ok(_) => Ok(text.to_owned()),
        Err(AddressError::Scheme(_)) => Err(match text.split_once("://") {
            Some((scheme, _)) => {
                format!("{scheme}:// is not the scheme of a WebSocket: write ws:// or wss://")
            }
            None => format!("the scheme is missing: write ws://{text}"),
        }),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write a header as 'Name: value'")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
