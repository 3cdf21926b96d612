//! What a peer does, found out before it is judged: whether it echoes, whether it compresses.

mod fitness;

use std::time::Duration;

use sockeye_wire::{
    Frame,
    frame::{BINARY, PING, TEXT},
};
use tokio::time::Instant;

use crate::{
    case::{Case, Message, case},
    head,
    http2::Http2,
    judge::{OpenLink, Peer, Timeouts, open},
    link::{Input, Stream},
    target::Target,
};

pub(crate) use self::fitness::Unfit;

/// What a peer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It sends every message back.
    pub echoes: bool,
    /// It agrees on permessage-deflate.
    pub deflates: bool,
    /// It opens WebSockets over HTTP/2.
    pub has_http2: bool,
    /// A connection goes on behind a text.
    pub takes_text: bool,
    /// A connection goes on behind a binary message.
    pub takes_binary: bool,
    /// What one connection sends comes to all of them.
    pub is_broadcast: bool,
    /// It opens a WebSocket at all.
    pub opens: bool,
    /// It answers neither messages nor Pings.
    pub is_mute: bool,
}

/// How long an echo may take before there is none. An echo is not the point of most servers.
const ECHO: Duration = Duration::from_secs(2);

fn plain(extensions: Option<&'static str>) -> Case {
    let mut plain = case("probe", "", "");
    plain.opening.extensions = extensions;
    plain
}

/// Finds out what a server does.
///
/// # Errors
///
/// When it is not reached, or opens no WebSocket here.
pub(crate) async fn server(target: &Target, timeouts: Timeouts) -> Result<Abilities, Unfit> {
    fitness::look(target, timeouts).await?;
    let mut abilities = Abilities::default();
    let Ok(mut first) = open(&plain(None), Peer::Server(target), timeouts).await else {
        return Ok(abilities);
    };
    abilities.opens = true;
    let second = open(&plain(None), Peer::Server(target), timeouts).await.ok();
    let token = format!("sockeye check {}", head::key());
    abilities.echoes = echoes(&mut first, &token, true).await;
    if let (true, Some(mut second)) = (abilities.echoes, second) {
        // The token was on its way to both at the same time: what has not come by now is not coming.
        abilities.is_broadcast = echoes(&mut second, &token, false).await;
        second.link.close(1000).await;
    }
    first.link.close(1000).await;
    let mut behind = Vec::new();
    let kinds = if abilities.echoes { &[BINARY][..] } else { &[TEXT, BINARY] };
    for kind in kinds {
        behind.push(answers(*kind, target, timeouts).await);
    }
    if behind.contains(&Behind::Flood) {
        return Err(Unfit::Floods(format!("{} sends without end", target.authority)));
    }
    abilities.heard(&behind);
    abilities.has_http2 = Http2::connect(target, timeouts.answer).await.is_some();
    if let Ok(mut opened) = open(&plain(Some(OFFER)), Peer::Server(target), timeouts).await {
        abilities.deflates = opened.link.agreement.is_some();
        opened.link.close(1000).await;
    }
    Ok(abilities)
}

const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Whether a text comes back, or comes at all.
async fn echoes(opened: &mut OpenLink, token: &str, is_sent: bool) -> bool {
    if is_sent {
        let _ = opened.link.send(&Frame::unmasked(TEXT, token)).await;
    }
    let wait = if is_sent { ECHO } else { Duration::from_millis(300) };
    let waiting = async {
        loop {
            match opened.link.next(wait).await {
                Some(Input::Message(Message { payload, .. })) if payload == token.as_bytes() => {
                    return true;
                }
                // A server that speaks for itself is not one whose messages can be compared.
                Some(Input::Message(_) | Input::End(_) | Input::Close(_)) | None => return false,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(wait, waiting).await.unwrap_or(false)
}

/// What comes behind a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// The answer to a Ping.
    Pong,
    /// Nothing in time.
    Nothing,
    /// A Close, or the end of the connection.
    End,
    /// More than is read of a connection.
    Flood,
}

impl Abilities {
    /// What comes behind a text, if that was asked for, and behind a binary message.
    fn heard(&mut self, behind: &[Behind]) {
        self.takes_text = self.echoes || behind.first() != Some(&Behind::End);
        self.takes_binary = behind.last() != Some(&Behind::End);
        let is_nothing = |behind: &Behind| *behind == Behind::Nothing;
        self.is_mute = !self.echoes && behind.iter().all(is_nothing);
    }
}

/// What a server does behind a message.
async fn answers(kind: u8, target: &Target, timeouts: Timeouts) -> Behind {
    let opened = open(&plain(None), Peer::Server(target), timeouts).await;
    // One that does not open is judged by that.
    let Ok(mut opened) = opened else { return Behind::Pong };
    let behind = answers_behind(&mut opened, kind, timeouts).await;
    opened.link.close(1000).await;
    behind
}

/// What is answered to a Ping behind a message.
async fn answers_behind(opened: &mut OpenLink, kind: u8, timeouts: Timeouts) -> Behind {
    let _ = opened.link.send(&Frame::unmasked(kind, "sockeye check")).await;
    let _ = opened.link.send(&Frame::unmasked(PING, "behind")).await;
    let until = Instant::now() + timeouts.answer;
    loop {
        match opened.link.next_until(until).await {
            Some(Input::Pong(_)) => return Behind::Pong,
            Some(Input::End(_)) if opened.link.is_flooded() => return Behind::Flood,
            Some(Input::End(_) | Input::Close(_)) => return Behind::End,
            Some(_) => {}
            None => return Behind::Nothing,
        }
    }
}

/// Finds out what a client does, on its first connection.
///
/// # Errors
///
/// When it sends without end.
pub(crate) async fn client(stream: Stream, timeouts: Timeouts) -> Result<Abilities, Unfit> {
    let mut abilities = Abilities::default();
    let Ok(mut opened) = open(&plain(None), Peer::Client(stream), timeouts).await else {
        return Ok(abilities);
    };
    abilities.opens = true;
    let extensions: Vec<_> = opened.head.values("sec-websocket-extensions").collect();
    abilities.deflates = extensions.iter().any(|value| value.contains("permessage-deflate"));
    abilities.echoes = echoes(&mut opened, "sockeye check", true).await;
    let mut behind = Vec::new();
    let kinds = if abilities.echoes { &[BINARY][..] } else { &[TEXT, BINARY] };
    for kind in kinds {
        behind.push(answers_behind(&mut opened, *kind, timeouts).await);
    }
    if behind.contains(&Behind::Flood) {
        return Err(Unfit::Floods("the client sends without end".to_owned()));
    }
    abilities.heard(&behind);
    opened.link.close(1000).await;
    opened.link.half_close().await;
    Ok(abilities)
}
