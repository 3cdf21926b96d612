//! One case tried on one connection.

mod messages;
mod opening;

use std::time::Duration;

use sockeye_wire::{Frame, Role};
use tokio::time::timeout;

use crate::{
    case::{Case, Expect, Opening, Step},
    http2::Http2,
    link::{Link, Stream},
    target::Target,
    trace::Direction,
    verdict::{Judged, Ruling},
};

pub(crate) use self::opening::{OpenLink, ask, open};

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For an answer that has to come.
    pub(crate) answer: Duration,
    /// For a reaction to what is wrong, before the peer is asked whether it still answers.
    pub(crate) quiet: Duration,
}

/// The peer, as one case has it.
pub(crate) enum Peer<'p> {
    Server(&'p Target),
    /// A connection of the client.
    Client(Stream),
}

impl Timeouts {
    /// The longest that a case may take, whatever the peer does: it may send, or take, one byte at a time.
    fn most(&self, case: &Case) -> Duration {
        let own = match case.expect {
            Expect::EndsWithin(seconds) | Expect::EndsAfterClose(seconds) => seconds,
            _ => 0,
        };
        self.answer * ANSWERS + Duration::from_secs(own)
    }
}

/// How many answers a case has the time for. That with the most waits for a handful.
const ANSWERS: u32 = 6;

/// Tries a case.
pub(crate) async fn judge(case: &Case, peer: Peer<'_>, timeouts: Timeouts) -> Judged {
    let most = timeouts.most(case);
    let judged = match timeout(most, tried(case, peer, timeouts)).await {
        Ok(judged) => judged,
        Err(_) => Judged::from_ruling(Ruling::not_judged(format!(
            "it goes on for more than {} s",
            most.as_secs_f64()
        ))),
    };
    Judged { ruling: judged.ruling.of_level(case.level), ..judged }
}

async fn tried(case: &Case, peer: Peer<'_>, timeouts: Timeouts) -> Judged {
    let target = match &peer {
        Peer::Server(target) => Some(*target),
        Peer::Client(_) => None,
    };
    let mut opened = match open(case, peer, timeouts).await {
        Ok(opened) => opened,
        Err(judged) => return judged,
    };
    let ruling = match &case.expect {
        Expect::Survives => match target {
            Some(target) => survives(&mut opened.link, case, target, timeouts).await,
            None => Ruling::not_judged("a client is not asked to connect twice"),
        },
        Expect::Beside => match (opened.http2.take(), target) {
            (Some(http2), Some(target)) => {
                beside(&mut opened.link, case, &http2, target, timeouts).await
            }
            _ => Ruling::not_judged("it is not over HTTP/2"),
        },
        _ => messages::judge(&mut opened.link, case, timeouts).await,
    };
    Judged::of(opened.link, ruling)
}

/// Does what it does to one stream, and opens another on its connection.
async fn beside(
    link: &mut Link,
    case: &Case,
    http2: &Http2,
    target: &Target,
    timeouts: Timeouts,
) -> Ruling {
    perform(link, &case.steps).await;
    tokio::time::sleep(timeouts.quiet).await;
    let opened = http2.open(target, &Opening::default(), timeouts.answer).await;
    match opened {
        Ok((response, stream)) if response.status().is_success() => {
            let fresh = Case { expect: Expect::Opens, steps: Vec::new(), ..case.clone() };
            messages::judge(&mut Link::new(stream, Role::Client), &fresh, timeouts).await
        }
        Ok((response, _)) => {
            Ruling::against(case.level, format!("the other is refused: {}", response.status()))
        }
        Err(why) => Ruling::against(case.level, format!("the other does not open: {why}")),
    }
}

/// Does what it does to one connection, and opens another.
async fn survives(link: &mut Link, case: &Case, target: &Target, timeouts: Timeouts) -> Ruling {
    perform(link, &case.steps).await;
    // A server that ends of it takes a moment for that.
    tokio::time::sleep(timeouts.quiet).await;
    // A right handshake, whatever that of the case was.
    let fresh = Case { opening: Opening::default(), steps: Vec::new(), ..case.clone() };
    let fresh = Case { expect: Expect::Opens, ..fresh };
    match open(&fresh, Peer::Server(target), timeouts).await {
        Ok(mut opened) => messages::judge(&mut opened.link, &fresh, timeouts).await,
        Err(judged) => {
            Ruling::against(case.level, format!("no new connection opens: {}", judged.ruling.came))
        }
    }
}

/// Sends what a case sends. What cannot be sent, because the peer has ended, is for what comes to tell.
async fn perform(link: &mut Link, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Frames(frames) => {
                let frames: Vec<_> = frames.iter().map(|frame| link.dressed(frame)).collect();
                send(link, &frames, false).await;
            }
            Step::Exactly(frames) => send(link, frames, false).await,
            Step::Slowly(frames) => {
                let frames: Vec<_> = frames.iter().map(|frame| link.dressed(frame)).collect();
                send(link, &frames, true).await;
            }
            Step::Cut(frame, count) => {
                let frame = link.dressed(frame);
                link.trace.note(Direction::Sent, &format!("the first {count} bytes of {frame}"));
                let _ = link.write(&frame.encode()[..*count]).await;
            }
            Step::Bytes(bytes) => {
                link.trace.head(Direction::Sent, &String::from_utf8_lossy(bytes));
                let _ = link.write(bytes).await;
            }
            Step::Flood(frame, count) => flood(link, frame, *count).await,
            Step::Pause(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Step::HalfClose => link.half_close().await,
            Step::Vanish => link.vanish(),
        }
    }
}

async fn send(link: &mut Link, frames: &[Frame], is_slow: bool) {
    for frame in frames {
        link.trace.frame(Direction::Sent, frame);
    }
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    let _ = if is_slow { link.write_slowly(&bytes).await } else { link.write(&bytes).await };
}

async fn flood(link: &mut Link, frame: &Frame, count: usize) {
    let frame = link.dressed(frame);
    link.trace.note(Direction::Sent, &format!("{count} times {frame}"));
    // In writes of some size: one for each would take as long as the peer.
    let bytes = frame.encode();
    let batch = (1 << 16) / bytes.len() + 1;
    for begin in (0..count).step_by(batch) {
        if link.write(&bytes.repeat(batch.min(count - begin))).await.is_err() {
            return;
        }
    }
}

/// The role of this end, where the peer has the other.
pub(crate) fn own_role(peer: &Peer<'_>) -> Role {
    match peer {
        Peer::Server(_) => Role::Client,
        Peer::Client(_) => Role::Server,
    }
}
