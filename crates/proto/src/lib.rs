//! The WebSocket protocol (RFC 6455), sans-I/O: bytes in, events out.
