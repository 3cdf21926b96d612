//! A feed whose connections are cut all the time, and a client that misses nothing: it connects again by
//! itself, and goes on after the last item it has.
//!
//!     cargo run -p sockeye-examples --example feed
//!
//! Where a program of your own does not need to do this: `sockeye serve` has such feeds, and the example
//! `subscriber` reads them.

use std::{
    collections::VecDeque,
    error::Error,
    num::ParseIntError,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sockeye::{
    Client, ConnectError, Incoming, Server, Text, WebSocket,
    reconnect::{Event, ReconnectingClient},
};
use tokio::{sync::watch, time::interval};

/// How many items are kept for clients that come back.
const KEPT: usize = 1000;

/// The latest items, numbered from 1.
#[derive(Default)]
pub(crate) struct Feed(watch::Sender<VecDeque<Item>>);

/// An item of the feed, with its number.
pub(crate) type Item = (u64, Text);

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/feed", server.local_addr()?);
    let feed = Arc::new(Feed::default());
    let served = feed.clone();
    // Each connection ends after five items, without a word.
    tokio::spawn(server.run(move |incoming| serve(incoming, served.clone(), Some(5))));
    tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(100));
        for number in 1.. {
            pace.tick().await;
            feed.publish(format!("item {number}"));
        }
    });
    let connect = move |last| {
        let url = format!("{url}?after={last}");
        async { Client::new(url)?.connect().await }
    };
    follow(connect, |event| {
        match event {
            Ok((number, text)) => println!("{number}: {text}"),
            Err(what) => println!("{what}"),
        }
        true
    })
    .await?;
    Ok(())
}

impl Feed {
    /// Adds an item; the oldest one goes where there are too many.
    pub(crate) fn publish(&self, text: impl Into<Text>) {
        self.0.send_modify(|kept| {
            let number = kept.back().map_or(1, |(last, _)| last + 1);
            kept.push_back((number, text.into()));
            if kept.len() > KEPT {
                kept.pop_front();
            }
        });
    }
}

/// The server's side: sends what comes after `?after=N`, each item as its number and its text.
pub(crate) async fn serve(
    incoming: Incoming,
    feed: Arc<Feed>,
    cut_after: Option<u64>,
) -> Result<(), Failed> {
    let after = incoming.query().and_then(|query| query.strip_prefix("after="));
    let mut last: u64 = after.map_or(Ok(0), str::parse)?;
    let mut kept = feed.0.subscribe();
    let mut socket = incoming.accept().await?;
    let end = cut_after.map(|count| last + count);
    loop {
        // An end is noticed at once, not at the next item.
        let items = tokio::select! {
            items = newer(&mut kept, last) => items?,
            _ = socket.ended() => return Ok(()),
        };
        for (number, text) in items {
            // Waits while the client is slow. What it holds up is its own connection: items are kept, not
            // queued, so a client that is too far behind finds numbers missing, and knows.
            socket.send(format!("{number} {text}")).await?;
            last = number;
            if Some(number) == end {
                socket.abort();
                return Ok(());
            }
        }
    }
}

/// The items after this one, as soon as there are any.
async fn newer(
    kept: &mut watch::Receiver<VecDeque<Item>>,
    last: u64,
) -> Result<Vec<Item>, watch::error::RecvError> {
    let is_newer = |(number, _): &Item| *number > last;
    let kept = kept.wait_for(|kept| kept.back().is_some_and(is_newer)).await?;
    Ok(kept.iter().filter(|item| is_newer(item)).cloned().collect())
}

/// The client's side: gives each item once and in order, or says what happened besides, until it is told
/// `false`. `connect` opens a connection that begins after an item.
pub(crate) async fn follow<C, F>(
    connect: C,
    mut take: impl FnMut(Result<Item, String>) -> bool,
) -> Result<(), Failed>
where
    C: Fn(u64) -> F + Send + 'static,
    F: Future<Output = Result<WebSocket, ConnectError>> + Send + 'static,
{
    // A program that is to go on after its own restart writes this down with its work.
    let last = Arc::new(AtomicU64::new(0));
    let resume = last.clone();
    let mut client = ReconnectingClient::new(move || connect(resume.load(Ordering::Relaxed)));
    while let Some(event) = client.next_event().await {
        let goes_on = match event {
            Event::Message(message) => {
                let (number, text) = parse(message.as_text().unwrap_or_default())?;
                let missing = number - last.load(Ordering::Relaxed) - 1;
                if missing > 0 && !take(Err(format!("{missing} items are missing"))) {
                    return Ok(());
                }
                let goes_on = take(Ok((number, text)));
                // Noted after the work is done: what was not done comes again.
                last.store(number, Ordering::Relaxed);
                goes_on
            }
            Event::Down(why) => take(Err(format!("no connection: {why}"))),
            _ => true,
        };
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

fn parse(line: &str) -> Result<Item, ParseIntError> {
    let (number, text) = line.split_once(' ').unwrap_or((line, ""));
    Ok((number.parse()?, text.into()))
}
