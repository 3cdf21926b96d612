//! Many WebSockets on one connection, and what one of them can do to the others: nothing.

use std::time::Duration;

use futures_util::future::join_all;
use sockeye::{Client, CloseCode, ConnectError, Error, Failure, Message, http2};
use tokio::{net::TcpListener, runtime::Handle, time::timeout};

use crate::{
    harness::Server,
    raw::{ENABLE_CONNECT_PROTOCOL, RawPeer},
};

#[tokio::test]
async fn h14_a_hundred_websockets_share_one_tcp_connection() {
    let mut server = Server::start().await;
    server.echo();
    let connection = server.connect().await;
    let open = (0..100).map(|_| async { connection.open(server.client()).await.unwrap().socket });
    let mut sockets = join_all(open).await;
    assert_eq!(server.connections(), 1);
    // Half of them go, in every way there is; the others do not notice.
    for (i, mut socket) in sockets.split_off(50).into_iter().enumerate() {
        if i % 2 == 0 {
            assert!(socket.close(CloseCode::NORMAL).await.is_clean());
        }
    }
    let talk = sockets.iter_mut().enumerate().map(|(i, socket)| async move {
        for round in 0..10 {
            let text = format!("{round} of {i}");
            socket.send(text.as_str()).await.unwrap();
            let echo = socket.recv().await.unwrap().unwrap();
            assert_eq!(echo.as_text(), Some(text.as_str()));
        }
    });
    join_all(talk).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn h14_a_server_that_does_not_read_holds_up_one_stream_only() {
    let mut server = Server::start().await;
    let connection = server.connect().await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let (mut client, socket) = server.pair(&connection).await;
        fill(&mut client).await;
        unread.push((client, socket));
    }
    let (client, socket) = server.pair(&connection).await;
    assert_talk(client, socket).await;
    // What was held up arrives when it is read.
    for (mut client, mut socket) in unread {
        drain(&mut client, &mut socket).await;
    }
}

#[tokio::test]
async fn h14_a_client_that_does_not_read_holds_up_one_stream_only() {
    let mut server = Server::start().await;
    let connection = server.connect().await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let (client, mut socket) = server.pair(&connection).await;
        fill(&mut socket).await;
        unread.push((socket, client));
    }
    let (client, socket) = server.pair(&connection).await;
    assert_talk(client, socket).await;
    for (mut socket, mut client) in unread {
        drain(&mut socket, &mut client).await;
    }
}

const PIECE: usize = 32 << 10;

/// Sends until the other side would have to read.
async fn fill(socket: &mut sockeye::WebSocket) {
    let mut sent = 0;
    while timeout(Duration::from_millis(200), socket.send(vec![1; PIECE])).await.is_ok() {
        sent += PIECE;
        assert!(sent < 8 << 20, "nothing holds the sender up");
    }
}

/// Reads what was sent until an end mark comes through.
async fn drain(from: &mut sockeye::WebSocket, to: &mut sockeye::WebSocket) {
    let mark = from.send("end");
    let read = async { while to.recv().await.unwrap().unwrap().as_text().is_none() {} };
    let (sent, ()) = tokio::join!(mark, read);
    sent.unwrap();
}

async fn assert_talk(mut a: sockeye::WebSocket, mut b: sockeye::WebSocket) {
    for message in [Message::from("hello"), Message::from(vec![9; 1 << 20])] {
        let (sent, received) = tokio::join!(a.send(message.clone()), b.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
        let (sent, received) = tokio::join!(b.send(message.clone()), a.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
    }
}

#[tokio::test]
async fn h14_streams_that_come_and_go_leave_nothing_behind() {
    let mut server = Server::start().await;
    server.echo();
    let connection = server.connect().await;
    // The caretaker, and what else is started once.
    drop(connection.open(server.client()).await.unwrap());
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let baseline = settled(&tasks).await;
    for i in 0..500 {
        if i % 2 == 0 {
            drop(connection.open(server.client()).await.unwrap());
        } else {
            // Given up while it waits for the answer.
            let opening = connection.open(server.client());
            let _ = timeout(Duration::from_micros(50), opening).await;
        }
    }
    timeout(Duration::from_secs(20), async {
        while tasks() > baseline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} tasks where {baseline} were", tasks()));
    let mut socket = connection.open(server.client()).await.unwrap().socket;
    socket.send("still here").await.unwrap();
    assert!(socket.recv().await.unwrap().is_ok());
    assert_eq!(server.connections(), 1);
}

/// The number when it changes no more.
async fn settled(count: &impl Fn() -> usize) -> usize {
    let mut last = count();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match count() {
            same if same == last => return same,
            other => last = other,
        }
    }
}

#[tokio::test]
async fn the_connection_ends_with_the_last_who_holds_it() {
    let mut server = Server::start().await;
    let connection = server.connect().await;
    let (mut client, mut socket) = server.pair(&connection).await;
    drop(connection);
    client.send("on").await.unwrap();
    assert!(socket.recv().await.unwrap().is_ok());
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (closed, _) = tokio::join!(client.close(CloseCode::NORMAL), socket.recv());
    assert!(closed.is_clean());
    drop((client, socket));
    timeout(Duration::from_secs(5), async {
        // The client's task for the connection and the server's.
        while tasks() > before - 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_that_is_lost_ends_every_websocket_on_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = RawPeer::server(stream, &[(ENABLE_CONNECT_PROTOCOL, 1)]).await;
        for last in [1, 3] {
            peer.answer_until(last).await;
        }
    });
    let connection = http2::Connection::connect(&client).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..2 {
        sockets.push(connection.open(client.clone()).await.unwrap().socket);
    }
    for mut socket in sockets {
        let error = socket.recv().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Io(_) | Error::Failed(Failure::Lost)), "{error:?}");
        assert_eq!(socket.closed().unwrap().failure, Some(Failure::Lost));
    }
    let error = connection.open(client).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error}");
}

#[tokio::test]
async fn a_stream_that_the_server_does_not_read_is_given_up() {
    let mut server = Server::start().await;
    let connection = server.connect().await;
    let limit = Duration::from_millis(100);
    let client = server.client().http2_write_timeout(limit);
    let mut client = connection.open(client).await.unwrap().socket;
    let mut socket = server.accept().await;
    let failed = async { while client.send(vec![1; PIECE]).await.is_ok() {} };
    timeout(Duration::from_secs(10), failed).await.expect("it is given up");
    let lost = async { while socket.recv().await.unwrap().is_ok() {} };
    timeout(Duration::from_secs(10), lost).await.expect("the stream is reset");
    let (client, socket) = server.pair(&connection).await;
    assert_talk(client, socket).await;
}
