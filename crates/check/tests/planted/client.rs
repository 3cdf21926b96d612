//! A right client that connects again and again and echoes, that one defect can be planted in.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sockeye_wire::{
    Role,
    handshake::{Head, accept_for},
};

use crate::{
    defect::Defect::{self, *},
    handshake::Deflate,
    server::DEADLINE,
    session::Session,
};

/// Starts a client, one of several with a number each. Its thread ends when connections are refused.
pub(crate) fn start(server: SocketAddr, defect: Option<Defect>, worker: u64) {
    thread::spawn(move || {
        for number in worker << 32.. {
            let Ok(stream) = TcpStream::connect(server) else { return };
            // How a connection ends makes no difference to the next one.
            let _ = talk(stream, defect, number);
        }
    });
}

fn talk(mut stream: TcpStream, defect: Option<Defect>, number: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let key = match defect {
        Some(SameKey) => "dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        Some(ShortKey) => STANDARD.encode(&nonce[..15]),
        _ => STANDARD.encode(nonce),
    };
    stream.write_all(request(&key, defect).as_bytes())?;
    let (head, rest) = read_head(&mut stream, defect)?;
    let Some(Answer(deflate)) = accept(&head, &key, defect) else { return Ok(()) };
    // The message of the case alone: others may happen to come in the same segment.
    let is_early = rest.ends_with(b"early");
    let rest = if defect == Some(DropsEarly) && is_early { Vec::new() } else { rest };
    Session::new(stream, defect, deflate, rest).of(Role::Client).run()
}

fn request(key: &str, defect: Option<Defect>) -> String {
    let line = match defect {
        Some(Posts) => "POST / HTTP/1.1",
        Some(Asks10) => "GET / HTTP/1.0",
        Some(AsksFragment) => "GET /#part HTTP/1.1",
        _ => "GET / HTTP/1.1",
    };
    let version = if defect == Some(AsksVersion8) { "8" } else { "13" };
    let lines = [
        (defect != Some(AsksNoHost), "Host: localhost".to_owned()),
        (defect != Some(AsksNoUpgrade), "Upgrade: websocket".to_owned()),
        (defect != Some(AsksNoConnection), "Connection: Upgrade".to_owned()),
        (true, format!("Sec-WebSocket-Key: {key}")),
        (defect == Some(AsksTwoKeys), format!("Sec-WebSocket-Key: {key}")),
        (true, format!("Sec-WebSocket-Version: {version}")),
        (defect == Some(OffersNothing), "Sec-WebSocket-Protocol: ".to_owned()),
        (defect == Some(OffersTwice), "Sec-WebSocket-Protocol: chat, chat".to_owned()),
        (true, "Sec-WebSocket-Extensions: permessage-deflate".to_owned()),
    ];
    let lines = lines.into_iter().filter(|(is_sent, _)| *is_sent).map(|(_, line)| line + "\r\n");
    format!("{line}\r\n{}\r\n", lines.collect::<String>())
}

fn read_head(stream: &mut TcpStream, defect: Option<Defect>) -> io::Result<(String, Vec<u8>)> {
    let (mut head, mut chunk) = (Vec::new(), [0; 16_384]);
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&chunk[..count]),
        }
        if let Some(at) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = head.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&head).into_owned(), rest));
        }
        if defect == Some(HeadInOneRead) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// What a response agrees on.
struct Answer(Option<Deflate>);

/// What a response agrees on, if it opens the WebSocket.
fn accept(text: &str, key: &str, defect: Option<Defect>) -> Option<Answer> {
    let has = |wanted| defect == Some(wanted);
    let is_spelled =
        |text: &str| text.contains("Upgrade: ") && text.contains("Sec-WebSocket-Accept");
    if has(NamesWithCase) && !is_spelled(text) || has(NeverOpens) {
        return None;
    }
    let head = Head::try_parse(text).ok()?;
    let line = match defect {
        Some(AnyStatus) => head.first_line.starts_with("HTTP/1.1 "),
        Some(AnyResponseLine) => head.first_line.contains(" 101"),
        Some(ReasonAsWritten) => head.first_line == "HTTP/1.1 101 Switching Protocols",
        _ => head.first_line.starts_with("HTTP/1.1 101"),
    };
    let value = |name| head.values(name).collect::<Vec<_>>().join(", ");
    let (upgrade, connection) = (value("upgrade"), value("connection"));
    let upgrades = match defect {
        Some(AnyUpgrade) => true,
        Some(UpgradeWithCase) => upgrade == "websocket",
        _ => upgrade.eq_ignore_ascii_case("websocket"),
    };
    let connects = match defect {
        Some(AnyConnection) => true,
        Some(ConnectionWithCase) => connection.split(", ").any(|part| part == "Upgrade"),
        Some(ConnectionAlone) => connection.eq_ignore_ascii_case("upgrade"),
        _ => connection.split(", ").any(|part| part.eq_ignore_ascii_case("upgrade")),
    };
    let accepts: Vec<_> = head.values("sec-websocket-accept").collect();
    let accepted = match accepts[..] {
        [accept, ..] if has(TwoAccepts) => accept == accept_for(key),
        [accept] => accept == accept_for(key) || has(AnyAccept),
        _ => has(AnyAccept) && accepts.len() < 2,
    };
    let is_blank = has(BlanksInValues) && text.contains(":   ");
    let is_unknown = has(NoUnknownFields) && text.contains("X-");
    let offered = match defect {
        Some(OffersTwice) => "chat",
        _ => "",
    };
    let subprotocol = head.values("sec-websocket-protocol").next();
    let subprotocol = subprotocol.is_none_or(|name| name == offered) || has(AnySubprotocol);
    let opens = line && upgrades && connects && accepted && subprotocol && !is_blank && !is_unknown;
    deflate(&value("sec-websocket-extensions"), defect).filter(|_| opens)
}

/// What is agreed on of compression; `None` if the answer is wrong.
fn deflate(answer: &str, defect: Option<Defect>) -> Option<Answer> {
    let mut agreed = Deflate { server_bits: 15, server_fresh: false, client_fresh: false };
    let mut parts = answer.split(';').map(str::trim);
    match parts.next() {
        Some("permessage-deflate") => {}
        Some("") => return Some(Answer(None)),
        _ => return (defect == Some(AnyExtension)).then_some(Answer(None)),
    }
    let parameters: Vec<_> = parts.collect();
    for (at, parameter) in parameters.iter().enumerate() {
        let is_right = match *parameter {
            // Which end compresses how is the other way round here.
            "server_no_context_takeover" => {
                agreed.client_fresh = true;
                true
            }
            "client_no_context_takeover" => {
                agreed.server_fresh = true;
                true
            }
            _ => false,
        };
        if (!is_right || parameters[..at].contains(parameter)) && defect != Some(AcceptsAnyOffer) {
            return None;
        }
    }
    Some(Answer(Some(agreed)))
}
