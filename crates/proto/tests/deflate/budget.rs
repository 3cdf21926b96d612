//! A client keeps its context as long as the server's budget lasts (RFC 7692 §7.1.1.2).

use std::time::Duration;

use sockeye_proto::{Config, Connection, DeflateBudget, DeflateConfig};

use crate::support::{accept, bits, received, transmitted};

const KEEPS: &str = "permessage-deflate";
const NO_CONTEXT: &str = "permessage-deflate; client_no_context_takeover";

fn limited(budget: &DeflateBudget) -> DeflateConfig {
    DeflateConfig::default().takeover_budget(budget.clone())
}

/// Rule: D12.
#[test]
fn clients_keep_their_context_until_the_budget_is_used_up_and_again_when_others_have_left() {
    let budget = DeflateBudget::new(2 * (32 << 10) + 1);
    let config = limited(&budget);
    let open = || accept("permessage-deflate", &config).unwrap();
    let (first, answer) = open();
    assert_eq!((&answer[..], budget.reserved()), (KEEPS, 32 << 10));
    let (_second, answer) = open();
    assert_eq!((&answer[..], budget.reserved()), (KEEPS, 64 << 10));
    let (third, answer) = open();
    assert_eq!((&answer[..], budget.reserved()), (NO_CONTEXT, 64 << 10));
    assert!(third.client_no_context_takeover());

    // An agreement that the application has kept holds nothing once its connection is over.
    let mut connection =
        Connection::server(Config::default(), Duration::ZERO).with_deflate(first.clone());
    connection.abort(Duration::ZERO);
    assert_eq!(budget.reserved(), 32 << 10);
    assert_eq!(open().1, KEEPS);
    drop((connection, first));
    assert_eq!(budget.reserved(), 32 << 10, "nothing is given back twice");
}

#[test]
fn a_budget_is_charged_what_the_window_can_come_to_and_nothing_for_those_without_context() {
    let budget = DeflateBudget::new(64 << 20);
    let config = limited(&budget);
    let reserved = |offer: &str| {
        let _open = accept(offer, &config).unwrap();
        budget.reserved()
    };
    assert_eq!(reserved("permessage-deflate; client_no_context_takeover"), 0);
    assert_eq!(reserved("permessage-deflate; client_max_window_bits"), 32 << 10);
    assert_eq!(reserved("permessage-deflate; client_max_window_bits=9"), 512);
    assert_eq!(budget.reserved(), 0, "all is given back");
    let unlimited = limited(&budget).client_takeover(true);
    let (_open, answer) = accept("permessage-deflate", &unlimited).unwrap();
    assert_eq!((&answer[..], budget.reserved()), (KEEPS, 0));
    let none = limited(&DeflateBudget::new(0));
    assert_eq!(accept("permessage-deflate", &none).unwrap().1, NO_CONTEXT);
    let small = limited(&budget).client_window_bits(bits(10));
    assert_eq!(accept("permessage-deflate", &small).unwrap().1, NO_CONTEXT);
}

#[test]
fn by_default_all_connections_of_the_process_share_64_mib() {
    let budget = DeflateBudget::default();
    assert_eq!(budget.limit(), 64 << 20);
    assert_eq!(DeflateConfig::default().takeover_budget, budget);
    let _open = accept("permessage-deflate", &DeflateConfig::default()).unwrap();
    assert!(budget.reserved() >= 32 << 10);
}

/// Rule: D12.
#[test]
fn a_second_message_that_refers_to_the_first_is_read() {
    let config = limited(&DeflateBudget::new(32 << 10));
    let (agreed, _) = accept("permessage-deflate", &config).unwrap();
    let keeping = DeflateConfig::default().client_takeover(true).threshold(0);
    let response = accept("permessage-deflate", &keeping).unwrap().0;
    let mut client = Connection::client(Config::default(), Box::new(|| [0; 4]), Duration::ZERO)
        .with_deflate(response);
    let mut server = Connection::server(Config::default(), Duration::ZERO).with_deflate(agreed);
    let message = "a message that comes twice, and is short the second time".repeat(4);
    let mut lengths = Vec::new();
    for _ in 0..2 {
        client.send(message.clone().into()).unwrap();
        let bytes = transmitted(&mut client);
        lengths.push(bytes.len());
        assert_eq!(received(&mut server, &bytes), [crate::support::text(&message)]);
    }
    assert!(lengths[1] < lengths[0] / 2, "{lengths:?}");
}
