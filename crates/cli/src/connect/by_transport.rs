//! A channel by another transport than a WebSocket: what is typed is published, what is published is shown.

use std::{cell::RefCell, time::Duration};

use anyhow::bail;
use http::header::AUTHORIZATION;
use sockeye::{Address, Message};
use sockeye_server::Transport;
use tokio::sync::Notify;

use super::{
    Connect,
    screen::Screen,
    session::{Seen, Session},
    source::{Next, Source},
};
use crate::{
    channel::{
        Channel, Failure,
        feed::{FeedEvent, Sink},
        follow::Follow,
        several,
    },
    errors::usage::WrongUsage,
    publish::{Kind, Sender},
    system::stop::Stop,
    terminal::output::OutputError,
};

/// How long polling waits between two requests, at least and at most.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

impl Connect {
    /// Reads and writes the channel until one of the sides has had enough.
    pub(super) async fn converse_by(
        &self,
        transport: Transport,
        session: &mut Session,
        stop: &mut Stop,
    ) -> anyhow::Result<()> {
        let channel = self.channel()?;
        let Session { screen, seen, source, wait, output, .. } = session;
        let (opened, is_read, is_verbose) = (Notify::new(), Notify::new(), self.verbose > 0);
        let note = |line: String| {
            if is_verbose {
                screen.note(&line);
            }
        };
        let transports = [transport];
        // What is published shows up before nothing is waited for any more.
        let interval = (*wait / 2).clamp(INTERVALS[0], INTERVALS[1]);
        let follow = Follow { channel: &channel, transports: &transports, interval, note: &note };
        let failure = RefCell::new(None);
        let sink = ScreenSink { screen, seen, opened: &opened, failure: &failure };
        let reading = follow.run("now", sink);
        let sending = async {
            // What is published before the channel is read would not be shown.
            opened.notified().await;
            self.begin_reading(source, screen)?;
            seen.sends(false);
            is_read.notify_one();
            if publish(&channel, transport, source, (screen, seen)).await? {
                seen.quiet(*wait).await;
            }
            anyhow::Ok(())
        };
        let gone = async {
            // What cannot be read at all is an error, with a reader of the output or without.
            is_read.notified().await;
            seen.left(output).await;
        };
        let result = tokio::select! {
            result = reading => result,
            result = sending => result,
            () = gone => Err(OutputError::closed().into()),
            () = stop.requested() => Ok(()),
        };
        screen.close_prompt();
        if let Some(error) = failure.into_inner() {
            return Err(error);
        }
        result?;
        let awaited = seen.awaited.borrow();
        if awaited.is_set() && !awaited.has_come() {
            bail!("{awaited}");
        }
        Ok(())
    }

    fn channel(&self) -> anyhow::Result<Channel> {
        let address: Address = self.url.parse()?;
        if let Some(wrong) = several(&address) {
            return Err(WrongUsage::new("connect", wrong).into());
        }
        let mut headers: http::HeaderMap = self.request.headers(&address)?.into_iter().collect();
        if let Some(value) = address.authorization() {
            headers.entry(AUTHORIZATION).or_insert(value);
        }
        Channel::new(&address, self.route.clone(), headers)
            .connect_timeout(self.connect_timeout.0)
            .max_message(self.max_message.in_memory())
            .checked()
    }
}

/// Publishes what comes from the input, to its end. What the server refuses is said; it is a failure
/// where no person has seen it. Gives whether what still comes is to be waited for.
async fn publish(
    channel: &Channel,
    transport: Transport,
    source: &mut Source,
    (screen, seen): (&Screen, &Seen),
) -> anyhow::Result<bool> {
    let kind = Kind { json: false, event: None };
    let mut sender = Sender::new(channel, kind, Some(transport))?;
    loop {
        match source.next().await? {
            Next::Send(message) => {
                screen.sent(&message)?;
                seen.sends(true);
                match sender.send(message.into_bytes()).await {
                    Ok(_) => {}
                    Err(Failure::Refused(why)) if source.is_typed() => {
                        screen.note(&format!("* not published: {why}"));
                    }
                    Err(failure) => return Err(failure.into_error()),
                }
                seen.sends(false);
            }
            Next::Ping => screen.note("* pings need a WebSocket: leave --transport out"),
            Next::Interrupted => return Ok(false),
            Next::Close(_) | Next::End => return Ok(true),
        }
    }
}

/// Shows the messages of the channel.
struct ScreenSink<'s> {
    screen: &'s Screen,
    seen: &'s Seen,
    opened: &'s Notify,
    failure: &'s RefCell<Option<anyhow::Error>>,
}

impl Sink for ScreenSink<'_> {
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure> {
        match news {
            FeedEvent::Open => self.opened.notify_one(),
            FeedEvent::At(_) => {}
            FeedEvent::End(_) => self.screen.note("* the channel has ended"),
            FeedEvent::Gap(gap) => {
                let (after, why) = (&gap.after, &gap.why);
                self.screen.note(&format!("* messages are missing after {after}: {why}"));
            }
            FeedEvent::Message(message) => {
                self.seen.stir();
                let mut payload = Vec::new();
                message.write_payload(&mut payload).map_err(Failure::broken)?;
                let shown = match String::from_utf8(payload) {
                    Ok(text) if !message.is_binary() => Message::from(text),
                    Ok(text) => text.into_bytes().into(),
                    Err(error) => error.into_bytes().into(),
                };
                let is_enough = self.seen.count(shown.as_bytes());
                if let Err(error) = self.screen.message(&shown) {
                    self.failure.replace(Some(error));
                    return Err(Failure::Enough);
                }
                if is_enough {
                    return Err(Failure::Enough);
                }
            }
        }
        Ok(())
    }
}
