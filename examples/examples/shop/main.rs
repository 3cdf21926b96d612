//! A shop whose page shows the orders of a customer as they change. The shop's own sessions decide who reads which
//! channel: there are no tokens.
//!
//!     cargo run -p sockeye-examples --example shop
//!
//! Then open http://127.0.0.1:3000/ in a browser, in two windows. What it shows: [README](README.md).

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{COOKIE, SET_COOKIE},
        request::Parts,
    },
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use sockeye_hub::{Json, Publication};
use sockeye_server::{
    AuthorizeError, Authorizer, BuildError, ChannelName, ChannelOptions, Channels, ClientAddresses,
    Decision, Hub, Identified, Right,
};
use tokio::{net::TcpListener, time::sleep};

const PAGE: &str = include_str!("page.html");

/// What becomes of an order.
pub(crate) const STEPS: [&str; 4] = ["ordered", "paid", "packed", "sent"];

/// A page that is open notices within this time that its customer has signed out.
const ASK_AGAIN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::default();
    let channels = channels(&shop)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("the shop is at http://{}/", listener.local_addr()?);
    let app = app(shop, &channels).into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move {
        // Without signals there is no other way to stop it than to stop it now.
        let _ = tokio::signal::ctrl_c().await;
        channels.drain(Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// The channels of the shop: its sessions decide.
pub(crate) fn channels(shop: &Shop) -> Result<Channels, BuildError> {
    let options = ChannelOptions::default().authorizer(shop.clone());
    Channels::builder().options(options).client_addresses(ClientAddresses::ConnectInfo).build()
}

/// The shop's own pages, and the channels below `/live`.
pub(crate) fn app(shop: Shop, channels: &Channels) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/customer", get(customer))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/orders", post(order))
        .with_state(Desk { shop, hub: channels.hub().clone() })
        .nest("/live", channels.api_router())
}

/// The people that are signed in, by the secret of the cookie. A shop has this in its database. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    sessions: Arc<Mutex<HashMap<String, String>>>,
}

/// What the pages of the shop need.
#[derive(Clone)]
struct Desk {
    shop: Shop,
    hub: Hub,
}

impl Shop {
    /// The secret of the cookie, and the customer whose it is.
    fn session(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let lines = headers.get_all(COOKIE).iter().flat_map(|line| line.to_str());
        let cookies = lines.flat_map(|line| line.split("; "));
        let secret = cookies.filter_map(|cookie| cookie.strip_prefix("session=")).next()?;
        let customer = self.sessions().get(secret).cloned()?;
        Some((secret.to_owned(), customer))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that was good when its page came, as the channels know it.
pub(crate) struct Session {
    secret: String,
    customer: String,
}

impl Authorizer for Shop {
    type Session = Session;

    async fn identify(
        &self,
        request: &Parts,
    ) -> Result<Option<Identified<Session>>, AuthorizeError> {
        Ok(self.session(&request.headers).map(|(secret, customer)| {
            let name = customer.clone();
            Identified::new(Session { secret, customer }).subject(name)
        }))
    }

    /// A customer reads the channel of its own orders, as long as it is signed in. Only the shop writes.
    async fn authorize(
        &self,
        Session { secret, customer }: &Session,
        right: Right,
        channel: &ChannelName,
    ) -> Result<Decision, AuthorizeError> {
        let is_signed_in = self.sessions().get(secret) == Some(customer);
        let is_own = channel.as_str() == format!("orders:{customer}");
        let is_allowed = is_signed_in && is_own && right == Right::Read;
        Ok(match is_allowed {
            true => Decision::allow().good_for(ASK_AGAIN),
            false => Decision::refuse(),
        })
    }
}

/// Whose page it is.
async fn customer(State(Desk { shop, .. }): State<Desk>, headers: HeaderMap) -> Response {
    match shop.session(&headers) {
        Some((_, customer)) => customer.into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Signs the customer in who is named in the body. A real shop asks for more than a name.
async fn sign_in(State(Desk { shop, .. }): State<Desk>, name: String) -> Response {
    let is_name = (1..=32).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_lowercase());
    let mut secret = [0; 16];
    if !is_name || getrandom::fill(&mut secret).is_err() {
        return (StatusCode::BAD_REQUEST, "a name is 1 to 32 letters").into_response();
    }
    let secret = u128::from_ne_bytes(secret).to_string();
    shop.sessions().insert(secret.clone(), name);
    let cookie = format!("session={secret}; HttpOnly; SameSite=Lax; Path=/");
    ([(SET_COOKIE, cookie)], "signed in").into_response()
}

/// Signs the customer out: pages that are open stop within [`ASK_AGAIN`].
async fn sign_out(State(Desk { shop, .. }): State<Desk>, headers: HeaderMap) -> Response {
    if let Some((secret, _)) = shop.session(&headers) {
        shop.sessions().remove(&secret);
    }
    let cookie = "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
    ([(SET_COOKIE, cookie)], "signed out").into_response()
}

/// Takes an order, and tells its customer what becomes of it.
async fn order(
    State(Desk { shop, hub }): State<Desk>,
    headers: HeaderMap,
    item: String,
) -> Response {
    let Some((_, customer)) = shop.session(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Ok(channel) = format!("orders:{customer}").parse::<ChannelName>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let position = hub.position(&channel);
    let number = position.offset + 1;
    tokio::spawn(async move {
        for step in STEPS {
            tell(&hub, &channel, number, &item, step).await;
            sleep(Duration::from_millis(700)).await;
        }
    });
    StatusCode::ACCEPTED.into_response()
}

async fn tell(hub: &Hub, channel: &ChannelName, number: u64, item: &str, step: &str) {
    let news = serde_json::json!({ "order": number, "item": item, "step": step }).to_string();
    let Ok(news) = Json::parse(&news) else { return };
    if let Err(error) = hub.publish(channel, Publication::json(news)).await {
        eprintln!("not told: {error}");
    }
}
