//! A client that connects again whenever its connection ends, and says what it does.
//!
//!     cargo run -p sockeye-examples --example reconnect
//!
//! Start it without a server, then start one (`cargo run -- echo`), stop that one, start it again.

use std::error::Error;

use sockeye::{
    Client,
    reconnect::{Down, Event},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut client = Client::new("ws://127.0.0.1:9001/")?.reconnecting().decide(|down| {
        // By default some ends are final: a refusal with 404, a close with 1000. See there.
        Down::decision(down)
    });
    while let Some(event) = client.next_event().await {
        match event {
            Event::Connecting { attempt, delay } => println!("attempt {attempt} in {delay:.1?}"),
            Event::Open => {
                println!("open");
                client.send("hello").await?;
            }
            Event::Message(message) => println!("received {:?}", message.as_text()),
            Event::Down(why) => println!("no connection: {why}"),
            _ => {}
        }
    }
    println!("it has given up");
    Ok(())
}
