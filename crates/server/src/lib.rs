//! The channel server: a log over WebSocket and HTTP.
