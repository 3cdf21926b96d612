//! How messages are compressed (permessage-deflate, RFC 7692), as a flag says it.

use std::str::FromStr;

use sockeye::DeflateConfig;

/// `on`, `off` or `takeover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Off,
    /// Every message starts from an empty window, so that an idle connection costs nothing.
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
    /// What a client offers, or a server agrees to.
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
