//! NATS JetStream: a publication with a subject for its answer, which comes when the stream has it on disk.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io::BufRead as _, io::BufReader, io::Write as _};

use sockeye_tests::nats;

use crate::SIZE;
use crate::load::{Protocol, Taken};

/// A server that syncs after each write.
pub(crate) fn command(folder: &Path, address: SocketAddr) -> Command {
    let configuration = folder.join("nats.conf");
    let store = folder.join("streams");
    let lines = format!(
        "listen: \"{address}\"\n\
         jetstream {{ store_dir: \"{}\", max_mem: 1G, max_file: 16G, sync_interval: always }}\n",
        store.display()
    );
    fs::write(&configuration, lines).expect("a file");
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(nats::path()).arg("-c").arg(configuration);
    command
}

/// Makes the stream, with as many messages as a channel has.
pub(crate) fn prepare(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let config = r#"{"name":"bench","subjects":["bench"],"storage":"file","retention":"limits","discard":"old","max_msgs":1000,"num_replicas":1}"#;
    let request = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.make 1\r\n\
         PUB $JS.API.STREAM.CREATE.bench _INBOX.make {}\r\n{config}\r\n",
        config.len()
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("an answer"));
    let answer = lines.by_ref().find(|line| line.starts_with("MSG ")).and_then(|_| lines.next());
    let answer = answer.expect("an answer");
    assert!(!answer.contains("\"error\""), "{answer}");
}

pub(crate) struct JetStream;

impl Protocol for JetStream {
    fn hello(&self, connection: usize) -> Vec<u8> {
        let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"no_responders\":true,\"headers\":true}\r\n";
        format!("{connect}SUB _INBOX.bench.{connection} 1\r\nPING\r\n").into_bytes()
    }

    fn publish(&self, connection: usize, out: &mut Vec<u8>) {
        let data = "x".repeat(SIZE);
        let message = format!("PUB bench _INBOX.bench.{connection} {SIZE}\r\n{data}\r\n");
        out.extend_from_slice(message.as_bytes());
    }

    fn take(&self, input: &[u8]) -> Taken {
        let Some(end) = input.windows(2).position(|two| two == b"\r\n") else {
            return Taken::More;
        };
        let line = String::from_utf8_lossy(&input[..end]);
        if line.starts_with("PONG") {
            return Taken::Ready(end + 2);
        }
        let Some(rest) = line.strip_prefix("MSG ") else {
            assert!(line.starts_with("INFO ") || line.starts_with("PING"), "{line}");
            return Taken::Other(end + 2);
        };
        let length: usize =
            rest.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a length");
        let whole = end + 2 + length + 2;
        let Some(payload) = input.get(end + 2..whole) else { return Taken::More };
        let payload = String::from_utf8_lossy(payload);
        assert!(payload.contains("\"seq\""), "{payload}");
        Taken::Acknowledged(whole)
    }
}
