//! A channel's subscriber: connects again whenever its connection ends, and misses nothing.
//!
//!     cargo run -- serve
//!     cargo run -p sockeye-examples --example subscriber
//!     curl -d 'hello' http://127.0.0.1:8080/c/chat
//!
//! Stop the server and start it again, or cut the network: it goes on after the last message it has.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use sockeye::{
    Client,
    reconnect::{Event, ReconnectingClient},
};

/// A frame of `sockeye.v1`, as far as it matters here: see docs/channels/protocol-v1.md.
#[derive(Deserialize)]
struct Frame {
    /// The position of a message, or where the channel is when the subscription begins.
    at: Option<String>,
    /// What was published as text.
    data: Option<String>,
    /// Messages are missing here, and why.
    gap: Option<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    next: String,
    why: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    subscribe("ws://127.0.0.1:8080/c/chat".to_owned(), |line| println!("{line}")).await
}

/// Reads a channel from now on, whatever happens to its connections.
pub(crate) async fn subscribe(
    channel: String,
    mut show: impl FnMut(String),
) -> Result<(), Box<dyn Error>> {
    // Where to go on. A program that is to go on after its own restart writes it down with its work.
    let last = Arc::new(Mutex::new("now".to_owned()));
    let resume = last.clone();
    let mut client = ReconnectingClient::new(move || {
        let after = resume.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let url = format!("{channel}?after={after}");
        async move { Client::new(&url)?.subprotocol("sockeye.v1").connect().await }
    });
    while let Some(event) = client.next_event().await {
        let message = match event {
            Event::Message(message) => message,
            Event::Down(why) => {
                show(format!("no connection: {why}"));
                continue;
            }
            _ => continue,
        };
        let frame: Frame = message.parse_json()?;
        if let Some(gap) = &frame.gap {
            show(format!("messages are missing: {}", gap.why));
        }
        if let Some(data) = frame.data {
            show(data);
        }
        // Noted after the work is done: what was not done comes again.
        if let Some(at) = frame.gap.map(|gap| gap.next).or(frame.at) {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = at;
        }
    }
    Ok(())
}
