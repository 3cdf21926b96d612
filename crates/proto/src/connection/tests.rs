//! What a connection holds in memory, seen from inside. What it does is shown in `tests/rfc6455`.

use core::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_testing::frame::{header, masked};

use super::*;

fn server(config: Config) -> Connection {
    Connection::server(config, Duration::ZERO)
}

/// Feeds the bytes and writes what is to be transmitted; gives the last event.
fn exchange(connection: &mut Connection, bytes: &[u8]) -> Option<Event> {
    let mut last = None;
    let mut input = BytesMut::from(bytes);
    while let Some(event) = connection.poll_event(&mut input, Duration::ZERO) {
        last = Some(event);
    }
    while connection.transmit().has_remaining() {
        let count = connection.transmit().chunk().len();
        connection.transmit().advance(count);
    }
    last
}

fn held(connection: &Connection) -> usize {
    connection.receiver.capacity() + connection.outbox.capacity()
}

#[test]
fn an_idle_connection_is_small_and_holds_no_buffer() {
    println!("a connection has {} bytes", size_of::<Connection>());
    assert!(size_of::<Connection>() <= 200);

    let mut connection = server(Config::default());
    assert_eq!(held(&connection), 0);
    exchange(&mut connection, &masked(0x81, &[b'x'; 10_000]));
    exchange(&mut connection, &masked(0x02, &[b'x'; 10_000]));
    exchange(&mut connection, &masked(0x80, &[b'x'; 10_000]));
    exchange(&mut connection, &masked(0x89, &[b'x'; 100]));
    connection.send(Message::from("small")).unwrap();
    connection.send(Message::from(vec![0; 100_000])).unwrap();
    assert!(held(&connection) > 100_000);
    exchange(&mut connection, &[]);
    assert_eq!(held(&connection), 0);
}

/// Rule: N3.
#[test]
fn memory_grows_with_what_arrived_not_with_what_is_announced() {
    for length in [1 << 20, 1 << 40, 1 << 62] {
        let mut connection = server(Config::default().max_message_size(usize::MAX));
        exchange(&mut connection, &masked(0x02, b"first"));
        exchange(&mut connection, &header(0x80, length));
        let mut arrived = 5;
        for _ in 0..100 {
            assert!(connection.receiver.capacity() <= 2 * arrived + 64);
            exchange(&mut connection, &[7; 50]);
            arrived += 50;
        }
        assert_eq!(connection.state(), State::Open);
    }
}

/// Rule: N2.
#[test]
fn many_small_fragments_hold_little_more_than_their_bytes() {
    let mut connection = server(Config::default());
    exchange(&mut connection, &masked(0x02, b"x"));
    for _ in 1..1000 {
        exchange(&mut connection, &masked(0x00, b"x"));
    }
    assert!(connection.receiver.capacity() <= 2 * 1000 + 64);
}

#[test]
fn the_end_frees_the_message_that_was_begun() {
    let now = Duration::ZERO;
    let fail: [fn(&mut Connection); 5] = [
        |connection| drop(exchange(connection, &masked(0x83, b""))),
        |connection| drop(exchange(connection, &masked(0x88, b""))),
        |connection| connection.handle_eof(Duration::ZERO),
        |connection| connection.abort(Duration::ZERO),
        |connection| connection.handle_timeout(Duration::ZERO + Duration::from_secs(60)),
    ];
    for fail in fail {
        let mut connection = Connection::server(Config::default(), now);
        exchange(&mut connection, &masked(0x02, &[7; 10_000]));
        assert!(connection.receiver.is_inside_message());
        fail(&mut connection);
        assert_eq!(connection.state(), State::Closed);
        assert!(!connection.receiver.is_inside_message());
        assert_eq!(connection.receiver.capacity(), 0);
    }
}

/// Rule: N7.
#[test]
fn of_a_flood_of_pings_one_pong_is_queued_and_one_is_kept() {
    let mut connection = server(Config::default());
    let mut input = BytesMut::from(&masked(0x89, &[b'!'; 125]).repeat(1000)[..]);
    while connection.poll_event(&mut input, Duration::ZERO).is_some() {}
    assert_eq!(connection.outbox.len(), 2 + 125);
    assert!(connection.outbox.capacity() <= 512);
    assert_eq!(connection.pong_due.as_ref().map(|ping| ping.as_bytes()), Some(&[b'!'; 125][..]));
}

#[test]
fn a_writer_that_writes_little_at_a_time_does_not_let_the_queue_hold_what_is_gone() {
    let mut connection = server(Config::default());
    for round in 0..1000 {
        connection.send(Message::from(vec![0; 100])).unwrap();
        let queued = connection.queued();
        assert!(connection.transmit().capacity() <= 4 * queued + 1024, "after {round} rounds");
        // All but a byte goes out.
        while connection.queued() > 1 {
            let count = connection.transmit().chunk().len().min(connection.queued() - 1);
            connection.transmit().advance(count);
        }
    }
}
