//! What a program that the server sends JSON to is made of: a small HTTP server, with TLS or without.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use crate::tls::Certificates;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

/// A connection, with TLS or without.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A request: the lines of the head, and the body.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The lines of the head.
    pub head: Vec<String>,
    /// The body, which is text.
    pub body: String,
}

impl Posted {
    /// The next request, unless the connection ends.
    pub fn read(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Self> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        Some(Self { head, body: String::from_utf8(body).ok()? })
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    /// Asserts that this secret has signed it, as `openssl` sees it.
    ///
    /// # Panics
    ///
    /// If it has not.
    pub fn assert_signed(&self, secret: &str) {
        let header = |name: &str| self.header(name).expect("a signed request").to_owned();
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("body"), format!("{id}.{timestamp}.{}", self.body))
            .expect("a file");
        let script =
            format!("openssl dgst -sha256 -hmac {secret} -binary body | openssl base64 -A");
        let made = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output();
        let made = String::from_utf8(made.expect("a shell").stdout).expect("base64");
        assert_eq!(header("webhook-signature"), format!("v1,{made}"));
    }
}

/// Listens on a port, and has each connection served on a thread.
///
/// # Panics
///
/// If there is no port.
pub fn listen(
    tls: Option<&Certificates>,
    serve: impl Fn(BufReader<Box<dyn Stream>>) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    serve_on(listener, tls, serve);
    address
}

fn serve_on(
    listener: TcpListener,
    tls: Option<&Certificates>,
    serve: impl Fn(BufReader<Box<dyn Stream>>) + Send + Sync + 'static,
) {
    let (tls, serve) = (tls.map(Certificates::server_config), Arc::new(serve));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (serve, tls) = (Arc::clone(&serve), tls.clone());
            thread::spawn(move || {
                let stream: Box<dyn Stream> = match tls {
                    Some(config) => {
                        let tls = ServerConnection::new(config).expect("a connection");
                        Box::new(StreamOwned::new(tls, stream))
                    }
                    None => Box::new(stream),
                };
                serve(BufReader::new(stream));
            });
        }
    });
}
