//! The WebSocket that carries `sockeye.v1`: of the library, or of a browser.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod system;

#[cfg(target_family = "wasm")]
pub(crate) use self::browser::{CAN_WAIT, Reader, Received, WebSocket, Writer, next, open};
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::system::{CAN_WAIT, Reader, Received, WebSocket, Writer, next, open};

/// What is offered, and has to be agreed to.
const SUBPROTOCOL: &str = "sockeye.v1";
