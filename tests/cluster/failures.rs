//! Servers of NATS and nodes die: nothing that was acknowledged is lost, repeated or out of order.

use std::time::Duration;

use sockeye_tests::away;
use sockeye_tests::chaos::{self, Fault, Ground, Plan};
use sockeye_tests::curl::Stream;

use super::{Cluster, messages};
use sockeye_testing::PATIENCE;
use sockeye_tests::nats::Nats;
use sockeye_tests::websocket::WebSocket;

/// The short form of `cargo xtask chaos --cluster`: a leader of NATS, a follower and a node are killed, a node is
/// stopped, and leaders step down.
#[test]
fn hopping_readers_see_every_message_once_though_servers_of_nats_and_nodes_are_killed() {
    let report = chaos::run(&Plan::short(Ground::Cluster(Fault::FEW.to_vec())));
    assert!(report.findings.is_sound(), "{report}");
}

#[test]
fn a_planned_restart_of_each_server_of_nats_is_not_noticed() {
    let mut cluster = Cluster::start();
    let mut stream = Stream::open(&[&cluster.url(0, "/c/chat?stream=sse")]);
    stream.until("id: ");
    let mut published = Vec::new();
    for server in 0..3 {
        cluster.nats.terminate(server);
        for node in 0..3 {
            let text = format!("without {server} on {node}.");
            published.push((text.clone(), cluster.publish(node, "chat", &text)));
        }
        cluster.nats.start_one(server);
        cluster.nats.wait_healthy();
    }
    let shown = stream.until("without 2 on 2.");
    assert!(!shown.contains("event: gap"), "{shown}");
    for node in 0..3 {
        assert_eq!(messages(&cluster.poll(node, "chat", "after=earliest")), published);
    }
}

/// Of `cargo xtask chaos --cluster`, where it takes a minute, as long as it takes to see all of it.
#[test]
fn without_servers_streams_stay_open_and_publishing_is_refused_and_then_all_goes_on() {
    away::without_servers(Duration::ZERO);
}

/// Files of before are put in the place of newer ones: what was acknowledged meanwhile is gone, and its positions
/// are given to others.
#[test]
fn files_that_are_put_back_are_told_to_every_reader() {
    let mut cluster = Cluster::start();
    let kept = cluster.publish(0, "chat", "kept");
    let restart = |nats: &mut Nats, change: &dyn Fn(&Nats)| {
        (0..3).for_each(|server| nats.terminate(server));
        change(nats);
        nats.start_all();
    };
    restart(&mut cluster.nats, &Nats::save_files);
    let mut streams =
        [0, 1, 2].map(|node| Stream::open(&[&cluster.url(node, "/c/chat?stream=sse")]));
    for stream in &mut streams {
        stream.until("id: ");
    }
    // Readers of the other transports, one on each node.
    let mut lines = Stream::open(&["-i", &cluster.url(0, "/c/chat?stream=ndjson")]);
    lines.until("\r\n\r\n");
    let (plain, v1) = (&cluster.nodes[1], &cluster.nodes[2]);
    let (plain, v1) = (WebSocket::open(plain, "/c/chat"), WebSocket::open_v1(v1, "/c/chat"));
    v1.until("\"hello\"");
    let lost = cluster.publish(1, "chat", "lost");
    for stream in streams.iter_mut().chain([&mut lines]) {
        stream.until("lost");
    }
    plain.until("lost");
    v1.until("lost");
    restart(&mut cluster.nats, &Nats::put_files_back);
    for stream in &mut streams {
        stream.until_within(4 * PATIENCE, "\"why\":\"reset\"");
    }
    lines.until_within(4 * PATIENCE, "\"why\":\"reset\"");
    v1.until_within(4 * PATIENCE, "\"why\":\"reset\"");
    // It has no frame for a gap.
    plain.until_within(4 * PATIENCE, "close 4410");
    let anew = cluster.publish(2, "chat", "anew");
    assert_ne!(
        anew.split_once('.').map(|(epoch, _)| epoch),
        kept.split_once('.').map(|(epoch, _)| epoch)
    );
    for stream in &mut streams {
        stream.until("data: anew");
    }
    for node in 0..3 {
        for before in [&kept, &lost] {
            let page = cluster.poll(node, "chat", &format!("after={before}"));
            assert_eq!(page["gap"]["why"], "reset", "on node {node}: {page}");
            let texts: Vec<_> = messages(&page).into_iter().map(|(text, _)| text).collect();
            assert_eq!(texts, ["kept", "anew"], "on node {node}");
        }
    }
}
