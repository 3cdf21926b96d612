//! A client in a process that has no file descriptors left. A test binary of its own: the limit is one of the process.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs::File, time::Duration};

use futures_util::StreamExt;
use rustix::process::{Resource, getrlimit, setrlimit};
use sockeye_client::{Client, Item, Status, Transport};
use sockeye_server::{LocalAddress, Server, ServerOptions};
use sockeye_testing::PATIENCE;
use tokio::{sync::mpsc, time::timeout};

/// Takes all descriptors that there are.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn without_descriptors_the_client_says_so_and_goes_on_when_there_are_some() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(256);
    setrlimit(Resource::Nofile, limit).unwrap();
    let options = ServerOptions::default().admin(None).listen(["127.0.0.1:0".parse().unwrap()]);
    let server = Server::bind(options).await.unwrap();
    let LocalAddress::Tcp(address) = server.local_addrs()[0].clone() else { unreachable!() };
    tokio::spawn(server.run());
    // The server may have raised the limit.
    setrlimit(Resource::Nofile, limit).unwrap();
    // What is closed would leave descriptors for the next.
    let mut kept = Vec::new();
    for transport in Transport::ALL {
        let (told, mut statuses) = mpsc::unbounded_channel();
        let client = Client::builder(format!("http://{address}/"))
            .transports([transport])
            .poll_interval(Duration::from_millis(20))
            .on_status(move |status| _ = told.send(status.clone()))
            .build()
            .unwrap();
        let all = take_all();
        let mut chat = client.subscribe("chat").after("now");
        let ready = tokio::spawn(async move {
            let ready = chat.ready().await;
            (ready, chat)
        });
        let error = timeout(PATIENCE, async {
            loop {
                if let Status::Waiting { error, .. } = statuses.recv().await.unwrap() {
                    return error;
                }
            }
        });
        let error = error.await.unwrap().to_string();
        assert!(
            error.contains("open files") || error.contains("os error 24"),
            "{transport}: {error}"
        );
        drop(all);
        let (ready, mut chat) = timeout(PATIENCE, ready).await.unwrap().unwrap();
        ready.unwrap();
        client.publish("chat", transport.name()).await.unwrap();
        let item = timeout(PATIENCE, chat.next()).await.unwrap().unwrap().unwrap();
        let Item::Message(message) = item else { panic!("{transport}: {item:?}") };
        assert_eq!(message.text().as_deref(), Some(transport.name()));
        kept.push((client, chat));
    }
}
