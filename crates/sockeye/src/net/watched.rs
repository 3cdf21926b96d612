//! A stream whose bytes are shown to a function as they pass.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From this side to the peer.
    Sent,
    /// From the peer to this side.
    Received,
}

/// Forwards to a stream, and calls a function with the bytes that were read from it and that it has taken:
/// one byte at least.
#[derive(Debug)]
pub struct Watched<S, F> {
    stream: S,
    show: F,
}

impl<S, F: Fn(Direction, &[u8])> Watched<S, F> {
    /// Shows all that passes from now on. The function must not block.
    pub fn new(stream: S, show: F) -> Self {
        Self { stream, show }
    }

    fn show(&self, direction: Direction, bytes: &[u8]) {
        if !bytes.is_empty() {
            (self.show)(direction, bytes);
        }
    }
}

impl<S, F> AsyncRead for Watched<S, F>
where
    S: AsyncRead + Unpin,
    F: Fn(Direction, &[u8]) + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.show(Direction::Received, &buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S, F> AsyncWrite for Watched<S, F>
where
    S: AsyncWrite + Unpin,
    F: Fn(Direction, &[u8]) + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.show(Direction::Sent, &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        let mut rest = written;
        for piece in pieces {
            let taken = rest.min(piece.len());
            self.show(Direction::Sent, &piece[..taken]);
            rest -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn all_that_passes_is_shown_and_pieces_go_together() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (mut peer, _) = listener.accept().await?;
        let shown = Arc::<Mutex<Vec<(Direction, Vec<u8>)>>>::default();
        let seen = Arc::clone(&shown);
        let mut watched = Watched::new(stream, move |direction, bytes: &[u8]| {
            seen.lock().unwrap().push((direction, bytes.to_vec()));
        });
        assert!(watched.is_write_vectored());

        let pieces = [&b"hel"[..], b"", b"lo"].map(IoSlice::new);
        assert_eq!(watched.write_vectored(&pieces).await?, 5);
        watched.write_all(b"!").await?;
        let mut received = [0; 6];
        peer.read_exact(&mut received).await?;
        assert_eq!(&received, b"hello!");
        peer.write_all(b"yes").await?;
        let mut answer = [0; 3];
        watched.read_exact(&mut answer).await?;
        watched.shutdown().await?;
        drop(peer);
        assert_eq!(watched.read(&mut [0; 8]).await?, 0);

        let [mut sent, mut came] = [Vec::new(), Vec::new()];
        for (direction, bytes) in &*shown.lock().unwrap() {
            assert!(!bytes.is_empty(), "nothing was shown");
            if *direction == Direction::Sent { &mut sent } else { &mut came }.extend(bytes);
        }
        assert_eq!((&sent[..], &came[..]), (&b"hello!"[..], &b"yes"[..]));
        Ok(())
    }
}
