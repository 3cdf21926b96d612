//! Agreeing on compression (RFC 7692 §5, §7.1).

use super::Chapter;
use crate::case::{Case, Look, Need, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "negotiation",
    title: "Agreeing on compression",
    about: "A client offers permessage-deflate with parameters, the server answers with those that hold. An offer \
            that is wrong, or that the server cannot keep, is declined, and the connection goes on without: ends \
            that understand the parameters differently cannot read each other.",
    cases,
};

const SECTION: &str = "RFC 7692 §7.1";

/// Offers that are right: whatever is answered has to answer them.
const RIGHT: &[(&str, &str)] = &[
    ("plain", "permessage-deflate"),
    ("server-no-takeover", "permessage-deflate; server_no_context_takeover"),
    ("client-no-takeover", "permessage-deflate; client_no_context_takeover"),
    ("no-takeover", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
    ("client-bits", "permessage-deflate; client_max_window_bits"),
    ("client-bits-8", "permessage-deflate; client_max_window_bits=8"),
    ("client-bits-10", "permessage-deflate; client_max_window_bits=10"),
    ("client-bits-15", "permessage-deflate; client_max_window_bits=15"),
    ("server-bits-8", "permessage-deflate; server_max_window_bits=8"),
    ("server-bits-9", "permessage-deflate; server_max_window_bits=9"),
    ("server-bits-10", "permessage-deflate; server_max_window_bits=10"),
    ("server-bits-12", "permessage-deflate; server_max_window_bits=12"),
    ("server-bits-15", "permessage-deflate; server_max_window_bits=15"),
    ("server-bits-quoted", "permessage-deflate; server_max_window_bits=\"10\""),
    ("both-bits", "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"),
    (
        "everything",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                    server_max_window_bits=12; client_max_window_bits",
    ),
    ("two-offers", "permessage-deflate; server_max_window_bits=10, permessage-deflate"),
    ("behind-unknown", "x-sockeye-check, permessage-deflate"),
    ("without-blanks", "permessage-deflate;client_max_window_bits;server_no_context_takeover"),
];

/// Offers that have to be declined.
const WRONG: &[(&str, &str)] = &[
    ("unknown-parameter", "permessage-deflate; x_sockeye_check"),
    ("unknown-value", "permessage-deflate; x_sockeye_check=1"),
    ("server-bits-7", "permessage-deflate; server_max_window_bits=7"),
    ("server-bits-16", "permessage-deflate; server_max_window_bits=16"),
    ("server-bits-99", "permessage-deflate; server_max_window_bits=99"),
    ("server-bits-08", "permessage-deflate; server_max_window_bits=08"),
    ("server-bits-missing", "permessage-deflate; server_max_window_bits"),
    ("server-bits-words", "permessage-deflate; server_max_window_bits=ten"),
    ("server-bits-negative", "permessage-deflate; server_max_window_bits=-10"),
    ("client-bits-7", "permessage-deflate; client_max_window_bits=7"),
    ("client-bits-16", "permessage-deflate; client_max_window_bits=16"),
    ("client-bits-09", "permessage-deflate; client_max_window_bits=09"),
    ("client-bits-words", "permessage-deflate; client_max_window_bits=x"),
    ("server-no-takeover-value", "permessage-deflate; server_no_context_takeover=1"),
    ("client-no-takeover-value", "permessage-deflate; client_no_context_takeover=true"),
    (
        "server-no-takeover-twice",
        "permessage-deflate; server_no_context_takeover; \
                                  server_no_context_takeover",
    ),
    (
        "client-no-takeover-twice",
        "permessage-deflate; client_no_context_takeover; \
                                  client_no_context_takeover",
    ),
    (
        "server-bits-twice",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    ),
    ("client-bits-twice", "permessage-deflate; client_max_window_bits; client_max_window_bits"),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, offer) in RIGHT {
        cases.push(
            case(format!("negotiation/{id}"), SECTION, format!("Offered: {offer}"))
                .offer(offer)
                .look(Look::Deflate)
                .need(Need::Deflate),
        );
    }
    for (id, offer) in WRONG {
        cases.push(
            case(format!("negotiation/wrong-{id}"), SECTION, format!("Offered: {offer}"))
                .offer(offer)
                .look(Look::Declines)
                .need(Need::Deflate),
        );
    }
    cases.push(
        case("negotiation/second-offer", "RFC 7692 §5.1", "A wrong offer, then a right one")
            .offer("permessage-deflate; server_max_window_bits=99, permessage-deflate")
            .look(Look::Accepts)
            .need(Need::Deflate)
            .should(),
    );
    cases.push(
        case(
            "negotiation/only-what-was-offered",
            "RFC 7692 §5.1",
            "Another extension is offered alone",
        )
        .offer("x-sockeye-check")
        .look(Look::Declines),
    );
    cases
}
