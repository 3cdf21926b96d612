//! Negotiation of permessage-deflate: what a server agrees to is what it was offered and allows; what
//! our client offers our server understands, and its answer our client.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use http::{HeaderMap, Request, header::SEC_WEBSOCKET_EXTENSIONS};
use libfuzzer_sys::fuzz_target;
use sockeye_proto::{
    ClientWindow, DeflateAgreement, DeflateConfig, DeflateOffer, WindowBits,
    handshake::{ClientHandshake, ClientRequest, Offer, encode_response},
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    offers: &'a str,
    answer: &'a str,
    server: Settings,
    client: Settings,
}

#[derive(Debug, Arbitrary)]
struct Settings {
    server_takeover: bool,
    client_takeover: bool,
    server_window: u8,
    client_window: u8,
    offers: Vec<(bool, bool, Option<u8>, Option<Option<u8>>)>,
}

fn bits(bits: u8) -> WindowBits {
    WindowBits::try_from(8 + bits % 8).expect("8 to 15")
}

impl Settings {
    fn config(&self) -> DeflateConfig {
        let config = DeflateConfig::default()
            .server_takeover(self.server_takeover)
            .client_takeover(self.client_takeover)
            .server_window_bits(bits(self.server_window))
            .client_window_bits(bits(self.client_window));
        self.offers.iter().take(4).fold(config, |config, (server, client, limit, window)| {
            config.offer(
                DeflateOffer::default()
                    .server_no_context_takeover(*server)
                    .client_no_context_takeover(*client)
                    .server_max_window_bits(limit.map(bits))
                    .client_max_window_bits(match window {
                        None => ClientWindow::Fixed,
                        Some(None) => ClientWindow::Limitable,
                        Some(Some(window)) => ClientWindow::AtMost(bits(*window)),
                    }),
            )
        })
    }
}

/// The server's agreement, and its answer as bytes.
fn accept(offers: &str, key: &str, config: &DeflateConfig) -> Option<(DeflateAgreement, Vec<u8>)> {
    let request = Request::get("/")
        .header("Host", "h")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", key)
        .header("Sec-WebSocket-Version", "13")
        .header(SEC_WEBSOCKET_EXTENSIONS, offers)
        .body(())
        .ok()?;
    let mut offer = Offer::from_request(&request).ok()?;
    let agreed = offer.agree_deflate(config);
    let response = offer.accept(None, HeaderMap::new()).expect("an answer");
    let field = response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    let expected = agreed.as_ref().map(ToString::to_string);
    assert_eq!(field.map(|field| field.as_bytes()), expected.as_deref().map(str::as_bytes));
    Some((agreed?, encode_response(&response.map(|()| "")).to_vec()))
}

fn check_server(offers: &str, agreed: &DeflateAgreement, config: &DeflateConfig) {
    assert!(agreed.server_no_context_takeover() || config.server_takeover);
    assert!(agreed.server_max_window_bits() <= config.server_window_bits);
    assert!(
        agreed.client_no_context_takeover()
            || agreed.client_max_window_bits() <= config.client_window_bits
    );
    let limits = agreed.to_string().contains("client_max_window_bits");
    assert!(!limits || offers.contains("client_max_window_bits"));
}

fn handshake(config: &DeflateConfig) -> (ClientHandshake, String, String) {
    let mut request =
        ClientRequest::new("h".parse().expect("a host"), "/".parse().expect("a path"));
    request.deflate = Some(config.clone());
    let handshake = ClientHandshake::new(request, [7; 16]).expect("a valid request");
    let head = String::from_utf8(handshake.request().to_vec()).expect("ASCII");
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the field is there").to_owned()
    };
    let (offers, key) = (field("Sec-WebSocket-Extensions: "), field("Sec-WebSocket-Key: "));
    (handshake, offers, key)
}

fuzz_target!(|input: Input<'_>| {
    let (server, client) = (input.server.config(), input.client.config());

    // A peer's offer.
    if let Some((agreed, _)) = accept(input.offers, "dGhlIHNhbXBsZSBub25jZQ==", &server) {
        check_server(input.offers, &agreed, &server);
    }

    // Our own offer and answer.
    let (mut ours, offers, key) = handshake(&client);
    let (agreed, response) = accept(&offers, &key, &server).expect("our offers are in order");
    check_server(&offers, &agreed, &server);
    let accepted = ours.poll_response(&mut BytesMut::from(&response[..]));
    let kept = accepted.expect("our answer fits").expect("it is whole").deflate;
    let kept = kept.expect("it was agreed on");
    // A server may do without takeover though it did not say so.
    assert!(agreed.server_no_context_takeover() || !kept.server_no_context_takeover());
    assert_eq!(kept.server_max_window_bits(), agreed.server_max_window_bits());
    assert!(kept.client_no_context_takeover() || !agreed.client_no_context_takeover());
    assert!(kept.client_max_window_bits() <= agreed.client_max_window_bits());

    // A peer's answer.
    let (mut theirs, ..) = handshake(&client);
    let head = String::from_utf8(response).expect("ASCII");
    let head = head.replace(&agreed.to_string(), input.answer);
    if let Ok(Some(accepted)) = theirs.poll_response(&mut BytesMut::from(head.as_bytes()))
        && let Some(agreed) = accepted.deflate
    {
        assert!(agreed.client_max_window_bits() <= client.client_window_bits);
        assert!(agreed.client_no_context_takeover() || client.client_takeover);
    }
});
