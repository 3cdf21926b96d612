//! WebSockets on tokio: client and server.
