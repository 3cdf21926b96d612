//! Sets of connections: data for each, sending to some, what keeps a connection open, and the end with
//! the handlers.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::{future::Future, pin::pin, time::Duration};

use axum::{Extension, Router, body::Body, extract::State, response::Response, routing::any};
use common::{Link, pair, soon};
use sockeye::{
    CloseCode, Config, ConnectError, Connections, ResponseError, TrySendError, Upgrade, WebSocket,
    Writer, connect,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// Members with these names, and their clients.
fn members<T: Send + 'static>(
    set: &Connections<T>,
    data: impl IntoIterator<Item = T>,
) -> Vec<(WebSocket, WebSocket)> {
    let member = |data| {
        let (client, server) = WebSocket::pair(Config::default());
        set.insert_with(&server, data);
        (client, server)
    };
    data.into_iter().map(member).collect()
}

async fn next(client: &mut WebSocket) -> String {
    soon(client.recv()).await.unwrap().unwrap().as_text().unwrap().to_owned()
}

#[tokio::test]
async fn one_is_told_or_all_but_one_or_those_that_a_closure_chooses() {
    let set = Connections::new();
    let mut members = members(&set, ["ann", "ben", "cat"]);
    let ids: Vec<_> = members.iter().map(|(_, server)| server.id()).collect();
    set.send_to(ids[1], "one").unwrap();
    assert_eq!(set.broadcast_except(ids[1], "others").await.sent, 2);
    assert_eq!(set.broadcast_if("some", |_, name| *name != "cat").await.sent, 2);
    assert_eq!(set.broadcast("end").await.sent, 3);
    let expected = [&["others", "some", "end"][..], &["one", "some", "end"], &["others", "end"]];
    for ((client, _), expected) in members.iter_mut().zip(expected) {
        for text in expected {
            assert_eq!(next(client).await, *text);
        }
    }
    drop(members.remove(0));
    soon(async {
        while set.len() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let gone = set.send_to(ids[0], "late").unwrap_err();
    assert!(matches!(gone, TrySendError::Closed(message, _) if message.as_text() == Some("late")));
    assert!(set.writer(ids[0]).is_none() && set.update(ids[0], |_| ()).is_none());
}

#[tokio::test]
async fn what_is_known_of_a_connection_changes_and_goes_with_it() {
    let set = Connections::new();
    let mut members = members(&set, [0, 10]);
    let id = members[0].1.id();
    assert_eq!(
        set.update(id, |count| {
            *count += 1;
            *count
        }),
        Some(1)
    );
    set.insert_with(&members[0].1, 99);
    let mut seen = Vec::new();
    set.for_each(|_, count| seen.push(*count));
    seen.sort_unstable();
    assert_eq!(seen, [1, 10]);
    members.clear();
    soon(set.shutdown(CloseCode::GOING_AWAY, Duration::MAX)).await;
    assert!(set.is_empty());
}

/// It keeps the connection open, as the documentation says; it must not bring anything to a halt.
#[tokio::test]
async fn a_set_that_holds_a_handle_of_its_member_lets_it_go_with_the_transport() {
    let set: Connections<Writer> = Connections::new();
    let (mut client, server) = pair(Link::Tcp).await;
    let (reader, writer) = server.split();
    let held = WebSocket::pair(Config::default()).0;
    set.insert_with(&held, writer);
    drop(reader);
    drop(held);
    soon(set.shutdown(CloseCode::GOING_AWAY, Duration::MAX)).await;
    // With what was known of the other the last handle of this one has gone.
    assert!(soon(client.recv()).await.is_none());
    assert_eq!(client.closed().unwrap().code(), 1001);
}

#[tokio::test]
async fn a_weak_writer_sends_and_keeps_nothing_open() {
    let (client, mut server) = pair(Link::Tcp).await;
    let weak = client.weak_writer();
    weak.upgrade().unwrap().send("hello").await.unwrap();
    assert_eq!(next(&mut server).await, "hello");
    let (reader, writer) = client.split();
    drop(writer);
    let again = weak.clone().upgrade().unwrap();
    assert_eq!(again.id(), reader.id());
    drop((reader, again));
    assert!(weak.upgrade().is_none());
    assert!(soon(server.recv()).await.is_none());
    assert_eq!(server.closed().unwrap().code(), 1005);
}

/// An axum server whose handlers the set waits for; each goes on after its connection until it is told.
async fn serve(set: Connections<()>, finish: mpsc::Sender<oneshot::Sender<()>>) -> String {
    type Shared = (Connections<()>, mpsc::Sender<oneshot::Sender<()>>);
    async fn chat(State((set, finish)): State<Shared>, upgrade: Upgrade) -> Response {
        upgrade.join(&set, ()).on_upgrade(|socket| until_told(socket, finish))
    }
    run(Router::new().route("/", any(chat)).with_state((set, finish))).await
}

async fn until_told(mut socket: WebSocket, finish: mpsc::Sender<oneshot::Sender<()>>) {
    let (sender, finished) = oneshot::channel();
    finish.send(sender).await.unwrap();
    while socket.recv().await.is_some() {}
    drop(socket);
    let _ = finished.await;
}

async fn run(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// The same; the set is in the extensions of all requests, and each WebSocket joins another one, if it is there.
async fn serve_tracked(
    set: Connections,
    other: Option<Connections<u8>>,
    finish: mpsc::Sender<oneshot::Sender<()>>,
) -> String {
    let chat = move |upgrade: Upgrade| {
        let (upgrade, finish) = match &other {
            Some(other) => (upgrade.join(other, 7), finish.clone()),
            None => (upgrade, finish.clone()),
        };
        std::future::ready(upgrade.on_upgrade::<Body, _, _>(|socket| until_told(socket, finish)))
    };
    run(Router::new().route("/", any(chat)).layer(Extension(set))).await
}

/// Whether it is not ready though others have had many turns.
async fn is_waiting(future: impl Future) -> bool {
    let turns = async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = future => false,
        () = turns => true,
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_handlers_of_upgrades_and_takes_no_connection() {
    let set = Connections::new();
    let (sender, mut handlers) = mpsc::channel(1);
    let url = serve(set.clone(), sender).await;
    let mut client = connect(&url).await.unwrap();
    let finish = handlers.recv().await.unwrap();
    assert_eq!(set.len(), 1);
    let mut stopping = pin!(set.shutdown(CloseCode::SERVICE_RESTART, Duration::MAX));
    tokio::select! {
        _ = &mut stopping => panic!("the handler was not waited for"),
        end = soon(client.recv()) => assert!(end.is_none()),
    }
    assert_eq!(client.closed().unwrap().code(), 1012);
    assert!(is_waiting(&mut stopping).await);
    let late = connect(&url).await.unwrap_err();
    let ConnectError::Response(ResponseError::Status(answer)) = late else { panic!("{late}") };
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    finish.send(()).unwrap();
    assert_eq!(soon(stopping).await, 0);
}

#[tokio::test]
async fn a_set_in_the_extensions_waits_for_the_handlers_of_all_routes() {
    for other in [None, Some(Connections::new())] {
        let (set, (sender, mut handlers)) = (Connections::new(), mpsc::channel(1));
        let url = serve_tracked(set.clone(), other.clone(), sender).await;
        let mut client = connect(&url).await.unwrap();
        let finish = handlers.recv().await.unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(other.as_ref().map_or(1, Connections::len), 1);
        let mut stopping = pin!(set.shutdown(CloseCode::GOING_AWAY, Duration::MAX));
        tokio::select! {
            _ = &mut stopping => panic!("the handler was not waited for"),
            end = soon(client.recv()) => assert!(end.is_none()),
        }
        assert_eq!(client.closed().unwrap().code(), 1001);
        assert!(is_waiting(&mut stopping).await);
        let late = connect(&url).await.unwrap_err();
        let ConnectError::Response(ResponseError::Status(answer)) = late else { panic!("{late}") };
        assert_eq!(answer.status(), 503);
        finish.send(()).unwrap();
        assert_eq!(soon(stopping).await, 0);
        if let Some(other) = other {
            assert_eq!(soon(other.shutdown(CloseCode::GOING_AWAY, Duration::MAX)).await, 0);
        }
    }
}

#[tokio::test]
async fn either_of_two_sets_ends_a_handler_that_does_not_end() {
    for by_extension in [true, false] {
        let (set, other) = (Connections::new(), Connections::new());
        let (sender, mut handlers) = mpsc::channel(1);
        let url = serve_tracked(set.clone(), Some(other.clone()), sender).await;
        let mut client = connect(&url).await.unwrap();
        let mut finish = handlers.recv().await.unwrap();
        let stopping = async {
            let within = Duration::from_millis(50);
            match by_extension {
                true => set.shutdown(CloseCode::GOING_AWAY, within).await,
                false => other.shutdown(CloseCode::GOING_AWAY, within).await,
            }
        };
        let (_, end) = soon(async { tokio::join!(stopping, client.recv()) }).await;
        assert!(end.is_none());
        soon(finish.closed()).await;
    }
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_ended_by_a_shutdown() {
    let set = Connections::new();
    let (sender, mut handlers) = mpsc::channel(1);
    let url = serve(set.clone(), sender).await;
    let mut client = connect(&url).await.unwrap();
    let mut finish = handlers.recv().await.unwrap();
    let stopping = set.shutdown(CloseCode::GOING_AWAY, Duration::from_millis(50));
    let (cut, end) = soon(async { tokio::join!(stopping, client.recv()) }).await;
    assert!(end.is_none());
    assert_eq!(cut, 0);
    // With the handler its end of the channel has gone.
    soon(finish.closed()).await;
}
