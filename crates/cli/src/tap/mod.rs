//! `sockeye tap`: what passes on a channel or a connection of a server, by its address for operators.

mod words;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use anyhow::anyhow;
use clap::Args;
use http_body_util::BodyExt;
use sockeye::Address;
use sockeye_client::internals::{self, Http, Question, ndjson::Lines};
use sockeye_server::ChannelName;
use tokio::time::timeout;

use crate::{
    channel::{Channel, Failure, address},
    flags::request::header,
    flags::route::Route,
    flags::units::{Size, Time, deadline, number, trimmed},
    system::stop::Stop,
    terminal::output::{OutputError, print_with, reader_gone},
};

/// The longest line: what is shown of a payload, as JSON, and what is said of it.
const MAX_LINE: usize = 1 << 20;

/// A server says something every 15 s by default.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(45);

/// Show what passes on a channel or a connection of a server, while it happens
///
/// Asks the server's address for operators (--admin). A channel shows what is published and where it comes from, and which readers
/// come, go and miss something; a connection what its client and the server send each other, and how it ends. Tokens
/// are not shown. What comes too fast to be shown is counted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye tap http://127.0.0.1:8081 chat
  sockeye tap http://127.0.0.1:8081 --connection 17
  sockeye tap --json -n 1 http://127.0.0.1:8081 chat | jq .message.by
  sockeye tap --data 16k -n 1 http://127.0.0.1:8081 chat

Exit status: 0 after --count lines, the end of what is shown or Ctrl-C, 1 if it cannot be shown, 2 on wrong usage.")]
pub(crate) struct Tap {
    /// The server's address for operators: http://HOST[:PORT]
    #[arg(value_parser = address)]
    url: Address,

    /// The name of the channel
    #[arg(required_unless_present = "connection", conflicts_with = "connection", value_parser = trimmed::<ChannelName>)]
    channel: Option<ChannelName>,

    /// Show this connection, by its id in /connections
    #[arg(long, value_name = "ID", value_parser = number::<u64>)]
    connection: Option<u64>,

    /// How much of each payload to show: 16k at most
    #[arg(long, value_name = "SIZE", default_value = "1k")]
    data: Size,

    /// Print each line as the server says it, as JSON
    #[arg(long)]
    json: bool,

    /// End after this many lines, the first not counted, which says what is tapped
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>)]
    count: Option<u64>,

    /// Add a header to the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// How long connecting may take, with the head of the answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    connect_timeout: Time,

    #[command(flatten)]
    route: Route,
}

impl Tap {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let mut stop = Stop::with_deadline()?;
            tokio::select! {
                result = self.show() => result,
                () = stop.requested() => Ok(()),
                () = reader_gone() => Ok(()),
            }
        });
        runtime.shutdown_background();
        result
    }

    /// Where the tap is.
    fn target(&self) -> anyhow::Result<Address> {
        let path = match (&self.channel, self.connection) {
            (Some(channel), _) => format!("channels/{channel}/tap"),
            (None, Some(id)) => format!("connections/{id}/tap"),
            (None, None) => return Err(anyhow!("name a channel, or a connection by --connection")),
        };
        let mut url = self.url.url().clone();
        url.set_query(None);
        let above = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{above}/{path}"));
        address(url.as_str()).map_err(|wrong| anyhow!(wrong))
    }

    async fn show(&self) -> anyhow::Result<()> {
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        let channel = Channel::new(&self.target()?, self.route.clone(), headers)
            .connect_timeout(self.connect_timeout.0)
            .checked()?;
        let most = self.data.0.to_string();
        let mut question = Question::new(Method::GET, vec![("data", &most)]);
        question.headers.insert(ACCEPT, HeaderValue::from_static("application/x-ndjson"));
        let mut http = Http::default();
        let answer = http.ask(channel.endpoint(), &question).await;
        let answer = answer.map_err(|failure| refused(&channel, failure))?;
        let kind = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if !kind.starts_with(b"application/x-ndjson") {
            let name = channel.name();
            return Err(anyhow!("{name} is not a tap: give the address of serve --admin"));
        }
        let (mut body, mut lines) = (answer.into_body(), Lines::new(MAX_LINE));
        let mut printer = Printer { tap: self, shown: 0, is_over: false };
        while !printer.is_over {
            let piece = timeout(SILENCE, body.frame()).await;
            let piece = piece.map_err(|_| anyhow!("the server has been silent for 45 s"))?;
            let piece = piece.ok_or_else(|| anyhow!("the server has ended the tap"))?;
            let Ok(bytes) = piece?.into_data() else { continue };
            let mut failed = None;
            let read = lines.read(&bytes, |line| {
                if !printer.is_over && failed.is_none() {
                    failed = printer.print(line).err();
                }
                Ok(())
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            read.map_err(|failure| Failure::into_error(channel.failure(failure)))?;
        }
        Ok(())
    }
}

/// Why there is no tap. Of what is not there the client says where a channel would be, which does not help.
fn refused(channel: &Channel, failure: internals::Failure) -> anyhow::Error {
    let is_missing = matches!(
        &failure,
        internals::Failure::Refused(problem) if problem.status == Some(StatusCode::NOT_FOUND)
    );
    match channel.failure(failure) {
        Failure::Refused(why) if is_missing => match why.split_once("; a channel of ") {
            Some((why, _)) if why.contains("/connections lists") => anyhow!(why.to_owned()),
            _ => {
                let name = channel.name();
                anyhow!("{name} is not there: give the address of serve --admin")
            }
        },
        failure => failure.into_error(),
    }
}

/// Prints what comes.
struct Printer<'t> {
    tap: &'t Tap,
    shown: u64,
    /// Whether nothing more is to be printed.
    is_over: bool,
}

impl Printer<'_> {
    fn print(&mut self, line: &[u8]) -> Result<(), OutputError> {
        print_with(|out| match self.tap.json {
            true => out.write_all(line),
            false => out.write_all(words::of(line).as_bytes()),
        })?;
        self.shown += u64::from(!line.starts_with(b"{\"tap\""));
        let is_enough = self.tap.count.is_some_and(|count| self.shown >= count);
        self.is_over = is_enough || line.starts_with(b"{\"end\"");
        Ok(())
    }
}
