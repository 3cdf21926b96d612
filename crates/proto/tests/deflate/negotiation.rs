//! Offers and answers (RFC 7692 §5, §7.1).

use std::time::Duration;

use sockeye_proto::{
    ClientWindow, Config, Connection, DeflateConfig, DeflateOffer, handshake::ResponseError,
};

use sockeye_testing::frame::unmasked;

use crate::support::{accept, bits, deflated, failed, offer, received, text, transmitted};

/// A configuration that leaves everything to the other end.
fn lenient() -> DeflateConfig {
    DeflateConfig::default().server_takeover(true).client_takeover(true)
}

fn answer(offers: &str, config: &DeflateConfig) -> Option<String> {
    accept(offers, config).map(|(_, answer)| answer)
}

fn is_accepted(config: &DeflateConfig, response: &str) -> bool {
    offer(config, response).1.is_ok()
}

/// Rule: D1.
#[test]
fn a_client_asks_for_no_takeover_by_default() {
    let (offered, agreed) = offer(&DeflateConfig::default(), "");
    assert_eq!(
        offered,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         client_max_window_bits, permessage-deflate"
    );
    // D03, W119: a server that does not answer declines, and nothing is compressed.
    assert_eq!(agreed.unwrap(), None);
}

/// Rule: D1.
#[test]
fn a_client_makes_several_offers_in_its_order() {
    let small =
        DeflateOffer::default().server_no_context_takeover(true).server_max_window_bits(bits(10));
    let config = lenient().offer(small).offer(DeflateOffer::default());
    let (offered, agreed) = offer(&config, "permessage-deflate");
    assert_eq!(
        offered,
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10, \
         permessage-deflate"
    );
    // The answer fits the second offer only.
    assert_eq!(agreed.unwrap().unwrap().server_max_window_bits(), bits(15));
}

/// Rule: D2.
#[test]
fn a_server_accepts_the_first_offer_that_it_can() {
    let offers = "permessage-deflate; server_max_window_bits=16, x-other; a, \
                  permessage-deflate; server_max_window_bits=12, permessage-deflate";
    let answer = answer(offers, &lenient()).unwrap();
    assert_eq!(answer, "permessage-deflate; server_max_window_bits=12");
}

/// Rules: D3, D8.
#[test]
fn what_was_not_offered_is_not_agreed_to() {
    assert_eq!(answer("x-webkit-deflate-frame, permessage-bzip2", &lenient()), None);
    assert!(!is_accepted(&lenient(), "permessage-bzip2"));
    assert!(!is_accepted(&lenient(), "permessage-deflate-frame"));
}

/// Rules: D5, D6, D7.
#[test]
fn an_answer_with_two_extensions_fails() {
    assert!(is_accepted(&lenient(), "permessage-deflate"));
    assert!(!is_accepted(&lenient(), "permessage-deflate, permessage-deflate"));
    assert!(!is_accepted(&lenient(), "permessage-deflate, x-other"));
}

const DEFECTS: [&str; 14] = [
    "x",
    "x=1",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "client_max_window_bits=10; client_max_window_bits=10",
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=010",
    "server_max_window_bits=+10",
    "server_max_window_bits=1e1",
    "client_max_window_bits=0",
    "client_max_window_bits=256",
];

/// Rule: D9.
#[test]
fn an_offer_with_a_defect_is_declined_and_the_next_taken() {
    for defect in DEFECTS {
        let offers = format!("permessage-deflate; {defect}");
        assert_eq!(answer(&offers, &lenient()), None, "{defect}");
        let offers = format!("permessage-deflate; {defect}, permessage-deflate");
        assert_eq!(answer(&offers, &lenient()).unwrap(), "permessage-deflate", "{defect}");
    }
}

/// Rule: D10.
#[test]
fn an_answer_with_a_defect_fails() {
    for defect in DEFECTS.into_iter().chain(["client_max_window_bits"]) {
        let (_, result) = offer(&lenient(), &format!("permessage-deflate; {defect}"));
        assert!(matches!(result, Err(ResponseError::Extension(_))), "{defect}");
    }
}

/// Rule: D11.
#[test]
fn the_server_goes_without_takeover_when_asked_and_by_default() {
    let asked = "permessage-deflate; server_no_context_takeover";
    assert_eq!(answer(asked, &lenient()).unwrap(), asked);
    assert_eq!(
        answer("permessage-deflate", &DeflateConfig::default()).unwrap(),
        "permessage-deflate"
    );
    // It goes without all the same: it may, and says so only to a client that asks.
    let (agreed, _) = accept("permessage-deflate", &DeflateConfig::default()).unwrap();
    assert!(agreed.server_no_context_takeover() && agreed.takes_prepared_frames());
    // A client that asked for it cannot do with less; one that did not takes it.
    let asking =
        DeflateConfig::default().offer(DeflateOffer::default().server_no_context_takeover(true));
    assert!(!is_accepted(&asking, "permessage-deflate"));
    assert!(is_accepted(&lenient(), asked));
}

/// Rule: D1.
#[test]
fn a_client_offers_servers_that_answer_no_parameters_a_plain_one() {
    // What Tornado and Mojolicious answer to any offer.
    let (_, agreed) = offer(&DeflateConfig::default(), "permessage-deflate");
    let agreed = agreed.unwrap().unwrap();
    assert!(
        !agreed.server_no_context_takeover(),
        "the server's messages may refer to earlier ones"
    );
    assert!(agreed.client_no_context_takeover(), "ours do not all the same");
    // A window that the application wants small stays so; one that wants takeover asks for no less.
    let small = DeflateConfig::default().server_window_bits(bits(10));
    assert!(!is_accepted(&small, "permessage-deflate"));
    assert!(is_accepted(&small, "permessage-deflate; server_max_window_bits=10"));
    assert_eq!(offer(&lenient(), "").0, "permessage-deflate; client_max_window_bits");
}

/// Rule: D12.
#[test]
fn the_client_goes_without_takeover_when_told_or_when_it_said_so() {
    let hint = "permessage-deflate; client_no_context_takeover";
    assert_eq!(answer(hint, &lenient()).unwrap(), hint);
    let (_, told) = offer(&lenient(), hint);
    assert!(told.unwrap().unwrap().client_no_context_takeover());
    let config = DeflateConfig::default();
    let (_, not_repeated) = offer(&config, "permessage-deflate; server_no_context_takeover");
    assert!(not_repeated.unwrap().unwrap().client_no_context_takeover());
}

/// Rule: D13.
#[test]
fn the_servers_window_is_what_was_asked_or_smaller() {
    let config = lenient().server_window_bits(bits(11));
    for (asked, answered) in [("=15", 11), ("=11", 11), ("=9", 9), ("=8", 8)] {
        let offers = format!("permessage-deflate; server_max_window_bits{asked}");
        let (agreed, answer) = accept(&offers, &config).unwrap();
        assert_eq!(answer, format!("permessage-deflate; server_max_window_bits={answered}"));
        assert_eq!(agreed.server_max_window_bits(), bits(answered));
    }
    // Unasked, if it is to be small; and asked for 15 it is confirmed.
    let unasked = answer("permessage-deflate", &config).unwrap();
    assert_eq!(unasked, "permessage-deflate; server_max_window_bits=11");
    let full = "permessage-deflate; server_max_window_bits=15";
    assert_eq!(answer(full, &lenient()).unwrap(), full);

    let asking = lenient().server_window_bits(bits(11));
    assert!(is_accepted(&asking, "permessage-deflate; server_max_window_bits=11"));
    assert!(is_accepted(&asking, "permessage-deflate; server_max_window_bits=8"));
    assert!(!is_accepted(&asking, "permessage-deflate; server_max_window_bits=12"));
    assert!(!is_accepted(&asking, "permessage-deflate"));
}

/// Rule: D14.
#[test]
fn the_clients_window_is_limited_only_where_the_client_allows_it() {
    let small = lenient().client_window_bits(bits(10));
    for (offered, answered) in [
        ("client_max_window_bits", "; client_max_window_bits=10"),
        ("client_max_window_bits=12", "; client_max_window_bits=10"),
        ("client_max_window_bits=9", "; client_max_window_bits=9"),
    ] {
        let answer = answer(&format!("permessage-deflate; {offered}"), &small).unwrap();
        assert_eq!(answer, format!("permessage-deflate{answered}"));
    }
    // Where it does not, the server does not have to keep a large window: it asks for none.
    let answer = answer("permessage-deflate", &small).unwrap();
    assert_eq!(answer, "permessage-deflate; client_no_context_takeover");

    let (_, agreed) = offer(&lenient(), "permessage-deflate; client_max_window_bits=9");
    assert_eq!(agreed.unwrap().unwrap().client_max_window_bits(), bits(9));
    let fixed = lenient().offer(DeflateOffer::default());
    assert!(!is_accepted(&fixed, "permessage-deflate; client_max_window_bits=9"));
    // What a client says of its own window holds even if the server allows more.
    let window = ClientWindow::AtMost(bits(9));
    let offering = DeflateOffer::default().client_max_window_bits(window);
    let own = lenient().offer(offering);
    for answer in ["permessage-deflate", "permessage-deflate; client_max_window_bits=15"] {
        let (_, agreed) = offer(&own, answer);
        assert_eq!(agreed.unwrap().unwrap().client_max_window_bits(), bits(9));
    }
}

/// Rule: D16.
#[test]
fn without_a_limit_the_window_is_32_kib() {
    let (agreed, _) = accept("permessage-deflate", &lenient()).unwrap();
    assert_eq!(agreed.server_max_window_bits().bytes(), 32 << 10);
    assert_eq!(agreed.client_max_window_bits().bytes(), 32 << 10);
}

/// Rule: D17.
#[test]
fn a_quoted_value_is_as_good() {
    let offers = r#"permessage-deflate; server_max_window_bits="10""#;
    let answered = answer(offers, &lenient()).unwrap();
    assert_eq!(answered, "permessage-deflate; server_max_window_bits=10");
}

/// Rule: W57.
#[test]
fn nothing_is_compressed_that_was_not_agreed_on() {
    let mut server = Connection::server(Config::default(), Duration::ZERO);
    server.send("a".repeat(1000).into()).unwrap();
    assert_eq!(transmitted(&mut server)[0], 0x81);
    let mut client = Connection::client(Config::default(), Box::new(|| [0; 4]), Duration::ZERO);
    let events = received(&mut client, &unmasked(0xc1, &deflated(b"Hello")));
    assert_eq!(failed(&events).unwrap().1, 1002);
    assert!(!events.contains(&text("Hello")));
}
