//! The examples `embedded` and `subscriber`: channels in a program of one's own, and a subscriber whose
//! connections are cut.

#[path = "../examples/embedded.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod embedded;
#[path = "../examples/subscriber.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod subscriber;

use std::net::SocketAddr;

use sockeye::connect;
use sockeye_hub::{ChannelName, Hub, Publication};
use sockeye_server::{Channels, ClientAddresses};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The example's server, and its channels.
async fn serve() -> Result<(SocketAddr, Channels), Box<dyn std::error::Error>> {
    let channels = Channels::builder().client_addresses(ClientAddresses::ConnectInfo).build()?;
    let app = embedded::app(&channels).into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, channels))
}

/// Passes connections on, and ends all of them whenever it is told to.
async fn passage(to: SocketAddr) -> std::io::Result<(SocketAddr, broadcast::Sender<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (cut, _) = broadcast::channel(1);
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.subscribe();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                tokio::select! {
                    passed = copy_bidirectional(&mut near, &mut far) => drop(passed?),
                    _ = cuts.recv() => {}
                }
                Ok::<(), std::io::Error>(())
            });
        }
    });
    Ok((address, cut))
}

async fn publish(hub: &Hub, text: &str) -> Outcome {
    let channel: ChannelName = "chat".parse()?;
    hub.publish(&channel, Publication::text(text)).await?;
    Ok(())
}

#[tokio::test]
async fn what_the_program_publishes_its_clients_receive() -> Outcome {
    let (address, channels) = serve().await?;
    let mut socket = connect(format!("ws://{address}/live/c/ticks?after=earliest")).await?;
    tokio::spawn(embedded::tick(channels.hub().clone(), "ticks".parse()?));
    assert_eq!(socket.recv().await.transpose()?, Some("tick 0".into()));
    assert_eq!(socket.recv().await.transpose()?, Some("tick 1".into()));
    Ok(())
}

#[tokio::test]
async fn a_subscriber_misses_nothing_though_its_connections_are_cut() -> Outcome {
    let (address, channels) = serve().await?;
    let (through, cut) = passage(address).await?;
    let (sender, mut lines) = mpsc::unbounded_channel();
    let channel = format!("ws://{through}/live/c/chat");
    let reading = subscriber::subscribe(channel, move |line| drop(sender.send(line)));
    let publishing = async {
        // It begins with what is new when its first connection is open.
        while channels.hub().figures().readers == 0 {
            tokio::task::yield_now().await;
        }
        for round in 0..3 {
            for number in 0..3 {
                let text = format!("{round}.{number}");
                publish(channels.hub(), &text).await?;
                assert_eq!(lines.recv().await, Some(text));
            }
            cut.send(())?;
            publish(channels.hub(), "published while it is away").await?;
            // The message may still have come before the end.
            let (one, other) = (lines.recv().await, lines.recv().await);
            let mut both = [one.unwrap_or_default(), other.unwrap_or_default()];
            both.sort();
            assert!(both[0].starts_with("no connection: "), "{both:?}");
            assert_eq!(both[1], "published while it is away");
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    tokio::select! {
        ended = reading => ended,
        done = publishing => done,
    }
}
