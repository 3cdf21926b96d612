//! Many WebSockets on one connection, and what one of them can do to the others: nothing.

use std::time::Duration;

use futures_util::future::join_all;
use sockeye::{Client, CloseCode, ConnectError, Error, Failure, Message, WebSocket, http2};
use tokio::{net::TcpListener, runtime::Handle, time::timeout};

use crate::{
    harness::Server,
    raw::{ENABLE_CONNECT_PROTOCOL, RawPeer},
};

/// Rule: H14.
#[tokio::test]
async fn a_hundred_websockets_share_one_tcp_connection() {
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

/// Rule: H14.
#[tokio::test]
async fn a_server_that_does_not_read_holds_up_one_stream_only() {
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

/// Rule: H14.
#[tokio::test]
async fn a_client_that_does_not_read_holds_up_one_stream_only() {
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

/// Sends until the other side has to read: nothing else says that the buffers of the system are full.
async fn fill(socket: &mut WebSocket) {
    let mut sent = 0;
    while timeout(Duration::from_millis(200), socket.send(vec![1; PIECE])).await.is_ok() {
        sent += PIECE;
        assert!(sent < 8 << 20, "nothing holds the sender up");
    }
}

/// Reads what was sent until an end mark comes through.
async fn drain(from: &mut WebSocket, to: &mut WebSocket) {
    let mark = from.send("end");
    let read = async { while to.recv().await.unwrap().unwrap().as_text().is_none() {} };
    let (sent, ()) = tokio::join!(mark, read);
    sent.unwrap();
}

async fn assert_talk(mut a: WebSocket, mut b: WebSocket) {
    for message in [Message::from("hello"), Message::from(vec![9; 1 << 20])] {
        let (sent, received) = tokio::join!(a.send(message.clone()), b.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
        let (sent, received) = tokio::join!(b.send(message.clone()), a.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
    }
}

/// Rule: H14.
#[tokio::test]
async fn streams_that_come_and_go_leave_nothing_behind() {
    let mut server = Server::start().await;
    server.echo();
    let connection = server.connect().await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // With one stream open, and what is started once.
    let socket = talk(&connection, &server).await;
    let baseline = tasks();
    drop(socket);
    for i in 0..500 {
        if i % 2 == 0 {
            drop(connection.open(server.client()).await.unwrap());
        } else {
            // Given up while it waits for the answer.
            let opening = connection.open(server.client());
            let _ = timeout(Duration::from_micros(50), opening).await;
        }
    }
    // With one open again, there are no more than before.
    let _socket = talk(&connection, &server).await;
    let settled = async {
        while tasks() > baseline {
            tokio::task::yield_now().await;
        }
    };
    let settled = timeout(Duration::from_secs(20), settled).await;
    settled.unwrap_or_else(|_| panic!("{} tasks where {baseline} were", tasks()));
    assert_eq!(server.connections(), 1);
}

/// Opens a WebSocket, on which the server answers.
async fn talk(connection: &http2::Connection, server: &Server) -> WebSocket {
    let mut socket = connection.open(server.client()).await.unwrap().socket;
    socket.send("here").await.unwrap();
    assert!(socket.recv().await.unwrap().is_ok());
    socket
}

#[tokio::test]
async fn the_connection_ends_with_its_last_handle() {
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
            tokio::task::yield_now().await;
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
