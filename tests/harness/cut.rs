//! A connection that somebody between client and server cuts: a forwarder of bytes that can be told to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A forwarder on a free port of loopback.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Vec<TcpStream>,
    is_cut: bool,
    /// What came from the server so far.
    answers: Vec<u8>,
}

impl Forwarder {
    /// Forwards to this server.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::<Mutex<Shared>>::default();
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(server) {
                    forward(&client, &server, &accepting);
                }
            }
        });
        Self { address, shared }
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
        for stream in shared.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
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

fn forward(client: &TcpStream, server: &TcpStream, shared: &Arc<Mutex<Shared>>) {
    let mut state = lock(shared);
    let both = [client, server].map(|stream| stream.try_clone().expect("a second handle"));
    state.open.extend(both);
    if state.is_cut {
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    copy(client, server, |_| {});
    let shared = shared.clone();
    copy(server, client, move |bytes| lock(&shared).answers.extend_from_slice(bytes));
}

/// Copies in a thread until either side ends.
fn copy(from: &TcpStream, to: &TcpStream, see: impl Fn(&[u8]) + Send + 'static) {
    let handles = [from, to].map(|stream| stream.try_clone().expect("a second handle"));
    let [mut from, mut to] = handles;
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            see(&buffer[..count]);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
