//! A server that listens on a Unix socket, and nowhere else.

use std::path::PathBuf;

use sockeye_server::{Listen, Server, ServerOptions};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// It runs until the test's runtime ends.
pub(crate) struct UnixServer {
    path: PathBuf,
    /// The folder of the socket, removed when dropped.
    _folder: TempDir,
}

impl UnixServer {
    pub(crate) async fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sockeye.sock");
        let mut options = ServerOptions::default();
        options.listen = vec![Listen::Unix(path.clone())];
        change(&mut options);
        tokio::spawn(Server::bind(options).await.unwrap().run());
        Self { path, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }
}
