//! Lines of JSON (NDJSON): what `curl -N … | jq` reads. An empty line means nothing to either.

use sockeye_hub::Gap;

use crate::message;

/// An empty line.
pub(super) const HEARTBEAT: &[u8] = b"\n";

/// `{"gap":{…}}`.
pub(super) fn gap(gap: &Gap) -> String {
    format!("{{\"gap\":{}}}\n", message::gap_json(gap))
}
