//! Reading a stream in a test.

use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_testing::eventually_async;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
use crate::event_source::{Event, EventSource};

/// An open stream and what has come of it.
pub(crate) struct Listening {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    body: Incoming,
}

impl TestServer {
    /// Opens Server-Sent Events as a browser does.
    pub(crate) async fn events(&self, path: &str) -> Listening {
        let request = self.request(Method::GET, path).header("Accept", "text/event-stream");
        self.listen(request.header("Cache-Control", "no-cache").header("Pragma", "no-cache")).await
    }

    /// Opens NDJSON.
    pub(crate) async fn lines(&self, path: &str) -> Listening {
        self.listen(self.request(Method::GET, path).header("Accept", "application/x-ndjson")).await
    }

    /// Sends the request on a connection of its own and returns the response as soon as it begins.
    pub(crate) async fn listen(&self, request: Builder) -> Listening {
        listen_at(self.address, request).await
    }

    /// Waits until the hub has this many readers.
    pub(crate) async fn has_readers(&self, count: u64) {
        eventually_async(format!("{count} readers"), async || {
            let readers = self.readers();
            if readers == count { Ok(()) } else { Err(readers) }
        })
        .await;
    }
}

/// Sends the request there, on a connection of its own, and returns the response as soon as it begins.
pub(crate) async fn listen_at(address: SocketAddr, request: Builder) -> Listening {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = timeout(SOON, sender.send_request(request)).await;
    let (head, body) = answer.expect("the server answers at once").unwrap().into_parts();
    Listening { status: head.status, headers: head.headers, text: String::new(), body }
}

impl Listening {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Reads until `wanted` has come; returns all that came.
    pub(crate) async fn until(&mut self, wanted: &str) -> &str {
        let mut seen = 0;
        self.until_that(|text| {
            // What was searched is not searched again: some streams are long.
            let begin = text.floor_char_boundary(seen - wanted.len().min(seen));
            seen = text.len();
            text[begin..].contains(wanted)
        })
        .await
    }

    /// Reads until there are `count` events; gives all that came.
    pub(crate) async fn until_events(&mut self, count: usize) -> Vec<Event> {
        self.until_that(|text| EventSource::read(text).events.len() >= count).await;
        EventSource::read(&self.text).events
    }

    /// Reads until more than that many bytes have come.
    pub(crate) async fn until_longer(&mut self, length: usize) {
        self.until_that(|text| text.len() > length).await;
    }

    /// Reads until that is enough; returns all that came.
    pub(crate) async fn until_that(&mut self, mut is_enough: impl FnMut(&str) -> bool) -> &str {
        while !is_enough(&self.text) {
            let frame = timeout(SOON, self.body.frame()).await.expect("something comes");
            let data = frame.expect("the stream continues").unwrap().into_data().unwrap();
            self.text.push_str(str::from_utf8(&data).unwrap());
        }
        &self.text
    }

    /// Reads to the end; returns all that came.
    pub(crate) async fn rest(mut self) -> String {
        let rest = timeout(SOON, self.body.collect()).await.expect("the stream ends").unwrap();
        self.text.push_str(str::from_utf8(&rest.to_bytes()).unwrap());
        self.text
    }
}
