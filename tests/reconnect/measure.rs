//! Clients that come over TLS, for `cargo xtask bench`: one handshake after the other, or all clients at once.
//!
//! ```text
//! measure-reconnect handshakes full|resumed PID HOST:PORT PATH CERTIFICATE SECONDS
//! measure-reconnect storm websocket|sse COUNT HOST:PORT PATH CERTIFICATE
//! ```
//!
//! `handshakes` opens WebSockets, 16 at once, closes each again, and tells the CPU time of the process `PID` for each. With
//! `resumed` each client has a ticket from the one before.
//!
//! `storm` opens that many connections, says `open`, and waits for a line with the process that has taken the place of
//! the server. Then all of them come back at once, as often as they have to, and it tells how long that took and what it
//! cost.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it measures is its output")]

mod clients;
mod process;

use std::cell::Cell;
use std::error::Error;
use std::io::{BufRead as _, stdin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::clients::{Asks, Clients, Tickets};
use crate::process::Process;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How many handshakes are under way at once.
const IN_FLIGHT: usize = 16;
/// What comes before the handshakes that count.
const WARM_UP: Duration = Duration::from_millis(500);
/// How many connections are opened at once before a storm.
const OPENING: usize = 64;
/// How long a client waits that was refused, before it tries again.
const PAUSE: Duration = Duration::from_millis(200);
/// After how long a storm that has not ended is given up.
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match arguments[..] {
        ["handshakes", kind, process, address, path, certificate, seconds] => {
            let tickets = match kind {
                "full" => Tickets::Refused,
                "resumed" => Tickets::Used,
                other => return Err(format!("{other} is not full or resumed").into()),
            };
            let clients = Clients::new(address, path, certificate, tickets, Asks::WebSocket)?;
            let window = Duration::from_secs(seconds.parse()?);
            let process = Process::new(process.parse()?);
            let work = handshakes(Rc::new(clients), process, window);
            LocalSet::new().block_on(&runtime, work)?
        }
        ["storm", asks, count, address, path, certificate] => {
            let asks = match asks {
                "websocket" => Asks::WebSocket,
                "sse" => Asks::Events,
                other => return Err(format!("{other} is not websocket or sse").into()),
            };
            let clients = Clients::new(address, path, certificate, Tickets::Used, asks)?;
            let work = storm(Rc::new(clients), count.parse()?);
            LocalSet::new().block_on(&runtime, work)?
        }
        _ => return Err("wrong usage: its first lines say how it is called".into()),
    };
    println!("{report}");
    Ok(())
}

/// Handshakes for the time of `window`, as fast as they go.
async fn handshakes(clients: Rc<Clients>, process: Process, window: Duration) -> Result<Value> {
    // One ticket at least for each that is under way.
    for connection in join_all((0..2 * IN_FLIGHT).map(|number| clients.open(number))).await {
        connection?.close().await?;
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + window;
    let (done, resumed) = (Cell::new(0_u32), Cell::new(0_u32));
    let load = |first: usize| {
        let (clients, done, resumed) = (clients.clone(), &done, &resumed);
        async move {
            let mut number = first;
            while Instant::now() < end {
                let connection = clients.open(number).await?;
                let is_resumed = connection.is_resumed();
                connection.close().await?;
                if (begin..end).contains(&Instant::now()) {
                    done.set(done.get() + 1);
                    resumed.set(resumed.get() + u32::from(is_resumed));
                }
                number = number.wrapping_add(10_007);
            }
            Result::Ok(())
        }
    };
    let watch = async {
        sleep(begin.saturating_duration_since(Instant::now())).await;
        let before = process.cpu()?;
        sleep(end.saturating_duration_since(Instant::now())).await;
        Ok(process.cpu()? - before)
    };
    let loads = join_all((1..=IN_FLIGHT).map(load));
    let (results, cpu): (Vec<_>, Result<Duration>) = join(loads, watch).await;
    results.into_iter().collect::<Result<()>>()?;
    let count = f64::from(done.get());
    Ok(json!({
        "cpu_us": cpu?.as_secs_f64() * 1e6 / count,
        "per_second": count / window.as_secs_f64(),
        "resumed": f64::from(resumed.get()) / count,
    }))
}

/// All clients lose their server at once, and come back to the one in its place.
async fn storm(clients: Rc<Clients>, count: usize) -> Result<Value> {
    let mut open = Vec::with_capacity(count);
    for first in (0..count).step_by(OPENING) {
        let some = first..count.min(first + OPENING);
        for connection in join_all(some.map(|number| clients.open(number))).await {
            open.push(connection?);
        }
    }
    println!("open");
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let process = Process::new(line.trim().parse()?);
    drop(open);

    let (begun, refused) = (Instant::now(), Cell::new(0_u64));
    let (memory, cpu) = (process.resident()?, process.cpu()?);
    let returns = (0..count).map(|number| {
        let (clients, refused) = (clients.clone(), &refused);
        async move {
            loop {
                // Another address than before: the ports of that one are not free for a minute.
                match clients.open(number + count).await {
                    Ok(connection) => return Some((connection, begun.elapsed())),
                    Err(error) if begun.elapsed() < LONGEST => {
                        if refused.replace(refused.get() + 1) == 0 {
                            eprintln!("a client is refused: {error}");
                        }
                        sleep(PAUSE).await;
                    }
                    Err(_) => return None,
                }
            }
        }
    });
    let back: Vec<_> = join_all(returns).await.into_iter().flatten().collect();
    let mut times: Vec<Duration> = back.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let seconds = |place: usize| times.get(place).map(Duration::as_secs_f64);
    Ok(json!({
        "back": back.len(),
        "half_s": seconds(times.len() / 2),
        "all_s": times.last().map(Duration::as_secs_f64),
        "refused": refused.get(),
        "peak_bytes": process.peak()?.saturating_sub(memory),
        "resident_bytes": process.resident()?.saturating_sub(memory),
        "cpu_us": (process.cpu()? - cpu).as_secs_f64() * 1e6 / back.len() as f64,
    }))
}
