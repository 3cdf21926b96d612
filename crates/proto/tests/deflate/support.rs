//! Handshakes and connections in memory.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request, header::SEC_WEBSOCKET_EXTENSIONS};
use sockeye_proto::{
    CloseSignal, Closed, Config, Connection, DeflateAgreement, DeflateConfig, Event, Failure,
    Message, WindowBits,
    handshake::{ClientHandshake, ClientRequest, Offer, ResponseError, accept_key},
};

/// RFC 7692's own terms, for tests about context takeover.
pub(crate) const TAKEOVER: &str = "permessage-deflate; client_max_window_bits";

/// What a server with this configuration agrees to, with its `Sec-WebSocket-Extensions`.
pub(crate) fn accept(offers: &str, config: &DeflateConfig) -> Option<(DeflateAgreement, String)> {
    let request = Request::get("/")
        .header("Host", "example.org")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Extensions", offers)
        .body(())
        .unwrap();
    let mut offer = Offer::from_request(&request).unwrap();
    let agreed = offer.agree_deflate(config);
    let response = offer.accept(None, HeaderMap::new()).unwrap();
    let field = response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    assert_eq!(agreed.is_some(), field.is_some());
    Some((agreed?, field?.to_str().unwrap().to_owned()))
}

/// The `Sec-WebSocket-Extensions` of a client with this configuration, and what it makes of an answer.
pub(crate) fn offer(
    config: &DeflateConfig,
    answer: &str,
) -> (String, Result<Option<DeflateAgreement>, ResponseError>) {
    let mut request = ClientRequest::new("example.org".parse().unwrap(), "/".parse().unwrap());
    request.deflate = Some(config.clone());
    let mut handshake = ClientHandshake::new(request, [1; 16]).unwrap();
    let sent = std::str::from_utf8(handshake.request()).unwrap().to_owned();
    let field = |name: &str| {
        let line = sent.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len() + 2..].to_owned()
    };
    let offered = field("Sec-WebSocket-Extensions");
    let accept = accept_key(&field("Sec-WebSocket-Key"));
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if !answer.is_empty() {
        response += &format!("Sec-WebSocket-Extensions: {answer}\r\n");
    }
    response += "\r\n";
    let accepted = handshake.poll_response(&mut BytesMut::from(response.as_bytes()));
    (offered, accepted.map(|accepted| accepted.unwrap().deflate))
}

/// Both ends of a connection whose ends have the same configuration.
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

impl Pair {
    pub(crate) fn new(deflate: &DeflateConfig) -> Self {
        Self::with_config(deflate, Config::default())
    }

    pub(crate) fn with_config(deflate: &DeflateConfig, config: Config) -> Self {
        let (offers, _) = offer(deflate, "");
        let (agreed, answer) = accept(&offers, deflate).unwrap();
        let (_, accepted) = offer(deflate, &answer);
        let now = Duration::ZERO;
        let client = Connection::client(config.clone(), Box::new(|| [7, 1, 8, 2]), now);
        Self {
            client: client.with_deflate(accepted.unwrap()),
            server: Connection::server(config, now).with_deflate(agreed),
        }
    }

    /// Sends from the server; gives the bytes on the wire and what the client makes of them.
    pub(crate) fn down(&mut self, message: impl Into<Message>) -> (Vec<u8>, Vec<Event>) {
        self.server.send(message.into()).unwrap();
        let wire = transmitted(&mut self.server);
        let events = received(&mut self.client, &wire);
        (wire, events)
    }

    /// Sends from the client; gives the number of bytes on the wire and what the server makes of them.
    pub(crate) fn up(&mut self, message: impl Into<Message>) -> (usize, Vec<Event>) {
        self.client.send(message.into()).unwrap();
        let wire = transmitted(&mut self.client);
        (wire.len(), received(&mut self.server, &wire))
    }
}

/// Everything that a connection has to transmit.
pub(crate) fn transmitted(connection: &mut Connection) -> Vec<u8> {
    let outbox = connection.transmit();
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

/// What a connection makes of these bytes.
pub(crate) fn received(connection: &mut Connection, bytes: &[u8]) -> Vec<Event> {
    received_in(connection, bytes, bytes.len().max(1))
}

/// The same in pieces of `size` bytes.
pub(crate) fn received_in(connection: &mut Connection, bytes: &[u8], size: usize) -> Vec<Event> {
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        while let Some(event) = connection.poll_event(&mut input, Duration::ZERO) {
            events.push(event);
        }
    }
    events
}

/// A client that takes whatever a server may send: it receives what the RFC's examples show.
pub(crate) fn client() -> Connection {
    let config = DeflateConfig::default().server_takeover(true).client_takeover(true).threshold(0);
    client_with(&config, Config::default())
}

pub(crate) fn client_with(deflate: &DeflateConfig, config: Config) -> Connection {
    Pair::with_config(deflate, config).client
}

pub(crate) fn bits(bits: u8) -> WindowBits {
    WindowBits::try_from(bits).unwrap()
}

pub(crate) fn text(text: &str) -> Event {
    Event::Message(Message::from(text))
}

/// The payload of a compressed message, made by the codec itself at level 9.
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(9, false, 15);
    let mut output = vec![0; message.len() + message.len() / 8 + 64];
    deflate.compress(message, &mut output, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    output.truncate(deflate.total_out() as usize);
    assert_eq!(output.split_off(output.len() - 4), [0, 0, 0xff, 0xff]);
    output
}

/// How the connection failed, if that was the last event, and with which code it tells the peer.
pub(crate) fn failed(events: &[Event]) -> Option<(Failure, u16)> {
    match events.last()? {
        Event::Closed(Closed {
            failure: Some(failure), sent: CloseSignal::Frame(frame), ..
        }) => Some((*failure, frame.code().as_u16())),
        _ => None,
    }
}

/// A JSON text of a thousand bytes or so, such as servers push.
pub(crate) fn json(seed: u32) -> String {
    let rows = (0..12).map(|i| {
        let n = seed.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) % 100_000;
        format!(
            r#"{{"id":{},"user":"u{}","price":{}.{},"side":"buy","open":true}}"#,
            n,
            n % 97,
            n / 7,
            n % 10
        )
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}
