//! The example `feed`: connections in memory that are cut, and time that passes at once.

#[path = "../examples/feed.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod feed;

use std::{sync::Arc, time::Duration};

use feed::{Feed, follow, serve};
use sockeye::{Client, ConnectError, Incoming, Origins, WebSocket};
use tokio::{io::duplex, time::sleep};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Connects to this feed, in memory; the connection is cut after that many items.
async fn connect(feed: Arc<Feed>, last: u64, cut: u64) -> Result<WebSocket, ConnectError> {
    let (near, far) = duplex(1024);
    tokio::spawn(async move {
        let incoming = Incoming::from_stream(far, Origins::default()).await?;
        serve(incoming, feed, Some(cut)).await
    });
    let client = Client::new(format!("ws://in-memory/feed?after={last}"))?;
    Ok(client.open_over(near).await?.socket)
}

#[tokio::test(start_paused = true)]
async fn whatever_is_cut_each_item_comes_once_and_in_order() -> Outcome {
    const ITEMS: u64 = 500;
    let feed = Arc::new(Feed::default());
    let publisher = feed.clone();
    tokio::spawn(async move {
        for number in 1..=ITEMS {
            publisher.publish(format!("item {number}"));
            sleep(Duration::from_millis(30)).await;
        }
    });
    let (mut next, mut cuts) = (1, 0);
    // Cut after one item, after two, up to nine, and so on.
    let connect = move |last| connect(feed.clone(), last, last % 9 + 1);
    follow(connect, |event| {
        match event {
            Ok((number, text)) => {
                assert_eq!((number, &*text), (next, &*format!("item {next}")));
                next += 1;
            }
            Err(what) => {
                assert!(what.starts_with("no connection: "), "{what}");
                cuts += 1;
            }
        }
        next <= ITEMS
    })
    .await?;
    assert!(cuts > 50, "{cuts}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_too_late_is_told_how_much_it_missed() -> Outcome {
    let feed = Arc::new(Feed::default());
    for number in 1..=1200 {
        feed.publish(format!("item {number}"));
    }
    let mut seen = Vec::new();
    let connect = move |last| connect(feed.clone(), last, 1000);
    follow(connect, |event| {
        seen.push(event);
        seen.len() < 2
    })
    .await?;
    assert_eq!(seen[0], Err("200 items are missing".to_owned()));
    assert_eq!(seen[1], Ok((201, "item 201".into())));
    Ok(())
}
