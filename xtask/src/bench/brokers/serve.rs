//! `sockeye serve` beside itself: with one thread and two, with few channels and many.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::servers::Broker;
use super::table::Figures;
use crate::bench::measure::{Sample, bench, bench_on};

/// How many channels there are beside the one that is published to.
const FEW: usize = 10;
const MANY: usize = 100_000;

/// Messages of one request of `/publish` (`routes/bulk.rs` of the server).
const AT_ONCE: usize = 1000;

/// With as many threads as there are processors for it, one and two.
///
/// The load has the same two processors, and does about as much as the server: deliveries a second cannot double here.
/// What threads take from each other (locks, cache lines, tasks that move) is in the processor time of a delivery, which
/// is the same with two threads where they take nothing.
pub(super) fn by_threads(load: &[&str], seconds: u64) -> Result<Figures> {
    let with = |processors: &str| -> Result<Sample> {
        let running = Broker::Sockeye.start_on(processors)?;
        let options = Broker::Sockeye.load(&running);
        let mut all = vec!["fanout", "--warm-up=2s", "--subscribers=1000"];
        all.extend(options.iter().map(String::as_str));
        all.extend(load);
        bench_on("0,1", &all, running.worker(), seconds)
    };
    let (one, two) = (with("0")?, with("0,1")?);
    let figure = |sample: &Sample, name: &str| sample.figure(name);
    let cpu = |sample| figure(sample, "server_cpu_per_");
    let ratio = cpu(&one).zip(cpu(&two)).map(|(one, two)| 2.0 * one / two);
    let deliveries = |sample| figure(sample, "throughput_");
    Ok(vec![cpu(&one), cpu(&two), ratio, deliveries(&one), deliveries(&two)])
}

/// A thousand messages in a second to one subscriber, with few channels and with many that have a message and are not
/// used.
pub(super) fn beside_channels(transport: &str, seconds: u64) -> Result<Figures> {
    const PERCENTILES: [&str; 3] = ["p50", "p99", "p99.9"];
    let beside = |channels: usize| -> Result<Sample> {
        let running = Broker::Sockeye.start()?;
        publish_to_each(running.port(), channels)?;
        let options = Broker::Sockeye.load(&running);
        let mut load = vec!["fanout", "--warm-up=2s", "--subscribers=1", "--rate=1000", transport];
        load.extend(options.iter().map(String::as_str));
        // What is looked for is one message in a thousand, and what is done every few seconds.
        bench(&load, running.worker(), 10 * seconds)
    };
    let (few, many) = (beside(FEW)?, beside(MANY)?);
    let micros = |sample: &Sample| PERCENTILES.map(|name| Some(sample.to_each_ms(name)? * 1000.0));
    let ratio = many.to_each_ms("p99.9").zip(few.to_each_ms("p99.9"));
    let ratio = ratio.map(|(many, few)| many / few);
    Ok([&micros(&few)[..], &micros(&many), &[ratio]].concat())
}

/// Publishes a message to each of that many channels.
fn publish_to_each(port: u16, channels: usize) -> Result<()> {
    let mut answers = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    let numbers: Vec<usize> = (0..channels).collect();
    for some in numbers.chunks(AT_ONCE) {
        let lines = some.iter().map(|number| {
            format!("{{\"ch\":\"rest-{number}\",\"data\":\"{}\"}}\n", "x".repeat(128))
        });
        let lines: String = lines.collect();
        let head = format!(
            "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            lines.len()
        );
        answers.get_mut().write_all(format!("{head}{lines}").as_bytes())?;
        take_answer(&mut answers)?;
    }
    Ok(())
}

/// Reads an answer, which says that all was published.
fn take_answer(answers: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut first, mut length) = (None, None);
    loop {
        let mut line = String::new();
        ensure!(answers.read_line(&mut line)? > 0, "the server has closed the connection");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<u64>()?);
        }
        first.get_or_insert(line);
    }
    let first = first.context("an answer has no head")?;
    ensure!(first.starts_with("http/1.1 201 "), "the server answers {first}");
    let mut body = Vec::new();
    answers.by_ref().take(length.context("an answer has no length")?).read_to_end(&mut body)?;
    Ok(())
}
