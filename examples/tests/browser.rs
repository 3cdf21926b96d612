//! The example `browser`: the events, in their order.

#[path = "../examples/browser.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod browser;

use std::sync::mpsc;

use sockeye::{Incoming, Server};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What it prints, with this server.
async fn printed(url: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let (sender, lines) = mpsc::channel();
    browser::talk(url, move |line| drop(sender.send(line))).await?;
    Ok(lines.try_iter().collect())
}

#[tokio::test]
async fn events_come_as_a_page_has_them() -> Outcome {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", server.local_addr()?);
    tokio::spawn(server.run(async |incoming: Incoming| {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    let expected =
        ["the first: message", "text: hello", "bytes: [1, 2, 3]", "closed: 1000 \"done\" true"];
    assert_eq!(printed(&url).await?, expected);
    Ok(())
}

/// A page learns that it failed, and nothing else; the program learns why.
#[tokio::test]
async fn without_a_server_there_is_an_error_and_its_cause() -> Outcome {
    let (address, _) = {
        let server = Server::bind("127.0.0.1:0").await?;
        (server.local_addr()?, drop(server))
    };
    let lines = printed(&format!("ws://{address}/")).await?;
    assert_eq!(lines[..2], ["error", "closed: 1006 \"\" false"]);
    assert!(lines[2].starts_with("because "), "{lines:?}");
    Ok(())
}
