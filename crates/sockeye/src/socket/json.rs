//! Messages as the types of serde (feature `json`).

use serde::{Serialize, de::DeserializeOwned};
use sockeye_proto::Message;

use super::{reader::Reader, websocket::WebSocket, writer::Writer};
use crate::Error;

/// JSON (feature `json`).
impl WebSocket {
    /// Sends a value as a text message in JSON, like [`send`](Self::send).
    ///
    /// ```no_run
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Move { from: String, to: String }
    /// # async fn example(mut socket: sockeye::WebSocket) -> Result<(), sockeye::Error> {
    /// socket.send_json(&Move { from: "e2".into(), to: "e4".into() }).await?;
    /// while let Some(answer) = socket.recv_json::<Move>().await {
    ///     let Move { from, to } = answer?;
    ///     println!("{from} to {to}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when the value is not representable in JSON; then as [`send`](Self::send).
    pub async fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.send_json(value).await
    }

    /// The next message as a value, be it text or binary; `None` once the connection is closed. A
    /// value that is to borrow from its message is had by [`recv`](Self::recv) and
    /// [`Message::parse_json`].
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when the message is not JSON, or JSON of another shape: it is lost, and the
    /// connection goes on. Then as [`recv`](Self::recv).
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Option<Result<T, Error>> {
        self.reader.recv_json().await
    }
}

/// JSON (feature `json`).
impl Reader {
    /// The next message as a value; as [`WebSocket::recv_json`].
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Option<Result<T, Error>> {
        let message = self.recv().await?;
        Some(message.and_then(|message| Ok(message.parse_json()?)))
    }
}

/// JSON (feature `json`).
impl Writer {
    /// Sends a value as a text message in JSON; as [`WebSocket::send_json`].
    pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let message = Message::from_json(value)?;
        self.send(message).await
    }
}
