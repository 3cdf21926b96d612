//! `sockeye publish`: writes to a channel.

mod lines;
mod message;
mod one_by_one;
mod window;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use sockeye_server::Transport;

use self::lines::Lines;
pub(crate) use self::{message::Kind, one_by_one::Sender};
use crate::{
    channel::{ChannelArgs, Failure, transport},
    errors::usage::WrongUsage,
    flags::units::number,
    system::stop::Stop,
    terminal::input::{self, Separator},
    terminal::output::print_line,
};

/// Write to a channel
///
/// Sends DATA, or all of its input, as one message and prints the position it got. With - in the
/// place of DATA, or --lines, each line of the input is a message: many are on their way at a time, in
/// their order, and a line that the server refuses is told on stderr with its number while the others
/// go on. A message that is not acknowledged is sent again, under a key by which the server knows
/// that it is the same, so that it is published once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye publish http://127.0.0.1:8080/c/chat hello
  echo 'from a pipe' | sockeye publish http://127.0.0.1:8080/c/chat
  sockeye publish --json --event move http://127.0.0.1:8080/c/game '{\"x\":1,\"y\":2}'
  seq 1000 | sockeye publish http://127.0.0.1:8080/c/numbers - > positions
  seq 20 | sockeye publish --rate 100 http://127.0.0.1:8080/c/numbers -
  tail -f app.log | sockeye publish http://127.0.0.1:8080/c/log -
  sockeye publish http://127.0.0.1:8080/c/pictures < picture.png

Exit status: 0 if all was published, 1 if something was not, 2 on wrong usage.")]
pub(crate) struct Publish {
    #[command(flatten)]
    channel: ChannelArgs,

    /// What to publish; all of the input when there is none; - for each line of it
    data: Option<String>,

    /// Publish each line of the input as a message, as - does
    #[arg(long, conflicts_with = "data")]
    lines: bool,

    /// Publish JSON; without this it is text, or bytes if it is not UTF-8
    #[arg(long)]
    json: bool,

    /// Name the event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,

    /// Publish at most N lines a second
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    rate: Option<u64>,

    /// How many lines may be on their way without an answer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = number::<usize>)]
    in_flight: usize,

    /// Publish like this: v1 (or ws) is a WebSocket, all others are HTTP requests, which publish one
    /// line at a time [default: v1 for lines, where it works; a request for one message]
    #[arg(long, value_name = "TRANSPORT", value_parser = transport::resumable())]
    transport: Option<Transport>,
}

/// How often a message is sent before it is given up.
const ATTEMPTS: u32 = 6;

impl Publish {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.rate.is_some() && !self.has_lines() {
            bail!(WrongUsage::new("publish", "--rate is for lines: write - in the place of DATA"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let mut stop = Stop::with_deadline()?;
            if self.has_lines() {
                let channel = self.channel.open()?;
                return Lines::new(&self, &channel)?.publish(&mut stop).await;
            }
            tokio::select! {
                result = self.send_one() => result,
                () = stop.requested() => bail!("interrupted before the message was acknowledged"),
            }
        });
        // The thread that reads the input may be waiting for a line that is not wanted any more.
        runtime.shutdown_background();
        result
    }

    fn has_lines(&self) -> bool {
        self.lines || self.data.as_deref() == Some("-")
    }

    fn kind(&self) -> Kind {
        Kind { json: self.json, event: self.event.clone() }
    }

    async fn send_one(&self) -> anyhow::Result<()> {
        let channel = self.channel.open()?;
        let data = match &self.data {
            Some(data) => Bytes::copy_from_slice(data.as_bytes()),
            None => match input::messages(Separator::End, 1).recv().await {
                Some(input) => input.map_err(input::cannot_read)?.into(),
                None => Bytes::new(),
            },
        };
        let mut sender = Sender::new(&channel, self.kind(), self.transport)?;
        let at = sender.send(data).await.map_err(Failure::into_error)?;
        Ok(print_line(&at)?)
    }
}
