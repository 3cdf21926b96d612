//! How a transport is named on the command line: by the words that the server has for it.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sockeye_server::Transport;

/// A value with its explanation in the help.
pub(crate) fn value(transport: Transport) -> PossibleValue {
    PossibleValue::new(transport.name()).help(transport.description())
}

/// All transports.
pub(crate) fn any() -> impl TypedValueParser<Value = Transport> {
    let values = Transport::ALL.into_iter().map(value);
    PossibleValuesParser::new(values).try_map(|word| word.parse())
}

/// The transports that carry positions: those that a client can leave for another without a loss.
///
/// `ws` means `v1` here, for a plain WebSocket has no positions.
pub(crate) fn resumable() -> impl TypedValueParser<Value = Transport> {
    let is_resumable = |transport: &Transport| *transport != Transport::Ws;
    let values = Transport::ALL.into_iter().filter(is_resumable).map(|transport| {
        let value = value(transport);
        if transport == Transport::V1 { value.alias(Transport::Ws.name()) } else { value }
    });
    PossibleValuesParser::new(values).try_map(|word| match word.parse() {
        Ok(Transport::Ws) => Ok(Transport::V1),
        parsed => parsed,
    })
}
