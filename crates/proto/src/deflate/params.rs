//! Negotiation (RFC 7692 §7.1): offers, what a server agrees to, what a client takes for an answer.

use alloc::sync::Arc;
use core::fmt;

use super::{budget::Reservation, config::DeflateConfig};
use crate::extensions::Extension;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The size of a window: 8 to 15, for 2⁸ = 256 bytes to 2¹⁵ = 32 KiB (RFC 7692 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

/// The number is not 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window has 8 to 15 bits, not {0}")]
pub struct InvalidWindowBits(pub u8);

impl WindowBits {
    /// 8: a window of 256 bytes.
    pub const MIN: Self = Self(8);
    /// 15: a window of 32 KiB, which holds where nothing else was agreed.
    pub const MAX: Self = Self(15);

    /// The number.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// The window's size in bytes.
    pub const fn bytes(self) -> usize {
        1 << self.0
    }

    /// A parameter's value: decimal, without leading zeros.
    fn parse(value: &str) -> Option<Self> {
        if value.starts_with('0') || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        value.parse().ok().and_then(|bits: u8| Self::try_from(bits).ok())
    }
}

impl TryFrom<u8> for WindowBits {
    type Error = InvalidWindowBits;

    fn try_from(bits: u8) -> Result<Self, InvalidWindowBits> {
        if (8..=15).contains(&bits) { Ok(Self(bits)) } else { Err(InvalidWindowBits(bits)) }
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The parameter of the client's window (RFC 7692 §7.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientWindow {
    /// Nothing: the server may not limit it.
    #[default]
    Fixed,
    /// `client_max_window_bits` without a value: the server may limit it.
    Limitable,
    /// `client_max_window_bits` with a value: it is not larger, and the server may limit it further.
    AtMost(WindowBits),
}

/// One offer of permessage-deflate (RFC 7692 §7.1); the default is one without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeflateOffer {
    /// Asks that each message of the server start from an empty window.
    pub server_no_context_takeover: bool,
    /// Says that each message of the client will start from an empty window.
    pub client_no_context_takeover: bool,
    /// Asks that the server's window be no larger.
    pub server_max_window_bits: Option<WindowBits>,
    /// What the client's window is, and whether the server may limit it.
    pub client_max_window_bits: ClientWindow,
}

impl DeflateOffer {
    /// Sets [`server_no_context_takeover`](Self::server_no_context_takeover).
    pub fn server_no_context_takeover(mut self, asked: bool) -> Self {
        self.server_no_context_takeover = asked;
        self
    }

    /// Sets [`client_no_context_takeover`](Self::client_no_context_takeover).
    pub fn client_no_context_takeover(mut self, promised: bool) -> Self {
        self.client_no_context_takeover = promised;
        self
    }

    /// Sets [`server_max_window_bits`](Self::server_max_window_bits).
    pub fn server_max_window_bits(mut self, bits: impl Into<Option<WindowBits>>) -> Self {
        self.server_max_window_bits = bits.into();
        self
    }

    /// Sets [`client_max_window_bits`](Self::client_max_window_bits).
    pub fn client_max_window_bits(mut self, window: ClientWindow) -> Self {
        self.client_max_window_bits = window;
        self
    }

    /// Reads the parameters of an offer or a response; `None` if one is unknown, stands twice or has
    /// a value that it may not have (RFC 7692 §7.1).
    fn parse(extension: &Extension) -> Option<Self> {
        let mut offer = Self::default();
        for (i, (name, value)) in extension.parameters.iter().enumerate() {
            if extension.parameters[..i].iter().any(|(earlier, _)| earlier == name) {
                return None;
            }
            match (name.as_str(), value.as_deref()) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => offer.server_no_context_takeover = true,
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => offer.client_no_context_takeover = true,
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    offer.server_max_window_bits = Some(WindowBits::parse(value)?);
                }
                (CLIENT_MAX_WINDOW_BITS, None) => {
                    offer.client_max_window_bits = ClientWindow::Limitable;
                }
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                    offer.client_max_window_bits = ClientWindow::AtMost(WindowBits::parse(value)?);
                }
                _ => return None,
            }
        }
        Some(offer)
    }
}

impl fmt::Display for DeflateOffer {
    /// As an element of `Sec-WebSocket-Extensions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_context_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_max_window_bits {
            ClientWindow::Fixed => Ok(()),
            ClientWindow::Limitable => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            ClientWindow::AtMost(bits) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
        }
    }
}

/// What one end may do when it compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) takeover: bool,
    pub(super) window: WindowBits,
}

/// What client and server agreed on, for
/// [`Connection::with_deflate`](crate::Connection::with_deflate): for one connection, whatever its clones.
#[derive(Debug, Clone)]
pub struct DeflateAgreement {
    /// The server's response.
    response: DeflateOffer,
    /// What the response says of the server's messages; on the server, with what it limits by itself.
    server: Direction,
    /// What the response says of the client's messages; on the client, with what it limits by itself.
    client: Direction,
    pub(super) level: u8,
    pub(super) threshold: usize,
    /// For the server, what the client's window may take.
    pub(super) reservation: Option<Arc<Reservation>>,
}

impl PartialEq for DeflateAgreement {
    /// Whether the same was agreed on.
    fn eq(&self, other: &Self) -> bool {
        let terms =
            |this: &Self| (this.response, this.server, this.client, this.level, this.threshold);
        terms(self) == terms(other)
    }
}

impl Eq for DeflateAgreement {}

impl DeflateAgreement {
    /// Whether each message of the server starts from an empty window.
    pub fn server_no_context_takeover(&self) -> bool {
        !self.server.takeover
    }

    /// Whether each message of the client starts from an empty window.
    pub fn client_no_context_takeover(&self) -> bool {
        !self.client.takeover
    }

    /// The window that the server keeps to.
    pub fn server_max_window_bits(&self) -> WindowBits {
        self.server.window
    }

    /// Whether the server may send any frame that was compressed from an empty window of the largest
    /// size, as those of a [`Prepared`](crate::Prepared) message are.
    pub fn takes_prepared_frames(&self) -> bool {
        self.server_no_context_takeover() && self.server_max_window_bits() == WindowBits::MAX
    }

    /// The window that the client keeps to.
    pub fn client_max_window_bits(&self) -> WindowBits {
        self.client.window
    }

    /// The agreement of what was offered in these extensions with what a server wants: the first
    /// offer that is acceptable (RFC 7692 §5); `None` if there is none, and then nothing is
    /// compressed.
    pub fn accept(offered: &[Extension], config: &DeflateConfig) -> Option<Self> {
        let offer = offered
            .iter()
            .filter(|extension| extension.name == NAME)
            .find_map(DeflateOffer::parse)?;
        let limit = config.server_window_bits;
        let server_max_window_bits = match offer.server_max_window_bits {
            Some(bits) => Some(bits.min(limit)),
            None => (limit < WindowBits::MAX).then_some(limit),
        };
        let limit = config.client_window_bits;
        let client_max_window_bits = match offer.client_max_window_bits {
            ClientWindow::AtMost(bits) => ClientWindow::AtMost(bits.min(limit)),
            ClientWindow::Limitable if limit < WindowBits::MAX => ClientWindow::AtMost(limit),
            ClientWindow::Limitable | ClientWindow::Fixed => ClientWindow::Fixed,
        };
        // A client whose window cannot be limited may keep it large, but not from one message to
        // the next: this is what would cost more than the configuration allows.
        let too_large = offer.client_max_window_bits == ClientWindow::Fixed
            && config.client_window_bits < WindowBits::MAX;
        let mut response = DeflateOffer {
            server_no_context_takeover: offer.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || too_large,
            server_max_window_bits,
            client_max_window_bits,
        };
        let window = response.client().window;
        let is_charged = !response.client_no_context_takeover && !config.client_takeover;
        let reservation =
            is_charged.then(|| config.takeover_budget.reserve(window.bytes())).flatten();
        response.client_no_context_takeover |= is_charged && reservation.is_none();
        // A server may drop its context without announcing it, and Netty 4.1.48 fails if it announces it unasked.
        let server = response.server();
        let server = Direction { takeover: server.takeover && config.server_takeover, ..server };
        Some(Self::new(response, (server, response.client()), config, reservation))
    }

    /// The agreement that a server's response makes; `None` if it does not fit any of the offers
    /// that a client makes with `config`, and then the connection must fail (RFC 7692 §7.1).
    pub fn check(response: &Extension, config: &DeflateConfig) -> Option<Self> {
        let response = Some(response).filter(|response| response.name == NAME)?;
        let response = DeflateOffer::parse(response)?;
        let offer = config.to_offers().into_iter().find(|offer| offer.fits(&response))?;
        // What a client says of its own window holds, whether the server repeats it or not.
        let (said, answered) = (offer.client(), response.client());
        let client = Direction {
            takeover: said.takeover && answered.takeover && config.client_takeover,
            window: said.window.min(answered.window).min(config.client_window_bits),
        };
        Some(Self::new(response, (response.server(), client), config, None))
    }

    fn new(
        response: DeflateOffer,
        (server, client): (Direction, Direction),
        config: &DeflateConfig,
        reservation: Option<Arc<Reservation>>,
    ) -> Self {
        let (level, threshold) = (config.level, config.threshold);
        Self { response, server, client, level, threshold, reservation }
    }

    pub(super) fn server(&self) -> Direction {
        self.server
    }

    pub(super) fn client(&self) -> Direction {
        self.client
    }
}

impl DeflateOffer {
    /// What it says of the server's messages, as a response.
    fn server(&self) -> Direction {
        let window = self.server_max_window_bits.unwrap_or(WindowBits::MAX);
        Direction { takeover: !self.server_no_context_takeover, window }
    }

    /// What it says of the client's messages.
    fn client(&self) -> Direction {
        let window = match self.client_max_window_bits {
            ClientWindow::AtMost(bits) => bits,
            ClientWindow::Fixed | ClientWindow::Limitable => WindowBits::MAX,
        };
        Direction { takeover: !self.client_no_context_takeover, window }
    }

    /// Whether a server may answer this offer so (RFC 7692 §7.1.1, §7.1.2).
    fn fits(&self, response: &Self) -> bool {
        let server_takeover =
            response.server_no_context_takeover || !self.server_no_context_takeover;
        let server_window = match (self.server_max_window_bits, response.server_max_window_bits) {
            (Some(asked), Some(answered)) => answered <= asked,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let client_window = match response.client_max_window_bits {
            ClientWindow::Fixed => true,
            ClientWindow::Limitable => false, // in a response the value is required
            ClientWindow::AtMost(_) => self.client_max_window_bits != ClientWindow::Fixed,
        };
        server_takeover && server_window && client_window
    }
}

impl fmt::Display for DeflateAgreement {
    /// The response, as an element of `Sec-WebSocket-Extensions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.response, f)
    }
}
