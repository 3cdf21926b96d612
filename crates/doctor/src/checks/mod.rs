//! The checks, a file for each subject. Each tells what it has found.

pub(crate) mod certificate;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod network;
pub(crate) mod origin;
pub(crate) mod poll;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod websocket;
