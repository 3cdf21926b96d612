//! An audience: plain WebSockets that stay, to which the server writes by groups. Messages have no positions there, so
//! what a connection got is compared with the log as a stretch of it.

use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_testing::frame::{Frame, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::{Head, request_with};

use super::{CHANNEL, PERSEVERANCE, Stage};

/// How long nothing comes before it is asked whether all has come.
const SILENCE: Duration = Duration::from_secs(1);
/// How long connecting and writing may take.
const REACH: Duration = Duration::from_secs(5);

/// What one listener heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The messages of each connection.
    pub(super) stretches: Vec<Vec<String>>,
    /// Whether the last of them came to the end of what was acknowledged, or began behind it.
    pub(super) reached_the_end: bool,
}

/// Listens until all that was acknowledged has come, and begins anew where a server dies.
pub(super) fn listen(stage: &Stage) -> Heard {
    let mut heard = Heard::default();
    let mut progress = Instant::now();
    while !heard.reached_the_end && progress.elapsed() < PERSEVERANCE {
        let mut ids = Vec::new();
        // That it breaks is what this is about.
        heard.reached_the_end = connection(stage, &mut ids).is_ok();
        match ids.is_empty() {
            true => thread::sleep(Duration::from_millis(5)),
            false => progress = Instant::now(),
        }
        heard.stretches.push(ids);
    }
    heard
}

/// One connection. It is done when the message that was acknowledged last has come, or nothing comes any more to one that
/// began behind it.
fn connection(stage: &Stage, ids: &mut Vec<String>) -> io::Result<()> {
    let url = stage.url();
    let address = url.trim_start_matches("http://").parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, REACH)?;
    stream.set_write_timeout(Some(REACH))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(request_with(&format!("/c/{CHANNEL}"), "").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?;
    if head.status() != 101 {
        return Err(io::Error::other(head.first_line));
    }
    let mut progress = Instant::now();
    loop {
        let frame = match Frame::read(&mut reader) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let last = stage.last.get();
                if last.is_some_and(|last| ids.is_empty() || ids.contains(last)) {
                    return Ok(());
                }
                if progress.elapsed() > PERSEVERANCE {
                    return Err(error);
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        progress = Instant::now();
        match frame.first {
            PING => reader.get_mut().write_all(&masked(PONG, &frame.payload))?,
            TEXT => {
                let json: Value = serde_json::from_slice(&frame.payload)?;
                let id = json["id"].as_str().ok_or_else(|| io::Error::other(json.to_string()))?;
                ids.push(id.to_owned());
            }
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}
