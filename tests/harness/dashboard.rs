//! The dashboard for Grafana that is in `packaging/grafana`: what it asks of Prometheus.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

/// The queries of its panels, as Prometheus gets them.
pub fn queries() -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/grafana/sockeye.json");
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let query = |target: &Value| {
        let query = target["expr"].as_str().expect("each target has a query");
        query.replace("$__rate_interval", "5m").replace("$instance", ".*")
    };
    targets.map(query).collect()
}

/// The metrics that they name.
pub fn metrics() -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let queries = queries();
    let words = queries.iter().flat_map(|query| query.split(|letter| !is_name(letter)));
    let names = words.filter(|word| word.starts_with("sockeye_") || word.starts_with("process_"));
    names.map(str::to_owned).collect()
}

/// The labels by which a query sums, except those that Prometheus adds.
pub fn labels(query: &str) -> Vec<&str> {
    let lists = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(", ")).filter(|label| *label != "instance").collect()
}

/// The names of the metrics in what `/metrics` shows.
pub fn shown(metrics: &str) -> BTreeSet<&str> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).collect()
}
