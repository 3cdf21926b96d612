//! `sockeye.v1`, as a client speaks it: JSON in text frames, over a real WebSocket.

mod commands;
mod ending;
mod groups;
mod handshake;
mod limits;
mod order;
mod presence;
mod reading;
#[cfg(feature = "fjall")]
mod restart;
mod tokens;

use serde_json::{Value, json};
use sockeye::{Client, Message, WebSocket};
use tokio::time::timeout;

use crate::client::{SOON, TestServer};

/// A connection that speaks `sockeye.v1`.
pub(crate) struct V1 {
    pub(crate) socket: WebSocket,
    /// What the server said first.
    pub(crate) hello: Value,
}

impl V1 {
    /// Connects to `/connect`, or another path.
    pub(crate) async fn connect(server: &TestServer, path: &str) -> Self {
        let url = format!("ws://{}{path}", server.address);
        Self::with(Client::new(&url).unwrap()).await
    }

    /// Connects as this client does.
    pub(crate) async fn with(client: Client) -> Self {
        let client = client.subprotocol("sockeye.v1");
        let opened = timeout(SOON, client.open()).await.expect("the server answers").unwrap();
        let mut v1 = Self { socket: opened.socket, hello: Value::Null };
        assert_eq!(v1.socket.subprotocol(), Some("sockeye.v1"));
        v1.hello = v1.receive().await["hello"].take();
        assert_eq!(v1.hello["ping"], 25);
        v1
    }

    pub(crate) async fn send(&mut self, command: Value) {
        self.send_text(&command.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, frame: &str) {
        timeout(SOON, self.socket.send(frame)).await.expect("the server reads").unwrap();
    }

    /// The next frame.
    pub(crate) async fn receive_text(&mut self) -> String {
        let frame = timeout(SOON, self.socket.recv()).await.expect("a frame comes");
        match frame.expect("it is open").unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Binary(_) => panic!("a binary frame"),
        }
    }

    pub(crate) async fn receive(&mut self) -> Value {
        serde_json::from_str(&self.receive_text().await).unwrap()
    }

    /// Sends a command and gives the frame that comes next: its answer, with its `id`.
    pub(crate) async fn ask(&mut self, mut command: Value) -> Value {
        command["id"] = json!("asked");
        self.send(command).await;
        let mut answer = self.receive().await;
        assert_eq!(answer["id"].take(), "asked", "{answer}");
        answer
    }

    /// Sends a command that is carried out, and gives what it is answered with.
    pub(crate) async fn done(&mut self, command: Value) -> Value {
        let mut answer = self.ask(command).await;
        assert!(answer["ok"].is_object(), "{answer}");
        answer["ok"].take()
    }

    /// Sends a command that is refused, and gives the code.
    pub(crate) async fn refused(&mut self, command: Value) -> String {
        let answer = self.ask(command).await;
        error_code(&answer)
    }

    /// Sends a `pub` to a channel to which this is subscribed, and gives its answer and its message. In a
    /// cluster either may come first.
    pub(crate) async fn publish(&mut self, frame: &str) -> (Value, Value) {
        self.send_text(frame).await;
        let mut frames = [self.receive().await, self.receive().await];
        frames.sort_by_key(|frame| !frame["ok"].is_object());
        let [mut answer, message] = frames;
        assert!(answer["ok"]["at"].is_string(), "{answer}");
        assert_eq!(message["at"], answer["ok"]["at"], "{message}");
        (answer["ok"].take(), message)
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        self.done(json!({"op": "sub", "ch": channel})).await
    }

    /// The data of the next frame, which is a message of that channel.
    pub(crate) async fn data(&mut self, channel: &str) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["ch"], channel, "{message}");
        assert!(message["at"].is_string() && message["ts"].is_u64(), "{message}");
        message["data"].take()
    }

    /// Asserts that nothing has been said that is not read yet.
    pub(crate) async fn assert_silent(&mut self) {
        assert_eq!(self.done(json!({"op": "ping"})).await, json!({}));
    }

    /// Reads until the server closes, and gives the frames before that and its close code.
    pub(crate) async fn end(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        let end = async {
            while let Some(frame) = self.socket.recv().await {
                let Ok(Message::Text(text)) = frame else { continue };
                frames.push(serde_json::from_str(&text).unwrap());
            }
        };
        timeout(SOON, end).await.expect("the server closes");
        let closed = self.socket.closed().expect("it is closed");
        assert!(!closed.reason().is_empty(), "a close says why: {closed}");
        (frames, closed.code())
    }
}

/// The code of an answer that is a refusal, told with all its parts.
#[track_caller]
pub(crate) fn error_code(answer: &Value) -> String {
    let err = &answer["err"];
    assert!(err["message"].as_str().is_some_and(|words| !words.is_empty()), "{answer}");
    assert!(err["retry"].is_boolean(), "{answer}");
    err["code"].as_str().expect("a code").to_owned()
}
