//! `sockeye subscribe`: reads a channel, over whatever gets through.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use tokio::time::sleep;

use crate::{
    channel::{
        Channel, ChannelArgs, Ended, Failure, Transport,
        backoff::Backoff,
        feed::{News, Sink},
        poll, sse, websocket,
    },
    output::{complain, print_with},
    stop::Stop,
    units::{Time, deadline, number},
};

/// Read a channel
///
/// Prints each message as a line: text and bytes as they are, JSON in one line. When the connection
/// breaks it connects again by itself and goes on where it was, so that no message is lost or printed
/// twice; messages that the server has not kept are told on stderr. Without --transport it takes the
/// first of WebSocket, Server-Sent Events, long polling and polling that works.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye subscribe http://127.0.0.1:8080/c/chat
  sockeye subscribe --after -10 --json http://127.0.0.1:8080/c/chat | jq .data
  sockeye subscribe --after k3f9.1187 --count 5 https://push.example/c/news
  SOCKEYE_TOKEN=eyJhbGciOi… sockeye subscribe --transport sse https://push.example/c/news")]
pub(crate) struct Subscribe {
    #[command(flatten)]
    channel: ChannelArgs,

    /// Where to begin: after a position, or earliest, now, -50 (the last fifty), 10m (the last ten
    /// minutes)
    #[arg(long, value_name = "WHERE", default_value = "now", allow_hyphen_values = true)]
    after: String,

    /// Read like this, and not otherwise
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<Transport>,

    /// How long polling waits between two requests when there was nothing new
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = deadline)]
    interval: Time,

    /// Print messages as JSON, one in a line, and gaps as {"gap":{…}}
    #[arg(long)]
    json: bool,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>)]
    count: Option<u64>,

    /// Say on stderr how the channel is read, and why not otherwise
    #[arg(short, long)]
    verbose: bool,
}

/// What is tried, the best first.
const TRANSPORTS: [Transport; 4] =
    [Transport::Ws, Transport::Sse, Transport::Longpoll, Transport::Poll];

/// A transport that lasted this long works, even if there was no message: some are opened and then
/// cut by those who stand between.
const WORKS_AFTER: Duration = Duration::from_secs(5);

impl Subscribe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let channel = self.channel.open()?;
            let mut stop = Stop::with_deadline()?;
            tokio::select! {
                result = self.read(&channel) => result,
                () = stop.requested() => Ok(()),
            }
        });
        runtime.shutdown_background();
        result
    }

    /// Reads on, whatever breaks.
    async fn read(&self, channel: &Channel) -> anyhow::Result<()> {
        let transports = match &self.transport {
            Some(one) => std::slice::from_ref(one),
            None => &TRANSPORTS[..],
        };
        let (mut turn, mut backoff) = (0, Backoff::default());
        let mut printer = Printer::new(self, channel);
        loop {
            let (transport, begun) = (transports[turn], Instant::now());
            let is_last = turn + 1 == transports.len();
            printer.has_message = false;
            (printer.transport, printer.is_told) = (transport, false);
            let Err(failure) = self.listen(transport, channel, &mut printer).await;
            let worked = printer.has_message || begun.elapsed() >= WORKS_AFTER;
            let (why, retry) = match failure {
                Failure::Enough => return Ok(()),
                Failure::Output(error) => return Err(error.into()),
                Failure::Unreachable(error) if !printer.is_open => return Err(error),
                // A refusal by HTTP says more than one of a WebSocket, and may be another one.
                Failure::Refused(why) if worked || is_last || transport != Transport::Ws => {
                    bail!(why)
                }
                Failure::Broken { why, .. } if is_last && !printer.is_open => bail!(why),
                Failure::Unreachable(error) => (format!("{error:#}"), Duration::ZERO),
                Failure::Refused(why) => (why, Duration::ZERO),
                Failure::Broken { why, retry } => (why, retry),
            };
            let delay = if worked || is_last {
                turn = 0;
                backoff.delay(worked, retry)
            } else {
                turn += 1;
                Duration::ZERO
            };
            if self.verbose {
                let next = transports[turn].name();
                complain(format_args!("* {why}; by {next} in {:.1} s", delay.as_secs_f64()));
            }
            sleep(delay).await;
        }
    }

    async fn listen(
        &self,
        transport: Transport,
        channel: &Channel,
        printer: &mut Printer<'_>,
    ) -> Ended {
        let after = printer.at.clone();
        match transport {
            Transport::Ws => websocket::listen(channel, &after, printer).await,
            Transport::Sse => sse::listen(channel, &after, printer).await,
            Transport::Longpoll => poll::wait(channel, &after, printer).await,
            Transport::Poll => poll::repeat(channel, &after, self.interval.0, printer).await,
        }
    }
}

/// Prints what comes, and knows where to go on.
struct Printer<'s> {
    subscribe: &'s Subscribe,
    /// Where to go on from.
    at: String,
    /// Messages still wanted.
    left: Option<u64>,
    /// Whether the channel could ever be read.
    is_open: bool,
    has_message: bool,
    /// What is read, by what, and whether that was said.
    name: String,
    transport: Transport,
    is_told: bool,
}

impl<'s> Printer<'s> {
    fn new(subscribe: &'s Subscribe, channel: &Channel) -> Self {
        Self {
            subscribe,
            at: subscribe.after.clone(),
            left: subscribe.count,
            is_open: false,
            has_message: false,
            name: channel.name(),
            transport: Transport::Ws,
            is_told: false,
        }
    }
}

impl Sink for Printer<'_> {
    fn take(&mut self, news: News) -> Result<(), Failure> {
        if self.left == Some(0) {
            return Err(Failure::Enough);
        }
        match news {
            News::Open => {
                self.is_open = true;
                if self.subscribe.verbose && !std::mem::replace(&mut self.is_told, true) {
                    let (how, at) = (self.transport.description(), &self.at);
                    complain(format_args!("* reading {} by {how}, after {at}", self.name));
                }
            }
            News::At(at) => self.at = at,
            News::Gap(gap) if self.subscribe.json => {
                print_with(|out| write!(out, "{{\"gap\":{}}}", serde_json::to_string(&gap)?))?;
                self.at = gap.next;
            }
            News::Gap(gap) => {
                let (after, why) = (&gap.after, &gap.why);
                complain(format_args!("sockeye: messages are missing after {after}: {why}"));
                self.at = gap.next;
            }
            News::Message(message) => {
                print_with(|out| match self.subscribe.json {
                    true => message.write_json(out),
                    false => message.write_payload(out),
                })?;
                self.has_message = true;
                self.at = message.at;
                self.left = self.left.map(|left| left - 1);
                if self.left == Some(0) {
                    return Err(Failure::Enough);
                }
            }
        }
        Ok(())
    }
}
