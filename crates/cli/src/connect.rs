//! `sockeye connect`: a WebSocket client for people and pipes.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use http::{
    HeaderName, HeaderValue, Response,
    header::{AUTHORIZATION, ORIGIN},
};
use sockeye::{
    Address, AddressError, Client, CloseCode, Closed, Config, ConnectError, DeflateConfig, Message,
    Opened, Reader, ResponseError, Writer,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
    time::sleep,
};

use crate::{
    output::{complain, print_with},
    prompt::Prompt,
    stop::Stop,
    units::{Size, time},
    way::Way,
};

/// Open a WebSocket: type and see, or pipe in and out
///
/// On a terminal each line typed is sent as a text message and messages are shown as they come;
/// Ctrl-D closes. In a pipe each line of the input is sent as a text message and each message is
/// printed as a line; at the end of the input the connection is closed with 1000, and what still
/// comes is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye connect ws://127.0.0.1:8080/c/chat
  echo hello | sockeye connect ws://127.0.0.1:9001
  sockeye connect --wait 10s ws://127.0.0.1:8080/c/chat < /dev/null | jq .
  sockeye connect --cacert authority.pem -x socks5h://127.0.0.1:1080 wss://internal.example
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

    /// Authenticate with a name and a password (basic authentication)
    #[arg(short, long, value_name = "NAME:PASSWORD")]
    user: Option<String>,

    /// After the end of the input, listen on for this long before closing
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time, hide_default_value = true)]
    wait: Duration,

    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    connect_timeout: Duration,

    /// The largest message to accept
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    max_message: Size,

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
            let sending = send_lines(lines, &writer, self.wait, &mut stop);
            let printing = print_messages(reader, output);
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
                bail!("{} answered {}, not with a WebSocket", self.url, response.status());
            }
            Err(error) => Err(error.into()),
        }
    }

    fn client(&self) -> anyhow::Result<Client> {
        let mut client = Client::new(&self.url)?
            .timeout(self.connect_timeout)
            .config(Config::default().max_message_size(self.max_message.in_memory()))
            .deflate(self.compressed.then(DeflateConfig::default));
        client = self.way.apply(client)?.follow_redirects(if self.location { 10 } else { 0 });
        for (name, value) in &self.headers {
            client = client.header(name.clone(), value.clone());
        }
        if let Some(origin) = &self.origin {
            client = client.header(ORIGIN, origin.clone());
        }
        if let Some(user) = &self.user {
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)))?;
            value.set_sensitive(true);
            client = client.header(AUTHORIZATION, value);
        }
        Ok(self.subprotocol.iter().fold(client, |client, name| client.subprotocol(name)))
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

/// Sends lines until there are no more, or Ctrl-C.
async fn send_lines(
    mut lines: mpsc::Receiver<String>,
    writer: &Writer,
    wait: Duration,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let sending = async {
        while let Some(line) = lines.recv().await {
            writer.send(line).await?;
        }
        sleep(wait).await;
        Ok(())
    };
    tokio::select! {
        result = sending => result,
        () = stop.requested() => Ok(()),
    }
}

/// Prints messages until the connection ends.
async fn print_messages(mut reader: Reader, mut output: Output) -> anyhow::Result<()> {
    // How it failed, if it did, is said at the end.
    while let Some(Ok(message)) = reader.recv().await {
        output.print(message)?;
    }
    Ok(())
}

/// Where messages are shown.
enum Output {
    Prompt(Prompt),
    Pipe,
}

impl Output {
    fn print(&mut self, message: Message) -> anyhow::Result<()> {
        match self {
            Self::Prompt(prompt) => prompt.print(match message {
                Message::Text(text) => text.to_string(),
                Message::Binary(bytes) => format!("{} bytes: {}", bytes.len(), hex(&bytes)),
            }),
            Self::Pipe => Ok(print_with(|out| out.write_all(message.as_bytes()))?),
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
fn piped_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut input = BufReader::new(tokio::io::stdin()).split(b'\n');
        loop {
            match input.next_segment().await {
                Ok(Some(mut line)) => {
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    complain(format_args!("sockeye: cannot read the input: {error}"));
                    return;
                }
            }
        }
    });
    lines
}

fn show_response(response: &Response<()>) {
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

pub(crate) fn url(text: &str) -> Result<String, AddressError> {
    text.parse::<Address>().map(|_| text.to_owned())
}

pub(crate) fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write a header as 'Name: value'")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
