//! Polls and long polls of several channels.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::select_all;
use http::StatusCode;
use http::header::{CONTENT_TYPE, VARY};
use sockeye_hub::{Budget, ChannelName, Hub, Loaded, Page, Reader, Start};
use tokio::time::sleep;

use super::{Reading, first_turn, has_been_told, pages};
use crate::app::App;
use crate::auth::Caller;
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::http::body::Segments;
use crate::http::composite::Composite;
use crate::http::conditional::{Known, composite_headers};
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::representation::VARY_ON;
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::metrics::connections::ChannelRead;
use crate::transport::Transport;
use crate::transports::poll::{MAX_BYTES, close, come_back, length, prefer_applied};
use crate::transports::unread::counted;
use crate::transports::{encode, presence};

/// `HEAD`: the position to subscribe after.
pub(crate) fn position(app: &App, channels: &[ChannelName]) -> Answer {
    let at = Composite(channels.iter().map(|channel| app.hub.position(channel)).collect());
    let headers = [(CONTENT_TYPE, "application/json"), (VARY, VARY_ON)];
    (composite_headers(&at), headers).into()
}

/// `GET`: the messages, oldest first in each channel, now or as soon as there are some.
pub(crate) fn messages(
    app: &App,
    reading: Reading,
    caller: Caller,
    request: Request,
    loaded: Vec<Option<Loaded>>,
) -> Result<Answer, Problem> {
    let limit = query::limit(request.uri())?.max(reading.channels.len());
    let budget = Budget::entries(limit).bytes(MAX_BYTES);
    let known = Known::by(request.headers());
    let wait = query::wait(&request)?;
    if wait.is_some() || query::has_presence(request.uri())? {
        for channel in &reading.channels {
            presence::stay(app, channel, &request, wait.unwrap_or_default());
        }
    }
    let stream_budget = StreamBudget::of(&request);
    let Some(wait) = wait else {
        return Ok(now(app, reading, budget, known, (stream_budget, loaded)));
    };
    let peer = app.limits.stay(Peer::of(&request), &caller)?;
    drop(request);
    let count = reading.channels.len();
    let starts = reading.starts.or_else(|| known.starts(count));
    let starts = starts.unwrap_or_else(|| vec![Start::Now; count]);
    let record = app.register.begin(Transport::LongPoll, caller.id(), peer);
    let begin = |(channel, start): (&ChannelName, &Start)| app.hub.subscribe(channel, *start);
    let mut readers: Vec<_> = reading.channels.iter().zip(&starts).map(begin).collect();
    let reads: Vec<_> =
        readers.iter().zip(&starts).map(|(reader, start)| record.reads(reader, *start)).collect();
    let (guard, disconnected) = (app.drain.guard(), record.disconnected());
    Ok(Answer::defer(async move |left| {
        let mut response = tokio::select! {
            biased;
            ended = caller.ends(&reading.channels) => {
                record.ends(End::Expired);
                return ended.problem().into_response();
            }
            () = disconnected => {
                record.ends(End::Disconnected);
                close(nothing(&readers, &known))
            }
            () = news(&readers) => {
                gather(&mut readers, &reads, budget, (&known, &stream_budget)).await
            }
            () = guard.close_at() => {
                record.ends(End::Drain);
                come_back(nothing(&readers, &known), guard.retry())
            }
            () = sleep(wait) => nothing(&readers, &known),
            () = left.told() => nothing(&readers, &known),
        };
        prefer_applied(&mut response, wait);
        counted(response, record.metrics())
    }))
}

/// Waits for what the client does not know. An end that it was told of is nothing new while another channel goes on;
/// if it was told of all ends, it is told of them again at once, as of that of one channel.
async fn news(readers: &[Reader]) {
    if !readers.iter().all(has_been_told) {
        select_all(readers.iter().map(|reader| Box::pin(reader.readable_beyond_end()))).await;
    }
}

/// What the readers have now.
async fn gather(
    readers: &mut [Reader],
    reads: &[ChannelRead],
    budget: Budget,
    (known, stream_budget): (&Known, &StreamBudget),
) -> Response {
    let channels: Vec<_> = readers.iter().map(|reader| reader.channel().clone()).collect();
    let make = || {
        let first = first_turn(readers.iter().map(Reader::position), readers.len());
        let pages = pages((readers.len(), first), budget, |index, part| {
            let reader = &mut readers[index];
            reader.try_next_page(part).unwrap_or_else(|| Page::empty(reader.position()))
        });
        for (page, read) in pages.iter().zip(reads) {
            read.delivered(page, payloads(page));
        }
        answer(&channels, &pages, known)
    };
    stream_budget.make(make, length).await
}

fn payloads(page: &Page) -> usize {
    page.entries.iter().map(|entry| entry.payload.as_bytes().len()).sum()
}

/// The response that does not wait for messages.
fn now(
    app: &App,
    reading: Reading,
    budget: Budget,
    known: Known,
    (stream_budget, loaded): (StreamBudget, Vec<Option<Loaded>>),
) -> Answer {
    let (hub, metrics) = (app.hub.clone(), std::sync::Arc::clone(&app.metrics));
    let read = move || {
        // Until they have been read, the hub does not let go of them.
        let _loaded = &loaded;
        let count = reading.channels.len();
        let starts = reading.starts.as_deref();
        let after = |start: &Start| match start {
            Start::After(position) => Some(*position),
            _ => None,
        };
        let first = first_turn(starts.into_iter().flatten().filter_map(after), count);
        let pages = pages((count, first), budget, |index, part| {
            let start = starts.map(|starts| starts[index]);
            let page = page(&hub, &reading.channels[index], start, part);
            metrics.polled(start.unwrap_or(Start::Last(0)), &page, payloads(&page));
            page
        });
        counted(answer(&reading.channels, &pages, &known), &metrics)
    };
    match stream_budget.is_limited() {
        true => Answer::defer(async move |_| stream_budget.make(read, length).await),
        false => read().into(),
    }
}

fn page(hub: &Hub, channel: &ChannelName, start: Option<Start>, budget: Budget) -> Page {
    match start {
        Some(start) => hub.read_within(channel, start, budget),
        None => hub.read_newest(channel, budget),
    }
}

/// The pages, unless the client has them already.
fn answer(channels: &[ChannelName], pages: &[Page], known: &Known) -> Response {
    let at = Composite(pages.iter().map(|page| page.at).collect());
    let has_news = pages.iter().any(|page| page.gap.is_some() || page.end);
    if !has_news && known.includes(&format!("\"{at}\"")) {
        return (StatusCode::NOT_MODIFIED, composite_headers(&at), [(VARY, VARY_ON)])
            .into_response();
    }
    let headers = [(CONTENT_TYPE, "application/json"), (VARY, VARY_ON)];
    (composite_headers(&at), headers, Body::new(json(channels, pages, &at))).into_response()
}

/// `{"at":…,"messages":[{"ch":…,…}],"gaps":[{"ch":…,"gap":{…}}],"ends":[{"ch":…,"at":…,"end":true}],"end":true}`
fn json(channels: &[ChannelName], pages: &[Page], at: &Composite) -> Segments {
    let mut body = Segments::default();
    body.push(format!("{{\"at\":\"{at}\",\"messages\":["));
    let each = || channels.iter().zip(pages);
    let messages =
        each().flat_map(|(channel, page)| page.entries.iter().map(move |it| (channel, it)));
    for (index, (channel, entry)) in messages.enumerate() {
        if index > 0 {
            body.push(",");
        }
        body.push(encode::v1(channel, entry));
    }
    body.push("]");
    let gaps: Vec<_> = each()
        .filter_map(|(channel, page)| Some(super::gap(channel, page.gap.as_ref()?)))
        .collect();
    if !gaps.is_empty() {
        body.push(format!(",\"gaps\":[{}]", gaps.join(",")));
    }
    let ends: Vec<_> = each()
        .filter(|(_, page)| page.end)
        .map(|(channel, page)| super::end(channel, page.at))
        .collect();
    if !ends.is_empty() {
        body.push(format!(",\"ends\":[{}]", ends.join(",")));
    }
    body.push(if ends.len() == pages.len() { encode::END_MEMBER } else { "" });
    body.push("}");
    body
}

/// The response to a poll for which nothing came.
fn nothing(readers: &[Reader], known: &Known) -> Response {
    let pages: Vec<_> = readers.iter().map(|reader| Page::empty(reader.position())).collect();
    let channels: Vec<_> = readers.iter().map(|reader| reader.channel().clone()).collect();
    answer(&channels, &pages, known)
}
