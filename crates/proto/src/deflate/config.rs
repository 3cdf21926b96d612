//! How an end wants its messages compressed.

use alloc::{vec, vec::Vec};

use super::{
    budget::DeflateBudget,
    params::{ClientWindow, DeflateOffer, WindowBits},
};

/// How an end wants permessage-deflate to be: what a client offers, what a server agrees to.
///
/// The default lets every message of this end start from an empty window, so that an idle connection
/// costs nothing, and asks the peer for the same where that does no harm. As an offer it is
/// `permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits`,
/// and behind it a plain `permessage-deflate` for servers that answer no other. A server lets clients
/// keep their context while [`takeover_budget`](Self::takeover_budget) lasts.
///
/// ```
/// use sockeye_proto::DeflateConfig;
///
/// let similar_messages = DeflateConfig::default().server_takeover(true).threshold(32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// Whether the server's messages may refer to earlier ones. Default no; a client whose server
    /// answers its second, plain offer lets it all the same.
    ///
    /// It makes similar small messages much smaller, and costs memory per connection on both sides:
    /// [147 to 273 KiB](crate::Connection::release_deflate) to send, up to 32 KiB to receive.
    pub server_takeover: bool,
    /// Whether the client's messages may refer to earlier ones. Default no: a client does not, and a
    /// server lets it only while [`takeover_budget`](Self::takeover_budget) lasts.
    pub client_takeover: bool,
    /// On a server without [`client_takeover`](Self::client_takeover): what the windows of clients may
    /// take in all. Default: the process's budget, 64 MiB.
    ///
    /// A client that does not offer `client_no_context_takeover` by itself is asked for it only beyond
    /// this: it may fail then.
    pub takeover_budget: DeflateBudget,
    /// How far back the server's messages may refer. Default 15, which is 32 KiB.
    pub server_window_bits: WindowBits,
    /// How far back the client's messages may refer. Default 15, which is 32 KiB.
    pub client_window_bits: WindowBits,
    /// How hard the sender tries, 1 to 9 (a number outside counts as the nearest). Default 6, zlib's own.
    ///
    /// On JSON of 1 KiB, 5 to 7 differ hardly in size or time without context takeover; with it, 7 saves
    /// a tenth. 1 takes a third of the time and gives a third more bytes. On messages of 50 KiB, 5
    /// takes half to nine tenths of the time of 6, and 7 up to half as much again.
    pub level: u8,
    /// Messages of fewer bytes go uncompressed. Default 256.
    ///
    /// JSON of 128 bytes shrinks by a sixth, of 256 bytes by a third; with context takeover by more
    /// than half, and a lower threshold is worth it.
    pub threshold: usize,
    /// What a client offers instead of one offer made from the rest, the preferred one first.
    /// Default none.
    pub offers: Vec<DeflateOffer>,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            server_takeover: false,
            client_takeover: false,
            takeover_budget: DeflateBudget::default(),
            server_window_bits: WindowBits::MAX,
            client_window_bits: WindowBits::MAX,
            level: 6,
            threshold: 256,
            offers: Vec::new(),
        }
    }
}

impl DeflateConfig {
    /// Sets [`server_takeover`](Self::server_takeover).
    pub fn server_takeover(mut self, allowed: bool) -> Self {
        self.server_takeover = allowed;
        self
    }

    /// Sets [`client_takeover`](Self::client_takeover).
    pub fn client_takeover(mut self, allowed: bool) -> Self {
        self.client_takeover = allowed;
        self
    }

    /// Sets [`takeover_budget`](Self::takeover_budget).
    pub fn takeover_budget(mut self, budget: DeflateBudget) -> Self {
        self.takeover_budget = budget;
        self
    }

    /// Sets [`server_window_bits`](Self::server_window_bits).
    pub fn server_window_bits(mut self, bits: WindowBits) -> Self {
        self.server_window_bits = bits;
        self
    }

    /// Sets [`client_window_bits`](Self::client_window_bits).
    pub fn client_window_bits(mut self, bits: WindowBits) -> Self {
        self.client_window_bits = bits;
        self
    }

    /// Sets [`level`](Self::level).
    pub fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Sets [`threshold`](Self::threshold), in bytes.
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Adds one of the [`offers`](Self::offers) of a client.
    pub fn offer(mut self, offer: DeflateOffer) -> Self {
        self.offers.push(offer);
        self
    }

    /// What a client offers with this, the preferred offer first.
    pub fn to_offers(&self) -> Vec<DeflateOffer> {
        if !self.offers.is_empty() {
            return self.offers.clone();
        }
        let limited = |bits: WindowBits| (bits < WindowBits::MAX).then_some(bits);
        let preferred = DeflateOffer {
            server_no_context_takeover: !self.server_takeover,
            client_no_context_takeover: !self.client_takeover,
            server_max_window_bits: limited(self.server_window_bits),
            client_max_window_bits: limited(self.client_window_bits)
                .map_or(ClientWindow::Limitable, ClientWindow::AtMost),
        };
        if self.server_takeover {
            return vec![preferred];
        }
        // Tornado and Mojolicious answer `permessage-deflate` to any offer.
        let server_max_window_bits = preferred.server_max_window_bits;
        vec![preferred, DeflateOffer { server_max_window_bits, ..DeflateOffer::default() }]
    }
}
