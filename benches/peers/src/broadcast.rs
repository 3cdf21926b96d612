//! Connections all of which hear what any of them says.

use std::future::Future;
use std::io;

use tokio::net::TcpStream;

use crate::serve::run;

/// What a client sends to a server that broadcasts.
pub(crate) type Broadcast = tokio::sync::broadcast::Sender<bytes::Bytes>;

/// A task for each connection, all of which hear what any of them says.
pub(crate) fn serve<F>(
    connection: impl Fn(TcpStream, Broadcast) -> F + Copy + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    run(async move |listener| {
        let all = Broadcast::new(1024);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream, all.clone()));
        }
    })
}
