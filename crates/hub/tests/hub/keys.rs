//! Idempotency keys: what is repeated is published once.

use sockeye_hub::{Capacity, IdempotencyKey, Options, Publication, Start};

use crate::{Rig, full, name, texts};

fn said<'a>(text: &'a str, publisher: &str, key: &str) -> Publication<'a> {
    Publication::text(text).key(IdempotencyKey::new(publisher, key).unwrap())
}

const FIVE_MINUTES: u64 = 5 * 60 * 1000;

#[test]
fn a_repetition_gets_the_first_position_for_five_minutes() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let first = rig.hub.publish(&chat, said("one", "ann", "k1")).wait();
    assert_eq!(first, Ok(rig.at(1)));
    rig.say(&chat, "two");
    rig.pass(FIVE_MINUTES);
    assert_eq!(rig.hub.publish(&chat, said("whatever", "ann", "k1")).wait(), first);
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["one", "two"]);

    rig.pass(1);
    rig.hub.sweep();
    assert_eq!(rig.hub.publish(&chat, said("three", "ann", "k1")).wait(), Ok(rig.at(3)));
}

#[test]
fn a_key_outlives_its_entry() {
    let rig = Rig::new(Options::default().history_count(1).max_channels(1));
    let chat = name("chat");
    let first = rig.hub.publish(&chat, said("one", "", "k1")).wait();
    rig.count_to(&chat, 5);
    rig.hub.forget(&chat).wait().unwrap();
    rig.hub.sweep();
    assert_eq!(rig.hub.publish(&chat, said("one", "", "k1")).wait(), first);
    assert!(rig.hub.read(&chat, Start::Earliest, 10).entries.is_empty());

    rig.pass(FIVE_MINUTES + 1);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().channels, 0, "then nothing holds the channel");
}

#[test]
fn keys_of_two_publishers_never_meet() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    for (offset, (publisher, key)) in
        (1..).zip([("", "a"), ("ann", "a"), ("a\nb", "c"), ("a", "b")])
    {
        let position = rig.hub.publish(&chat, said("x", publisher, key)).wait();
        assert_eq!(position, Ok(rig.at(offset)));
    }
}

#[test]
fn where_memory_is_full_a_new_key_is_refused_and_no_old_one_forgotten() {
    let rig = Rig::new(Options::default().max_bytes(1000));
    let chat = name("chat");
    let mut taken = 0;
    let refusal = loop {
        match rig.hub.publish(&chat, said("", "", &format!("k{taken}"))).wait() {
            Ok(position) => assert_eq!(position, rig.at(taken + 1)),
            Err(refusal) => break refusal,
        }
        taken += 1;
    };
    assert_eq!(refusal, full(Capacity::Bytes));
    for number in 0..taken {
        let again = rig.hub.publish(&chat, said("", "", &format!("k{number}"))).wait();
        assert_eq!(again, Ok(rig.at(number + 1)));
    }
    rig.pass(FIVE_MINUTES + 1);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().key_bytes, 0);
    assert!(rig.hub.publish(&chat, said("", "", "new")).wait().is_ok());
}
