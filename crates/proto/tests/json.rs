//! Messages from and to the types of serde.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde::{Deserialize, Serialize};
use sockeye_proto::{Message, MessageKind};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Said<'a> {
    who: &'a str,
    what: u32,
}

#[test]
fn a_value_becomes_a_text_and_comes_back_without_a_copy_of_its_strings() {
    let message = Message::from_json(&Said { who: "ann", what: 7 }).unwrap();
    assert_eq!(message.as_text(), Some(r#"{"who":"ann","what":7}"#));
    let said: Said<'_> = message.parse_json().unwrap();
    assert_eq!(said, Said { who: "ann", what: 7 });
    assert!(message.as_bytes().as_ptr_range().contains(&said.who.as_ptr()));
}

#[test]
fn json_in_a_binary_message_is_read_too_and_what_is_not_json_is_an_error() {
    let message = Message::binary(&br#"{"who":"ben","what":0}"#[..]);
    assert_eq!(message.kind(), MessageKind::Binary);
    assert_eq!(message.parse_json::<Said<'_>>().unwrap().who, "ben");
    for wrong in [&b""[..], b"{", b"[]", br#"{"who":"ben","what":-1}"#, b"\xff"] {
        assert!(Message::from(wrong).parse_json::<Said<'_>>().is_err(), "{wrong:?}");
    }
}
