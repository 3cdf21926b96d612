//! A WebSocket as a subscriber has it: the protocol's own state machine and no more. And what is
//! spoken on one where there is nothing but messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::{Buf, Bytes, BytesMut};
use sockeye_proto::handshake::{ClientHandshake, ClientRequest};
use sockeye_proto::{Config, Connection, Event, Message};

use super::protocol::{Hear, Protocol, Publisher};

/// A WebSocket from its first byte on.
pub(super) struct WebSocket {
    config: Arc<Config>,
    /// The subprotocol without which nothing can be said.
    subprotocol: Option<&'static str>,
    phase: Phase,
}

enum Phase {
    /// The request goes out, and its answer comes.
    Opening(Box<ClientHandshake>, Bytes),
    /// With what its time counts from.
    Open(Box<Connection>, Instant),
}

impl WebSocket {
    /// One that is to be opened like this; with a subprotocol that must be chosen, if there is one.
    pub(super) fn new(
        mut request: ClientRequest,
        subprotocol: Option<&'static str>,
        config: Arc<Config>,
    ) -> anyhow::Result<Self> {
        if let Some(name) = subprotocol {
            request.subprotocols = vec![name.to_owned()];
        }
        let mut nonce = [0; 16];
        fill(&mut nonce);
        let handshake = Box::new(ClientHandshake::new(request, nonce)?);
        let bytes = handshake.request().clone();
        Ok(Self { config, subprotocol, phase: Phase::Opening(handshake, bytes) })
    }

    /// The next message, once it has come whole.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> anyhow::Result<Option<Message>> {
        if let Phase::Opening(handshake, _) = &mut self.phase {
            let Some(accepted) = handshake.poll_response(input)? else { return Ok(None) };
            if let Some(name) = self.subprotocol
                && accepted.subprotocol.is_none()
            {
                bail!("the server does not speak {name}");
            }
            let masks = || {
                let mut key = [0; 4];
                fill(&mut key);
                key
            };
            let config = Arc::clone(&self.config);
            let connection = Connection::client(config, Box::new(masks), Duration::ZERO);
            self.phase = Phase::Open(Box::new(connection.with_deflate(accepted.deflate)), now);
        }
        let Phase::Open(connection, began) = &mut self.phase else { return Ok(None) };
        while let Some(event) = connection.poll_event(input, now - *began) {
            match event {
                Event::Message(message) => return Ok(Some(message)),
                Event::Closed(closed) => bail!("a connection has ended: {closed}"),
                Event::Ping(_) | Event::Pong(_) | Event::Part(_) => {}
            }
        }
        Ok(None)
    }

    pub(super) fn send(&mut self, message: impl Into<Message>) -> anyhow::Result<()> {
        match &mut self.phase {
            Phase::Open(connection, _) => Ok(connection.send(message.into())?),
            Phase::Opening(..) => bail!("the WebSocket is not open yet"),
        }
    }

    pub(super) fn outgoing(&mut self) -> &mut dyn Buf {
        match &mut self.phase {
            Phase::Opening(_, request) => request,
            Phase::Open(connection, _) => connection.transmit(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(..))
    }
}

fn fill(bytes: &mut [u8]) {
    // A system without randomness opens no WebSocket.
    #[expect(clippy::expect_used, reason = "no way to go on")]
    getrandom::fill(bytes).expect("the system gives no random bytes");
}

/// A WebSocket that carries messages and nothing else.
pub(super) struct Plain(pub(super) WebSocket);

impl Protocol for Plain {
    fn take(&mut self, input: &mut BytesMut, now: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        while let Some(message) = self.0.next(input, now)? {
            hear(message.as_bytes())?;
        }
        Ok(())
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        self.0.outgoing()
    }

    fn is_ready(&self) -> bool {
        self.0.is_open()
    }
}

impl Publisher for Plain {
    fn queue_message(&mut self, message: String) -> anyhow::Result<()> {
        self.0.send(message)
    }
}
