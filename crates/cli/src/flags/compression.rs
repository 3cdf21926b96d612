//! How messages are compressed (permessage-deflate, RFC 7692), as a flag says it.

use std::str::FromStr;

use sockeye::{DeflateBudget, DeflateConfig};

use crate::flags::units::Size;

/// `on`, `off` or `takeover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Off,
    /// Every message that is sent starts from an empty window: it needs no memory of the connection's.
    On,
    /// Messages of both ends may refer to earlier ones: context takeover, §7.1.1.
    Takeover,
}

impl FromStr for Compression {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "takeover" => Ok(Self::Takeover),
            _ => Err("write on, off or takeover"),
        }
    }
}

impl Compression {
    /// What a server agrees to, of which the clients' windows may take that much memory together.
    pub(crate) fn server(self, memory: Size) -> Option<DeflateConfig> {
        let budget = DeflateBudget::new(memory.in_memory());
        // Whether a client's messages may refer to earlier ones is up to the client and the budget.
        self.config().map(|config| config.client_takeover(false).takeover_budget(budget))
    }

    /// What a client offers.
    pub(crate) fn config(self) -> Option<DeflateConfig> {
        match self {
            Self::Off => None,
            Self::On => Some(DeflateConfig::default()),
            Self::Takeover => {
                Some(DeflateConfig::default().server_takeover(true).client_takeover(true))
            }
        }
    }
}
