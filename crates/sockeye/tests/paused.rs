//! Under tokio's paused time: deadlines are told on time, and a long time passes at no cost.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{CLOSE, CountReads, Link, PING, PONG, Raw, client_and_raw, pair};
use sockeye::{Client, Config};
use tokio::{
    io::duplex,
    time::{Instant, sleep},
};

const DAY: Duration = Duration::from_hours(24);

/// A deadline is told by so much later: a tick, or a thirty-second part of the time.
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
    let (closed, _) = tokio::join!(client.close(sockeye::CloseCode::NORMAL, ""), server.recv());
    assert!(closed.unwrap().is_clean());
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
async fn a_close_that_nobody_answers_ends_after_the_time_for_it() {
    let (mut client, mut raw) = client_and_raw(Link::Memory, Config::default()).await;
    let begun = Instant::now();
    client.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
    let timeout = Config::default().close_timeout;
    assert!((timeout..=latest(timeout)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(raw.expect_frame().await.0, CLOSE);
}
