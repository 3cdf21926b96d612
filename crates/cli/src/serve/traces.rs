//! `--otlp`: traces of publications, sent to a collector of OpenTelemetry by OTLP over HTTP.
//!
//! Spans wait in a queue of bounded length for a thread of their own, which sends them in batches. What does not fit, or
//! is not taken, is dropped: nothing waits for a collector. Beside the flags count the variables of OpenTelemetry that
//! its SDK knows.

use std::{
    env, fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method, Request, Response};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    resource::EnvResourceDetector,
    trace::{BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use sockeye::{Address, AddressError};
use sockeye_client::internals::{Endpoint, Failure, Http, MAX_ANSWER, Question};
use sockeye_server::{PublicationTracer, ServerOptions};
use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking, time::timeout};

use super::webhook;

/// How long a collector may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last spans may take when the server ends.
const LAST_SPANS: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(super) struct TraceFlags {
    /// Send traces of publications to this collector of OpenTelemetry, by OTLP over HTTP: http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "SOCKEYE_OTLP", value_parser = collector)]
    otlp: Option<Address>,

    /// Which part of the publications is traced, from 0 to 1; those whose client says by traceparent whether they are
    /// traced are not counted. Without it OTEL_TRACES_SAMPLER counts, or all are
    #[arg(long, value_name = "RATIO", env = "SOCKEYE_OTLP_SAMPLE", requires = "otlp", value_parser = ratio)]
    otlp_sample: Option<f64>,
}

/// A collector's URL, with the path of traces where it has none.
fn collector(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let address: Address = text.parse().map_err(|_| {
        format!("{text} is not a collector's URL: write http://HOST:4318 or https://HOST")
    })?;
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(format!("{text} is not a collector's URL: write http:// or https://"));
    }
    if address.url().path().trim_matches('/').is_empty() {
        let url = format!("{}/v1/traces", text.trim_end_matches('/'));
        return url.parse().map_err(|error: AddressError| error.to_string());
    }
    Ok(address)
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    match text.trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("write a part from 0 to 1, such as 0.01"),
    }
}

/// What sends the traces, until it is finished.
#[derive(Debug, Default)]
pub(super) struct Traces(Option<SdkTracerProvider>);

impl TraceFlags {
    /// Begins to trace, if a collector is named. Within a runtime.
    pub(super) fn begin(&self, options: &mut ServerOptions) -> anyhow::Result<Traces> {
        let Some(address) = &self.otlp else { return Ok(Traces::default()) };
        let collector = Collector::new(address);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&collector.name)
            .with_http_client(collector)
            .build()
            .context("--otlp")?;
        let mut provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_resource(resource());
        if let Some(ratio) = self.otlp_sample {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            provider = provider.with_sampler(Sampler::ParentBased(Box::new(sampler)));
        }
        let provider = provider.build();
        let tracer = provider.tracer("sockeye");
        let tracer = PublicationTracer::new(tracer, TraceContextPropagator::new());
        options.channels.tracer = Some(tracer);
        Ok(Traces(Some(provider)))
    }
}

/// What the spans say of the program, unless the environment says otherwise.
fn resource() -> Resource {
    let name = env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let own = [
        KeyValue::new("service.name", "sockeye"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(EnvResourceDetector::new()));
    match name {
        Some(name) => resource.with_attribute(KeyValue::new("service.name", name)).build(),
        None => resource.build(),
    }
}

impl Traces {
    /// Sends the last spans, for a bounded time.
    pub(super) async fn finish(self) {
        let Some(provider) = self.0 else { return };
        let sending = spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS));
        // A collector that does not answer has been logged.
        let _ = timeout(LAST_SPANS * 2, sending).await;
    }
}

/// The collector: an HTTP client that says once that it cannot be reached.
struct Collector {
    endpoint: Endpoint,
    /// Where it is, without what may be secret.
    name: String,
    /// Batches come from a thread that is not the runtime's.
    runtime: Handle,
    connection: Arc<Mutex<Http>>,
    is_failing: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector {
    fn new(address: &Address) -> Self {
        let mut headers = HeaderMap::new();
        headers.extend(address.authorization().map(|value| (http::header::AUTHORIZATION, value)));
        let endpoint = Endpoint::new(address, headers)
            .connect_timeout(ANSWER_TIMEOUT)
            .answer_timeout(ANSWER_TIMEOUT);
        Self {
            endpoint,
            name: webhook::name(address),
            runtime: Handle::current(),
            connection: Arc::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let mut question = Question::new(Method::POST, Vec::new());
        (question.headers, question.body) = (head.headers, body);
        let (endpoint, connection) = (self.endpoint.clone(), Arc::clone(&self.connection));
        let asking = async move {
            let mut connection = connection.lock().await;
            connection.ask_whole(&endpoint, &question, MAX_ANSWER).await
        };
        let answer = self.runtime.spawn(asking).await?;
        let collector = &self.name;
        match answer {
            Ok(answer) => {
                if self.is_failing.swap(false, Relaxed) {
                    tracing::warn!(collector, "traces are taken again");
                }
                Ok(answer)
            }
            Err(failure) => {
                let why = why(failure);
                if !self.is_failing.swap(true, Relaxed) {
                    tracing::warn!(
                        collector,
                        why,
                        "traces are dropped, until the collector of --otlp takes them"
                    );
                }
                Err(why.into())
            }
        }
    }
}

fn why(failure: Failure) -> String {
    match failure {
        Failure::Unreachable(error) => error.to_string(),
        Failure::Refused(problem) | Failure::Broken { problem, .. } => problem.message,
        Failure::Enough => "nothing more is wanted".to_owned(),
    }
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}
