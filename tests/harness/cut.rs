//! What is between client and server: a forwarder of bytes, which cuts connections when told to, and
//! gives each new one to the next of several servers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

/// A forwarder on a free port of loopback.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Mutex<CutState>>,
}

#[derive(Debug, Default)]
struct CutState {
    /// What is open, and some of what was.
    open: Vec<Weak<Connection>>,
    is_cut: bool,
    /// What came from the server so far.
    answers: Vec<u8>,
}

/// A connection of a client, and the one to a server that belongs to it.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn end(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Forwarder {
    /// Forwards to this server.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        Self::to_each(vec![server])
    }

    /// Forwards each connection to the next of these servers, in turn: a plain load balancer.
    #[must_use]
    pub fn to_each(servers: Vec<SocketAddr>) -> Self {
        Self::to_each_after(servers, || {})
    }

    /// The same, and `wait` is called before each connection is forwarded.
    #[must_use]
    pub fn to_each_after(servers: Vec<SocketAddr>, wait: impl Fn() + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::<Mutex<CutState>>::default();
        let accepting = shared.clone();
        thread::spawn(move || {
            let clients = listener.incoming().map_while(Result::ok);
            for (client, server) in clients.zip(servers.iter().cycle()) {
                wait();
                if let Ok(server) = TcpStream::connect(server) {
                    forward(Connection { client, server }, &accepting);
                }
            }
        });
        Self { address, shared }
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }

    /// Cuts every connection, and each new one at once, until it is mended.
    pub fn cut(&self) {
        let mut shared = lock(&self.shared);
        shared.is_cut = true;
        shared.open.drain(..).filter_map(|open| open.upgrade()).for_each(|open| open.end());
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        lock(&self.shared).is_cut = false;
    }

    /// Whether the servers' answers so far have this in them.
    #[must_use]
    pub fn answered(&self, text: &str) -> bool {
        String::from_utf8_lossy(&lock(&self.shared).answers).to_lowercase().contains(text)
    }
}

fn forward(connection: Connection, shared: &Arc<Mutex<CutState>>) {
    for stream in [&connection.client, &connection.server] {
        let _ = stream.set_nodelay(true);
    }
    let mut state = lock(shared);
    if state.is_cut {
        return connection.end();
    }
    let connection = Arc::new(connection);
    state.open.retain(|open| open.strong_count() > 0);
    state.open.push(Arc::downgrade(&connection));
    drop(state);
    let (requests, shared) = (Arc::clone(&connection), Arc::clone(shared));
    thread::spawn(move || copy(&requests.client, &requests.server, |_| {}));
    thread::spawn(move || {
        let keep = |bytes: &[u8]| lock(&shared).answers.extend_from_slice(bytes);
        copy(&connection.server, &connection.client, keep);
    });
}

/// Copies until either side ends. An end is passed on as it is: of the one direction, or of the whole
/// connection.
fn copy(mut from: &TcpStream, mut to: &TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    let half = loop {
        match from.read(&mut buffer) {
            Ok(0) => break Shutdown::Write,
            Ok(count) => {
                see(&buffer[..count]);
                if to.write_all(&buffer[..count]).is_err() {
                    let _ = from.shutdown(Shutdown::Both);
                    break Shutdown::Both;
                }
            }
            Err(_) => break Shutdown::Both,
        }
    };
    let _ = to.shutdown(half);
}

fn lock(shared: &Mutex<CutState>) -> std::sync::MutexGuard<'_, CutState> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
