//! A dashboard of ten thousand devices: each page says which of them it follows, gets their last states at once, and then
//! what changes.
//!
//!     cargo run -p sockeye-examples --example devices
//!
//! Open <http://127.0.0.1:3000/> in several tabs.
//!
//! A page needs no more than `new WebSocket(url)`, `send(JSON.stringify({ type: 'pump', from: 0, count: 50 }))` and
//! `JSON.parse(event.data)`. Changes go through one channel for each type: a page that is slow to read gets a gap, and
//! then the last states once more, and costs no copies.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{Html, Response},
    routing::{any, get},
};
use serde::{Deserialize, Serialize};
use sockeye::{Upgrade, WebSocket};
use sockeye_hub::{ChannelName, Hub, Item, Options, Publication, Reader, Start};
use tokio::{net::TcpListener, time};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const PAGE: &str = include_str!("page.html");
const TYPES: [&str; 4] = ["pump", "valve", "meter", "lamp"];
/// How many there are of each type.
const OF_A_TYPE: usize = 2_500;
/// How many change at a time.
const CHANGES: usize = 50;

/// The state of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Device {
    r#type: String,
    number: usize,
    value: i64,
    /// The number of its last change, of all changes of its type; 0 before the first.
    change: usize,
}

/// What a page wants to follow.
#[derive(Debug, Deserialize)]
struct Params {
    r#type: String,
    /// The first device.
    #[serde(default)]
    from: usize,
    #[serde(default = "all")]
    count: usize,
}

fn all() -> usize {
    OF_A_TYPE
}

/// The devices, and the channels of their changes.
#[derive(Clone)]
pub(crate) struct Devices {
    hub: Hub,
    states: Arc<Mutex<BTreeMap<&'static str, Vec<Device>>>>,
}

#[tokio::main]
async fn main() -> Outcome {
    let devices = Devices::new();
    tokio::spawn(devices.clone().simulate(Duration::from_millis(100)));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    Ok(axum::serve(listener, app(devices)).await?)
}

pub(crate) fn app(devices: Devices) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/devices", any(enter))
        .with_state(devices)
}

async fn enter(State(devices): State<Devices>, upgrade: Upgrade) -> Response {
    upgrade.on_upgrade(|socket| async move {
        // How a page's connection ends concerns no other.
        let _ = devices.follow(socket).await;
    })
}

impl Devices {
    pub(crate) fn new() -> Self {
        let device = |name: &str, number| {
            let r#type = name.to_owned();
            Device { r#type, number, value: 0, change: 0 }
        };
        let all = |name| (0..OF_A_TYPE).map(|number| device(name, number)).collect();
        let states = TYPES.map(|name| (name, all(name)));
        let hub = Hub::new(Options::default());
        Self { hub, states: Arc::new(Mutex::new(states.into())) }
    }

    /// Serves a page: it may say again and again what it follows.
    async fn follow(&self, mut socket: WebSocket) -> Outcome {
        let mut following: Option<Following> = None;
        loop {
            tokio::select! {
                received = socket.recv() => {
                    let Some(received) = received else { return Ok(()) };
                    match self.begin(received?.as_bytes()) {
                        Ok((begun, states)) => {
                            following = Some(begun);
                            socket.send(states).await?;
                        }
                        Err(wrong) => socket.send(serde_json::json!({ "error": wrong.to_string() }).to_string()).await?,
                    }
                }
                news = next(&mut following) => {
                    let Some(following) = &mut following else { continue };
                    let states = match news {
                        Item::Entry(entry) => following.changed(entry.payload.as_bytes())?,
                        // It was too slow for the history of the channel.
                        Item::Gap(_) | Item::End(_) => self.states(following)?,
                    };
                    if let Some(states) = states {
                        socket.send(states).await?;
                    }
                }
            }
        }
    }

    /// Begins to follow what the params name, and gives the last states: what changes from here on is read from the channel.
    fn begin(&self, params: &[u8]) -> Outcome<(Following, String)> {
        let params: Params = serde_json::from_slice(params)?;
        let reader = self.hub.subscribe(&channel(&params.r#type)?, Start::Now);
        let mut following = Following { params, reader, known: 0 };
        let states = self.states(&mut following)?.ok_or("there is no such type")?;
        Ok((following, states))
    }

    /// The last states of what is followed.
    fn states(&self, following: &mut Following) -> Outcome<Option<String>> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let Params { r#type, from, count } = &following.params;
        let Some(devices) = states.get(&**r#type) else { return Ok(None) };
        let some: Vec<_> = devices.iter().skip(*from).take(*count).collect();
        following.known = devices.iter().map(|device| device.change).max().unwrap_or_default();
        Ok(Some(serde_json::to_string(&some)?))
    }

    /// Has some devices of each type change, again and again.
    pub(crate) async fn simulate(self, pace: Duration) -> Outcome {
        let mut ticks = time::interval(pace);
        for round in 0.. {
            ticks.tick().await;
            for name in TYPES {
                let changed = self.change(name, round);
                let json = serde_json::to_string(&changed)?;
                self.hub.publish(&channel(name)?, Publication::text(&json)).await?;
            }
        }
        Ok(())
    }

    fn change(&self, name: &str, round: usize) -> Vec<Device> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(devices) = states.get_mut(name) else { return Vec::new() };
        let mut changed = Vec::with_capacity(CHANGES);
        for change in round * CHANGES..(round + 1) * CHANGES {
            // Each comes once before one comes again: 997 and 2500 have no factor in common.
            let device = &mut devices[change * 997 % OF_A_TYPE];
            (device.value, device.change) = (device.value + 1, change + 1);
            changed.push(device.clone());
        }
        changed
    }
}

/// What a page follows.
struct Following {
    params: Params,
    reader: Reader,
    /// The number of the last change that it has.
    known: usize,
}

impl Following {
    /// Of what has changed, what the page follows and does not have.
    fn changed(&self, json: &[u8]) -> Outcome<Option<String>> {
        let Params { from, count, .. } = self.params;
        let mut changed: Vec<Device> = serde_json::from_slice(json)?;
        let known = self.known;
        changed.retain(|device| {
            let is_followed = device.number >= from && device.number - from < count;
            is_followed && device.change > known
        });
        Ok(if changed.is_empty() { None } else { Some(serde_json::to_string(&changed)?) })
    }
}

/// What comes next of what is followed.
async fn next(following: &mut Option<Following>) -> Item {
    match following {
        Some(following) => following.reader.next().await,
        None => std::future::pending().await,
    }
}

/// The channel of the changes of a type.
fn channel(name: &str) -> Outcome<ChannelName> {
    Ok(format!("devices:{name}").parse()?)
}
