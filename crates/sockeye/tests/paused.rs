//! Under tokio's paused time: deadlines are told on time, and a long time passes at no cost.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    BINARY, CLOSE, CountReads, Link, PING, PONG, Raw, client_and_raw, pair, server_and_raw,
};
use futures_util::{SinkExt, StreamExt};
use sockeye::{
    Client, CloseCode, Config, Deadline, Error, Failure, Keepalive, WebSocket,
    reconnect::{Backoff, Down, Event, ReconnectingClient},
};
use tokio::{
    io::duplex,
    time::{Instant, sleep},
};

const DAY: Duration = Duration::from_hours(24);

/// A deadline is told by that much later: a tick, or a thirty-second part of the time.
fn latest(time: Duration) -> Duration {
    time + (time / 32).max(Duration::from_millis(10)) + Duration::from_millis(1)
}

#[tokio::test(start_paused = true)]
async fn a_day_with_pings_passes_and_costs_what_its_pings_cost() {
    let reads = Arc::new(AtomicUsize::new(0));
    let (near, far) = duplex(common::MEMORY_LINK);
    let near = CountReads(near, reads.clone());
    let client = Client::new("ws://memory/").unwrap();
    let interval = Config::default().keepalive.unwrap().interval;
    let (client, mut raw) = tokio::join!(client.open_over(near), Raw::accept(far));
    let mut client = client.unwrap().socket;
    let peer = async {
        let (begun, mut pings) = (Instant::now(), 0);
        while begun.elapsed() < DAY {
            assert_eq!(raw.frame_read().await, Some((PING, "".into())));
            raw.send(PONG, b"").await;
            pings += 1;
        }
        pings
    };
    let pings = tokio::select! {
        message = client.recv() => panic!("{message:?}"),
        pings = peer => pings,
    };
    let most = DAY.as_millis() / interval.as_millis() + 1;
    let least = DAY.as_millis() / latest(interval).as_millis();
    assert!((least..=most).contains(&pings), "{pings} pings, not {least} to {most}");
    let reads = reads.load(Ordering::Relaxed) as u128;
    assert!(reads <= 8 * pings, "the transport was asked {reads} times for {pings} pings");
}

#[tokio::test(start_paused = true)]
async fn two_ends_of_the_library_that_say_nothing_are_still_connected_after_a_day() {
    let (mut client, mut server) = pair(Link::Memory).await;
    sleep(DAY).await;
    client.send("still here").await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().as_text(), Some("still here"));
    let (closed, _) = tokio::join!(client.close(CloseCode::NORMAL), server.recv());
    assert!(closed.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_is_measured_in_the_time_that_is_paused() {
    let (client, mut raw) = client_and_raw(Link::Memory, Config::default()).await;
    let answer = async {
        let (first, payload) = raw.expect_frame().await;
        assert_eq!(first, PING);
        sleep(Duration::from_secs(3)).await;
        raw.send(PONG, &payload).await;
    };
    let (latency, ()) = tokio::join!(client.ping(), answer);
    assert_eq!(latency.unwrap().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_close_without_an_answer_ends_after_the_time_for_it() {
    let (mut client, mut raw) = client_and_raw(Link::Memory, Config::default()).await;
    let begun = Instant::now();
    client.close(CloseCode::NORMAL).await;
    let timeout = Config::default().close_timeout;
    assert!((timeout..=latest(timeout)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(raw.expect_frame().await.0, CLOSE);
}

/// A peer that answers nothing is given up after two seconds.
fn short_deadlines() -> Config {
    let second = Duration::from_secs(1);
    Config::default().keepalive(Keepalive::default().interval(second).timeout(second))
}

/// How long an end with short deadlines waits for a peer that is dead: each of both waits may end a tick late.
fn assert_two_seconds(begun: Instant) {
    let (time, ticks) = (Duration::from_secs(2), 2 * Duration::from_millis(32));
    assert!((time..=time + ticks).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

const DEAD: Failure = Failure::Deadline(Deadline::Keepalive);

/// By what one finds out that the connection has failed.
#[derive(Debug, Clone, Copy)]
enum By {
    Receiving,
    Streaming,
    Flushing,
    Sending,
    Pinging,
    Closing,
}

async fn learn(by: By, socket: WebSocket) -> Option<Error> {
    let (mut reader, mut writer) = socket.split();
    match by {
        By::Receiving => reader.recv().await?.err(),
        By::Streaming => reader.next().await?.err(),
        By::Flushing => {
            writer.feed(vec![0; 60 << 10].into()).await.unwrap();
            SinkExt::<sockeye::Message>::flush(&mut writer).await.err()
        }
        By::Sending => loop {
            // The peer takes nothing: the second one waits for room.
            if let Err(error) = writer.send(vec![0; 100 << 10]).await {
                break Some(error);
            }
        },
        By::Pinging => writer.ping().await.err(),
        By::Closing => {
            // It has failed by the time that the peer would have to answer.
            sleep(Duration::from_millis(2050)).await;
            writer.close(CloseCode::NORMAL).await.failure.map(Error::Failed)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_told_when_it_is_found_dead_however_one_waits() {
    for by in [By::Receiving, By::Streaming, By::Flushing, By::Sending, By::Pinging, By::Closing] {
        for is_client in [true, false] {
            let (socket, raw) = match is_client {
                true => client_and_raw(Link::Memory, short_deadlines()).await,
                false => server_and_raw(Link::Memory, short_deadlines()).await,
            };
            let begun = Instant::now();
            let error = learn(by, socket).await;
            assert!(matches!(error, Some(Error::Failed(DEAD))), "{by:?}: {error:?}");
            assert_two_seconds(begun);
            drop(raw);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_end_is_told_at_once_and_the_peer_gets_close_and_the_time_for_it() {
    let (mut client, mut raw) = client_and_raw(Link::Memory, short_deadlines()).await;
    let error = client.recv().await;
    assert!(matches!(error, Some(Err(Error::Failed(DEAD)))), "{error:?}");
    let begun = Instant::now();
    assert!(client.recv().await.is_none());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(client);
    assert_eq!(raw.expect_frame().await.0, PING);
    let (first, payload) = raw.expect_frame().await;
    assert_eq!((first, &payload[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    // It neither answers nor ends the transport; what it still sends is taken in for so long.
    let timeout = Config::default().close_timeout;
    while begun.elapsed() < timeout - Duration::from_millis(200) {
        raw.send(BINARY, b"late").await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(500)).await;
    let end = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, b"too late").await;
    assert!(end.is_err(), "the transport is not closed");
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_told_at_once_though_the_peer_does_not_end_the_transport() {
    for is_client in [true, false] {
        let (mut socket, mut raw) = match is_client {
            true => client_and_raw(Link::Memory, Config::default()).await,
            false => server_and_raw(Link::Memory, Config::default()).await,
        };
        // The peer takes nothing either: not even our Close gets through.
        socket.send(vec![0; 100 << 10]).await.unwrap();
        raw.send(0xF1, b"").await;
        let begun = Instant::now();
        let error = socket.recv().await;
        assert!(matches!(error, Some(Err(Error::Failed(Failure::Violation(_))))), "{error:?}");
        assert!(socket.recv().await.is_none());
        assert!(!socket.close(CloseCode::NORMAL).await.is_clean());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reconnects_turns_to_the_next_connection_when_the_peer_is_found_dead() {
    let peers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let accepted = peers.clone();
    let mut client = ReconnectingClient::new(move || {
        let accepted = accepted.clone();
        async move {
            let (client, raw) = client_and_raw(Link::Memory, short_deadlines()).await;
            accepted.lock().unwrap().push(raw);
            Ok(client)
        }
    })
    .backoff(Backoff::default());
    while !matches!(client.next_event().await, Some(Event::Open)) {}
    let begun = Instant::now();
    let down = client.next_event().await;
    let Some(Event::Down(Down::Failed(Error::Failed(failure)))) = down else { panic!("{down:?}") };
    assert_eq!(failure, DEAD);
    assert_two_seconds(begun);
}

#[tokio::test(start_paused = true)]
async fn a_clean_close_of_a_client_waits_until_the_server_has_ended_the_transport() {
    let (mut client, mut raw) = client_and_raw(Link::Memory, Config::default()).await;
    let begun = Instant::now();
    let peer = async {
        let (first, payload) = raw.expect_frame().await;
        sleep(Duration::from_secs(2)).await;
        raw.send(first, &payload).await;
        sleep(Duration::from_secs(2)).await;
        drop(raw);
    };
    let (closed, ()) = tokio::join!(client.close(CloseCode::NORMAL), peer);
    assert!(closed.is_clean());
    assert_eq!(begun.elapsed().as_secs(), 4);
}
