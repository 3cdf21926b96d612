//! The browser's WebSocket API ([WHATWG WebSockets](https://websockets.spec.whatwg.org/)), with the same
//! events in the same order and the same exceptions, over the native client.
//!
//! What a page writes as
//!
//! ```js
//! const socket = new WebSocket("ws://127.0.0.1:9001/", "chat");
//! socket.binaryType = "arraybuffer";
//! socket.onopen = () => socket.send("hello");
//! socket.onmessage = (event) => {
//!     console.log(event.data);
//!     socket.close(1000, "done");
//! };
//! socket.onclose = (event) => console.log(event.code, event.reason, event.wasClean);
//! ```
//!
//! is, in Rust,
//!
//! ```
//! use sockeye::web::{BinaryType, WebSocket};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = sockeye::Server::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}/", server.local_addr()?);
//! # tokio::spawn(server.run(|incoming: sockeye::Incoming| async move {
//! #     let mut socket = incoming.subprotocol("chat").accept().await?;
//! #     while let Some(message) = socket.recv().await {
//! #         socket.send(message?).await?;
//! #     }
//! #     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }));
//! # let (told, mut closed) = tokio::sync::mpsc::unbounded_channel();
//! let socket = WebSocket::new(&url, "chat")?; // ws://127.0.0.1:9001/
//! socket.set_binary_type(BinaryType::ArrayBuffer);
//! socket.set_onopen(|event| event.target().send("hello").unwrap());
//! socket.set_onmessage(|event| {
//!     println!("{}", event.data());
//!     event.target().close(1000, "done").unwrap();
//! });
//! socket.set_onclose(move |event| {
//!     println!("{} {} {}", event.code(), event.reason(), event.was_clean());
//! #   told.send((event.code(), event.reason().to_owned(), event.was_clean())).unwrap();
//! });
//! # assert_eq!(closed.recv().await, Some((1000, "done".to_owned(), true)));
//! # Ok(())
//! # }
//! ```
//!
//! A listener gets the socket from its event, [`Event::target`]: one that captured the socket would
//! keep it for ever.
//!
//! [`WebSocketStream`] is the same with streams and backpressure in place of events.
//!
//! # What is different
//!
//! * [`WebSocket::new`] needs a tokio runtime. An event is told when the task that made the socket has
//!   awaited something; see there for threads that run no tasks.
//! * What a page has and a program has not (an address, an origin, cookies, an HTTP/2 connection to the
//!   server) is given to [`WebSocket::builder`].
//! * There is no tree of targets: nothing bubbles, and of the phases of an event there is one.
//! * [`WebSocket::last_error`] tells why a connection failed. Events do not, as in a browser.
//! * Sockets are closed when they are dropped.
//! * What speaks of JavaScript itself (prototypes, conversions of arguments, garbage collection) has no
//!   counterpart.

mod blob;
mod builder;
mod cause;
mod cookies;
mod data;
mod event;
mod exception;
mod listener;
mod missed;
mod mixed;
mod opening;
mod ports;
mod socket;
mod state;
mod stream;
mod target;
mod task;
mod turn;

pub use self::{
    blob::Blob,
    builder::Builder,
    cause::Cause,
    cookies::CookieJar,
    data::{BinaryType, Data},
    event::{CloseEvent, CloseEventInit, Event, EventInit, MessageEvent},
    exception::DomException,
    listener::{EventListener, ListenerId, ListenerOptions},
    opening::Protocols,
    socket::WebSocket,
    state::ReadyState,
    stream::{
        CloseInfo, StreamError, StreamOpened, StreamOptions, StreamReader, StreamWriter,
        WebSocketError, WebSocketStream,
    },
};
