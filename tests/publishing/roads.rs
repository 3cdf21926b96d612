//! The roads on which a message is published.

use std::time::Duration;

use crate::http::{Bodies, Posts};
use crate::http2;
use crate::load::{self, Measured, Protocol};
use crate::nats::JetStream;
use crate::redis::Streams;
use crate::server::{Kind, Server};
use crate::websocket::{Plain, V1};

/// A road by its name in the table.
pub(crate) struct Road {
    pub(crate) name: &'static str,
    server: Kind,
    way: Way,
}

/// What is spoken, on how many connections and with how many requests under way on each.
enum Way {
    Over(&'static (dyn Protocol + Sync), usize, usize),
    /// HTTP/2, with that many streams of one connection.
    Http2(usize),
}

macro_rules! road {
    ($name:literal, $server:ident, $protocol:expr, $connections:literal, $in_flight:literal) => {
        Road {
            name: $name,
            server: Kind::$server,
            way: Way::Over(&$protocol, $connections, $in_flight),
        }
    };
}

#[rustfmt::skip] // One line each.
pub(crate) const ROADS: &[Road] = &[
    road!("HTTP/1.1, one after the other", Sockeye, Posts, 1, 1),
    road!("HTTP/1.1, 64 connections", Sockeye, Posts, 64, 1),
    Road { name: "HTTP/2, 64 streams of a connection", server: Kind::Sockeye, way: Way::Http2(64) },
    road!("bodies of 64 lines, one after the other", Sockeye, Bodies(64), 1, 1),
    road!("bodies of 1,000 lines, one after the other", Sockeye, Bodies(1000), 1, 1),
    road!("plain WebSocket, 64 in flight", Sockeye, Plain, 1, 64),
    road!("`sockeye.v1`, one after the other", Sockeye, V1, 1, 1),
    road!("`sockeye.v1`, 64 in flight", Sockeye, V1, 1, 64),
    road!("`sockeye.v1`, 64 connections", Sockeye, V1, 64, 1),
    road!("`sockeye.v1`, 64 in flight, without `--data`", InMemory, V1, 1, 64),
    road!("NATS JetStream, one after the other", JetStream, JetStream, 1, 1),
    road!("NATS JetStream, 64 in flight", JetStream, JetStream, 1, 64),
    road!("NATS JetStream, 64 connections", JetStream, JetStream, 64, 1),
    road!("Redis Streams, one after the other", Redis, Streams, 1, 1),
    road!("Redis Streams, 64 in flight", Redis, Streams, 1, 64),
    road!("Redis Streams, 64 connections", Redis, Streams, 64, 1),
];

impl Road {
    pub(crate) fn measure(&self, time: Duration) -> Measured {
        let server = Server::start(self.server);
        load::run(&server, time, |times, tally| async move {
            let address = server.address;
            match self.way {
                Way::Over(protocol, connections, in_flight) => {
                    let under_way = (connections, in_flight);
                    load::connections(protocol, address, under_way, times, &tally).await;
                }
                Way::Http2(streams) => http2::streams(address, streams, times, &tally).await,
            }
        })
    }
}
