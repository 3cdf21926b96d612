//! The planted server's side of the opening handshake.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sockeye_wire::handshake::accept_for;

use crate::defect::Defect::{self, *};

/// What a request asks for, if that is right.
pub(crate) struct Accepted {
    pub(crate) response: String,
    pub(crate) deflate: Option<Deflate>,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deflate {
    pub(crate) server_bits: u8,
    pub(crate) server_fresh: bool,
    pub(crate) client_fresh: bool,
}

struct Request {
    line: String,
    fields: Vec<(String, String)>,
}

impl Request {
    fn values<'r>(&'r self, wanted: &'r str) -> impl Iterator<Item = &'r str> {
        let named = self.fields.iter().filter(move |(name, _)| name == wanted);
        named.map(|(_, value)| value.as_str())
    }

    fn joined(&self, wanted: &str) -> String {
        self.values(wanted).collect::<Vec<_>>().join(",")
    }
}

/// Reads a head, and says which response it gets.
pub(crate) fn answer(head: &str, defect: Option<Defect>) -> Result<Accepted, String> {
    let has = |wanted| defect == Some(wanted);
    let bad =
        || "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let elsewhere = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    match defect {
        Some(RefusesAll) => return Err(elsewhere("404 Not Found")),
        Some(Redirects) => {
            return Err(elsewhere("302 Found\r\nLocation: https://example.com/ws"));
        }
        Some(SpeaksSsh) => return Err("SSH-2.0-planted\r\n".to_owned()),
        _ => {}
    }
    let request = parse(head, defect).ok_or_else(bad)?;
    let sound = line(&request, defect) && fields(&request, defect) && key(&request, defect);
    if !sound {
        return Err(bad());
    }
    if !version(&request, defect) {
        let named = if has(UnnamedVersion) { "" } else { "Sec-WebSocket-Version: 13\r\n" };
        return Err(format!("HTTP/1.1 426 Upgrade Required\r\n{named}Content-Length: 0\r\n\r\n"));
    }
    let offers = request.joined("sec-websocket-extensions");
    if has(ExtensionLines) && request.values("sec-websocket-extensions").count() > 1 {
        return Err(bad());
    }
    if has(NoExtensions) && offers.contains("x-sockeye")
        || offers.contains(";;=") && !has(AnyExtension)
    {
        return Err(bad());
    }
    let (extensions, deflate) = extensions(&offers, defect);
    let mut response = match defect {
        Some(StatusOfHttp10) => "HTTP/1.0 101 Switching Protocols\r\n",
        _ => "HTTP/1.1 101 Switching Protocols\r\n",
    }
    .to_owned();
    let key = request.values("sec-websocket-key").next().unwrap_or_default();
    let accept = if has(WrongAccept) { accept_for("x") } else { accept_for(key) };
    response += &format!("Sec-WebSocket-Accept: {accept}\r\n");
    let others = [
        (!has(NoUpgradeField), "Upgrade: websocket\r\n"),
        (!has(NoConnectionField), "Connection: Upgrade\r\n"),
        (has(Body), "Content-Length: 5\r\n"),
        (has(OwnSubprotocol), "Sec-WebSocket-Protocol: mine\r\n"),
        (has(EmptySubprotocol), "Sec-WebSocket-Protocol: \r\n"),
        (has(OwnExtension), "Sec-WebSocket-Extensions: x-mine\r\n"),
        (has(DeflateUnasked), "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    ];
    others.iter().filter(|(is_sent, _)| *is_sent).for_each(|(_, line)| response += line);
    if !extensions.is_empty() {
        response += &format!("Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    Ok(Accepted { response: response + "\r\n", deflate })
}

/// Whether the version of the request is accepted.
fn version(request: &Request, defect: Option<Defect>) -> bool {
    let has = |wanted| defect == Some(wanted);
    let versions: Vec<_> = request.values("sec-websocket-version").collect();
    match versions[..] {
        ["13"] => true,
        [first, ..] if has(TwoVersions) => first.split(',').next() == Some("13"),
        [one] if has(VersionByPrefix) => one.starts_with("13"),
        [one] if has(VersionAsNumber) => one.parse() == Ok(13),
        _ => has(AnyVersion),
    }
}

fn parse(head: &str, defect: Option<Defect>) -> Option<Request> {
    let has = |wanted| defect == Some(wanted);
    let is_token = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let mut lines = head.split("\r\n").take_while(|line| !line.is_empty());
    let line = lines.next()?.to_owned();
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = match line.split_once(':') {
            Some((name, value)) if is_token(name) => (name, value),
            _ if has(AnyFieldLine) => continue,
            _ => return None,
        };
        if has(NoUnknownFields) && name.starts_with("X-") {
            return None;
        }
        if value.contains('\0') && !has(Nul) {
            return None;
        }
        if has(NamesAsWritten) && name.to_ascii_uppercase() == name {
            continue;
        }
        if has(NamesWithCase) && name.to_ascii_lowercase() == name {
            continue;
        }
        let is_kept = has(BlanksInValues) || has(BlanksInKey) && name.ends_with("-Key");
        let value = if is_kept { value.strip_prefix(' ').unwrap_or(value) } else { value.trim() };
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Some(Request { line, fields })
}

fn line(request: &Request, defect: Option<Defect>) -> bool {
    let has = |wanted| defect == Some(wanted);
    let words: Vec<_> = request.line.split(' ').collect();
    match words[..] {
        ["GET", _, "HTTP/1.1"] => true,
        [_, _, "HTTP/1.1"] => has(AnyMethod) || has(AnyHttpLine),
        ["GET", _, "HTTP/1.0"] => has(OldHttp) || has(AnyHttpLine),
        _ => has(AnyHttpLine),
    }
}

fn fields(request: &Request, defect: Option<Defect>) -> bool {
    let has = |wanted| defect == Some(wanted);
    let hosts = request.values("host").count();
    let upgrade = request.joined("upgrade");
    let connection = match has(FirstConnectionLine) {
        true => request.values("connection").next().unwrap_or_default().to_owned(),
        false => request.joined("connection"),
    };
    let token = |list: &str, wanted: &str| {
        list.split(',').any(|part| part.trim_matches(' ').eq_ignore_ascii_case(wanted))
    };
    let upgrades = match defect {
        Some(AnyUpgrade) => true,
        Some(UpgradeByPrefix) => upgrade.to_ascii_lowercase().contains("websocket"),
        Some(UpgradeWithCase) => upgrade == "websocket" || upgrade == "h2c, websocket",
        Some(UpgradeAlone) => upgrade.eq_ignore_ascii_case("websocket"),
        _ => token(&upgrade, "websocket"),
    };
    let connects = match defect {
        Some(AnyConnection) => true,
        Some(ConnectionByPrefix) => connection.to_ascii_lowercase().contains("upgrade"),
        Some(ConnectionWithCase) => connection.split(',').any(|part| part.trim() == "Upgrade"),
        Some(ConnectionAlone) => connection.eq_ignore_ascii_case("upgrade"),
        Some(NoEmptyElements) if connection.contains(",,") => false,
        _ => token(&connection, "upgrade"),
    };
    let protocols = request.values("sec-websocket-protocol").collect::<Vec<_>>();
    let is_empty = protocols.iter().any(|value| value.is_empty());
    let names: Vec<_> =
        protocols.iter().flat_map(|value| value.split(',').map(str::trim)).collect();
    let twice = names.iter().enumerate().any(|(at, name)| names[..at].contains(name));
    let spaced = names.iter().any(|name| name.contains(' '));
    if has(WantsSubprotocol) && !names.is_empty() && !names.contains(&"mine") {
        return false;
    }
    let hosts = match hosts {
        0 => has(NoHost),
        1 => true,
        _ => has(TwoHosts),
    };
    hosts && upgrades && connects && (has(AnySubprotocol) || !(is_empty || twice || spaced))
}

fn key(request: &Request, defect: Option<Defect>) -> bool {
    let has = |wanted| defect == Some(wanted);
    let keys: Vec<_> = request.values("sec-websocket-key").collect();
    match keys[..] {
        [] => has(NoKey),
        [key] if has(UnpaddedKey) => key.len() >= 22 && key.starts_with("dGhl") || is_key(key),
        [key] => has(AnyKey) || is_key(key),
        _ => has(TwoKeys),
    }
}

fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
}

/// What is accepted of these offers.
fn extensions(offers: &str, defect: Option<Defect>) -> (String, Option<Deflate>) {
    let has = |wanted| defect == Some(wanted);
    if has(EchoesExtensions) && !offers.contains("permessage") {
        return (offers.to_owned(), None);
    }
    for (at, offer) in offers.split(',').enumerate() {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") || at > 0 && has(FirstOfferAlone) {
            continue;
        }
        let parameters: Vec<_> = parts.collect();
        let Some(agreed) = agree(&parameters, defect) else { continue };
        let mut answer = "permessage-deflate".to_owned();
        if agreed.server_fresh {
            answer += "; server_no_context_takeover";
        }
        if agreed.client_fresh {
            answer += "; client_no_context_takeover";
        }
        if agreed.server_bits < 15 {
            answer += &format!("; server_max_window_bits={}", agreed.server_bits);
        }
        if has(AnswersBadBits) {
            answer += "; client_max_window_bits=7";
        }
        return (answer, Some(agreed));
    }
    (String::new(), None)
}

fn agree(parameters: &[&str], defect: Option<Defect>) -> Option<Deflate> {
    let is_lenient = defect == Some(AcceptsAnyOffer);
    let mut agreed = Deflate { server_bits: 15, server_fresh: false, client_fresh: false };
    for (at, parameter) in parameters.iter().enumerate() {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value.trim_matches('"'))),
            None => (*parameter, None),
        };
        let twice = parameters[..at].iter().any(|other| other.split('=').next() == Some(name));
        let bits = value.map(|value| match value.as_bytes() {
            [b'8' | b'9'] | [b'1', b'0'..=b'5'] => value.parse().ok(),
            _ => None,
        });
        let sound = match (name, bits) {
            ("server_no_context_takeover", None) => {
                agreed.server_fresh = true;
                true
            }
            ("client_no_context_takeover", None) => {
                agreed.client_fresh = true;
                true
            }
            ("server_max_window_bits", Some(Some(8))) if defect == Some(WidensWindow) => {
                agreed.server_bits = 9;
                true
            }
            // zlib has no window of 256 bytes: 9 bits would be a larger one.
            ("server_max_window_bits", Some(Some(8))) => false,
            ("server_max_window_bits", Some(Some(bits))) => {
                agreed.server_bits = bits;
                true
            }
            ("client_max_window_bits", None | Some(Some(_))) => true,
            _ => false,
        };
        if !is_lenient && (twice || !sound) {
            return None;
        }
    }
    Some(agreed)
}
