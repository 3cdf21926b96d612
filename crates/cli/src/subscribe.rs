//! `sockeye subscribe`: reads a channel, over whatever gets through.

use std::{
    cell::RefCell,
    io::{self, IsTerminal as _},
};

use clap::Args;
use sockeye_client::Message;
use sockeye_server::Transport;

use crate::{
    channel::{
        Channel, ChannelArgs, Failure,
        feed::{FeedEvent, Sink},
        follow::{Follow, TRANSPORTS},
        transport,
    },
    flags::pace::Pace,
    flags::units::{Time, deadline, number},
    system::stop::Stop,
    terminal::output::{OutputError, complain, print_as_it_is, print_with, reader_gone},
    terminal::progress::Progress,
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
  sockeye subscribe --after -10 -n 10 --json http://127.0.0.1:8080/c/chat | jq .data
  sockeye subscribe --after 10m -n 5 http://127.0.0.1:8080/c/chat
  sockeye subscribe --after earliest -n 9 --rate 20 http://127.0.0.1:8080/c/chat
  sockeye subscribe --after -1 -n 1 --whole http://127.0.0.1:8080/c/chat > last
  sockeye subscribe -v --transport sse http://127.0.0.1:8080/c/chat
  SOCKEYE_TOKEN=$(sockeye token --key secret --channel chat=read) \\
    sockeye subscribe --after -1 -n 1 http://127.0.0.1:8080/c/chat

Exit status: 0 after --count messages, the end of the channel or Ctrl-C, 1 if the channel cannot be read, 2 on wrong usage.")]
pub(crate) struct Subscribe {
    #[command(flatten)]
    channel: ChannelArgs,

    /// Where to begin: after a position, or earliest, now, -50 (the last fifty), 10m (the last ten
    /// minutes)
    #[arg(long, value_name = "WHERE", default_value = "now", allow_hyphen_values = true)]
    after: String,

    /// Read like this, and not otherwise; ws means v1
    #[arg(long, value_name = "TRANSPORT", value_parser = transport::resumable())]
    transport: Option<Transport>,

    /// How long polling waits between two requests when there was nothing new
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = deadline)]
    interval: Time,

    /// Print messages as JSON, one in a line, gaps as {"gap":{…}}, the end of the channel as {"at":…,"end":true}
    #[arg(long)]
    json: bool,

    /// Print messages as they are, with no line break behind them: with -n 1, a file that was published
    #[arg(long, conflicts_with = "json")]
    whole: bool,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>)]
    count: Option<u64>,

    /// Print at most N messages a second: the rest waits at the server, as long as that keeps it
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    rate: Option<u64>,

    /// Say on stderr how the channel is read, and why not otherwise
    #[arg(short, long)]
    verbose: bool,
}

impl Subscribe {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let channel = self.channel.open()?;
            let mut stop = Stop::with_deadline()?;
            tokio::select! {
                result = self.read(&channel) => result,
                () = stop.requested() => Ok(()),
                () = reader_gone() => Ok(()),
            }
        });
        runtime.shutdown_background();
        result
    }

    /// Reads on, whatever breaks.
    async fn read(&self, channel: &Channel) -> anyhow::Result<()> {
        let transports = self.transport.as_ref().map_or(&TRANSPORTS[..], std::slice::from_ref);
        let progress = RefCell::new(Progress::new(self.count));
        let note = |line: String| {
            if self.verbose {
                progress.borrow().beside(|| complain(line));
            }
        };
        let follow = Follow { channel, transports, interval: self.interval.0, note: &note };
        follow
            .run(
                &self.after,
                Printer {
                    subscribe: self,
                    printed: 0,
                    pace: Pace::new(self.rate),
                    progress: &progress,
                },
            )
            .await
    }
}

impl Subscribe {
    fn print(&self, message: &Message) -> Result<(), OutputError> {
        if self.whole && !io::stdout().is_terminal() {
            let mut payload = Vec::new();
            message.write_payload(&mut payload)?;
            return print_as_it_is(payload);
        }
        print_with(|out| match self.json {
            true => message.write_json(out),
            false => message.write_payload(out),
        })
    }
}

/// Prints what comes.
struct Printer<'s> {
    subscribe: &'s Subscribe,
    /// How many messages were printed.
    printed: u64,
    pace: Pace,
    progress: &'s RefCell<Progress>,
}

impl Sink for Printer<'_> {
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure> {
        let is_enough = |printed| self.subscribe.count.is_some_and(|count| printed >= count);
        if is_enough(self.printed) {
            return Err(Failure::Enough);
        }
        match news {
            FeedEvent::Open | FeedEvent::At(_) => {}
            FeedEvent::End(end) if self.subscribe.json => {
                print_with(|out| write!(out, "{}", serde_json::to_string(&end)?))?;
            }
            FeedEvent::End(_) => {}
            FeedEvent::Gap(gap) if self.subscribe.json => {
                print_with(|out| write!(out, "{{\"gap\":{}}}", serde_json::to_string(&gap)?))?;
            }
            FeedEvent::Gap(gap) => {
                let (after, why) = (&gap.after, &gap.why);
                self.progress.borrow().beside(|| {
                    complain(format_args!("sockeye: messages are missing after {after}: {why}"));
                });
            }
            FeedEvent::Message(message) => {
                self.subscribe.print(&message)?;
                self.printed += 1;
                self.progress.borrow_mut().show(self.printed, self.printed);
                if is_enough(self.printed) {
                    return Err(Failure::Enough);
                }
            }
        }
        Ok(())
    }

    async fn next_may_come(&mut self) {
        self.pace.next().await;
    }
}
