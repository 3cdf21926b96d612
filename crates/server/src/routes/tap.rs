//! Taps on the address for operators: `/channels/{name}/tap` and `/connections/{id}/tap` show what passes, as
//! NDJSON or Server-Sent Events; `/tap` is a page for browsers that lists both and shows one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::Uri;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use serde_json::{Value, json};
use sockeye_hub::{Budget, ChannelName, GapReason, Page, Reader, Start};
use tokio::time::{Instant, Interval};

use crate::app::App;
use crate::http::accept;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::metrics::connections::{NotTapped, Tapping};
use crate::routes::admin::PAGE_POLICY;
use crate::tap::{DEFAULT_DATA, MAX_DATA, MAX_WAIT, Tap, event, max_taps};
use crate::transport::Transport;
use crate::transports::stream::{ACCEL_BUFFERING, Form, heartbeat};

/// What a tap takes from the log at once.
const AT_ONCE: Budget = Budget::entries(64).bytes(64 << 10);

/// The page and its files.
const PAGE: &str = include_str!("../../operators/tap.html");
const STYLE: &str =
    concat!(include_str!("../../operators/common.css"), include_str!("../../operators/tap.css"));
const SCRIPT: &str = include_str!("../../operators/tap.js");

/// The routes.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(app: Arc<App>) -> Router<S> {
    let page = (
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)],
        PAGE,
    );
    Router::new()
        .route("/channels/{name}/tap", get(channel))
        .route("/connections/{id}/tap", get(connection))
        .with_state(app)
        .route("/tap", get(async || page))
        .route("/tap.css", get(async || ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/tap.js", get(async || ([(CONTENT_TYPE, "text/javascript")], SCRIPT)))
}

/// Shows what is published on a channel, and which readers come and go.
async fn channel(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let channel: ChannelName =
        name.parse().map_err(|wrong| Problem::new(Code::BadChannel, wrong))?;
    let (form, max_data) = (form(&request)?, max_data(request.uri())?);
    let loaded = app.hub.load(&channel, Start::Now).await;
    let loaded = loaded.map_err(|error| Problem::new(Code::Unavailable, error))?;
    let tap = app.register.tap_channel(&channel, max_data).map_err(|_| too_many())?;
    let reader = app.hub.subscribe(&channel, Start::Now);
    drop(loaded);
    let readers = app.register.readers(std::slice::from_ref(&channel)).await;
    let readers: Value = Transport::ALL
        .iter()
        .zip(readers.first().into_iter().flatten())
        .filter(|(_, count)| **count > 0)
        .map(|(transport, count)| (transport.name().to_owned(), Value::from(*count)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let at = reader.position().to_string();
    let known = json!({"channel": channel.as_str(), "at": at, "readers": readers});
    Ok(stream(app, form, (tap, Some(reader), None), &known))
}

/// Shows what passes on one connection, until that ends.
async fn connection(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (form, max_data) = (form(&request)?, max_data(request.uri())?);
    let not_found = || {
        let detail = "No connection has this id: /connections lists those that are open.";
        Problem::new(Code::NotFound, detail)
    };
    let number = id.parse().map_err(|_| not_found())?;
    let (tap, tapping, known) =
        app.register.tap(number, &app.hub, max_data).map_err(|error| match error {
            NotTapped::NotFound => not_found(),
            NotTapped::TooMany => too_many(),
        })?;
    Ok(stream(app, form, (tap, None, Some(tapping)), &known))
}

/// As `?stream=` says, or else as `Accept` does; lines if both are silent.
fn form(request: &Request) -> Result<Form, Problem> {
    let word = query::parameter(request.uri(), "stream")?;
    match word.as_deref().map(str::parse) {
        Some(Ok(Transport::Sse)) => return Ok(Form::Events),
        Some(Ok(Transport::Ndjson)) => return Ok(Form::Lines),
        Some(_) => return Err(Problem::new(Code::BadRequest, "`stream` is sse or ndjson.")),
        None => {}
    }
    let forms = [Form::Lines, Form::Events];
    let preferred = accept::preferred(request.headers(), &forms.map(Form::content_type));
    let [lines, events] = forms.map(Form::content_type);
    let detail = format_args!("Accept {lines} or {events}.");
    let form = forms.into_iter().find(|form| Some(form.content_type()) == preferred);
    form.ok_or_else(|| Problem::new(Code::NotAcceptable, detail))
}

/// `?data=`: the most bytes of a payload that are shown.
fn max_data(uri: &Uri) -> Result<usize, Problem> {
    Ok(query::number(uri, "data")?.unwrap_or(DEFAULT_DATA).min(MAX_DATA))
}

fn too_many() -> Problem {
    let detail =
        format_args!("There are {} taps, and no more at once: end one of them.", max_taps());
    Problem::new(Code::TooMany, detail)
}

/// Responds with what the tap shows, after what is known of its target.
fn stream(
    app: Arc<App>,
    form: Form,
    (tap, reader, tapping): (Tap, Option<Reader>, Option<Tapping>),
    known: &Value,
) -> Response {
    let live = Live {
        form,
        heartbeat: heartbeat(app.heartbeat),
        draining: Box::pin(async move { app.drain.begun().await }),
        opening: Some(event::tap(&known.to_string())),
        reader,
        tap,
        has_ended: false,
        _tapping: tapping,
    };
    let body = unfold(live, async |mut live| {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    });
    let headers = [(CONTENT_TYPE, form.content_type()), (ACCEL_BUFFERING, "no"), (VARY, "Accept")];
    (headers, Body::from_stream(body)).into_response()
}

/// A tap in progress.
struct Live {
    form: Form,
    tap: Tap,
    /// Reads the channel, if it is one.
    reader: Option<Reader>,
    _tapping: Option<Tapping>,
    /// What is said first.
    opening: Option<String>,
    heartbeat: Interval,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
}

impl Live {
    /// The next bytes to send, as soon as there are any; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(self.text([opening]));
        }
        if self.has_ended {
            return None;
        }
        tokio::select! {
            () = &mut self.draining => {
                self.has_ended = true;
                Some(self.text([event::end("drain")]))
            }
            lines = self.tap.queue().next() => Some(self.text(lines?)),
            page = next_page(self.reader.as_mut()) => {
                let lines = self.page(&page).await;
                Some(self.text(lines))
            }
            _ = self.heartbeat.tick() => Some(self.form.heartbeat()),
        }
    }

    /// What was published, with its publishers as far as they are known.
    async fn page(&mut self, page: &Page) -> Vec<String> {
        let mut lines = Vec::with_capacity(page.entries.len());
        match &page.gap {
            // As of what is queued: the log has more than the operator reads.
            Some(gap) if gap.why == GapReason::Slow => {
                lines.push(event::dropped(gap.next.offset.saturating_sub(gap.after.offset)));
            }
            Some(gap) => lines.push(event::gap("", gap)),
            None => {}
        }
        let (max_data, until) = (self.tap.queue().max_data(), Instant::now() + MAX_WAIT);
        for entry in &page.entries {
            let publisher = self.tap.publisher(entry.position, until).await;
            lines.push(event::message(entry, publisher.as_deref(), max_data));
        }
        if page.end {
            lines.push(event::channel_end(page.at));
        }
        self.has_ended = page.end;
        if self.reader.as_ref().is_some_and(Reader::is_over) && !page.end {
            // The channel's policy ends slow readers, and has ended this one.
            lines.push(event::end("slow"));
            self.has_ended = true;
        }
        lines
    }

    fn text(&self, lines: impl IntoIterator<Item = String>) -> Bytes {
        let mut text = String::new();
        for line in lines {
            let (before, after) = match self.form {
                Form::Lines => ("", "\n"),
                Form::Events | Form::MetaEvents => ("data: ", "\n\n"),
            };
            text.push_str(before);
            text.push_str(&line);
            text.push_str(after);
        }
        text.into()
    }
}

/// What is published next; for ever nothing where no channel is read.
async fn next_page(reader: Option<&mut Reader>) -> Page {
    match reader {
        Some(reader) => reader.next_page(AT_ONCE).await,
        None => std::future::pending().await,
    }
}
