//! The opening handshake of a case (RFC 6455 §4), on either side.

use std::time::Duration;

use sockeye_wire::{
    Frame, Role,
    frame::PING,
    handshake::{Head, accept_for},
};

use super::{Peer, Timeouts, own_role};
use crate::{
    case::{Case, Change, Expect, Look, Need, Opening},
    deflate::{self, Agreement},
    head,
    http2::Http2,
    link::{Input, Link, Mistake, Stream},
    target::Target,
    trace::{Direction, Trace},
    verdict::{Judged, Ruling},
};

/// A WebSocket that a case goes on with.
pub(crate) struct OpenLink {
    pub(crate) link: Link,
    /// What the peer said: a server's response, a client's request.
    pub(crate) head: Head,
    /// The connection that its stream is of.
    pub(crate) http2: Option<Http2>,
}

/// Opens the connection of a case. What ends a case here is its ruling.
pub(crate) async fn open(
    case: &Case,
    peer: Peer<'_>,
    timeouts: Timeouts,
) -> Result<OpenLink, Judged> {
    let role = own_role(&peer);
    match peer {
        Peer::Server(target) if case.opening.http2.is_some() => {
            over_http2(case, target, timeouts).await
        }
        Peer::Server(target) => match target.dial.dial().await {
            Ok(stream) => as_client(case, target, Link::new(stream, role), timeouts).await,
            Err(error) => Err(Judged::from_ruling(match case.expect {
                Expect::Opens | Expect::Survives => {
                    Ruling::against(case.level, format!("no connection: {error}"))
                }
                _ => Ruling::not_judged(format!("no connection: {error}")),
            })),
        },
        Peer::Client(stream) => as_server(case, Link::new(stream, role), timeouts).await,
    }
}

/// Opens a WebSocket on a stream of HTTP/2 (RFC 8441 §5).
async fn over_http2(case: &Case, target: &Target, timeouts: Timeouts) -> Result<OpenLink, Judged> {
    let none = Judged::from_ruling;
    let Some(http2) = Http2::connect(target, timeouts.answer).await else {
        return Err(none(Ruling::not_judged("no connection with HTTP/2")));
    };
    let opened = http2.open(target, &case.opening, timeouts.answer).await;
    let is_refusal = case.expect == Expect::Refuses;
    let (response, stream) = match opened {
        Ok(opened) => opened,
        Err(why) if is_refusal && !why.starts_with("nothing within") => {
            return Err(none(Ruling::passed(why)));
        }
        Err(why) => return Err(none(Ruling::against(case.level, why))),
    };
    let status = response.status();
    let mut link = Link::new(stream, Role::Client);
    let change = case.opening.http2.unwrap_or(Change::Nothing);
    let request = format!("extended CONNECT {}{}", target.path, change.shown());
    let offered = case.opening.extensions.unwrap_or_default();
    let answer = response.headers().get("sec-websocket-extensions");
    let agreed = answer.and_then(|value| value.to_str().ok()).unwrap_or_default();
    link.trace.note(Direction::Sent, &with(&request, offered));
    link.trace.note(Direction::Came, &with(&format!(":status {}", status.as_u16()), agreed));
    link.agreement = Agreement::of(agreed);
    match (is_refusal, status.is_success()) {
        (true, false) => {
            Err(Judged::of(link, Ruling::passed(format!("status {}", status.as_u16()))))
        }
        (true, true) => Err(Judged::of(link, Ruling::against(case.level, "the WebSocket opens"))),
        (false, false) => Err(Judged::of(
            link,
            Ruling::against(case.level, format!("status {}", status.as_u16())),
        )),
        (false, true) if case.needs.contains(&Need::Deflate) && link.agreement.is_none() => {
            let why = "this offer of compression is declined";
            Err(Judged::of(link, Ruling::not_judged(why)))
        }
        (false, true) => {
            let head = Head { first_line: String::new(), headers: Vec::new() };
            Ok(OpenLink { link, head, http2: Some(http2) })
        }
    }
}

/// The head of what a server answers to a right request.
///
/// # Errors
///
/// What comes in its place.
pub(crate) async fn ask(target: &Target, stream: Stream, wait: Duration) -> Result<Head, String> {
    let mut link = Link::new(stream, Role::Client);
    let request = head::request(target, &Opening::default(), &head::key());
    // A server may answer, and end, before it has read all.
    let _ = link.write(request.as_bytes()).await;
    let head = read_head(&mut link, wait).await;
    head.map_err(|why| match link.unread() {
        [] => why,
        // A record of TLS: an alert.
        [0x15, 3, ..] => "TLS: is it wss:// that is meant?".to_owned(),
        bytes => {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            format!("what is not HTTP: {:?}", begin.trim_end())
        }
    })
}

async fn read_head(link: &mut Link, wait: Duration) -> Result<Head, String> {
    let text = link.read_head(wait).await?;
    Head::try_parse(&text).map_err(|line| format!("a line without a colon: {line:?}"))
}

async fn as_client(
    case: &Case,
    target: &Target,
    mut link: Link,
    timeouts: Timeouts,
) -> Result<OpenLink, Judged> {
    let key = head::key();
    let request = head::request(target, &case.opening, &key);
    link.trace.head(Direction::Sent, &request);
    let early: Vec<_> = case.opening.early.iter().map(|frame| link.dressed(frame)).collect();
    for frame in &early {
        link.trace.frame(Direction::Sent, frame);
    }
    let frames = early.iter().flat_map(Frame::encode);
    let mut bytes: Vec<u8> = request.into_bytes().into_iter().chain(frames).collect();
    if let Some(count) = case.opening.cut {
        bytes.truncate(count);
    }
    // A server may answer, and end, before it has read all.
    let _ = match case.opening.is_slow {
        true => link.write_slowly(&bytes).await,
        false => link.write(&bytes).await,
    };
    if case.opening.cut.is_some() {
        return Ok(OpenLink {
            link,
            head: Head { first_line: String::new(), headers: Vec::new() },
            http2: None,
        });
    }
    let head = read_head(&mut link, timeouts.answer).await;
    match case.expect {
        Expect::Refuses => return Err(Judged::of(link, refused(case, head, None))),
        Expect::RefusesNaming(name, value) => {
            return Err(Judged::of(link, refused(case, head, Some((name, value)))));
        }
        _ => {}
    }
    match head.and_then(|head| accepted(&head, &key).map(|()| head)) {
        Ok(head) => agreed(case, target, link, head).await,
        Err(why) => Err(Judged::of(link, failed(case, why))),
    }
}

/// A handshake that has to succeed, and does not.
fn failed(case: &Case, why: String) -> Ruling {
    match case.expect {
        Expect::Opens | Expect::Survives | Expect::Response(Look::Accept) => {
            Ruling::against(case.level, why)
        }
        // One that speaks none of the subprotocols that it is offered need not go on.
        Expect::Response(Look::Subprotocol)
            if !case.opening.edits.is_empty() && why.starts_with("status 4") =>
        {
            Ruling::passed(format!("refuses the handshake: {why}"))
        }
        _ if case.chapter() == "opening" => Ruling::against(case.level, why),
        Expect::Response(Look::Declines) if why.contains("status 4") => {
            Ruling::passed(format!("refuses the handshake: {why}"))
        }
        _ => Ruling::not_judged(format!("the handshake did not succeed: {why}")),
    }
}

/// What the response agrees on, and whether that is what the case needs.
async fn agreed(
    case: &Case,
    target: &Target,
    mut link: Link,
    head: Head,
) -> Result<OpenLink, Judged> {
    let extensions = joined(&head, "sec-websocket-extensions");
    link.agreement = Agreement::of(&extensions);
    // Where the case is about something else, a right handshake is one line each.
    if !matches!(case.chapter(), "opening" | "negotiation") && case.opening.early.is_empty() {
        let offered = case.opening.extensions.unwrap_or_default();
        link.trace = Trace::default();
        link.trace.note(Direction::Sent, &with("a right request", offered));
        link.trace.note(Direction::Came, &with(&head.first_line, &extensions));
    }
    let is_bound = link.agreement.is_some_and(|agreement| agreement.client_no_context_takeover);
    let ruling = match case.expect {
        Expect::Response(look) => looked_at(case, target, look, &head),
        _ if case.needs.contains(&Need::Deflate) && link.agreement.is_none() => {
            Ruling::not_judged("this offer of compression is declined")
        }
        _ if case.needs.contains(&Need::Takeover) && is_bound => {
            Ruling::not_judged("the server has asked for messages that refer to no earlier ones")
        }
        _ => return Ok(OpenLink { link, head, http2: None }),
    };
    link.close(1000).await;
    Err(Judged::of(link, ruling))
}

/// A line for a head of which nothing but the extensions is of interest.
fn with(head: &str, extensions: &str) -> String {
    match extensions {
        "" => head.to_owned(),
        extensions => format!("{head}, Sec-WebSocket-Extensions: {extensions}"),
    }
}

/// The values of a field that may stand several times.
fn joined(head: &Head, name: &str) -> String {
    head.values(name).collect::<Vec<_>>().join(", ")
}

fn status(head: &Head) -> Option<u16> {
    head.first_line.split(' ').nth(1)?.parse().ok()
}

/// Whether a response opens the WebSocket of this key.
fn accepted(head: &Head, key: &str) -> Result<(), String> {
    match status(head) {
        Some(101) => {}
        Some(status) => return Err(format!("status {status} in place of 101")),
        None => return Err(format!("no HTTP response: {:?}", head.first_line)),
    }
    let accepts: Vec<_> = head.values("sec-websocket-accept").collect();
    match accepts[..] {
        [accept] if accept == accept_for(key) => Ok(()),
        [accept] => Err(format!("Sec-WebSocket-Accept is {accept}, not {}", accept_for(key))),
        [] => Err("no Sec-WebSocket-Accept".to_owned()),
        _ => Err("Sec-WebSocket-Accept stands twice".to_owned()),
    }
}

/// A handshake that a server has to refuse.
fn refused(
    case: &Case,
    head: Result<Head, String>,
    naming: Option<(&'static str, &'static str)>,
) -> Ruling {
    let head = match head {
        Ok(head) => head,
        // It does not open, and HTTP sets no deadline for a response.
        Err(why) if why.starts_with("nothing within") => {
            return Ruling::loose(format!("neither a response nor an end: {why}"));
        }
        // A reset may have taken the response with it.
        Err(why) if why.contains("reset") => return Ruling::passed(why),
        Err(why) => {
            return match naming {
                None => Ruling::loose(format!("no HTTP response, but {why}")),
                Some(_) => Ruling::against(case.level, format!("no HTTP response, but {why}")),
            };
        }
    };
    match (status(&head), naming) {
        (Some(101), None) if is_other_protocol(&head) => {
            Ruling::passed(format!("goes on with {}", joined(&head, "upgrade")))
        }
        (Some(101), _) => Ruling::against(case.level, "the WebSocket opens (101)"),
        (Some(status), Some((name, value))) => {
            let found = joined(&head, name);
            match found.split(',').any(|part| part.trim() == value) {
                true => Ruling::passed(format!("status {status}, {name}: {found}")),
                false => {
                    Ruling::against(case.level, format!("status {status} without {name}: {value}"))
                }
            }
        }
        (Some(status), None) => Ruling::passed(format!("status {status}")),
        (None, _) => Ruling::loose(format!("no HTTP response: {:?}", head.first_line)),
    }
}

/// Whether a 101 is about something else than WebSockets.
fn is_other_protocol(head: &Head) -> bool {
    !joined(head, "upgrade").to_ascii_lowercase().contains("websocket")
        && head.values("sec-websocket-accept").next().is_none()
}

/// A look at the response that has opened the WebSocket.
fn looked_at(case: &Case, target: &Target, look: Look, head: &Head) -> Ruling {
    let value = |name| joined(head, name);
    let has_token = |name, token: &str| {
        value(name).split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let offered = case.opening.extensions.unwrap_or_default();
    let extensions = value("sec-websocket-extensions");
    let names = || extensions.split(',').map(|name| name.split(';').next().unwrap_or("").trim());
    let is_offered = |name: &str| offered.split(',').any(|one| one.trim().starts_with(name));
    let wrong = match look {
        Look::Accept => None,
        Look::Upgrade if has_token("upgrade", "websocket") => None,
        Look::Upgrade => Some(format!("Upgrade: {}", value("upgrade"))),
        Look::Connection if has_token("connection", "upgrade") => None,
        Look::Connection => Some(format!("Connection: {}", value("connection"))),
        Look::StatusLine if head.first_line.starts_with("HTTP/1.1 101") => None,
        Look::StatusLine => Some(format!("the status line {:?}", head.first_line)),
        Look::Subprotocol => {
            let chosen: Vec<_> = head.values("sec-websocket-protocol").collect();
            let offered = |name: &str| {
                target.subprotocols.iter().any(|offer| offer == name)
                    || case.opening.edits.iter().any(|edit| format!("{edit:?}").contains(name))
            };
            match chosen[..] {
                [] => None,
                [""] => Some("an empty Sec-WebSocket-Protocol".to_owned()),
                [name] if offered(name) => None,
                _ => Some(format!("Sec-WebSocket-Protocol: {}", chosen.join(", "))),
            }
        }
        Look::Extensions if extensions.is_empty() || names().all(is_offered) => None,
        Look::Extensions => Some(format!("Sec-WebSocket-Extensions: {extensions}")),
        Look::Deflate => {
            let wrong = deflate::mistake(offered, &extensions);
            wrong.map(|what| format!("{what}: Sec-WebSocket-Extensions: {extensions}"))
        }
        Look::Declines if !extensions.contains("permessage-deflate") => None,
        Look::Declines => Some(format!("accepts it: Sec-WebSocket-Extensions: {extensions}")),
        Look::Accepts if extensions.contains("permessage-deflate") => None,
        Look::Accepts => Some("declines it".to_owned()),
        Look::NoBody => ["content-length", "transfer-encoding"]
            .into_iter()
            .find(|name| head.values(name).any(|value| value != "0"))
            .map(|name| format!("{name}: {}", value(name))),
    };
    match wrong {
        None => Ruling::passed("the response is right"),
        Some(what) => Ruling::against(case.level, what),
    }
}

async fn as_server(case: &Case, mut link: Link, timeouts: Timeouts) -> Result<OpenLink, Judged> {
    let head = read_head(&mut link, timeouts.answer).await;
    let head = match head {
        Ok(head) => head,
        Err(why) => {
            return Err(Judged::of(link, Ruling::not_judged(format!("no request came: {why}"))));
        }
    };
    let shown = head.first_line.clone();
    let mistakes = crate::request::mistakes(&head);
    link.mistakes.extend(mistakes.into_iter().map(|what| Mistake { what, shown: shown.clone() }));
    let offers_deflate = joined(&head, "sec-websocket-extensions").contains("permessage-deflate");
    let mut opening = case.opening.clone();
    if case.needs.contains(&Need::Deflate) && !offers_deflate {
        opening.extensions = None;
    }
    let offers_takeover =
        !joined(&head, "sec-websocket-extensions").contains("server_no_context_takeover");
    let key = head.values("sec-websocket-key").next().unwrap_or_default().to_owned();
    link.key = Some(key.clone()).filter(|key| !key.is_empty());
    let offered = joined(&head, "sec-websocket-protocol");
    let subprotocol = offered.split(',').next().map(str::trim).filter(|name| !name.is_empty());
    let response = head::response(&opening, &key, subprotocol);
    if case.chapter() == "response" {
        link.trace.head(Direction::Sent, &response);
    } else {
        let offered = joined(&head, "sec-websocket-extensions");
        let agreed = opening.extensions.unwrap_or_default();
        link.trace = Trace::default();
        link.trace.note(Direction::Came, &with(&head.first_line, &offered));
        link.trace.note(Direction::Sent, &with("a right response", agreed));
    }
    for frame in &case.opening.early {
        link.trace.frame(Direction::Sent, frame);
    }
    let frames = case.opening.early.iter().flat_map(Frame::encode);
    let bytes: Vec<u8> = response.into_bytes().into_iter().chain(frames).collect();
    let _ = match case.opening.is_slow {
        true => link.write_slowly(&bytes).await,
        false => link.write(&bytes).await,
    };
    link.agreement = opening.extensions.and_then(Agreement::of);
    match case.expect {
        Expect::Refuses => {
            let ruling = not_opened(case, &mut link, timeouts).await;
            Err(Judged::of(link, ruling))
        }
        _ if case.needs.contains(&Need::Deflate) && !offers_deflate => {
            link.close(1000).await;
            Err(Judged::of(link, Ruling::not_judged("the client does not offer compression")))
        }
        _ if case.needs.contains(&Need::Takeover) && !offers_takeover => {
            link.close(1000).await;
            let why = "the client has asked for messages that refer to no earlier ones";
            Err(Judged::of(link, Ruling::not_judged(why)))
        }
        _ => Ok(OpenLink { link, head, http2: None }),
    }
}

/// Whether a client has taken a response that it must not take.
async fn not_opened(case: &Case, link: &mut Link, timeouts: Timeouts) -> Ruling {
    let mut wait = timeouts.quiet;
    for is_asked in [false, true] {
        match link.next(wait).await {
            Some(Input::End(_)) => return Ruling::passed("the client ends the connection"),
            Some(Input::Close(_)) => return Ruling::passed("the client closes the WebSocket"),
            Some(Input::Pong(_)) => {
                return Ruling::against(case.level, "the client takes it, and answers a Ping");
            }
            Some(Input::Message(_) | Input::Ping(_)) => {
                return Ruling::against(case.level, "the client takes it, and sends frames");
            }
            None => {}
        }
        if !is_asked {
            let _ = link.send(&Frame::unmasked(PING, "still there?")).await;
            wait = timeouts.answer;
        }
    }
    Ruling::against(case.level, "the client neither ends the connection nor answers")
}
