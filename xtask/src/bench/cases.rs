//! What is measured: the loads, and the servers that bear them.

use super::servers::{DEFLATE_SERVERS, ECHO_SERVERS, FAN_OUT_SERVERS, Server};

/// One load.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What it is, for the heading of its table.
    pub(super) title: &'static str,
    /// The arguments of `sockeye bench`.
    pub(super) load: &'static [&'static str],
    servers: &'static [Server],
    /// The most it may be, as a ratio to the limit, where there is one.
    pub(super) goal: Option<f64>,
}

impl Case {
    pub(super) fn servers(&self) -> impl Iterator<Item = &'static Server> {
        self.servers.iter()
    }
}

/// The names that can be asked for.
pub(super) fn names() -> clap::builder::PossibleValuesParser {
    CASES.iter().map(|case| case.name).collect::<Vec<_>>().into()
}

macro_rules! echo {
    ($name:literal, $title:literal, $goal:expr, $($argument:literal)*) => {
        Case {
            name: $name,
            title: concat!("Echo, ", $title),
            load: &["echo", $($argument),*],
            servers: ECHO_SERVERS,
            goal: $goal,
        }
    };
}

macro_rules! fan_out {
    ($name:literal, $title:literal, $goal:expr, $in_flight:literal) => {
        Case {
            name: $name,
            title: concat!("Fan-out to 1,000 subscribers, 128 B, ", $title),
            load: &["fanout", "--subscribers", "1000", "--size", "128", "--in-flight", $in_flight],
            servers: FAN_OUT_SERVERS,
            goal: $goal,
        }
    };
}

macro_rules! deflate {
    ($name:literal, $title:literal) => {
        Case {
            name: $name,
            title: $title,
            load: &[
                "echo",
                "--connections",
                "32",
                "--text",
                "--file",
                "benches/message.json",
                "--compressed",
            ],
            servers: DEFLATE_SERVERS,
            goal: None,
        }
    };
}

/// All loads, in their order.
pub(super) const CASES: &[Case] = &[
    echo!("echo-20", "20 B, 32 connections", Some(1.05), "--size" "20" "--connections" "32"),
    echo!("echo-125", "125 B, 200 connections", Some(1.10), "--size" "125" "--connections" "200"),
    echo!("echo-1k", "1 KiB, 500 connections", Some(1.10), "--size" "1k" "--connections" "500"),
    echo!("echo-1k-text", "1 KiB of text, 200 connections", Some(1.10), "--size" "1k" "--connections" "200" "--text"),
    echo!("echo-16k", "16 KiB, 100 connections", Some(1.15), "--size" "16k" "--connections" "100"),
    echo!("echo-64k", "64 KiB, 10 connections", Some(1.06), "--size" "64k" "--connections" "10"),
    echo!("echo-1m", "1 MiB, 10 connections", Some(1.06), "--size" "1M" "--connections" "10"),
    echo!("pipelined-20", "20 B, 16 in flight on each of 32", Some(1.35), "--size" "20" "--connections" "32" "--in-flight" "16"),
    echo!("pipelined-125", "125 B, 16 in flight on each of 32", Some(1.35), "--size" "125" "--connections" "32" "--in-flight" "16"),
    echo!("pipelined-1k", "1 KiB, 16 in flight on each of 32", Some(1.35), "--size" "1k" "--connections" "32" "--in-flight" "16"),
    deflate!(
        "deflate",
        "Echo with permessage-deflate, no context takeover, 1 KiB of JSON, 32 connections"
    ),
    fan_out!("fanout-1", "one in flight", Some(1.17), "1"),
    fan_out!("fanout-8", "8 in flight", Some(1.40), "8"),
    fan_out!("fanout-32", "32 in flight", Some(1.80), "32"),
    Case {
        name: "handshakes",
        title: "Handshakes, 16 at once, each closed again",
        load: &["handshakes"],
        servers: ECHO_SERVERS,
        goal: None,
    },
];
