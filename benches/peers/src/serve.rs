//! One thread, one listener on a free port, a task for each connection.

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, TcpStream};

/// A runtime of one thread, a listener, and what is to be done with it.
pub(crate) fn run<F>(work: impl FnOnce(TcpListener) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        work(listener).await
    })
}

/// A task for each connection.
pub(crate) fn serve<F>(connection: impl Fn(TcpStream) -> F + Copy + 'static) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    run(async move |listener| {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream));
        }
    })
}
