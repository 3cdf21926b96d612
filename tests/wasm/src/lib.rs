//! The program of a page that reads and writes channels by `sockeye-client`: `browser/wasm.test.mjs` has it do so in Chromium.
//!
//! On other targets than WebAssembly it is empty.

#![cfg(target_family = "wasm")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::StreamExt as _;
use serde_json::json;
use sockeye_client::{Client, Item, Publication, Status, Transport};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// A client, what it tells of itself, and how often it asked for a token.
#[wasm_bindgen]
pub struct Page {
    client: Client,
    live: Rc<RefCell<Vec<Transport>>>,
    asked: Rc<Cell<usize>>,
}

/// A subscription.
#[wasm_bindgen]
pub struct Reader(sockeye_client::Subscription);

#[wasm_bindgen]
impl Page {
    /// A client by these transports, with commas between them; the first of the tokens, with commas, then the next when it is asked
    /// for another.
    #[wasm_bindgen(constructor)]
    pub fn new(url: &str, transports: &str, tokens: &str) -> Result<Self, JsError> {
        let (live, asked) = (Rc::<RefCell<Vec<_>>>::default(), Rc::<Cell<usize>>::default());
        let (told, count) = (Rc::clone(&live), Rc::clone(&asked));
        let transports: Result<Vec<Transport>, _> = transports.split(',').map(str::parse).collect();
        let mut builder = Client::builder(url)
            .transports(transports?)
            .poll_interval(std::time::Duration::from_millis(50))
            .on_status(move |status| {
                if let Status::Live { transport } = status {
                    told.borrow_mut().push(*transport);
                }
            });
        let tokens: Vec<String> = tokens.split(',').map(str::to_owned).collect();
        if !tokens[0].is_empty() {
            builder = builder.token_with(move || {
                let number = count.replace(count.get() + 1).min(tokens.len() - 1);
                let token = tokens[number].clone();
                async move { Ok::<_, String>(token) }
            });
        }
        Ok(Self { client: builder.build()?, live, asked })
    }

    /// A subscription to the channel, which has begun.
    pub async fn subscribe(&self, channel: String, after: String) -> Result<Reader, JsError> {
        let mut reader = self.client.subscribe(channel).after(after).presence(false);
        reader.ready().await?;
        Ok(Reader(reader))
    }

    /// Publishes a text, and gives its position.
    pub async fn publish(&self, channel: String, text: String) -> Result<String, JsError> {
        Ok(self.client.publish(channel, text).await?.to_string())
    }

    /// Publishes that many numbers, from one on, in one request.
    pub async fn count(&self, channel: String, to: u32) -> Result<usize, JsError> {
        let numbers = (1..=to).map(|number| Publication::new(&channel, number.to_string()));
        Ok(self.client.publish_all(numbers).await?.into_iter().filter(Result::is_ok).count())
    }

    /// How many listen.
    pub async fn listeners(&self, channel: String) -> Result<f64, JsError> {
        Ok(self.client.members(&channel, None).await?.count as f64)
    }

    /// The transport that worked last.
    pub fn transport(&self) -> Option<String> {
        self.live.borrow().last().map(ToString::to_string)
    }

    /// How often the function for tokens was called.
    pub fn asked(&self) -> usize {
        self.asked.get()
    }
}

#[wasm_bindgen]
impl Reader {
    /// The next item, as JSON.
    pub async fn next(&mut self) -> Result<String, JsError> {
        let item = self.0.next().await.ok_or_else(|| JsError::new("the subscription has ended"))?;
        Ok(match item? {
            Item::Message(message) => json!({ "text": message.text() }),
            Item::Gap(gap) => json!({ "gap": gap.why }),
            Item::End(_) => json!({ "end": true }),
            other => return Err(JsError::new(&format!("not expected: {other:?}"))),
        }
        .to_string())
    }
}
