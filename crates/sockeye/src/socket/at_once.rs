//! Frames for many connections, handed to the kernel at once.

#[cfg(all(test, unix))]
mod tests;

use std::{io, sync::MutexGuard, task::Poll};

use bytes::Bytes;

use super::{core::delivery::Delivery, core::state::SocketState, writer::Writer};
use crate::ring::{AT_ONCE, RingInUse, SendRings, Socket};

impl SendRings {
    /// Sends the same frames on each connection, as [`Writer::try_send_frames`] does, and gives what became of them on
    /// each, in the order of the writers.
    ///
    /// Plain TCP connections with nothing queued are written to at once, 64 by one system call; all others one by
    /// one.
    ///
    /// ```
    /// use sockeye::{Config, Delivery, Prepared, SendRings, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut client, server) = WebSocket::pair(Config::default());
    /// let (_, writer) = server.split();
    /// // Elsewhere than on Linux, and in most containers, there are none.
    /// if let Ok(rings) = SendRings::new(1) {
    ///     let deliveries = rings.try_send_frames([&writer], Prepared::new("news").plain());
    ///     assert_eq!(deliveries, [Delivery::Written]);
    ///     assert_eq!(client.recv().await.unwrap()?.as_text(), Some("news"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_send_frames<'a>(
        &self,
        writers: impl IntoIterator<Item = &'a Writer>,
        frames: &Bytes,
    ) -> Vec<Delivery> {
        let writers: Vec<&Writer> = writers.into_iter().collect();
        let Some(mut ring) = self.take() else {
            return writers.iter().map(|writer| writer.try_send_frames(frames)).collect();
        };
        let mut deliveries = Vec::with_capacity(writers.len());
        for some in writers.chunks(AT_ONCE) {
            send(&mut ring, some, frames, &mut deliveries);
        }
        deliveries
    }
}

/// Sends on connections that fit into the ring.
fn send(
    ring: &mut RingInUse<'_>,
    writers: &[&Writer],
    frames: &Bytes,
    deliveries: &mut Vec<Delivery>,
) {
    // While its state is locked a socket stays open, and nothing else writes to it. The thread waits for no lock
    // meanwhile: two that hold what the other waits for would wait for ever.
    let mut claimed: Vec<_> =
        writers.iter().map(|writer| writer.handle.shared.try_claim()).collect();
    let mut outcomes = outcomes(ring, &claimed, frames).into_iter();
    let at_once: Vec<_> = writers
        .iter()
        .zip(&mut claimed)
        .map(|(writer, claimed)| {
            let state = claimed.take()?;
            Some(match outcomes.next() {
                Some(Ok(written)) if written == frames.len() => Delivery::Written,
                outcome => writer.handle.shared.finish_frames(state, frames, as_polled(outcome)),
            })
        })
        .collect();
    let alone = |writer: &Writer| writer.try_send_frames(frames);
    deliveries.extend(
        writers.iter().zip(at_once).map(|(writer, sent)| sent.unwrap_or_else(|| alone(writer))),
    );
}

/// Sends on the connections that were claimed, and gives their outcomes.
fn outcomes(
    ring: &mut RingInUse<'_>,
    claimed: &[Option<MutexGuard<'_, SocketState>>],
    frames: &Bytes,
) -> Vec<io::Result<usize>> {
    let claimed = claimed.iter().flatten();
    let sockets: Vec<Socket<'_>> = claimed.filter_map(|state| state.socket_past_queue()).collect();
    let mut outcomes = Vec::with_capacity(sockets.len());
    ring.send(&sockets, frames, &mut outcomes);
    outcomes
}

/// An outcome as tokio has it. What it was not told the state of a socket by, it finds out by the next write.
fn as_polled(outcome: Option<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match outcome {
        Some(Ok(written)) => Poll::Ready(Ok(written)),
        Some(Err(error)) if !is_transient(&error) => Poll::Ready(Err(error)),
        _ => Poll::Pending,
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
