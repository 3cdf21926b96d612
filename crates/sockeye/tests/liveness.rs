//! What goes on while the application is elsewhere: pongs, Close, keepalive, deadlines.

mod common;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    BINARY, CLOSE, LINKS, Link, PING, PONG, Raw, TEXT, client_and_raw, pair, pair_with,
    server_and_raw, soon,
};
use futures_util::{StreamExt, future::poll_fn};
use sockeye::{
    Client, CloseCode, CloseFrame, Config, Deadline, Error, Failure, Keepalive, Message, Peer,
    WebSocket,
};
use sockeye_testing::{others_run, pass};
use tokio::{
    io::{AsyncReadExt, duplex},
    sync::Notify,
    time::Instant,
};

const SHORT: Duration = Duration::from_millis(200);

/// An application that holds its WebSocket and never comes back to it.
fn never_comes_back(socket: WebSocket) {
    tokio::spawn(async move {
        Notify::new().notified().await;
        drop(socket);
    });
}

fn keepalive(interval: Duration, timeout: Duration) -> Config {
    Config::default().keepalive(Keepalive::default().interval(interval).timeout(timeout))
}

#[tokio::test]
async fn pings_and_close_are_answered_though_the_application_never_reads() {
    for link in LINKS {
        let (server, mut raw) = server_and_raw(link, Config::default()).await;
        never_comes_back(server);
        for round in 0..3_u8 {
            raw.send(PING, &[round]).await;
            assert_eq!(raw.expect_frame().await, (PONG, vec![round].into()));
        }
        raw.send(TEXT, b"this is not read").await;
        raw.send(CLOSE, &1001_u16.to_be_bytes()).await;
        assert_eq!(raw.expect_frame().await, (CLOSE, 1001_u16.to_be_bytes().to_vec().into()));
        raw.expect_end().await;
    }
}

/// A client may send its Close right behind a message, and read until it is answered.
#[tokio::test]
async fn an_answer_that_takes_a_while_comes_before_that_to_the_close() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, Config::default()).await;
        let bytes = [raw.frame(TEXT, b"one"), raw.frame(TEXT, b"two"), raw.frame(CLOSE, b"")];
        raw.write(&bytes.concat()).await;
        let serving = tokio::spawn(async move {
            while let Some(message) = server.recv().await {
                others_run().await;
                server.send(message.unwrap()).await.unwrap();
            }
            server.closed().unwrap()
        });
        assert_eq!(raw.expect_frame().await, (TEXT, "one".into()));
        assert_eq!(raw.expect_frame().await, (TEXT, "two".into()));
        assert_eq!(raw.expect_frame().await, (CLOSE, "".into()));
        raw.expect_end().await;
        let closed = soon(serving).await.unwrap();
        assert!(closed.is_clean() && closed.initiator == Peer::Remote, "{closed:?}");
    }
}

#[tokio::test]
async fn a_close_that_the_application_holds_is_told_to_it_before_it_is_answered() {
    for link in LINKS {
        let (server, mut raw) = server_and_raw(link, Config::default()).await;
        let (mut reader, writer) = server.split();
        reader.hold_close();
        raw.send(CLOSE, &4000_u16.to_be_bytes()).await;
        assert!(soon(reader.recv()).await.is_none());
        soon(writer.send("last")).await.unwrap();
        drop((reader, writer));
        assert_eq!(raw.expect_frame().await, (TEXT, "last".into()));
        assert_eq!(raw.expect_frame().await, (CLOSE, 4000_u16.to_be_bytes().to_vec().into()));
        raw.expect_end().await;
    }
}

/// A reader that was dropped while it waited leaves a waker behind that leads nowhere.
#[tokio::test]
async fn pings_are_answered_after_a_reader_was_cancelled() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, Config::default()).await;
        tokio::spawn(async move {
            assert!(poll_fn(|cx| server.poll_next_unpin(cx).map(|_| ()).is_pending().into()).await);
            pending::<()>().await;
            drop(server);
        });
        tokio::task::yield_now().await;
        for round in 0..3_u8 {
            raw.send(PING, &[round]).await;
            assert_eq!(raw.expect_frame().await, (PONG, vec![round].into()));
        }
        raw.send(CLOSE, b"").await;
        assert_eq!(raw.expect_frame().await.0, CLOSE);
    }
}

#[tokio::test]
async fn pings_are_answered_after_the_reader_is_gone_however_much_waited_for_it() {
    for link in LINKS {
        let (server, mut raw) = server_and_raw(link, Config::default()).await;
        let (reader, writer) = server.split();
        // More than is taken in for a reader that does not read.
        for _ in 0..40 {
            raw.send(BINARY, &[7; 100]).await;
        }
        raw.send(PING, b"early").await;
        tokio::task::yield_now().await;
        drop(reader);
        assert_eq!(raw.expect_frame().await, (PONG, "early".into()));
        writer.send("still here").await.unwrap();
        assert_eq!(raw.expect_frame().await, (TEXT, "still here".into()));
        raw.send(PING, b"late").await;
        assert_eq!(raw.expect_frame().await, (PONG, "late".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_holds_on_many_threads() {
    for link in LINKS {
        let (server, mut raw) = server_and_raw(link, Config::default()).await;
        never_comes_back(server);
        for round in 0..100_u8 {
            raw.send(PING, &[round]).await;
            assert_eq!(raw.expect_frame().await, (PONG, vec![round].into()));
        }
        raw.send(CLOSE, b"").await;
        assert_eq!(raw.expect_frame().await.0, CLOSE);
    }
}

#[tokio::test]
async fn close_from_either_side_tells_both_sides_the_same() {
    for link in LINKS {
        for server_closes in [false, true] {
            let (client, server) = pair(link).await;
            let (mut one, mut other, one_is) = match server_closes {
                true => (server, client, "server"),
                false => (client, server, "client"),
            };
            let other = tokio::spawn(async move {
                assert!(soon(other.recv()).await.is_none());
                other.closed().unwrap()
            });
            let closed =
                soon(one.close(CloseFrame::new(CloseCode::GOING_AWAY, one_is).unwrap())).await;
            let seen = other.await.unwrap();
            assert!(closed.is_clean() && seen.is_clean(), "{closed:?} {seen:?}");
            assert_eq!((closed.initiator, seen.initiator), (Peer::Local, Peer::Remote));
            let frame = seen.received.frame().unwrap();
            assert_eq!((frame.code(), frame.reason()), (CloseCode::GOING_AWAY, one_is));
            assert_eq!(closed.received.frame().unwrap().code(), CloseCode::GOING_AWAY);
        }
    }
}

#[tokio::test]
async fn both_may_close_at_once() {
    for link in LINKS {
        let (mut client, mut server) = pair(link).await;
        let (one, other) = tokio::join!(
            soon(client.close(CloseFrame::new(CloseCode::NORMAL, "me").unwrap())),
            soon(server.close(CloseFrame::new(CloseCode::GOING_AWAY, "no, me").unwrap())),
        );
        assert!(one.is_clean() && other.is_clean());
        assert!(client.recv().await.is_none() && server.recv().await.is_none());
        let error = client.send("too late").await.unwrap_err();
        assert!(matches!(error, Error::Closed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_the_last_handle_closes_with_1001_on_a_server_and_empty_on_a_client() {
    for link in LINKS {
        let (server, mut raw) = server_and_raw(link, Config::default()).await;
        let (reader, writer) = server.split();
        drop((reader, writer.clone()));
        writer.send("last words").await.unwrap();
        drop(writer);
        assert_eq!(raw.expect_frame().await, (TEXT, "last words".into()));
        assert_eq!(raw.expect_frame().await, (CLOSE, 1001_u16.to_be_bytes().to_vec().into()));

        let (client, mut raw) = client_and_raw(link, Config::default()).await;
        drop(client);
        assert_eq!(raw.expect_frame().await, (CLOSE, "".into()));
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_is_an_error_once_and_then_the_end() {
    for link in LINKS {
        let (mut server, raw) = server_and_raw(link, Config::default()).await;
        drop(raw);
        let error = soon(server.recv()).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Failed(Failure::Lost) | Error::Io(_)), "{error:?}");
        assert!(server.recv().await.is_none());
        assert!(server.send("x").await.is_err());
        assert!(server.ping().await.is_err());
        assert_eq!(server.closed().unwrap().failure, Some(Failure::Lost));
    }
}

/// Rule: N5.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, keepalive(SHORT, SHORT)).await;
        let error = soon(server.recv()).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Failed(Failure::Deadline(Deadline::Keepalive))),
            "{error:?}"
        );
        assert_eq!(raw.expect_frame().await, (PING, "".into()));
        let (first, payload) = raw.expect_frame().await;
        assert_eq!((first, &payload[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    }
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays_though_neither_application_says_anything() {
    for link in LINKS {
        let short = || keepalive(SHORT / 4, SHORT / 2);
        let (client, server) = pair_with(link, short(), Config::default()).await;
        never_comes_back(server);
        pass(4 * SHORT).await;
        assert!(client.closed().is_none());
        assert!(client.ping().await.is_ok());
    }
}

/// It is this end that does not read: the pong may be waiting behind what is not read yet.
#[tokio::test]
async fn a_peer_is_not_given_up_while_the_application_does_not_read() {
    for link in LINKS {
        let config = keepalive(SHORT / 4, SHORT / 4);
        let (mut server, mut raw) = server_and_raw(link, config).await;
        for number in 0..40_u8 {
            raw.send(BINARY, &[number]).await;
        }
        pass(3 * SHORT).await;
        for number in 0..40_u8 {
            let message = soon(server.recv()).await.unwrap().unwrap();
            assert_eq!(message, Message::from(vec![number]));
        }
    }
}

/// What comes of something that is over before twice [`SHORT`] has passed.
async fn within_twice_short<F: Future>(future: F) -> F::Output {
    let begun = Instant::now();
    let timed = async { (future.await, begun.elapsed()) };
    let ((output, took), ()) = soon(async { tokio::join!(timed, pass(2 * SHORT)) }).await;
    assert!(took < 2 * SHORT, "it took {took:?}");
    output
}

#[tokio::test]
async fn a_message_that_takes_too_long_fails_in_time_whatever_the_keepalive() {
    for link in LINKS {
        let config = Config::default().message_timeout(SHORT).keepalive(None);
        let (mut server, mut raw) = server_and_raw(link, config).await;
        raw.write(&[BINARY, 0x85]).await;
        let error = within_twice_short(server.recv()).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Failed(Failure::Deadline(Deadline::Message))), "{error:?}");
    }
}

#[tokio::test]
async fn a_close_without_an_answer_ends_in_time() {
    for link in LINKS {
        let config = Config::default().close_timeout(SHORT).keepalive(None);
        let (mut client, _raw) = client_and_raw(link, config).await;
        let closed = within_twice_short(client.close(CloseCode::NORMAL)).await;
        assert_eq!(closed.failure, Some(Failure::Deadline(Deadline::Close)));
    }
}

/// A peer that ends its own direction early and takes nothing: there is nothing to be read for ever.
#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_its_direction_and_does_not_read_costs_no_work() {
    let reads = Arc::new(AtomicUsize::new(0));
    let (near, far) = duplex(common::MEMORY_LINK);
    let near = common::CountReads(near, reads.clone());
    let client = Client::new("ws://memory/").unwrap();
    let (client, mut raw) = tokio::join!(client.open_over(near), Raw::accept(far));
    let mut client = client.unwrap().socket;
    soon(client.send(vec![0_u8; 200 << 10])).await.unwrap();
    raw.send(CLOSE, b"").await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.unwrap();
    assert!(soon(client.recv()).await.is_none());
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < 50, "the transport was asked {reads} times");
}

/// A reset could take our Close from the peer, and so it would if the socket were closed too soon.
#[tokio::test]
async fn what_comes_behind_a_close_is_thrown_away_and_resets_nothing() {
    for behind in [true, false] {
        let (mut server, mut raw) = server_and_raw(Link::Tcp, Config::default()).await;
        let close = raw.frame(CLOSE, b"");
        if behind {
            raw.write(&[close, raw.frame(TEXT, b"late")].concat()).await;
            assert!(soon(server.recv()).await.is_none());
        } else {
            // A client that has closed answers the pings that were sent to it before.
            let (_, ()) = tokio::join!(server.ping(), async {
                assert_eq!(raw.expect_frame().await.0, PING);
                raw.write(&close).await;
            });
        }
        assert_eq!(raw.expect_frame().await.0, CLOSE);
        for _ in 0..10 {
            raw.send(PONG, b"late").await;
        }
        assert_eq!(soon(raw.stream.read(&mut [0])).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn deadlines_beyond_all_years_are_none() {
    for interval in [Duration::MAX, Duration::from_secs(100 * 365 * 86_400)] {
        let config =
            keepalive(interval, interval).close_timeout(interval).message_timeout(interval);
        let (server, mut raw) = server_and_raw(Link::Tcp, config).await;
        never_comes_back(server);
        raw.send(PING, b"?").await;
        assert_eq!(raw.expect_frame().await, (PONG, "?".into()));
        // The background driver is still there for others, too.
        let (server, mut raw) = server_and_raw(Link::Tcp, Config::default()).await;
        never_comes_back(server);
        raw.send(PING, b"?").await;
        assert_eq!(raw.expect_frame().await, (PONG, "?".into()));
    }
}

#[tokio::test]
async fn ping_measures_the_round_trip_while_the_other_end_is_not_read() {
    for link in LINKS {
        let (client, server) = pair(link).await;
        never_comes_back(server);
        let (one, other) = tokio::join!(soon(client.ping()), soon(client.ping()));
        assert!(one.unwrap() < common::PATIENCE && other.unwrap() < common::PATIENCE);
    }
}

/// A flood of pings waits for room like messages do.
#[tokio::test]
async fn pings_that_are_given_up_do_not_pile_up() {
    let (client, _raw) = client_and_raw(Link::Memory, Config::default()).await;
    for _ in 0..100_000 {
        let mut ping = std::pin::pin!(client.ping());
        poll_fn(|cx| ping.as_mut().poll(cx).map(drop).is_pending().into()).await;
    }
    let queued = client.buffered_amount();
    assert!(queued <= (64 << 10) + 16, "{queued} bytes are queued");
}
