//! A message encoded once for many receivers.

use alloc::sync::Arc;
use core::fmt;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};

use super::{
    DeflateConfig,
    compress::{Blocks, Setting, compress_alone},
    params::WindowBits,
    pool,
};
use crate::{
    frame::{Header, Opcode},
    message::{Message, MessageKind},
};

/// The bit of a frame's first byte that says that it is compressed (RFC 7692 §6).
const RSV1: u8 = 0x40;

/// A message that a server sends on many connections: its frame is made once, plain and compressed,
/// each when it is first needed, and shared.
///
/// Cloning shares all of it. Send it with
/// [`Connection::send_prepared`](crate::Connection::send_prepared).
///
/// ```
/// use std::time::Duration;
/// use sockeye_proto::{Config, Connection, Message, Prepared};
///
/// let news = Prepared::new(Message::from("news"));
/// for _ in 0..1000 {
///     let mut connection = Connection::server(Config::default(), Duration::ZERO);
///     connection.send_prepared(&news)?;
/// }
/// # Ok::<(), sockeye_proto::Misuse>(())
/// ```
#[derive(Clone)]
pub struct Prepared {
    encodings: Arc<Encodings>,
}

struct Encodings {
    message: Message,
    level: u8,
    plain: OnceLock<Bytes>,
    /// `None` inside: compressed it would not be smaller.
    compressed: OnceLock<Option<Bytes>>,
}

impl Prepared {
    /// Nothing is encoded yet. It will be compressed at the default level, 6.
    pub fn new(message: impl Into<Message>) -> Self {
        Self::with_level(message, DeflateConfig::default().level)
    }

    /// The same with a level of compression, 1 to 9, that counts whatever the connections' levels are.
    pub fn with_level(message: impl Into<Message>, level: u8) -> Self {
        let message = message.into();
        let (plain, compressed) = (OnceLock::new(), OnceLock::new());
        Self { encodings: Arc::new(Encodings { message, level, plain, compressed }) }
    }

    /// A message that was prepared before, and whose [`shortest`](Self::shortest) frame was kept
    /// elsewhere meanwhile. That the frame is of this message is not checked.
    pub fn with_shortest(message: impl Into<Message>, frame: Bytes) -> Self {
        let prepared = Self::new(message);
        let is_compressed = frame.first().is_some_and(|first| first & RSV1 != 0);
        let compressed = is_compressed.then(|| frame.clone());
        // Both are empty, being new.
        let _ = prepared.encodings.compressed.set(compressed);
        if !is_compressed {
            let _ = prepared.encodings.plain.set(frame);
        }
        prepared
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.encodings.message
    }

    /// The message as an unmasked frame.
    pub fn plain(&self) -> &Bytes {
        let encodings = &self.encodings;
        encodings
            .plain
            .get_or_init(|| frame(&encodings.message, encodings.message.as_bytes(), false))
    }

    /// The message as an unmasked frame compressed from an empty window; `None` if that would not be
    /// smaller.
    ///
    /// It may refer back as far as its own beginning, up to 32 KiB.
    pub fn compressed(&self) -> Option<&Bytes> {
        let encodings = &self.encodings;
        let compress = || {
            let payload = encodings.message.as_bytes();
            let blocks = Blocks::for_length(payload.len());
            let setting = Setting { window: WindowBits::MAX, level: encodings.level, blocks };
            let mut scratch = pool::scratch();
            let length = compress_alone(setting, payload, &mut scratch);
            let frame = (length < payload.len())
                .then(|| frame(&encodings.message, &scratch[..length], true));
            pool::keep_scratch(scratch);
            frame
        };
        encodings.compressed.get_or_init(compress).as_ref()
    }

    /// The frame for connections that compress: compressed, or plain where that is no longer.
    pub fn shortest(&self) -> &Bytes {
        self.compressed().unwrap_or_else(|| self.plain())
    }
}

fn frame(message: &Message, payload: &[u8], rsv1: bool) -> Bytes {
    let opcode = match message.kind() {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    };
    let length = payload.len() as u64;
    let (header, size) = Header { fin: true, rsv1, opcode, mask: None, length }.encode();
    let mut frame = BytesMut::with_capacity(size + payload.len());
    frame.extend_from_slice(&header[..size]);
    frame.extend_from_slice(payload);
    frame.freeze()
}

impl From<Message> for Prepared {
    fn from(message: Message) -> Self {
        Self::new(message)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.encodings.message).finish()
    }
}
