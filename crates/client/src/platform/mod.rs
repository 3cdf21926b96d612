//! Time, tasks and what a URL may be: of tokio and the system, or of a browser.
//!
//! With [`http`](crate::http) and [`websocket`](crate::websocket) it is all that is different in WebAssembly.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod system;

#[cfg(target_family = "wasm")]
pub use self::browser::*;
#[cfg(not(target_family = "wasm"))]
pub use self::system::*;
