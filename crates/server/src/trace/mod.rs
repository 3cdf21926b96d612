//! Spans of publications, for OpenTelemetry: of the feature `traces`. Without it, and without a
//! [`PublicationTracer`], nothing is made.

#[cfg(not(feature = "traces"))]
mod off;
#[cfg(feature = "traces")]
mod on;

#[cfg(not(feature = "traces"))]
pub(crate) use self::off::{PublicationSpan, TraceParent, Traces};
#[cfg(feature = "traces")]
pub use self::on::PublicationTracer;
#[cfg(feature = "traces")]
pub(crate) use self::on::{PublicationSpan, TraceParent, Traces};
