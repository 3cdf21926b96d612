//! The dashboard for Grafana in `packaging/grafana`: it shows what `/metrics` has. What it shows of a cluster is
//! tested there.

use sockeye_tests::dashboard;

use crate::client::TestServer;

/// Makes each counter appear that is not there before its first event.
async fn do_a_little(server: &TestServer) {
    let url = format!("ws://{}/c/chat", server.address);
    let mut socket = sockeye::connect(&url).await.unwrap();
    let first = server.publish("/c/chat", "1").await;
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("1"));
    drop(socket);
    server.publish("/c/chat", "2").await;
    server.publish("/c/chat", "3").await;
    server.post("/c/chat", "text/plain", "much too long").await;
    // A gap, told to a subscription that came with a position.
    server.get(&format!("/c/chat?after={first}")).await;
    server.has_ended("ws", "left").await;
}

#[tokio::test]
async fn every_metric_of_the_dashboard_is_there_with_its_labels() {
    let server = TestServer::with(|options| {
        options.channels.max_message = 10;
        options.channels.history_count = 1;
    })
    .await;
    do_a_little(&server).await;
    let answer = server.operate("/metrics").await;
    let (text, of_dashboard) = (answer.text(), dashboard::metrics());
    let shown = dashboard::shown(text);
    let of_server = of_dashboard.iter().filter(|name| !name.starts_with("sockeye_cluster_"));
    let missing: Vec<_> = of_server.filter(|name| !shown.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "the dashboard shows {missing:?}, which are not there\n{text}");
    assert!(of_dashboard.len() > 50, "{of_dashboard:?}");
    for query in dashboard::queries() {
        for label in dashboard::labels(&query) {
            let has_label = |line: &&str| {
                let name = line.split('{').next().unwrap();
                query.contains(name) && line.contains(&format!("{label}=\""))
            };
            assert!(text.lines().any(|line| has_label(&line)), "no {label} for {query}");
        }
    }
}

#[tokio::test]
async fn every_metric_of_the_page_on_memory_is_there() {
    let server = TestServer::start().await;
    let answer = server.operate("/metrics").await;
    let shown = dashboard::shown(answer.text());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/memory.md");
    let page = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let names: Vec<_> = page.split('`').filter(|word| word.starts_with("sockeye_")).collect();
    assert!(names.len() > 30, "{names:?}");
    // Those of a cluster are there on a node.
    let of_server = names.iter().filter(|name| !name.starts_with("sockeye_cluster_"));
    let missing: Vec<_> = of_server.filter(|name| !shown.contains(**name)).collect();
    assert!(missing.is_empty(), "the page names {missing:?}, which are not there");
}
