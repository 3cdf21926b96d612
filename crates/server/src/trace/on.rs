//! The spans of publications.
//!
//! A publication is a span `publish` of kind SERVER, below the one that the client names by `traceparent` (W3C Trace
//! Context), with an event when the caller's right is known; and below it a span `store`, from the moment the hub has
//! the message until it has its position. Attributes have the names of OpenTelemetry's conventions for messaging.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer};
use opentelemetry::{Context, KeyValue};
use sockeye_hub::{ChannelName, Position};

use crate::http::problem::Code;

/// The header that is passed on with a span, as its client has written it.
const STATE: &str = "tracestate";
/// The longest one that is: W3C Trace Context asks for 512 bytes. Each span that waits has its own.
const MAX_STATE: usize = 512;

/// Makes spans of publications, for [`ChannelOptions::tracer`](crate::ChannelOptions::tracer).
#[derive(Clone)]
pub struct PublicationTracer {
    tracer: Arc<BoxedTracer>,
    propagator: Arc<dyn TextMapPropagator + Send + Sync>,
}

impl fmt::Debug for PublicationTracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicationTracer").finish_non_exhaustive()
    }
}

impl PublicationTracer {
    /// Makes spans by this tracer, below those that the propagator finds in the headers of a request. Danger: clients
    /// choose these headers; with a sampler that follows its parent they choose what is traced.
    pub fn new<T>(tracer: T, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        let tracer = Arc::new(BoxedTracer::new(Box::new(tracer)));
        Self { tracer, propagator: Arc::new(propagator) }
    }
}

/// Makes the spans, if there is something that takes them.
#[derive(Debug)]
pub(crate) struct Traces(pub(crate) Option<PublicationTracer>);

/// The span below which those of a request's publications are, if its client names one.
#[derive(Debug)]
pub(crate) struct TraceParent(Option<Context>);

/// The span of one publication. One that is dropped without an outcome ends so.
#[derive(Debug)]
pub(crate) struct PublicationSpan(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    tracer: Arc<BoxedTracer>,
    /// With the span itself.
    context: Context,
    store: Option<BoxedSpan>,
}

impl Traces {
    /// The span that the headers of a request name.
    pub(crate) fn parent(&self, headers: &HeaderMap) -> TraceParent {
        let extract = |tracer: &PublicationTracer| {
            tracer.propagator.extract_with_context(&Context::new(), &Headers(headers))
        };
        TraceParent(self.0.as_ref().map(extract))
    }

    /// Begins a span of a publication on that channel, which came by `http`, `ws` or `v1`.
    pub(crate) fn begin(
        &self,
        parent: Option<&TraceParent>,
        channel: &ChannelName,
        transport: &'static str,
    ) -> PublicationSpan {
        let Some(PublicationTracer { tracer, .. }) = &self.0 else { return PublicationSpan(None) };
        let parent = parent.and_then(|TraceParent(context)| context.clone()).unwrap_or_default();
        let attributes = [
            KeyValue::new("messaging.system", "sockeye"),
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", channel.to_string()),
            KeyValue::new("sockeye.transport", transport),
        ];
        let span = tracer
            .span_builder("publish")
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(&**tracer, &parent);
        let context = parent.with_span(span);
        PublicationSpan(Some(Box::new(Open { tracer: Arc::clone(tracer), context, store: None })))
    }
}

impl PublicationSpan {
    /// The caller may publish, as far as an authoriser says.
    pub(crate) fn authorized(&self) {
        if let Some(open) = &self.0 {
            open.context.span().add_event("authorized", Vec::new());
        }
    }

    /// The hub has the message, of that many bytes.
    pub(crate) fn stores(&mut self, size: usize) {
        let Some(open) = &mut self.0 else { return };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        open.context.span().set_attribute(KeyValue::new("messaging.message.body.size", size));
        let tracer = &*open.tracer;
        open.store = Some(tracer.span_builder("store").start_with_context(tracer, &open.context));
    }

    /// It has a position, or is refused. A refusal that is the client's fault is not an error of the server.
    pub(crate) fn ends(mut self, outcome: Result<Position, Code>) {
        let Some(mut open) = self.0.take() else { return };
        if let Some(mut store) = open.store.take() {
            store.end();
        }
        let span = open.context.span();
        match outcome {
            Ok(at) => span.set_attribute(KeyValue::new("messaging.message.id", at.to_string())),
            Err(code) => {
                span.set_attribute(KeyValue::new("error.type", code.to_string()));
                if matches!(code, Code::Internal | Code::Unavailable | Code::InsufficientStorage) {
                    span.set_status(Status::error(code.to_string()));
                }
            }
        }
        span.end();
    }
}

/// Headers, as a propagator reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?.to_str().ok()?;
        (key != STATE || value.len() <= MAX_STATE).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_long_tracestate_is_left_out() {
        for (length, is_taken) in [(MAX_STATE, true), (MAX_STATE + 1, false)] {
            let value = HeaderValue::try_from("a".repeat(length)).expect("text");
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(STATE), value)]);
            assert_eq!(Headers(&headers).get(STATE).is_some(), is_taken, "{length}");
        }
    }
}
