//! An audience: plain WebSockets that stay, to which the server writes by groups. Messages have no positions there, so
//! what a connection got is compared with the log as a stretch of it.

use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_testing::frame::{Frame, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::{Head, request_with};

use super::{CHANNEL, PERSEVERANCE, Stage};

/// How long nothing comes before it is asked whether all is published.
const SILENCE: Duration = Duration::from_secs(1);

/// Listens until all is published, and begins anew where a server dies. The messages of each connection.
pub(super) fn listen(stage: &Stage) -> Vec<Vec<String>> {
    let mut stretches = Vec::new();
    let mut progress = Instant::now();
    while !stage.published.load(SeqCst) && progress.elapsed() < PERSEVERANCE {
        let mut ids = Vec::new();
        // That it breaks is what this is about.
        let broke = connection(stage, &mut ids).is_err();
        match ids.is_empty() {
            true if broke => thread::sleep(Duration::from_millis(5)),
            true => {}
            false => progress = Instant::now(),
        }
        stretches.push(ids);
    }
    stretches
}

/// One connection, to its end or that of publishing.
fn connection(stage: &Stage, ids: &mut Vec<String>) -> io::Result<()> {
    let url = stage.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(request_with(&format!("/c/{CHANNEL}"), "").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?;
    if head.status() != 101 {
        return Err(io::Error::other(head.first_line));
    }
    loop {
        let frame = match Frame::read(&mut reader) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
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
