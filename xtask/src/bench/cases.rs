//! What is measured: the loads, and the servers that bear them.

use super::Part;
use super::servers::{
    DEFLATE_SERVERS, ECHO_SERVERS, FAN_OUT_SERVERS, MEMORY_DEFLATE_SERVERS, MEMORY_SERVERS, Server,
    TAKEOVER_SERVERS,
};

/// One load.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What it is, for the heading of its table.
    pub(super) title: &'static str,
    /// The arguments of `sockeye bench`.
    pub(super) load: &'static [&'static str],
    servers: &'static [Server],
    /// What its table shows.
    pub(super) kind: Kind,
    /// The most it may be, where there is such a mark.
    pub(super) goal: Option<&'static str>,
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// CPU time for a message, and its ratio to the first server's; how many, how late.
    Speed,
    /// How late messages come back that are sent at a rate; CPU time.
    Rate,
    /// Memory for a connection: idle, and idle again after messages; CPU time to open it.
    Memory,
}

impl Case {
    pub(super) fn servers(&self) -> impl Iterator<Item = &'static Server> {
        self.servers.iter()
    }

    /// The part of the page that its table belongs to.
    pub(super) fn part(&self) -> Part {
        match self.kind {
            Kind::Rate => Part::BesidePeers(self.name),
            Kind::Speed | Kind::Memory => Part::Shared,
        }
    }
}

macro_rules! echo {
    ($name:literal, $title:literal, $goal:literal, $($argument:literal)*) => {
        Case {
            name: $name,
            title: concat!("Echo, ", $title),
            load: &["echo", $($argument),*],
            servers: ECHO_SERVERS,
            kind: Kind::Speed,
            goal: Some(concat!("at most ", $goal)),
        }
    };
}

macro_rules! rate {
    ($name:literal, $title:literal, $rate:literal) => {
        Case {
            name: $name,
            title: concat!("Echo at ", $title, " messages/s, 125 B, 32 connections"),
            load: &["echo", "--size", "125", "--connections", "32", "--rate", $rate],
            servers: ECHO_SERVERS,
            kind: Kind::Rate,
            goal: None,
        }
    };
}

macro_rules! fan_out {
    ($name:literal, $title:literal, $goal:literal, $in_flight:literal) => {
        Case {
            name: $name,
            title: concat!("Fan-out to 1,000 subscribers, 128 B, ", $title),
            load: &["fanout", "--subscribers", "1000", "--size", "128", "--in-flight", $in_flight],
            servers: FAN_OUT_SERVERS,
            kind: Kind::Speed,
            goal: Some(concat!("at most ", $goal)),
        }
    };
}

macro_rules! deflate {
    ($name:literal, $title:literal, $servers:expr, $($argument:literal)*) => {
        Case {
            name: $name,
            title: concat!("Echo with permessage-deflate, ", $title, ", 1 KiB of JSON, 32 connections"),
            load: &[
                "echo", "--connections", "32", "--text", "--file", "benches/messages.jsonl",
                "--lines", "--compressed", $($argument),*
            ],
            servers: $servers,
            kind: Kind::Speed,
            goal: Some("ahead of all others, with no more bytes on the wire"),
        }
    };
}

macro_rules! memory {
    ($name:literal, $title:literal, $servers:expr, $goal:literal, $($argument:literal)*) => {
        Case {
            name: $name,
            title: concat!("Memory, ", $title),
            load: &["connections", "--messages", "1,16", $($argument),*],
            servers: $servers,
            kind: Kind::Memory,
            goal: Some(concat!("at most ", $goal)),
        }
    };
}

/// All loads, in their order.
#[rustfmt::skip] // One line each.
pub(super) const CASES: &[Case] = &[
    echo!("echo-20", "20 B, 32 connections", "1.05", "--size" "20" "--connections" "32"),
    echo!("echo-125", "125 B, 200 connections", "1.02", "--size" "125" "--connections" "200"),
    echo!("echo-1k", "1 KiB, 500 connections", "1.06", "--size" "1k" "--connections" "500"),
    echo!("echo-1k-text", "1 KiB of ASCII text, 200 connections", "1.10", "--size" "1k" "--connections" "200" "--text"),
    echo!("echo-1k-utf8", "1,023 B of text in ten languages, 200 connections", "1.10", "--connections" "200" "--text" "--file" "benches/message.txt"),
    echo!("echo-16k", "16 KiB, 100 connections", "1.09", "--size" "16k" "--connections" "100"),
    echo!("echo-64k", "64 KiB, 10 connections", "1.06", "--size" "64k" "--connections" "10"),
    echo!("echo-1m", "1 MiB, 10 connections", "1.06", "--size" "1M" "--connections" "10"),
    echo!("pipelined-20", "20 B, 16 in flight on each of 32", "1.00", "--size" "20" "--connections" "32" "--in-flight" "16"),
    echo!("pipelined-125", "125 B, 16 in flight on each of 32", "1.00", "--size" "125" "--connections" "32" "--in-flight" "16"),
    echo!("pipelined-1k", "1 KiB, 16 in flight on each of 32", "1.00", "--size" "1k" "--connections" "32" "--in-flight" "16"),
    rate!("rate-echo", "60,000", "60000"),
    deflate!("deflate", "no context takeover", DEFLATE_SERVERS,),
    deflate!("deflate-takeover", "context takeover offered", TAKEOVER_SERVERS, "--takeover"),
    fan_out!("fanout-1", "one in flight", "1.05; by io_uring 0.90", "1"),
    fan_out!("fanout-8", "8 in flight", "1.12; by io_uring 1.00", "8"),
    fan_out!("fanout-32", "32 in flight", "1.12; by io_uring 1.00", "32"),
    memory!("memory", "10,000 connections, messages of 1 KiB", MEMORY_SERVERS, "1,024 B idle, 1,229 B after messages; 35 µs for a handshake", "--connections" "10000" "--size" "1k"),
    memory!("memory-deflate", "2,000 connections with permessage-deflate, no context takeover, messages of 1 KiB of JSON", MEMORY_DEFLATE_SERVERS, "1,536 B after messages", "--connections" "2000" "--compressed" "--text" "--file" "benches/messages.jsonl" "--lines"),
    Case {
        name: "handshakes",
        title: "Handshakes, 16 at once, each closed again",
        load: &["handshakes"],
        servers: ECHO_SERVERS,
        kind: Kind::Speed,
        goal: Some("at most 1.03"),
    },
];
