//! What is in between and means no good: a forwarder that ends, forbids or changes what passes through it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a connection is looked at while nothing passes.
const LOOK: Duration = Duration::from_millis(10);

/// What a middlebox does.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// It ends a connection on which nothing has passed for this long.
    CutsIdle(Duration),
    /// It ends a connection as soon as the server has answered with 101.
    EndsAfterUpgrade,
    /// It ends a connection whose request asks for an upgrade.
    ForbidsUpgrade,
    /// It writes another date into the server's answers.
    ChangesDate,
    /// It holds the beginning of each answer back for this long.
    IsSlow(Duration),
}

/// A date of the length that all have.
const OTHER_DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A middlebox on a free port of loopback.
#[derive(Debug)]
pub struct Middlebox {
    address: SocketAddr,
}

impl Middlebox {
    /// Forwards to this server, in this manner.
    #[must_use]
    pub fn before(server: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(server) {
                    Link::start(client, server, manner);
                }
            }
        });
        Self { address }
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The HTTP URL of a path that begins with `/`.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A connection of a client with that to the server.
struct Link {
    client: TcpStream,
    server: TcpStream,
    manner: Manner,
    last: Mutex<Instant>,
}

impl Link {
    fn start(client: TcpStream, server: TcpStream, manner: Manner) {
        for stream in [&client, &server] {
            let _ = (stream.set_nodelay(true), stream.set_read_timeout(Some(LOOK)));
        }
        let link = Arc::new(Self { client, server, manner, last: Mutex::new(Instant::now()) });
        let requests = Arc::clone(&link);
        thread::spawn(move || requests.copy(&requests.client, &requests.server, true));
        thread::spawn(move || link.copy(&link.server, &link.client, false));
    }

    fn end(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, is_request: bool) {
        let (mut buffer, mut is_first) = (vec![0; 64 << 10], true);
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break drop(to.shutdown(Shutdown::Write)),
                Ok(count) => count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.is_idle() {
                        return self.end();
                    }
                    continue;
                }
                Err(_) => return self.end(),
            };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let bytes = &mut buffer[..count];
            let passes =
                if is_request { self.lets_through(bytes) } else { self.change(bytes, is_first) };
            is_first = false;
            if !passes || to.write_all(bytes).is_err() {
                return self.end();
            }
            if !is_request
                && matches!(self.manner, Manner::EndsAfterUpgrade)
                && has(bytes, b" 101 ")
            {
                return self.end();
            }
        }
    }

    fn is_idle(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(self.manner, Manner::CutsIdle(limit) if last.elapsed() > limit)
    }

    fn lets_through(&self, request: &[u8]) -> bool {
        !matches!(self.manner, Manner::ForbidsUpgrade)
            || !has(&request.to_ascii_lowercase(), b"upgrade: websocket")
    }

    fn change(&self, answer: &mut [u8], is_first: bool) -> bool {
        match self.manner {
            // What it is for: a server whose first byte comes late.
            Manner::IsSlow(time) if is_first => thread::sleep(time),
            Manner::ChangesDate => {
                let name = b"\r\ndate: ";
                let lower = answer.to_ascii_lowercase();
                let at = lower.windows(name.len()).position(|window| window == name);
                if let Some(at) = at.map(|at| at + name.len()) {
                    answer[at..at + OTHER_DATE.len()].copy_from_slice(OTHER_DATE);
                }
            }
            _ => {}
        }
        true
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
