//! permessage-deflate ([RFC 7692]): messages compressed one by one.
//!
//! [`params`] negotiates, [`compress`] and [`inflate`] are the two directions of a connection,
//! [`pool`] is what makes both cheap, [`prepared`] compresses once for many receivers.
//!
//! # What it costs
//!
//! Without context takeover, the default, a connection holds no compression state between messages:
//! compressors and inflaters belong to the thread and are lent for the time of a message. With
//! context takeover a connection holds
//!
//! * to send: a compressor, from the first message on: 147 KiB with a window of 2⁸ or 2⁹ bytes, 161
//!   with 2¹², 177 with 2¹³, 209 with 2¹⁴ and 273 with 2¹⁵ (the codec's hash table alone takes 128,
//!   whatever the window and the level);
//!   [`Connection::release_deflate`](crate::Connection::release_deflate) gives it up at any time;
//! * to receive: the last bytes of what was received, at most the peer's window (256 bytes to
//!   32 KiB), and nothing else. A server lets clients have it as long as its [`budget`] lasts.
//!
//! # What it risks
//!
//! An attacker who can inject data next to a secret in one compressed message, or with context takeover in
//! one connection, and sees the length of what is sent, can guess the secret (CRIME, RFC 7692 §8).
//! Send such messages with [`Connection::send_with`](crate::Connection::send_with), uncompressed.
//!
//! [RFC 7692]: https://www.rfc-editor.org/rfc/rfc7692

mod budget;
mod compress;
mod config;
mod inflate;
mod params;
mod pool;
#[cfg(feature = "std")]
mod prepared;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;

pub(crate) use self::inflate::{Inbound, Inflation, OutputLimits};
#[cfg(feature = "std")]
pub use self::prepared::Prepared;
pub use self::{
    budget::DeflateBudget,
    config::DeflateConfig,
    params::{ClientWindow, DeflateAgreement, DeflateOffer, InvalidWindowBits, WindowBits},
};
use self::{budget::Reservation, compress::Outbound};

/// The empty stored block without its first bits: the end of every compressed message, which is not
/// sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The compression of one connection, in both directions.
pub(crate) struct Deflation {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// Messages shorter than this go uncompressed.
    pub(crate) threshold: usize,
    /// A server's, for what its client may refer back to.
    reservation: Option<Arc<Reservation>>,
}

impl Deflation {
    pub(crate) fn new(agreement: &DeflateAgreement, is_client: bool) -> Self {
        let (ours, theirs) = if is_client {
            (agreement.client(), agreement.server())
        } else {
            (agreement.server(), agreement.client())
        };
        Self {
            inbound: Inbound::new(theirs),
            outbound: Outbound::new(ours, agreement.level),
            threshold: agreement.threshold,
            reservation: agreement.reservation.clone().filter(|_| !is_client),
        }
    }
}

impl Drop for Deflation {
    fn drop(&mut self) {
        // The agreement may live on with the application.
        if let Some(reservation) = &self.reservation {
            reservation.release();
        }
    }
}
