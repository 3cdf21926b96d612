//! The table of paths, and a file for each resource.
//!
//! - [`middleware`], [`preflight`]: what every request passes: limits, origin rules, CORS, the caller.
//! - [`channel`]: a channel, at `/c/{channel}`, of which [`publish`] is `POST` and [`websocket`] the handshake.
//! - [`websocket`]: also `/connect`; chooses plain payloads or `sockeye.v1`.
//! - [`several`]: several channels, at `/c/a,b,c`.
//! - [`message`]: one message of it, at `/c/{channel}?at=`.
//! - [`bulk`]: many messages by one request, at `/publish` and at `/c/{channel}`.
//! - [`presence`]: the members of a channel, at `/c/{channel}/presence`.
//! - [`tickets`]: tickets for tokens, by `POST /tickets`.
//! - `console`: the console at `/`, its files, and the browser client, of the feature `console`.
//! - [`admin`]: for operators, `/healthz`, `/readyz`, `/metrics`, `/connections`, `/channels`, `/disconnect`, on an address of their own;
//!   [`cluster`]: `/cluster` there; [`tap`]: what passes on a channel or a connection.

pub(crate) mod admin;
pub(crate) mod bulk;
pub(crate) mod channel;
pub(crate) mod cluster;
#[cfg(feature = "console")]
pub(crate) mod console;
mod deciding;
pub(crate) mod message;
pub(crate) mod middleware;
pub(crate) mod preflight;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod revoke;
pub(crate) mod several;
pub(crate) mod tap;
pub(crate) mod tickets;
pub(crate) mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::routing::any;
use http::Method;
use sockeye_hub::ChannelName;

use crate::app::App;
use crate::conn::answer::{Answer, AnswerFuture, Handler};
use crate::http::problem::{Code, Problem};

/// What is at a path.
#[derive(Clone, Copy, Debug)]
enum Resource {
    #[cfg(feature = "console")]
    Front,
    #[cfg(feature = "console")]
    File(&'static console::File),
    Channel,
    Presence,
    Connect,
    Publish,
    Tickets,
}

impl Resource {
    /// Whether it is none of the console's.
    fn is_of_channels(&self) -> bool {
        match self {
            #[cfg(feature = "console")]
            Self::Front | Self::File(_) => false,
            _ => true,
        }
    }
}

/// The paths. axum matches them as [`RouteTable`] does, with the same crate.
fn paths() -> impl Iterator<Item = (&'static str, Resource)> {
    let paths = [
        ("/c/{channel}", Resource::Channel),
        ("/c/{channel}/presence", Resource::Presence),
        ("/connect", Resource::Connect),
        ("/publish", Resource::Publish),
        ("/tickets", Resource::Tickets),
    ];
    let paths = paths.into_iter();
    #[cfg(feature = "console")]
    let paths = paths
        .chain([("/", Resource::Front)])
        .chain(console::FILES.iter().map(|file| (file.path, Resource::File(file))));
    paths
}

/// The routes of a [`Server`](crate::Server). axum's router is not used there: its handlers return
/// responses, and these [answers](crate::conn::answer).
pub(crate) struct RouteTable {
    app: Arc<App>,
    paths: matchit::Router<Resource>,
}

impl RouteTable {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let mut table = matchit::Router::new();
        for (path, resource) in paths() {
            table.insert(path, resource).expect("no two paths are alike");
        }
        Self { app, paths: table }
    }
}

impl Handler for RouteTable {
    fn answer(&self, request: Request) -> AnswerFuture {
        let found = self.paths.at(request.uri().path()).ok().map(|found| Found {
            resource: *found.value,
            channel: found.params.get("channel").and_then(|name| {
                let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
                Some(name.into_owned())
            }),
        });
        let (app, is_head) = (Arc::clone(&self.app), *request.method() == Method::HEAD);
        let request = Box::new(request);
        Box::pin(async move {
            let answer = answer(app, found, request).await;
            // axum's router does it for its own responses, after it has looked at their length.
            if is_head { answer.map(middleware::without_body) } else { answer }
        })
    }
}

/// The same routes for a program with a listener of its own: what it awaits is the response.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let router = axum_router(app, |_| true);
    let app = Arc::clone(app);
    router.fallback(move |request: Request| {
        let answering = Box::pin(answer(Arc::clone(&app), None, Box::new(request)));
        async move { answering.await.response().await }
    })
}

/// Of these routes those of channels.
pub(crate) fn api_router(app: &Arc<App>) -> Router {
    axum_router(app, Resource::is_of_channels)
}

fn axum_router(app: &Arc<App>, includes: impl Fn(&Resource) -> bool) -> Router {
    let mut router = Router::new();
    for (path, resource) in paths().filter(|(_, resource)| includes(resource)) {
        let app = Arc::clone(app);
        let handler = move |path: Result<RawPathParams, RawPathParamsRejection>,
                            request: Request| {
            let channel = path.ok().and_then(|path| {
                // The last: a program may have the same word in the path that it nests this at.
                let names = path.iter().filter(|(parameter, _)| *parameter == "channel");
                names.last().map(|(_, name)| name.to_owned())
            });
            let found = Some(Found { resource, channel });
            let answering = Box::pin(answer(Arc::clone(&app), found, Box::new(request)));
            async move { answering.await.response().await }
        };
        router = router.route(path, any(handler));
    }
    router
}

/// What a path names.
struct Found {
    resource: Resource,
    /// The name of the channel in it, unless that does not decode to UTF-8.
    channel: Option<String>,
}

impl Found {
    /// Whether it is several channels: no name has a comma in it.
    fn names_several(&self) -> bool {
        self.channel.as_deref().is_some_and(|names| names.contains(','))
    }

    fn channel(&self) -> Result<ChannelName, Problem> {
        // A name that does not decode is as invalid as one with a space in it.
        let name = self.channel.as_deref().unwrap_or("%");
        name.parse().map_err(|wrong| Problem::new(Code::BadChannel, wrong))
    }
}

/// Answers a request for what its path names, if the middleware lets it through.
///
/// The request is in a box, so that the futures of the layers, which hand it on, have no room for it, twice each. What
/// answers is allocated in pieces (the outermost layer, those below it, what a channel does, a publication), for a thread has
/// allocations of less than a KiB at hand.
async fn answer(app: Arc<App>, found: Option<Found>, request: Box<Request>) -> Answer {
    let routes = Arc::clone(&app);
    let next =
        async move |request| dispatch(&routes, found, request).await.unwrap_or_else(Answer::from);
    middleware::guard(app, request, next).await
}

async fn dispatch(
    app: &Arc<App>,
    found: Option<Found>,
    request: Box<Request>,
) -> Result<Answer, Problem> {
    let Some(found) = found else { return Err(Problem::not_found()) };
    match found.resource {
        #[cfg(feature = "console")]
        Resource::Front => console::front(&request),
        #[cfg(feature = "console")]
        Resource::File(file) => file.answer(&request),
        Resource::Channel if found.names_several() => {
            let names = found.channel.as_deref().unwrap_or_default();
            Box::pin(several::answer(app, names, *request)).await
        }
        Resource::Channel => Box::pin(channel::answer(app, found.channel()?, request)).await,
        Resource::Presence => Box::pin(presence::answer(app, found.channel()?, *request)).await,
        Resource::Connect => websocket::connect(app, *request),
        Resource::Publish => Box::pin(bulk::answer(app, *request)).await,
        Resource::Tickets => Box::pin(tickets::answer(app, *request)).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::Channels;

    /// What is larger the allocator looks for at length, and joins with what is free beside it, for each request.
    const MAX_PIECE: usize = 1024;

    #[test]
    fn what_answers_a_request_is_allocated_in_pieces_of_less_than_a_kib() {
        let channels = Channels::builder().build().unwrap();
        let (app, name) = (channels.shared(), "news".parse::<ChannelName>().unwrap());
        let request = || Request::post("/c/news").body(Body::empty()).unwrap();
        let layers = size_of_val(&*RouteTable::new(Arc::clone(&app)).answer(request()));
        let of_channel = size_of_val(&channel::answer(&app, name.clone(), Box::new(request())));
        let publishing = size_of_val(&publish::post(&app, &name, Box::new(request())));
        let requester = app.limits.requester(&request()).unwrap();
        let routes = Arc::clone(&app);
        let next = async move |request| {
            dispatch(&routes, None, request).await.unwrap_or_else(Answer::from)
        };
        let checks = middleware::check_and_run(&app, requester, Box::new(request()), next);
        let pieces = [layers, size_of_val(&checks), of_channel, publishing];
        assert!(pieces.iter().all(|piece| *piece < MAX_PIECE), "{pieces:?}");
    }
}
