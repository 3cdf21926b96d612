//! Redis Streams: `XADD` to a stream with as many entries as a channel has.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::SIZE;
use crate::load::{Protocol, Taken};

/// A server that syncs its log before it answers.
pub(crate) fn command(folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", "redis-server"]);
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--dir", &folder.to_string_lossy(), "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
    command
}

pub(crate) struct Streams;

impl Protocol for Streams {
    fn publish(&self, _: usize, out: &mut Vec<u8>) {
        let data = "x".repeat(SIZE);
        let words = ["XADD", "bench", "MAXLEN", "~", "1000", "*", "d", &data];
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }

    fn take(&self, input: &[u8]) -> Taken {
        let Some(end) = input.windows(2).position(|two| two == b"\r\n") else {
            return Taken::More;
        };
        let line = String::from_utf8_lossy(&input[..end]);
        let length = line.strip_prefix('$').and_then(|text| text.parse::<usize>().ok());
        let whole = end + 2 + length.unwrap_or_else(|| panic!("{line}")) + 2;
        if input.len() < whole { Taken::More } else { Taken::Acknowledged(whole) }
    }
}
