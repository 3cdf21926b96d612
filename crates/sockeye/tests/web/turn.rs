//! No event is told before the code that made the socket has had its turn, on whatever thread it runs.

use std::{sync::mpsc, thread, time::Duration};

use sockeye::{
    AcceptError, Incoming, Server,
    web::{ReadyState, WebSocket},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::support::{Events, Told, soon};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()
}

/// A server in threads of its own, which speaks first; tells when it has.
fn greeter() -> (Runtime, String, mpsc::Receiver<()>) {
    let runtime = runtime();
    let server = runtime.block_on(Server::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (sender, greeted) = mpsc::channel();
    runtime.spawn(server.run(move |incoming: Incoming| {
        let sender = sender.clone();
        async move {
            let mut socket = incoming.accept().await?;
            let _ = socket.send("hello").await;
            let _ = sender.send(());
            while socket.recv().await.is_some() {}
            Ok::<(), AcceptError>(())
        }
    }));
    (runtime, url, greeted)
}

/// It stays on its thread for long, while other threads have nothing else to do than to open the
/// connection.
#[test]
fn nothing_happens_during_the_turn_of_the_task_that_makes_a_socket() {
    let (_server, url, greeted) = greeter();
    let client = runtime();
    let task = client.spawn(async move {
        let socket = WebSocket::new(&url, ()).unwrap();
        assert!(greeted.recv_timeout(Duration::from_millis(300)).is_err(), "it was connected");
        assert_eq!(socket.ready_state(), ReadyState::Connecting);
        let mut events = Events::of(&socket);
        assert_eq!(events.next().await, Told::Open);
        assert_eq!(events.next().await, Told::Text("hello".to_owned()));
    });
    client.block_on(task).unwrap();
}

/// The thread that blocks on `main` runs no tasks: nothing tells when its turn ends.
#[test]
fn a_thread_that_runs_no_tasks_misses_nothing_however_late_it_listens() {
    let (_server, url, greeted) = greeter();
    runtime().block_on(async {
        let socket = WebSocket::new(&url, ()).unwrap();
        greeted.recv_timeout(Duration::from_secs(20)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while socket.ready_state() != ReadyState::Open {
            assert!(Instant::now() < deadline, "it is not opened");
            thread::yield_now();
        }
        let mut events = Events::of(&socket);
        assert_eq!(events.next().await, Told::Open);
        assert_eq!(events.next().await, Told::Text("hello".to_owned()));
        // Each is told once.
        assert_eq!(Events::of(&socket).so_far(), []);
        socket.close(1000, "").unwrap();
        assert!(matches!(events.next().await, Told::Close { .. }));
    });
}

#[test]
fn a_thread_that_runs_no_tasks_is_told_of_an_end_that_came_before_it_listened() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    runtime().block_on(async {
        let socket = WebSocket::new(&url, ()).unwrap();
        while socket.ready_state() != ReadyState::Closed {
            thread::yield_now();
        }
        let mut events = Events::of(&socket);
        assert_eq!(events.next().await, Told::Error);
        assert!(matches!(events.next().await, Told::Close { code: 1006, .. }));
        drop(socket);
        soon(events.until_dropped()).await;
    });
}
