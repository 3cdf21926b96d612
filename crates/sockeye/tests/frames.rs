//! Frames that were made before, sent without waiting: what the transport does not take is queued, in order and once.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use common::{LINKS, pair, soon};
use futures_util::SinkExt;
use sockeye::{CloseCode, Delivery, Prepared, bytes::Bytes};
use tokio::io::AsyncWriteExt;

/// The frames of three messages: a number, that many bytes, and the number again.
fn frames(number: usize, size: usize) -> Bytes {
    let texts = [number.to_string(), "x".repeat(size), number.to_string()];
    let frames = texts.map(|text| Prepared::new(text).plain().to_vec());
    Bytes::from(frames.concat())
}

#[tokio::test]
async fn what_is_not_taken_at_once_follows_in_order() {
    for link in LINKS {
        let (mut client, server) = pair(link).await;
        let (_reader, mut writer) = server.split();
        let (mut sent, mut last) = (Vec::new(), Delivery::Written);
        // Of any size, until the transport and the queue are full.
        while last != Delivery::Refused {
            let size = [5, 5000, 60_000][sent.len() % 3];
            let now = writer.try_send_frames(&frames(sent.len(), size));
            match now {
                Delivery::Written => assert_eq!(last, Delivery::Written, "the queue comes first"),
                Delivery::Queued => assert!(writer.buffered_amount() > 0),
                Delivery::Refused => assert_eq!(last, Delivery::Queued),
            }
            if now != Delivery::Refused {
                sent.push(size);
            }
            last = now;
        }
        let reading = async {
            for (number, size) in sent.iter().enumerate() {
                for expected in [number.to_string(), "x".repeat(*size), number.to_string()] {
                    let message = client.recv().await.unwrap().unwrap();
                    assert_eq!(message.as_text(), Some(&*expected));
                }
            }
        };
        let ((), flushed) = soon(async { tokio::join!(reading, writer.flush()) }).await;
        flushed.unwrap();
        // There is room again, and what is sent otherwise keeps its place.
        assert_eq!(writer.try_send_frames(&frames(7, 1)), Delivery::Written);
        writer.send("between").await.unwrap();
        assert_eq!(writer.try_send_frames(&frames(8, 1)), Delivery::Written);
        for expected in ["7", "x", "7", "between", "8", "x", "8"] {
            let message = soon(client.recv()).await.unwrap().unwrap();
            assert_eq!(message.as_text(), Some(expected));
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_behind_a_close_within_a_message_or_by_a_client() {
    for link in LINKS {
        let (client, server) = pair(link).await;
        let frames = frames(1, 1);
        let (mut client_reader, client_writer) = client.split();
        assert_eq!(client_writer.try_send_frames(&frames), Delivery::Refused, "clients mask");
        let (_reader, writer) = server.split();
        let mut stream = writer.send_stream(sockeye::MessageKind::Text).await.unwrap();
        stream.write_all(b"be").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(writer.try_send_frames(&frames), Delivery::Refused);
        stream.write_all(b"gun").await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(writer.try_send_frames(&frames), Delivery::Written);
        writer.start_close(CloseCode::NORMAL);
        assert_eq!(writer.try_send_frames(&frames), Delivery::Refused);
        for expected in ["begun", "1", "x", "1"] {
            let message = soon(client_reader.recv()).await.unwrap().unwrap();
            assert_eq!(message.as_text(), Some(expected));
        }
        assert!(soon(client_reader.recv()).await.is_none());
    }
}
