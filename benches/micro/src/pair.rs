//! Two WebSockets in memory, driven by tokio: what a message costs an application at both ends.

use sockeye::{Config, Message, WebSocket};
use tokio::runtime::{Builder, Runtime};

/// A client and a server that sends back what it receives.
pub struct Pair {
    client: WebSocket,
    server: WebSocket,
    message: Message,
    /// Dropped last: the WebSockets use it.
    runtime: Runtime,
}

impl Pair {
    /// With messages of `size` bytes.
    pub fn new(size: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (client, server) = runtime.block_on(async { WebSocket::pair(Config::default()) });
        let mut pair = Self { client, server, message: Message::from(vec![b'x'; size]), runtime };
        pair.run();
        pair
    }

    /// Sends a message, echoes it and receives the echo.
    pub fn run(&mut self) {
        let Self { client, server, message, runtime } = self;
        runtime.block_on(async {
            client.send(message.clone()).await.expect("the connection is open");
            let received = server.recv().await.expect("a message").expect("the connection is open");
            server.send(received).await.expect("the connection is open");
            client.recv().await.expect("an echo").expect("the connection is open");
        });
    }
}
