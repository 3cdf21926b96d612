//! A client's first message (ClientHello), awaited without the state of TLS: what a client holds until
//! it has sent one is what it has sent.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, ReadBuf};

/// A record begins with its type, a version and its length (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
/// The longest record: 2^14 bytes and an expansion (RFC 5246 §6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;

/// A message of the handshake begins with its type and its length (RFC 8446 §4).
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// The most that is awaited of a first message with its records: what rustls takes of one.
const MAX_HELLO: usize = 64 << 10;

/// Reads the records of the first message, or of something else, behind what has arrived, and not a byte of what
/// follows. Of that some may have arrived, too.
pub(super) async fn read(
    mut arrived: Vec<u8>,
    io: &mut (impl AsyncRead + Unpin),
) -> io::Result<Vec<u8>> {
    let (mut header, mut message) = (0, Message::default());
    while header < MAX_HELLO && !message.is_whole() {
        let record = header + RECORD_HEADER;
        read_to(io, &mut arrived, record).await?;
        let Some(length) = record_length(&arrived[header..record]) else { break };
        let end = record + length;
        read_to(io, &mut arrived, end).await?;
        if arrived[header] != HANDSHAKE {
            break;
        }
        message.grow(&arrived[record..end]);
        header = end;
    }
    Ok(arrived)
}

/// How long the record with this header is; `None` if it is not one of TLS.
fn record_length(header: &[u8]) -> Option<usize> {
    match *header {
        [20..=24, 3, _, a, b] => {
            let length = usize::from(u16::from_be_bytes([a, b]));
            (1..=MAX_RECORD).contains(&length).then_some(length)
        }
        _ => None,
    }
}

/// What is known of a message.
#[derive(Default)]
struct Message {
    header: [u8; MESSAGE_HEADER],
    length: usize,
}

impl Message {
    /// A part of it arrived.
    fn grow(&mut self, part: &[u8]) {
        let header = self.header.iter_mut().skip(self.length).zip(part);
        header.for_each(|(byte, arrived)| *byte = *arrived);
        self.length += part.len();
    }

    /// Whether all of it has arrived, or enough to see that it is not a ClientHello.
    fn is_whole(&self) -> bool {
        let [kind, a, b, c] = self.header;
        let length = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
        self.length >= MESSAGE_HEADER && (kind != CLIENT_HELLO || self.length >= length)
    }
}

/// Reads until there are that many bytes. Memory grows with what has arrived only.
async fn read_to(
    io: &mut (impl AsyncRead + Unpin),
    arrived: &mut Vec<u8>,
    length: usize,
) -> io::Result<()> {
    poll_fn(|cx| {
        while arrived.len() < length {
            // Not kept while nothing comes.
            let mut buffer = [0; 1024];
            let missing = (length - arrived.len()).min(buffer.len());
            let mut buffer = ReadBuf::new(&mut buffer[..missing]);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            arrived.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// Why a first message was refused, and what the client is told.
pub(super) struct Refused {
    pub(super) error: io::Error,
    pub(super) alert: Vec<u8>,
}

/// Begins a handshake with what was [read]. What follows the message is kept for the handshake where rustls takes it
/// together with that: it takes 4 KiB at once.
pub(super) fn accept(hello: &[u8]) -> Result<Accepted, Refused> {
    let (mut acceptor, mut rest) = (Acceptor::default(), hello);
    while !rest.is_empty() {
        let fed = acceptor.read_tls(&mut rest);
        fed.map_err(|error| Refused { error, alert: Vec::new() })?;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut told)) => {
                let mut alert = Vec::new();
                // Writing to memory does not fail.
                let _ = told.write_all(&mut alert);
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Err(Refused { error, alert });
            }
        }
    }
    let error = io::Error::new(io::ErrorKind::InvalidData, "not a ClientHello");
    Err(Refused { error, alert: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
    use tokio::{io::AsyncWriteExt, io::duplex, task::yield_now};

    use super::*;

    /// A real first message, without its record.
    fn message() -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(super::super::provider())
            .with_safe_default_protocol_versions()
            .expect("the versions fit the provider")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut record = Vec::new();
        client.write_tls(&mut record).expect("memory");
        record.split_off(RECORD_HEADER)
    }

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("a record").to_be_bytes();
        [&[kind, 3, 1][..], &length, payload].concat()
    }

    /// What is read of these bytes, which arrive in such pieces; some of the first header has arrived before.
    fn read_of(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        read_behind(piece % (RECORD_HEADER + 1), bytes, piece)
    }

    /// The same where the first `count` bytes have arrived before.
    fn read_behind(count: usize, bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut client, mut server) = duplex(128 << 10);
            let (arrived, bytes) = bytes.split_at(bytes.len().min(count));
            let sends = async {
                for piece in bytes.chunks(piece) {
                    client.write_all(piece).await.expect("there is room");
                    yield_now().await;
                }
                drop(client);
            };
            tokio::join!(read(arrived.to_vec(), &mut server), sends).0
        })
    }

    #[test]
    fn what_speaks_something_else_is_seen_at_its_first_bytes() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[22, 2, 1, 0, 9],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 255, 255],
        ] {
            let read = read_of(bytes, 1).expect("enough came");
            assert_eq!(read, bytes[..RECORD_HEADER]);
            assert!(accept(&read).is_err());
        }
        // An alert, and a message that is not the first one.
        for bytes in [record(21, &[2, 40]), record(22, &[2, 0, 0, 1])] {
            let read = read_of(&bytes, 3).expect("enough came");
            assert!(accept(&read).is_err());
        }
    }

    #[test]
    fn a_message_without_end_is_not_awaited() {
        let endless = record(22, &[CLIENT_HELLO, 255, 255, 255]);
        let more = record(22, &[0; 1000]).repeat(100);
        let read = read_of(&[endless, more].concat(), 5000).expect("enough came");
        assert!((MAX_HELLO..MAX_HELLO + 1005).contains(&read.len()), "{}", read.len());
        assert!(accept(&read).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

        /// In whatever records and pieces it arrives, a first message is read to its end.
        #[test]
        fn a_first_message_is_read_whole(records in 1_usize..400, piece in 1_usize..2000, rest: Vec<u8>) {
            let hello: Vec<u8> = message().chunks(records).flat_map(|part| record(22, part)).collect();
            let read = read_of(&[&hello[..], &rest].concat(), piece).expect("all of it came");
            prop_assert_eq!(&read, &hello);
            prop_assert!(accept(&read).is_ok());
            prop_assert!(read_of(&hello[..hello.len() - 1], piece).is_err());
        }

        /// What came before it was read is no different, and what came behind it is not lost.
        #[test]
        fn what_has_arrived_before_belongs_to_a_first_message(records in 1_usize..400, count in 0_usize..9000) {
            let hello: Vec<u8> = message().chunks(records).flat_map(|part| record(22, part)).collect();
            let all = [&hello[..], &record(20, &[1])].concat();
            let read = read_behind(count, &all, 700).expect("all of it came");
            prop_assert_eq!(&read, &all[..count.clamp(hello.len(), all.len())]);
            prop_assert!(accept(&read).is_ok());
        }
    }
}
