//! Publishing over a connection to the server that leads the shard, while leaders change, stop and die; and where there can be
//! no such connection.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::task::{block_in_place, spawn_blocking};

use super::stopped::{SOME, check, publish_until};
use super::*;

/// Two nodes, and what is counted while one of them publishes.
struct Ground {
    reader: Node,
    /// It is connected to a server that does not lead, and publishes directly to the one that does.
    node: Node,
    stream: String,
    leader: usize,
    stop: AtomicBool,
    stored: AtomicUsize,
}

impl Ground {
    async fn prepare(nats: &Nats) -> Self {
        let mut options = options(nats).history_count(1_000_000);
        let reader = Node::start_with(options.clone()).await;
        let stream = format!("sockeye_c{}", reader.cluster.shard(&chat()));
        let leader = nats.leader_of(&stream);
        options.servers = nats.url((leader + 1) % 3).parse().expect("a URL");
        let node = Node::start_with(options).await;
        let (stop, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
        let ground = Self { reader, node, stream, leader, stop, stored };
        ground.publishes_directly("at first").await;
        ground
    }

    /// The server that the node is connected to for everything.
    fn other(&self) -> usize {
        (self.leader + 1) % 3
    }

    /// Waits until the node publishes directly.
    async fn publishes_directly(&self, when: &str) {
        let (before, mut number) = (self.node.cluster.figures().direct, 0);
        eventually_async(format!("a direct publication {when}"), async || {
            number += 1;
            self.node.published(&chat(), &format!("{when}, {number}")).await;
            self.node.cluster.figures().direct > before
        })
        .await;
    }

    /// Waits until some more messages are stored.
    async fn some_more(&self, what: &str) {
        let enough = self.stored.load(Relaxed) + SOME;
        eventually_async(what.to_owned(), async || self.stored.load(Relaxed) >= enough).await;
    }

    /// Publishes until what happens is over, and checks what became of it on both nodes. Gives the outcomes.
    async fn while_publishing(&self, happens: impl Future<Output = ()>) -> Vec<Failure> {
        let (outcomes, ()) =
            tokio::join!(publish_until(&self.node, &self.stop, &self.stored), async {
                happens.await;
                self.stop.store(true, Relaxed);
            });
        let last = self.node.published(&chat(), "last").await;
        for node in [&self.reader, &self.node] {
            check(&node.hub.reaches(node.cluster.shard(&chat()), last).await, &outcomes);
        }
        outcomes.into_iter().filter_map(|(_, outcome)| outcome.err()).collect()
    }
}

/// The connection for everything is of no use meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_goes_over_a_connection_to_the_server_that_leads_it() {
    let nats = Nats::start();
    let ground = Ground::prepare(&nats).await;
    let node = &ground.node;
    nats.pause(ground.other());
    let before = node.cluster.figures().direct;
    for number in 0..5 {
        let text = format!("while the other is stopped {number}");
        let offset = node.published(&chat(), &text).await;
        let told = node.hub.reaches(node.cluster.shard(&chat()), offset).await;
        assert_eq!(told.messages.get(&offset), Some(&text));
    }
    assert_eq!(node.cluster.figures().direct, before + 5);
    nats.resume(ground.other());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_order_while_each_second_another_server_leads() {
    let nats = Nats::start();
    let ground = Ground::prepare(&nats).await;
    let cluster = &ground.node.cluster;
    let failures = ground.while_publishing(async {
        for _ in 0..8 {
            block_in_place(|| nats.step_down(&ground.stream));
            let leader = block_in_place(|| nats.leader_of(&ground.stream));
            // As the stream says each 10 s.
            cluster.led_by(cluster.shard(&chat()), &format!("n{leader}"));
            ground.some_more("messages behind the next leader").await;
        }
    });
    let _ = failures.await;
    block_in_place(|| {
        while nats.leader_of(&ground.stream) == ground.other() {
            nats.step_down(&ground.stream);
        }
    });
    cluster.led_by(cluster.shard(&chat()), &format!("n{}", nats.leader_of(&ground.stream)));
    ground.publishes_directly("at last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_leader_dies_that_is_connected_directly() {
    let mut nats = Nats::start();
    let ground = Ground::prepare(&nats).await;
    let leader = ground.leader;
    ground
        .while_publishing(async {
            ground.some_more("messages before").await;
            block_in_place(|| nats.kill(leader));
            ground.some_more("messages behind the next leader").await;
            block_in_place(|| {
                nats.start_one(leader);
                nats.wait_healthy();
            });
            ground.some_more("messages after").await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_publisher_notices_that_the_leader_is_about_to_stop() {
    let nats = Nats::start();
    let ground = Ground::prepare(&nats).await;
    let failures = ground.while_publishing(async {
        ground.some_more("messages before").await;
        block_in_place(|| {
            nats.announce_stop(ground.leader);
            nats.wait_deserted(ground.leader);
        });
        ground.some_more("messages behind the next leader").await;
    });
    assert_eq!(failures.await, []);
}

/// The servers tell an address at which there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_be_reached_directly_is_worked_around() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens");
    let nats = Nats::start_with(&format!("client_advertise: \"{address}\""));
    let leader = {
        let node = Node::start(&nats).await;
        nats.leader_of(&format!("sockeye_c{}", node.cluster.shard(&chat())))
    };
    let mut options = options(&nats);
    options.servers = nats.url((leader + 1) % 3).parse().expect("a URL");
    let node = Node::start_with(options).await;
    // It is closed at once.
    let tried = spawn_blocking(move || listener.accept().map(drop));
    let mut number = 0;
    eventually_async("an attempt", async || {
        number += 1;
        node.published(&chat(), &number.to_string()).await;
        tried.is_finished()
    })
    .await;
    for number in 0..10 {
        node.published(&chat(), &format!("after it {number}")).await;
    }
    assert_eq!(node.cluster.figures().direct, 0);
}
