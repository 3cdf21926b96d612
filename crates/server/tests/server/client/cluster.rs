//! In the place of one server three nodes of a cluster: `cargo xtask test cluster` runs the tests once more with them,
//! and gives each connection to the next node.

use std::sync::{Arc, LazyLock};

use futures_util::FutureExt as _;
use sockeye_cluster::{Cluster, ClusterOptions};
use sockeye_hub::Hub;
use sockeye_server::{Server, ServerOptions};
use sockeye_testing::eventually;
use sockeye_tests::cut::Forwarder;
use sockeye_tests::nats;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::TestServer;

const NODES: usize = 3;
/// Channels in different shards.
const CHANNELS: [&str; 2] = ["s1", "s2"];

/// The nodes have threads of their own: a test may block its thread, or stop its clock.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Three nodes with the same options, in a cluster of their own. The hub and the address for operators are
/// those of the first.
pub(super) async fn start(urls: &str, options: ServerOptions) -> TestServer {
    let mut cluster = ClusterOptions::new(urls.parse().unwrap());
    cluster.name = nats::unused_name().parse().unwrap();
    cluster.shards = Some(2);
    cluster.history_count = options.channels.history_count;
    cluster.history_bytes = options.channels.history_bytes;
    cluster.history_age = options.channels.history_age;
    cluster.max_message = options.channels.max_message;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let node = node(cluster.clone(), options.clone());
        nodes.push(RUNTIME.spawn(node).await.unwrap());
    }
    let addresses = nodes.iter().map(|node| node.local_addrs()[0].tcp().unwrap()).collect();
    let admin = nodes[0].admin_addr().unwrap().tcp().unwrap();
    let hubs: Vec<_> = nodes.iter().map(|node| node.hub().clone()).collect();
    let hubs_of_nodes = hubs.clone();
    let balancer = Forwarder::to_each_after(addresses, move || wait_for_all(&hubs_of_nodes));
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(|_| ()).shared();
    let running: Vec<_> =
        nodes.into_iter().map(|node| RUNTIME.spawn(node.run_until(stopped.clone()))).collect();
    let running = RUNTIME.spawn(async {
        for node in running {
            node.await.unwrap()?;
        }
        Ok(())
    });
    TestServer {
        address: balancer.address(),
        admin,
        hub: hubs[0].clone(),
        nodes: hubs,
        stop,
        running,
        balancer: Some(balancer),
    }
}

/// Waits until each node knows what any of them knows now. Without a position a request may be answered by a node
/// that is some milliseconds behind; a test may not depend on it.
fn wait_for_all(nodes: &[Hub]) {
    for channel in CHANNELS.map(|name| name.parse().unwrap()) {
        let at = |hub: &Hub| hub.position(&channel).offset;
        let newest = nodes.iter().map(at).max().unwrap_or(0);
        eventually("all nodes know the same", || nodes.iter().all(|hub| at(hub) >= newest));
    }
}

/// A node, once it follows every shard.
async fn node(cluster: ClusterOptions, mut options: ServerOptions) -> Server {
    let cluster = Cluster::connect(cluster).await.unwrap();
    options.channels.backplane = Some(Arc::new(cluster.clone()));
    let server = Server::bind(options).await.unwrap();
    cluster.ready().await;
    server
}
