//! The cases: what is done to each broker, or over each transport, and which figures are taken.

use anyhow::{Context as _, Result};

use super::serve;
use super::servers::{BROKERS, Broker};
use super::table::{Column, Figures, Table};
use crate::bench::measure::{Sample, bench};
use crate::bench::running::Running;
use crate::bench::{Options, Part};
use crate::prepare::{self, Need};

/// A case by its name.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    title: &'static str,
    columns: &'static [Column],
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// All brokers, with that many messages in flight.
    InFlight(&'static str),
    /// All brokers, at half of what each sustains.
    HalfLoad,
    /// The transports of `sockeye serve`.
    Transports,
    /// All brokers over the transports that they have, at a rate that all sustain.
    Rate,
    /// `sockeye serve` with one thread and with two.
    Threads,
    /// `sockeye serve` with few channels and with many that are not used.
    AtRest,
}

const CPU: Column = Column { heading: "CPU per delivery, µs", digits: 2 };

const DELIVERIES: &[Column] = &[
    CPU,
    Column { heading: "deliveries/s", digits: 0 },
    Column { heading: "to the last p50, ms", digits: 2 },
    Column { heading: "to the last p99, ms", digits: 2 },
    Column { heading: "B on the wire per delivery", digits: 0 },
];

const HALF_LOAD: &[Column] = &[
    Column { heading: "sustains, messages/s", digits: 1 },
    Column { heading: "measured at, messages/s", digits: 1 },
    CPU,
    Column { heading: "to each p50, ms", digits: 2 },
    Column { heading: "to each p99, ms", digits: 2 },
    Column { heading: "to the last p50, ms", digits: 2 },
    Column { heading: "to the last p99, ms", digits: 2 },
    Column { heading: "delivered, %", digits: 1 },
];

const TRANSPORTS: &[Column] = &[
    CPU,
    Column { heading: "B to a subscriber per delivery", digits: 0 },
    Column { heading: "B from a subscriber per delivery", digits: 0 },
    Column { heading: "p50, ms", digits: 2 },
    Column { heading: "p99, ms", digits: 2 },
    Column { heading: "to the last p99, ms", digits: 2 },
    Column { heading: "delivered, %", digits: 1 },
];

const RATE: &[Column] = &[
    CPU,
    Column { heading: "to each p50, ms", digits: 2 },
    Column { heading: "to each p99, ms", digits: 2 },
    Column { heading: "to each p99.9, ms", digits: 2 },
    Column { heading: "to the last p50, ms", digits: 2 },
    Column { heading: "to the last p99, ms", digits: 2 },
    Column { heading: "to the last p99.9, ms", digits: 2 },
    Column { heading: "delivered, %", digits: 1 },
];

const THREADS: &[Column] = &[
    Column { heading: "one thread: CPU per delivery, µs", digits: 2 },
    Column { heading: "two threads: CPU per delivery, µs", digits: 2 },
    Column { heading: "twice the one by the other", digits: 2 },
    Column { heading: "one thread: deliveries/s", digits: 0 },
    Column { heading: "two threads: deliveries/s", digits: 0 },
];

const AT_REST: &[Column] = &[
    Column { heading: "ten at rest: p50, µs", digits: 0 },
    Column { heading: "ten: p99, µs", digits: 0 },
    Column { heading: "ten: p99.9, µs", digits: 0 },
    Column { heading: "100,000 at rest: p50, µs", digits: 0 },
    Column { heading: "100,000: p99, µs", digits: 0 },
    Column { heading: "100,000: p99.9, µs", digits: 0 },
    Column { heading: "ratio of the p99.9", digits: 2 },
];

const CASES: &[Case] = &[
    Case {
        name: "brokers-1",
        title: "Fan-out to 1,000 WebSockets beside brokers, 128 B, one message in flight",
        columns: DELIVERIES,
        kind: Kind::InFlight("1"),
    },
    Case {
        name: "brokers-8",
        title: "Fan-out to 1,000 WebSockets beside brokers, 128 B, 8 messages in flight",
        columns: DELIVERIES,
        kind: Kind::InFlight("8"),
    },
    Case {
        name: "brokers-last",
        title: "From publishing to the last of 10,000 WebSockets, 128 B, at half of what each broker \
                sustains with one message in flight",
        columns: HALF_LOAD,
        kind: Kind::HalfLoad,
    },
    Case {
        name: "transports",
        title: "The transports of a channel: 1,000 subscribers, 128 B, 20 messages/s; polls every second",
        columns: TRANSPORTS,
        kind: Kind::Transports,
    },
    Case {
        name: "rate-fanout",
        title: "From publishing to 1,000 subscribers at 20 messages/s of 128 B, beside brokers",
        columns: RATE,
        kind: Kind::Rate,
    },
    Case {
        name: "scale",
        title: "One thread and two: fan-out to 1,000 subscribers, 128 B",
        columns: THREADS,
        kind: Kind::Threads,
    },
    Case {
        name: "at-rest",
        title: "From publishing to a subscriber, 1,000 messages/s of 128 B, beside channels at rest",
        columns: AT_REST,
        kind: Kind::AtRest,
    },
];

/// As they are written, with their options.
const OVER: [(&str, &str); 5] = [
    ("WebSocket", "--transport=ws"),
    ("sockeye.v1", "--transport=v1"),
    ("Server-Sent Events", "--transport=sse"),
    ("long poll", "--transport=longpoll"),
    ("poll", "--transport=poll"),
];

/// The brokers over what subscribers listen by, with the options of `bench fanout` besides their own.
const AT_A_RATE: [(&str, Broker, Option<&str>); 7] = [
    ("sockeye serve, WebSocket", Broker::Sockeye, None),
    ("sockeye serve, Server-Sent Events", Broker::Sockeye, Some("--transport=sse")),
    ("sockeye serve, long poll", Broker::Sockeye, Some("--transport=longpoll")),
    ("nchan, WebSocket", Broker::Nchan, None),
    ("nchan, Server-Sent Events", Broker::Nchan, Some("--transport=sse")),
    ("nats-server, WebSocket", Broker::Nats, None),
    ("Mosquitto, WebSocket", Broker::Mosquitto, None),
];

/// Loads that show what threads take from each other.
const BY_THREADS: [(&str, &[&str]); 4] = [
    ("WebSocket, one in flight", &["--in-flight=1"]),
    ("WebSocket, 8 in flight", &["--in-flight=8"]),
    ("sockeye.v1, one in flight", &["--in-flight=1", "--transport=v1"]),
    ("Server-Sent Events, one in flight", &["--in-flight=1", "--transport=sse"]),
];

/// Over what a message comes to the one subscriber.
const BESIDE_CHANNELS: [(&str, &str); 3] = [
    ("to a WebSocket", "--transport=ws"),
    ("to `sockeye.v1`", "--transport=v1"),
    ("to Server-Sent Events", "--transport=sse"),
];

/// The names that can be asked for.
pub(in crate::bench) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

/// The names, and what they are.
pub(in crate::bench) fn titles() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().map(|case| (case.name, case.title))
}

/// What is measured: the brokers, and the transports of `sockeye serve`.
pub(in crate::bench) fn servers() -> impl Iterator<Item = &'static str> {
    let brokers = BROKERS.iter().map(|broker| broker.name());
    let rates = AT_A_RATE.iter().map(|(name, ..)| *name);
    let loads = BY_THREADS.iter().map(|(name, _)| *name);
    let transports = OVER.iter().chain(&BESIDE_CHANNELS).map(|(name, _)| *name);
    brokers.chain(transports).chain(rates).chain(loads)
}

/// Installs what the wanted cases need.
pub(in crate::bench) fn install(options: &Options) -> Result<()> {
    let is_alone = |kind| matches!(kind, Kind::Transports | Kind::Threads | Kind::AtRest);
    let needs_brokers = wanted(options).any(|case| !is_alone(case.kind));
    if needs_brokers { prepare::prepare(&[Need::Brokers]) } else { Ok(()) }
}

/// Measures the cases that are wanted, and shows the table of each.
pub(in crate::bench) fn run(
    options: &Options,
    mut show: impl FnMut(String, Part) -> Result<()>,
) -> Result<()> {
    wanted(options).try_for_each(|case| show(case.measure(options).to_string(), case.part()))
}

fn wanted(options: &Options) -> impl Iterator<Item = &Case> {
    CASES.iter().filter(|case| options.wants(case.name))
}

impl Case {
    /// The part of the page that its table belongs to.
    fn part(&self) -> Part {
        match self.kind {
            Kind::Rate => Part::BesidePeers(self.name),
            Kind::Threads | Kind::AtRest => Part::Alone(self.name),
            Kind::InFlight(_) | Kind::HalfLoad | Kind::Transports => Part::Shared,
        }
    }

    /// All of it, in turns.
    fn measure(&self, options: &Options) -> Table {
        let mut table = Table::new(self.title, self.columns);
        let (rounds, seconds) = options.length();
        for round in 1..=rounds {
            let mut add = |name, measure: &dyn Fn() -> Result<Figures>| {
                if options.wants_server(name) {
                    eprintln!("{} {round}/{rounds}: {name}", self.name);
                    table.add(name, measure());
                }
            };
            match self.kind {
                Kind::InFlight(count) => BROKERS.iter().for_each(|broker| {
                    add(broker.name(), &|| in_flight(*broker, count, seconds));
                }),
                Kind::HalfLoad => BROKERS.iter().for_each(|broker| {
                    add(broker.name(), &|| half_load(*broker, seconds));
                }),
                Kind::Transports => OVER.iter().for_each(|&(name, transport)| {
                    add(name, &|| over(transport, seconds));
                }),
                Kind::Rate => AT_A_RATE.iter().for_each(|&(name, broker, transport)| {
                    add(name, &|| at_a_rate(broker, transport, seconds));
                }),
                Kind::Threads => BY_THREADS.iter().for_each(|&(name, load)| {
                    add(name, &|| serve::by_threads(load, seconds));
                }),
                Kind::AtRest => BESIDE_CHANNELS.iter().for_each(|&(name, transport)| {
                    add(name, &|| serve::beside_channels(transport, seconds));
                }),
            }
        }
        table
    }
}

fn in_flight(broker: Broker, count: &str, seconds: u64) -> Result<Figures> {
    let running = broker.start()?;
    let mut load = broker.load(&running);
    load.extend(["--subscribers=1000".to_owned(), format!("--in-flight={count}")]);
    let report = under(&load, &running, seconds)?;
    Ok(vec![
        report.figure("server_cpu_per_"),
        report.figure("throughput_"),
        report.to_last_ms("p50"),
        report.to_last_ms("p99"),
        report.figure("wire_to_"),
    ])
}

/// First as fast as it goes, then half as fast.
fn half_load(broker: Broker, seconds: u64) -> Result<Figures> {
    const SUBSCRIBERS: f64 = 10_000.0;
    let running = broker.start()?;
    let load = |pace: String, seconds| {
        let mut load = broker.load(&running);
        load.extend([format!("--subscribers={SUBSCRIBERS}"), pace]);
        under(&load, &running, seconds)
    };
    let fastest = load("--in-flight=1".to_owned(), seconds)?;
    let delivered = fastest.figure("throughput_").context("nothing was delivered")?;
    let sustained = delivered / SUBSCRIBERS;
    let rate = sustained / 2.0;
    // There are few messages in a second, and the slowest of them is looked for.
    let report = load(format!("--rate={rate:.3}"), 5 * seconds)?;
    Ok(vec![
        Some(sustained),
        Some(rate),
        report.figure("server_cpu_per_"),
        report.to_each_ms("p50"),
        report.to_each_ms("p99"),
        report.to_last_ms("p50"),
        report.to_last_ms("p99"),
        report.figure("delivered_"),
    ])
}

fn over(transport: &str, seconds: u64) -> Result<Figures> {
    let running = Broker::Sockeye.start()?;
    let mut load = Broker::Sockeye.load(&running);
    let options = ["--subscribers=1000", "--rate=20", "--interval=1s", transport];
    load.extend(options.map(str::to_owned));
    // What one poll brings is a second old: fewer seconds would show half of it.
    let report = under(&load, &running, seconds.max(3))?;
    Ok(vec![
        report.figure("server_cpu_per_"),
        report.figure("wire_to_"),
        report.figure("wire_from_"),
        report.to_each_ms("p50"),
        report.to_each_ms("p99"),
        report.to_last_ms("p99"),
        report.figure("delivered_"),
    ])
}

/// Twenty messages in a second, whatever becomes of them.
fn at_a_rate(broker: Broker, transport: Option<&str>, seconds: u64) -> Result<Figures> {
    let running = broker.start()?;
    let mut load = broker.load(&running);
    load.extend(["--subscribers=1000".to_owned(), "--rate=20".to_owned()]);
    load.extend(transport.map(str::to_owned));
    // There are few messages in a second, and the slowest of them is looked for.
    let report = under(&load, &running, 5 * seconds)?;
    Ok(vec![
        report.figure("server_cpu_per_"),
        report.to_each_ms("p50"),
        report.to_each_ms("p99"),
        report.to_each_ms("p99.9"),
        report.to_last_ms("p50"),
        report.to_last_ms("p99"),
        report.to_last_ms("p99.9"),
        report.figure("delivered_"),
    ])
}

/// Puts a load on a broker.
fn under(load: &[String], running: &Running, seconds: u64) -> Result<Sample> {
    let options = load.iter().map(String::as_str);
    let load: Vec<&str> = ["fanout", "--warm-up=2s"].into_iter().chain(options).collect();
    bench(&load, running.worker(), seconds)
}
