//! In the place of the spans in a program without the feature `traces`: there are none.

use http::HeaderMap;
use sockeye_hub::{ChannelName, Position};

use crate::http::problem::Code;

/// Makes no spans.
#[derive(Debug)]
pub(crate) struct Traces;

/// No parent.
#[derive(Debug)]
pub(crate) struct TraceParent;

/// No span.
#[derive(Debug)]
pub(crate) struct PublicationSpan;

#[expect(clippy::unused_self, reason = "the one that makes spans uses it")]
impl Traces {
    pub(crate) fn parent(&self, _: &HeaderMap) -> TraceParent {
        TraceParent
    }

    pub(crate) fn begin(
        &self,
        _: Option<&TraceParent>,
        _: &ChannelName,
        _transport: &'static str,
    ) -> PublicationSpan {
        PublicationSpan
    }
}

#[expect(clippy::unused_self, reason = "the one that is a span uses it")]
impl PublicationSpan {
    pub(crate) fn authorized(&self) {}

    #[expect(clippy::needless_pass_by_ref_mut, reason = "the one that is a span is changed")]
    pub(crate) fn stores(&mut self, _size: usize) {}

    pub(crate) fn ends(self, _: Result<Position, Code>) {}
}
