//! Requests by `fetch`.

#![allow(
    clippy::needless_pass_by_ref_mut,
    reason = "the interface is that of the connections of a system"
)]

use std::fmt;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use bytes::Bytes;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit,
    RequestRedirect, Response as Answer,
};

use super::Question;
use crate::{endpoint::Endpoint, failure::Failure};

/// What the browser shows of an answer, and is needed.
const SHOWN: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, RETRY_AFTER];

/// Requests; their connections are the browser's.
#[derive(Debug, Default)]
pub struct Http {}

/// What follows the head of an answer. Dropped, it ends the request.
#[derive(Debug)]
pub struct Body {
    reader: Option<ReadableStreamDefaultReader>,
    _request: Request,
}

/// A request, which ends when this is dropped.
#[derive(Debug)]
struct Request(AbortController);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a browser says of something that failed.
#[derive(Debug)]
pub(crate) struct Thrown(String);

impl From<JsValue> for Thrown {
    fn from(thrown: JsValue) -> Self {
        let said = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
        Self(said.or_else(|| thrown.as_string()).unwrap_or_else(|| "the request failed".to_owned()))
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Body {
    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Thrown>> {
        let reader = self.reader.as_ref()?;
        let piece = match JsFuture::from(reader.read()).await {
            Ok(piece) => piece,
            Err(thrown) => return Some(Err(thrown.into())),
        };
        let of_piece = |name: &str| Reflect::get(&piece, &name.into());
        match of_piece("done") {
            Ok(done) if done.is_truthy() => return None,
            Err(thrown) => return Some(Err(thrown.into())),
            Ok(_) => {}
        }
        let bytes = of_piece("value").and_then(JsCast::dyn_into::<Uint8Array>);
        Some(bytes.map(|bytes| Bytes::from(bytes.to_vec())).map_err(Thrown::from))
    }
}

impl Http {
    /// Sends a request, and gives the head of the answer, whatever it is.
    pub(super) async fn send(
        &mut self,
        endpoint: &Endpoint,
        question: &Question<'_>,
    ) -> Result<Response<Body>, Failure> {
        fetch(endpoint, question).await.map_err(|thrown| {
            // A browser tells a program neither why nor whether the server has answered.
            Failure::broken(format!("the browser got no answer: {thrown}"))
        })
    }
}

async fn fetch(endpoint: &Endpoint, question: &Question<'_>) -> Result<Response<Body>, Thrown> {
    let request = Request(AbortController::new()?);
    let headers = Headers::new()?;
    for (name, value) in endpoint.headers().iter().chain(&question.headers) {
        // Those that a page may not set the browser leaves out.
        headers.append(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
    }
    let init = RequestInit::new();
    init.set_method(question.method.as_str());
    init.set_headers(&headers);
    init.set_cache(RequestCache::NoStore);
    init.set_redirect(RequestRedirect::Error);
    init.set_signal(Some(&request.0.signal()));
    if !question.body.is_empty() {
        init.set_body(&Uint8Array::from(&*question.body));
    }
    let url = JsValue::from_str(endpoint.http_url(&question.parameters).as_str());
    // That of a page or a worker.
    let global = js_sys::global();
    let fetch: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
    let answered = Promise::resolve(&fetch.call2(&global, &url, &init)?);
    let answer: Answer = JsFuture::from(answered).await?.dyn_into()?;
    let mut shown = HeaderMap::new();
    for name in SHOWN {
        let value = answer.headers().get(name.as_str())?;
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            shown.insert(name, value);
        }
    }
    // A stream of no other kind than bytes has no other kind of reader.
    let reader = answer.body().map(|body| body.get_reader().unchecked_into());
    let mut response = Response::new(Body { reader, _request: request });
    let status = ::http::StatusCode::from_u16(answer.status());
    *response.status_mut() = status.map_err(|error| Thrown(error.to_string()))?;
    *response.headers_mut() = shown;
    Ok(response)
}
