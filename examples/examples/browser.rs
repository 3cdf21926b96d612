//! A page's script beside its twin in Rust: the same names, events and order.
//!
//!     cargo run -p sockeye-examples --example browser [URL]
//!
//! Without a URL it talks to the example `echo_server`, which must be running.

use std::error::Error;

use sockeye::web::{BinaryType, EventListener, ListenerOptions, WebSocket};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());
    talk(&url, |line| println!("{line}")).await
}

pub(crate) async fn talk(
    url: &str,
    print: impl Fn(String) + Clone + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    // A promise that the last event resolves.
    let (resolve, closed) = oneshot::channel();
    let resolve = std::sync::Mutex::new(Some(resolve));

    // const socket = new WebSocket(url);
    // Listeners are added in here, so that they miss nothing whatever the other threads do.
    let say = print.clone();
    let socket = WebSocket::new_with(url, (), |socket| {
        // socket.binaryType = "arraybuffer";
        socket.set_binary_type(BinaryType::ArrayBuffer);

        // socket.onopen = () => { socket.send("hello"); socket.send(new Uint8Array([1, 2, 3])); };
        // The socket is taken from the event: a listener that captured it would keep it for ever.
        socket.set_onopen(|event| {
            let socket = event.target();
            let sent = socket.send("hello").and_then(|()| socket.send(vec![1, 2, 3]));
            sent.expect("it is open");
        });

        // socket.addEventListener("message", (event) => console.log(event.data), { once: true });
        let print = say.clone();
        let first = EventListener::new(move |event| print(format!("the first: {}", event.name())));
        socket.add_event_listener_with("message", &first, ListenerOptions::default().once());

        // socket.onmessage = (event) => { … socket.close(1000, "done"); };
        let print = say.clone();
        socket.set_onmessage(move |event| match event.data().as_array_buffer() {
            None => print(format!("text: {}", event.data())),
            Some(bytes) => {
                print(format!("bytes: {:?}", &bytes[..]));
                event.target().close(1000, "done").expect("1000 is a code for applications");
            }
        });

        // socket.onerror = () => console.log("error");
        let print = say.clone();
        socket.set_onerror(move |_| print("error".to_owned()));

        // socket.onclose = (event) => resolve(event.code);
        socket.set_onclose(move |event| {
            say(format!("closed: {} {:?} {}", event.code(), event.reason(), event.was_clean()));
            if let Ok(mut resolve) = resolve.lock()
                && let Some(resolve) = resolve.take()
            {
                let _ = resolve.send(event.code());
            }
        });
    })?;

    closed.await?;
    // What a page is never told.
    if let Some(cause) = socket.last_error() {
        print(format!("because {cause}"));
    }
    Ok(())
}
