//! What hubs tell each other of presence, over links that are slow.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use sockeye_hub::backplane::{Figure, NodeId, NodeLink, NodeSink};
use tokio::runtime::Handle;

use super::*;
use crate::nats::connection;
use crate::nats::waiting::Waiting;
use crate::presence::Members;

/// What passes a slow link at a time, and how long until more does: some 400 KB in a second.
const PIECE: usize = 4 << 10;
const PAUSE: Duration = Duration::from_millis(10);
/// A flood of joins that takes a slow link longer than a node may be silent.
const FLOOD: usize = 12_000;

/// What a hub would have heard.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Bytes>>);

impl Ear {
    fn count(&self, of: &[u8]) -> usize {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|message| message.starts_with(of)).count()
    }

    async fn hears(&self, what: &[u8]) {
        let text = String::from_utf8_lossy(what);
        eventually_async(format!("a message {text}"), async || self.count(what) > 0).await;
    }
}

impl NodeSink for Ear {
    fn heard(&self, message: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    fn tick(&self) {}

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// Forwards what a client sends slowly, and what it gets as it comes.
fn slow_link(server: &str) -> String {
    let server = server.strip_prefix("nats://").expect("a URL").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).expect("it listens");
            let (mut from, mut to) =
                (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || pass_slowly(client, server));
        }
    });
    url
}

fn pass_slowly(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// A hub's link over these servers, and what it hears.
async fn join(options: &ClusterOptions, node: u64) -> (Members, Arc<dyn NodeLink>, Arc<Ear>) {
    let connected = connection::connect(options, &Waiting::new()).await.expect("a connection");
    let (members, ear) = (Members::default(), Arc::<Ear>::default());
    let names = Arc::new(crate::message::subjects::Names::new(options.name.clone(), 1));
    let link = members.link(names, NodeId(node), Arc::<Ear>::clone(&ear));
    members.start(&connected.client, &Handle::current());
    (members, link, ear)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_goes_ahead_of_a_flood_of_joins_on_a_slow_link() {
    let nats = Nats::start();
    let mut slow = options(&nats);
    slow.servers = slow_link(&nats.url(0)).parse().expect("a URL");
    let (_members, link, _) = join(&slow, 1).await;
    let (_others, _, ear) = join(&options(&nats), 2).await;
    // Each knows of the other's subscriptions.
    eventually_async("messages from the other node", async || {
        link.send(None, Bytes::from_static(b"hello"));
        link.show_life(Bytes::from_static(b"sign"));
        ear.count(b"hello") > 0 && ear.count(b"sign") > 0
    })
    .await;
    let join = Bytes::from([&b"join"[..], &[b'.'; 300]].concat());
    (0..FLOOD).for_each(|_| link.send(None, join.clone()));
    ear.hears(b"join").await;
    link.show_life(Bytes::from_static(b"alive"));
    ear.hears(b"alive").await;
    let before = ear.count(b"join");
    assert!(before < FLOOD / 2, "{before} joins came before it");
    // None of them is lost.
    eventually_async("all joins", async || ear.count(b"join") == FLOOD).await;
}
