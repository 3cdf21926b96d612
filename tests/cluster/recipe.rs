//! The recipe of `examples/cluster`: the configurations of NATS and nginx as they stand.

use std::thread;

use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::nats::Nats;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::reverse_proxy::{Kind, ReverseProxy};

use super::{json, messages};

const COMPOSE: &str = include_str!("../../examples/cluster/compose.yaml");
const NATS: &str = include_str!("../../examples/cluster/nats.conf");
const NGINX: &str = include_str!("../../examples/cluster/nginx.conf");
const PASSWORD: &str = "s3cret";

/// The servers of NATS, the nodes and the proxy of the recipe. The nodes end before their servers.
struct Recipe {
    nginx: ReverseProxy,
    nodes: Vec<Sockeye>,
    nats: Nats,
}

impl Recipe {
    fn start() -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/cluster/nats.conf");
        let nats = Nats::start_file(file, &[("SOCKEYE_PASSWORD", PASSWORD)]);
        let urls = nats.urls().replacen("nats://", &format!("nats://sockeye:{PASSWORD}@"), 1);
        let options = ["--cluster", &urls, "--open", "--trust-proxy", "127.0.0.1"];
        let nodes: Vec<_> = (0..3).map(|_| Sockeye::serve(&options)).collect();
        let block = (1..).zip(&nodes).fold(NGINX.to_owned(), |block, (number, node)| {
            block.replace(&format!("sockeye-{number}:8080"), &node.address().to_string())
        });
        let nginx = ReverseProxy::start_block(Kind::Nginx, &block, nodes[0].address());
        Self { nginx, nodes, nats }
    }
}

#[test]
fn the_recipe_works_as_it_stands() {
    let mut recipe = Recipe::start();
    let url = recipe.nginx.http("/c/chat");
    for number in 0..6 {
        let _ = curl(&["-d", &format!("{number}"), &url]);
    }
    assert_eq!(messages(&json(&curl(&[&format!("{url}?after=earliest")]))).len(), 6);
    let _ = curl(&["-X", "DELETE", &url]);
    let urls = recipe.nats.urls().replacen("nats://", &format!("nats://sockeye:{PASSWORD}@"), 1);
    let monitor = recipe.nats.monitor_url(0);
    let status = run(&["cluster", "status", "--cluster", &urls, "--monitor", &monitor], "");
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        said.contains("syncs each message: a 201 survives a power cut of all machines"),
        "{said}"
    );
    for node in &mut recipe.nodes {
        node.assert_sound();
        assert!(!node.log().contains("ermissions"), "{}", node.log());
    }
}

/// Two of three nodes stop while messages are published, as in an upgrade.
#[test]
fn behind_the_proxy_of_the_recipe_a_node_that_stops_is_not_noticed() {
    let recipe = Recipe::start();
    let url = recipe.nginx.http("/c/chat");
    let mut stream = Stream::open(&[&format!("{url}?stream=sse")]);
    stream.until("id: ");
    // Which of them has the reader is nginx' choice: both stop.
    for node in [0, 1] {
        recipe.nodes[node].terminate();
    }
    let published = thread::scope(|scope| {
        let publisher =
            scope.spawn(|| (0..100).map(|number| publish(&url, number)).collect::<Vec<_>>());
        publisher.join().expect("the publisher ends")
    });
    let page = json(&curl(&[&format!("{url}?after=earliest&limit=1000")]));
    let stored: Vec<_> = messages(&page).into_iter().map(|(text, _)| text).collect();
    assert_eq!(stored, published);
}

/// Publishes through the proxy. It answers for a node that has just closed a connection with 502, and the
/// same message with its key is taken once.
fn publish(url: &str, number: u32) -> String {
    let (text, key) = (format!("{number}."), format!("Idempotency-Key: \"{number}\""));
    sockeye_testing::eventually("it is published", || {
        match sockeye_tests::curl::status(&["-H", &key, "-d", &text, url]) {
            201 => Ok(()),
            status => Err(status),
        }
    });
    text
}

/// What is named in one file is named in the others.
#[test]
fn the_files_of_the_recipe_fit_together() {
    for number in 1..=3 {
        for part in [
            format!("nats-{number}:"),
            format!("sockeye-{number}:"),
            format!("nats-{number}:/data"),
        ] {
            assert!(COMPOSE.contains(&part), "{part}");
        }
        assert!(NATS.contains(&format!("nats://nats-{number}:6222")));
        assert!(NGINX.contains(&format!("server sockeye-{number}:8080")));
        assert!(COMPOSE.contains(&format!("NATS_NAME: nats-{number}")));
    }
    assert!(NATS.contains("store_dir: $NATS_DATA") && COMPOSE.contains("NATS_DATA: /data"));
    assert!(NATS.contains("server_name: $NATS_NAME"));
    assert!(NATS.contains("http_port: 8222") && COMPOSE.contains(":8222/healthz"));
    let page = include_str!("../../docs/operate/cluster.md");
    // But for comments and where lines end.
    let accounts = |text: &str| {
        let accounts = text.split_once("\naccounts {").expect("the accounts").1;
        let accounts = accounts.split_once("\n}").expect("their end").0;
        let lines =
            accounts.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line));
        lines.flat_map(str::split_whitespace).collect::<String>().replace(',', "")
    };
    assert_eq!(accounts(NATS), accounts(page), "the guide has the same permissions");
}
