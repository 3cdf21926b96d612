//! What an open WebSocket does with what is sent.

use std::time::Duration;

use sockeye_wire::{Frame, Role, frame::PING};
use tokio::time::Instant;

use super::{Timeouts, perform};
use crate::{
    case::{Case, CloseRule, Expect, Message, Step},
    link::{Input, Link},
    verdict::{Ruling, Verdict},
};

/// What asks whether the peer still answers.
const PROBE: &[u8] = b"still there?";

pub(super) async fn judge(link: &mut Link, case: &Case, timeouts: Timeouts) -> Ruling {
    perform(link, &case.steps).await;
    let ruling = match &case.expect {
        Expect::Opens => pongs(link, case, &[], timeouts).await,
        Expect::Pongs(payloads) => pongs(link, case, payloads, timeouts).await,
        Expect::Echo(messages) => echo(link, case, messages, timeouts).await,
        Expect::Window(most) => window(link, case, *most, timeouts).await,
        Expect::Fails(codes) => fails(link, case, codes, timeouts).await,
        Expect::ClosesWith(rule) => closes(link, case, *rule, timeouts).await,
        Expect::EndsWithin(seconds) => ends(link, case, *seconds).await,
        Expect::EndsAfterClose(seconds) => ends_after_close(link, case, *seconds).await,
        Expect::Refuses
        | Expect::RefusesNaming(..)
        | Expect::Response(_)
        | Expect::Survives
        | Expect::Beside
        | Expect::Never(_) => Ruling::not_judged("nothing is sent for this"),
    };
    let is_over = matches!(case.expect, Expect::Fails(_) | Expect::ClosesWith(_));
    if !is_over {
        link.close(1000).await;
    }
    ruling
}

/// How a message is told in a report.
fn shown(message: &Message) -> String {
    let kind = if message.is_text { "a text" } else { "a binary message" };
    let payload = &message.payload;
    let size = match payload.len() {
        1 => "1 byte".to_owned(),
        count => format!("{count} bytes"),
    };
    match message.is_text && payload.len() <= 40 {
        true => format!("{kind} of {size}: {:?}", String::from_utf8_lossy(payload)),
        false => format!("{kind} of {size}"),
    }
}

/// How an end is told in a report.
fn end(how: Option<String>) -> String {
    match how {
        None => "the end of the connection, without a Close".to_owned(),
        Some(how) => format!("the end of the connection, without a Close: {how}"),
    }
}

fn close(code: Option<u16>) -> String {
    code.map_or_else(|| "a Close without a code".to_owned(), |code| format!("a Close with {code}"))
}

/// The Pongs that are due, and behind them the answer to one more Ping: the connection is whole.
async fn pongs(link: &mut Link, case: &Case, due: &[Vec<u8>], timeouts: Timeouts) -> Ruling {
    let (mut waiting, mut is_asked) = (due, false);
    let mut until = Instant::now() + timeouts.answer;
    loop {
        if waiting.is_empty() && !is_asked {
            let _ = link.send(&Frame::unmasked(PING, PROBE)).await;
            (until, is_asked) = (Instant::now() + timeouts.answer, true);
        }
        match link.next_until(until).await {
            Some(Input::Pong(payload)) if is_asked && payload == PROBE => {
                return Ruling::passed("the Ping is answered");
            }
            // Of Pings that come together the last may be the only one that is answered (§5.5.3).
            Some(Input::Pong(payload)) => match waiting.iter().rposition(|due| *due == payload) {
                Some(at) => {
                    (waiting, until) = (&waiting[at + 1..], Instant::now() + timeouts.answer);
                }
                // It is unsolicited, which is allowed (§5.5.3); an answer would have this payload.
                None if due.is_empty() || due.contains(&payload) => {}
                None => {
                    let payload = String::from_utf8_lossy(&payload).into_owned();
                    return Ruling::against(case.level, format!("a Pong with {payload:?}"));
                }
            },
            Some(Input::Ping(payload)) => link.answer(payload).await,
            Some(Input::Message(_)) => {}
            Some(Input::Close(code)) => return Ruling::against(case.level, close(code)),
            Some(Input::End(how)) => return Ruling::against(case.level, end(how)),
            None if waiting.len() < due.len() && !is_asked => {
                return Ruling::against(case.level, "no Pong for the last Ping");
            }
            None => return Ruling::against(case.level, "no Pong"),
        }
    }
}

/// The messages come back.
async fn echo(link: &mut Link, case: &Case, due: &[Message], timeouts: Timeouts) -> Ruling {
    let largest = due.iter().map(|message| message.payload.len()).max().unwrap_or_default();
    // A slow machine needs its time for a large one: that much more for each MiB.
    let wait = timeouts.answer * (1 + u32::try_from(largest >> 20).unwrap_or(u32::MAX >> 1));
    let (mut came, mut until) = (0, Instant::now() + wait);
    while came < due.len() {
        match link.next_until(until).await {
            Some(Input::Message(message)) if message == due[came] => {
                (came, until) = (came + 1, Instant::now() + wait);
            }
            Some(Input::Message(message)) => {
                let what = format!("{} in place of {}", shown(&message), shown(&due[came]));
                return Ruling::against(case.level, what);
            }
            Some(Input::Ping(payload)) => link.answer(payload).await,
            Some(Input::Pong(_)) => {}
            Some(Input::Close(Some(1009))) if largest > 4096 => {
                return Ruling::information("a Close with 1009: larger than it takes");
            }
            Some(Input::Close(code)) => return Ruling::against(case.level, close(code)),
            Some(Input::End(how)) => return Ruling::against(case.level, end(how)),
            None => {
                let what = format!("{came} of {} messages came back", due.len());
                return Ruling::against(case.level, what);
            }
        }
    }
    Ruling::passed(match due.len() {
        1 => "the message comes back".to_owned(),
        count => format!("the {count} messages come back"),
    })
}

/// An echo that refers to nothing further back.
async fn window(link: &mut Link, case: &Case, most: u16, timeouts: Timeouts) -> Ruling {
    let until = Instant::now() + timeouts.answer;
    loop {
        match link.next_until(until).await {
            Some(Input::Message(_)) if link.furthest() <= usize::from(most) => {
                return Ruling::passed(format!("it refers {} bytes back", link.furthest()));
            }
            Some(Input::Message(_)) => {
                return Ruling::against(
                    case.level,
                    format!("it refers {} bytes back", link.furthest()),
                );
            }
            Some(Input::Ping(payload)) => link.answer(payload).await,
            Some(Input::Pong(_)) => {}
            Some(Input::Close(code)) => return Ruling::against(case.level, close(code)),
            Some(Input::End(how)) => return Ruling::against(case.level, end(how)),
            None => match link.mistakes.first() {
                Some(mistake) => return Ruling::against(case.level, mistake.what),
                None => return Ruling::against(case.level, "nothing comes back"),
            },
        }
    }
}

/// The connection fails (RFC 6455 §7.1.7): it ends, and should say why.
async fn fails(link: &mut Link, case: &Case, codes: &[u16], timeouts: Timeouts) -> Ruling {
    let valid = valid_before(case, link.role);
    let (mut is_asked, mut messages) = (false, 0);
    let mut until = Instant::now() + timeouts.quiet;
    let is_large = case.steps.iter().flat_map(frames_of).any(|frame| frame.payload.len() > 4096);
    loop {
        match link.next_until(until).await {
            Some(Input::Close(code)) => {
                let ruling = match code {
                    Some(code) if codes.contains(&code) => Ruling::passed(close(Some(code))),
                    Some(1009) if is_large => {
                        Ruling::information("a Close with 1009: larger than it takes")
                    }
                    code => Ruling::loose(format!("{}, not {}", close(code), listed(codes))),
                };
                return after_close(link, case, code, ruling, timeouts).await;
            }
            Some(Input::End(None)) => return Ruling::loose(end(None)),
            // A reset, which may have taken a Close with it.
            Some(Input::End(how)) => return Ruling::information(end(how)),
            Some(Input::Ping(payload)) => link.answer(payload).await,
            Some(Input::Pong(payload)) if payload == PROBE => {
                return Ruling::against(case.level, "the connection goes on, and answers a Ping");
            }
            Some(Input::Pong(payload)) if !is_due(case, &payload) => {
                let what = format!("an answer to it: a Pong of {} bytes", payload.len());
                return Ruling::against(case.level, what);
            }
            Some(Input::Pong(_)) => {}
            Some(Input::Message(message)) if valid.get(messages) == Some(&message) => messages += 1,
            // A server that sends what it likes is not answering.
            Some(Input::Message(message)) if is_ours(case, &message) => {
                return Ruling::against(case.level, format!("it is taken: {}", shown(&message)));
            }
            Some(Input::Message(_)) => {}
            None if is_asked => {
                return Ruling::against(case.level, "the connection neither ends nor answers");
            }
            None => {
                let _ = link.send(&Frame::unmasked(PING, PROBE)).await;
                (until, is_asked) = (Instant::now() + timeouts.answer, true);
            }
        }
    }
}

/// Whole messages that a case sends before what is wrong: they may come back.
fn valid_before(case: &Case, role: Role) -> Vec<Message> {
    let (mut valid, mut begun) = (Vec::new(), None);
    for step in &case.steps {
        for frame in frames_of(step) {
            let is_masked = frame.mask.is_some() == (role == Role::Client);
            let is_dressed = is_masked || !matches!(step, Step::Exactly(_));
            let bare = Frame { mask: None, ..frame.clone() };
            let is_data = matches!(frame.opcode(), 1 | 2);
            let is_close = frame.opcode() == 8;
            // In fragments, whether it is UTF-8 shows at the end.
            let mistakes = if frame.fin() { bare.mistakes(Role::Server) } else { Vec::new() };
            if !is_dressed
                || is_close
                || !mistakes.is_empty()
                || is_data == begun.is_some() && frame.opcode() < 8
            {
                return valid;
            }
            if frame.opcode() >= 8 {
                continue;
            }
            let (is_text, mut payload) = begun.take().unwrap_or((frame.opcode() == 1, Vec::new()));
            payload.extend_from_slice(&frame.payload);
            match frame.fin() {
                true => valid.push(Message { is_text, payload }),
                false => begun = Some((is_text, payload)),
            }
        }
    }
    valid
}

fn frames_of(step: &Step) -> &[Frame] {
    match step {
        Step::Frames(frames) | Step::Exactly(frames) | Step::Slowly(frames) => frames,
        _ => &[],
    }
}

/// Whether a Pong answers a right Ping of the case.
fn is_due(case: &Case, payload: &[u8]) -> bool {
    let mut pings = case.steps.iter().flat_map(frames_of).filter(|frame| frame.opcode() == 9);
    let is_right = |frame: &Frame| frame.mistakes(Role::Server).is_empty();
    match pings.find(|ping| ping.payload == payload) {
        Some(ping) => is_right(ping) && ping.mask.is_none() && !exact(case),
        None => true,
    }
}

fn exact(case: &Case) -> bool {
    case.steps.iter().any(|step| matches!(step, Step::Exactly(_)))
}

/// Whether a message is made of what the case has sent.
fn is_ours(case: &Case, message: &Message) -> bool {
    let sent = |frame: &Frame| {
        frame.payload.is_empty() && message.payload.is_empty()
            || !frame.payload.is_empty() && message.payload.starts_with(&frame.payload)
            || !message.payload.is_empty() && frame.payload.ends_with(&message.payload)
    };
    case.steps.iter().flat_map(frames_of).any(sent)
}

fn listed(codes: &[u16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// Answers a Close, after which the connection ends (§7.1.1).
async fn after_close(
    link: &mut Link,
    case: &Case,
    code: Option<u16>,
    ruling: Ruling,
    timeouts: Timeouts,
) -> Ruling {
    if !case.steps.iter().flat_map(frames_of).any(|frame| frame.opcode() == 8) {
        link.close(code.unwrap_or(1000)).await;
    }
    // A client waits for the server's end.
    if link.role == Role::Server {
        link.half_close().await;
    }
    let until = Instant::now() + timeouts.answer;
    loop {
        match link.next_until(until).await {
            Some(Input::End(_)) => return ruling,
            Some(Input::Message(message)) => {
                let what = format!("{} behind the Close", shown(&message));
                return Ruling { verdict: Verdict::Broken, came: what };
            }
            Some(_) => {}
            None => {
                let what = "a Close, and the connection stays open after both have sent one";
                return Ruling::against(case.level, what);
            }
        }
    }
}

/// A Close is answered.
async fn closes(link: &mut Link, case: &Case, rule: CloseRule, timeouts: Timeouts) -> Ruling {
    let (until, valid) = (Instant::now() + timeouts.answer, valid_before(case, link.role));
    loop {
        match link.next_until(until).await {
            Some(Input::Close(code)) => {
                let ruling = match (rule, code) {
                    (CloseRule::NeverThisCode(never), Some(code)) if code == never => {
                        Ruling::against(case.level, close(Some(code)))
                    }
                    (CloseRule::Code(due), Some(code)) if code != due => {
                        Ruling::information(format!("{}, not {due}", close(Some(code))))
                    }
                    (_, code) => Ruling::passed(close(code)),
                };
                return after_close(link, case, code, ruling, timeouts).await;
            }
            Some(Input::Ping(_) | Input::Pong(_)) => {}
            Some(Input::Message(message))
                if is_ours(case, &message) && !valid.contains(&message) =>
            {
                return Ruling::against(case.level, format!("{} behind it", shown(&message)));
            }
            Some(Input::Message(_)) => {}
            Some(Input::End(how)) => {
                return match rule {
                    CloseRule::NeverThisCode(_) => Ruling::passed(end(how)),
                    _ => Ruling::against(case.level, end(how)),
                };
            }
            None => return Ruling::against(case.level, "no Close"),
        }
    }
}

/// The peer ends the connection by itself.
async fn ends(link: &mut Link, case: &Case, seconds: u64) -> Ruling {
    let began = Instant::now();
    match link.end(Duration::from_secs(seconds)).await {
        true => Ruling::passed(format!("ends after {:.1} s", began.elapsed().as_secs_f64())),
        false => Ruling::against(case.level, format!("still open after {seconds} s")),
    }
}

/// The peer, which has sent a Close that nothing answers, ends the connection by itself.
async fn ends_after_close(link: &mut Link, case: &Case, seconds: u64) -> Ruling {
    let (began, mut is_closed) = (Instant::now(), false);
    let until = began + Duration::from_secs(seconds);
    loop {
        match link.next_until(until).await {
            Some(Input::End(_)) => {
                return Ruling::passed(format!(
                    "ends after {:.1} s",
                    began.elapsed().as_secs_f64()
                ));
            }
            Some(Input::Close(_)) => is_closed = true,
            Some(_) => {}
            None if is_closed => {
                return Ruling::against(case.level, format!("still open after {seconds} s"));
            }
            None => return Ruling::not_judged("the peer has sent no Close"),
        }
    }
}
