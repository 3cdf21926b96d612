//! The answer of a language model, token by token, which a reload of the page and a restart of the channel server do
//! not lose. (The model is simulated: it has one answer to everything.)
//!
//!     cargo run -p sockeye-examples --example answer
//!
//! Open <http://127.0.0.1:3000/>, ask, reload the page in the middle of the answer, restart the channel server.
//!
//! Each answer is a channel. The model publishes to it with the client of channels, each token under a key of its own, so
//! that it is there once however often it is sent, and then ends the channel. The page reads it with the browser's
//! `EventSource`, from the beginning. The channels are kept on disk.

use std::{error::Error, path::PathBuf, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    extract::State,
    response::Html,
    routing::{get, post},
};
use sockeye_client::Client;
use sockeye_server::{ChannelOptions, Listen, Server, ServerOptions};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify, time::sleep};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const PAGE: &str = include_str!("page.html");
const ANSWER: &str = "They go back to the gravel where they hatched: its smell has stayed with them through years at \
    sea. There the water is cold and rich in oxygen, and few hunters follow, so that what they lay has a chance. They stop \
    eating on the way, and what is left of them feeds the brook that their young will leave in spring.";

#[tokio::main]
async fn main() -> Outcome {
    let folder = std::env::temp_dir().join("sockeye-answers");
    let pages = TcpListener::bind("127.0.0.1:3000").await?;
    println!("open http://127.0.0.1:3000/; the channels are in {}", folder.display());
    serve(pages, "127.0.0.1:3001", folder, Duration::from_millis(120)).await
}

/// Serves the page on this listener and channels at that address, and has the model take this long for a token.
pub(crate) async fn serve(
    pages: TcpListener,
    channels: &str,
    data: PathBuf,
    pace: Duration,
) -> Outcome {
    let restart = Arc::new(Notify::new());
    let origin = format!("http://{}", pages.local_addr()?);
    let options = ServerOptions::default()
        .listen([channels.parse::<Listen>()?])
        .admin(None)
        .drain(Duration::from_secs(1))
        .channels(ChannelOptions::default().data(data).allow_origin([origin.parse()?]));
    let stop = Arc::clone(&restart);
    thread::spawn(move || {
        if let Err(error) = serve_channels(&options, &stop) {
            eprintln!("no channels: {error}");
        }
    });
    let client = Client::new(format!("http://{channels}/"))?;
    let page = PAGE.replace("CHANNELS", &format!("http://{channels}"));
    let app = Router::new()
        .route("/", get(async move || Html(page)))
        .route("/ask", post(ask))
        .route("/restart", post(async move || restart.notify_one()))
        .with_state((client, pace));
    Ok(axum::serve(pages, app).await?)
}

/// Serves channels until it is told to restart, and then once more: as another process would, with another runtime.
fn serve_channels(options: &ServerOptions, restart: &Notify) -> Outcome {
    loop {
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            Server::bind(options.clone()).await?.run_until(restart.notified()).await?;
            Outcome::Ok(())
        })?;
    }
}

/// Begins an answer, and gives its id.
async fn ask(State((client, pace)): State<(Client, Duration)>, question: String) -> String {
    println!("asked: {question}");
    let mut id = [0; 8];
    getrandom::fill(&mut id).expect("the system has randomness");
    let id = format!("{:016x}", u64::from_ne_bytes(id));
    tokio::spawn(answer(client, id.clone(), pace));
    id
}

/// The model.
async fn answer(client: Client, id: String, pace: Duration) {
    let channel = format!("answer-{id}");
    for (number, token) in ANSWER.split_inclusive(' ').enumerate() {
        sleep(pace).await;
        let key = format!("{id}-{number}");
        // The client repeats what breaks for some seconds; the server may be away for longer.
        while let Err(error) = client.publish(&*channel, token).key(&*key).await {
            eprintln!("token {number}: {error}");
            if error.code().is_some() {
                // The server refuses it, and will again.
                return;
            }
        }
    }
    if let Err(error) = client.end(&channel).await {
        eprintln!("the end: {error}");
    }
}
