//! A node of a cluster, and the least client of one.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{Frame, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::{Head, request_with};
use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;

/// Where the channel `bench` is, with one shard.
pub(crate) const LOG: &str = "sockeye.c.0.bench";
/// The stream that has it.
pub(crate) const STREAM: &str = "sockeye_c0";
/// Where its messages are published again.
pub(crate) const LIVE: &str = "sockeye.l.0.bench";

/// A node that is connected to this server of NATS, with that many shards and without a limit of commands. What is
/// compared with it is connected to the same server, so the stream's leader is as far from both.
pub(crate) fn start(nats: &Nats, server: usize, shards: &str) -> Sockeye {
    start_with(nats, server, shards, &[])
}

/// The same with these options besides.
pub(crate) fn start_with(nats: &Nats, server: usize, shards: &str, options: &[&str]) -> Sockeye {
    let url = nats.url(server);
    let cluster = ["--cluster", &url, "--cluster-shards", shards];
    Sockeye::serve(&[&cluster[..], &["--max-commands", "4000000000"], options].concat())
}

/// A WebSocket.
pub(crate) struct Socket(BufReader<TcpStream>);

impl Socket {
    /// `protocol` may be empty.
    pub(crate) fn open(address: SocketAddr, path: &str, protocol: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let lines = match protocol {
            "" => String::new(),
            protocol => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
        };
        stream.write_all(request_with(path, &lines).as_bytes()).expect("the server reads");
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        let head = Head::read(&mut reader).expect("the server answers");
        assert_eq!(head.status(), 101, "{}", head.first_line);
        Self(reader)
    }

    /// A second handle, to send with.
    pub(crate) fn sender(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("a second handle")
    }

    /// Takes every message that has come, at least one, where it lies, and gives how many: what sends is to take as
    /// little as can be of the processors that the servers share with it.
    pub(crate) fn receive_all(&mut self, take: impl Fn(&[u8])) -> io::Result<usize> {
        let came = self.0.fill_buf()?;
        let (mut count, mut end) = (0, 0);
        while let Some(message) = short_text(came.get(end..).unwrap_or_default()) {
            take(message);
            count += 1;
            end += 2 + message.len();
        }
        self.0.consume(end);
        if count == 0 {
            take(&self.receive()?);
            count = 1;
        }
        Ok(count)
    }

    /// A WebSocket that is not read is closed: then this fails.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let frame = Frame::read(&mut self.0)?;
            match frame.first {
                PING => self.0.get_mut().write_all(&masked(PONG, &frame.payload))?,
                _ => return Ok(frame.payload),
            }
        }
    }
}

/// What a frame of a short text has, if these bytes begin with the whole of one.
fn short_text(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [TEXT, length @ ..126, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    }
}

/// A command of `sockeye.v1` that publishes this text, which needs no escapes.
pub(crate) fn publication(channel: &str, text: &str) -> Vec<u8> {
    masked(TEXT, format!(r#"{{"id":1,"op":"pub","ch":"{channel}","data":"{text}"}}"#).as_bytes())
}
