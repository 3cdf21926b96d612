//! What an application makes messages from, and what it makes of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use bytes::{Bytes, BytesMut};
use sockeye_proto::{InvalidUtf8, Message, Text};

#[test]
fn a_message_is_made_of_all_that_is_text() {
    let owned = "hello".to_owned();
    let all: [Message; 8] = [
        "hello".into(),
        (&owned).into(),
        owned.clone().into(),
        owned.into_boxed_str().into(),
        Cow::Borrowed("hello").into(),
        Cow::<str>::Owned("hello".to_owned()).into(),
        Text::from_static("hello").into(),
        Message::text("hello".parse::<Text>().unwrap()),
    ];
    for message in all {
        assert!(message.is_text() && !message.is_binary());
        assert_eq!(message.as_text(), Some("hello"));
    }
}

#[test]
fn a_message_is_made_of_all_that_is_bytes() {
    let bytes = vec![1_u8, 2, 3];
    let all: [Message; 10] = [
        [1, 2, 3].into(),
        (&[1, 2, 3]).into(),
        bytes[..].into(),
        (&bytes).into(),
        bytes.clone().into(),
        bytes.clone().into_boxed_slice().into(),
        Cow::Borrowed(&bytes[..]).into(),
        Cow::<[u8]>::Owned(bytes.clone()).into(),
        BytesMut::from(&bytes[..]).into(),
        Bytes::from(bytes).into(),
    ];
    for message in all {
        assert!(message.is_binary() && !message.is_text());
        assert_eq!(message.as_bytes(), [1, 2, 3]);
    }
}

#[test]
fn strings_and_bytes_come_out_of_a_message() {
    let text = Message::from("grüße");
    assert_eq!(text.clone().into_text().unwrap(), "grüße");
    assert_eq!(String::try_from(text.clone()).unwrap(), "grüße");
    assert_eq!(Text::try_from(text.clone()).unwrap(), "grüße");
    assert_eq!(Vec::from(text.clone()), "grüße".as_bytes());
    assert_eq!(Bytes::from(text), "grüße");
    // A binary message is text if its bytes are.
    assert_eq!(Message::from(b"hello").into_text().unwrap(), "hello");
    let not_text = Message::from(b"\xff");
    assert_eq!(not_text.clone().into_text(), Err(InvalidUtf8));
    assert_eq!(String::try_from(not_text.clone()), Err(InvalidUtf8));
    assert_eq!(Text::try_from(not_text), Err(InvalidUtf8));
}

#[test]
fn what_is_not_shared_comes_out_without_a_copy() {
    let bytes = vec![b'x'; 1000];
    let address = bytes.as_ptr();
    let text = String::try_from(Message::from(String::from_utf8(bytes).unwrap())).unwrap();
    assert_eq!(text.as_ptr(), address);
    let bytes = Vec::from(Message::from(text));
    assert_eq!(bytes.as_ptr(), address);
}

#[test]
fn texts_are_made_checked_and_compared() {
    const HELLO: Text = Text::from_static("hello");
    let string = "hello".to_owned();
    assert_eq!(HELLO, "hello");
    assert_eq!("hello", HELLO);
    assert_eq!(HELLO, *"hello");
    assert_eq!(*"hello", HELLO);
    assert_eq!(HELLO, string);
    assert_eq!(string, HELLO);
    assert_eq!(Text::try_from(b"hello".to_vec()), Ok(HELLO));
    assert_eq!(Text::try_from(BytesMut::from("hello")), Ok(HELLO));
    assert_eq!(Text::try_from(vec![0xff]), Err(InvalidUtf8));
    assert_eq!(Text::from(&string), HELLO);
    assert_eq!(Text::from(Cow::Borrowed("hello")), HELLO);
    assert_eq!(String::from(HELLO), "hello");
    assert_eq!(Bytes::from(HELLO), "hello");
}

#[test]
fn texts_and_messages_are_keys_of_maps() {
    let names = HashMap::from([(Text::from("ann"), 1), (Text::from("ben"), 2)]);
    // Looked up by a `str`: both have the same hash.
    assert_eq!(names.get("ben"), Some(&2));
    let seen = HashSet::from([Message::from("a"), Message::from(b"a"), Message::from("a")]);
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_text_is_a_string_in_formats_of_serde() {
    let names: Vec<Text> = serde_json::from_str(r#"["ann","gr\u00fc\u00dfe"]"#).unwrap();
    assert_eq!(names, ["ann", "grüße"]);
    assert_eq!(serde_json::to_string(&names).unwrap(), r#"["ann","grüße"]"#);
    assert!(serde_json::from_str::<Text>("7").is_err());
}
