//! WebSockets on channels: how a request becomes one, and what is sent on a plain one.
//!
//! A request passes the [`handshake`]; then the connection is served in a task of its own, with
//! [`plain`] payloads or [`v1`](super::v1).

pub(crate) mod frames;
pub(crate) mod handshake;
mod in_flight;
mod parked;
pub(crate) mod plain;
mod woken_only;

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use sockeye::{AcceptError, Config, Error, Keepalive, Opening, WebSocket, Writer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::connections::ConnectionRecord;
use crate::net::write_deadline::WriteDeadline;
use crate::options::ChannelOptions;

/// How long a client that has sent its Close still gets what was published before, and the answers to
/// its commands.
pub(crate) const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// Publications of one connection that are being written to the disk: beyond them none is read. Those of a connection
/// share syncs of the disk.
pub(crate) const MAX_PUBLISHING: usize = 64;

/// The WebSocket, once the response is written. Over TCP all that HTTP needed is freed; the frames that were read
/// ahead come with it.
pub(crate) async fn opened(opening: Opening) -> Result<WebSocket, AcceptError> {
    let unwrap = |io: TokioIo<WriteDeadline<TcpStream>>| io.into_inner().into_parts();
    opening.open_through(unwrap).await
}

/// Shows the taps of a connection how the client closed it, once its Close is answered.
pub(crate) async fn show_closed(record: &ConnectionRecord, outgoing: &Writer) {
    if let Ok(closed) = timeout(LAST_MESSAGES, outgoing.ended()).await {
        record.show_closed(&closed);
    }
}

/// Whether a connection was lost because its client read nothing for too long: the system closes one
/// over TCP by `TCP_USER_TIMEOUT`.
pub(crate) fn was_given_up(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Limits of a WebSocket with messages of at most that many bytes.
pub(crate) fn config(options: &ChannelOptions, max_message: usize) -> Config {
    let timeout = options.pong_timeout;
    let keepalive = options
        .ping_interval
        .map(|interval| Keepalive::default().interval(interval).timeout(timeout));
    Config::default().max_message_size(max_message).keepalive(keepalive)
}
