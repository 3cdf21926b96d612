//! Lines of JSON (NDJSON): what `curl -N … | jq` reads. Both ignore empty lines.

use sockeye_hub::{Gap, Position};

use crate::transports::encode;

/// An empty line.
pub(super) const HEARTBEAT: &[u8] = b"\n";

/// `{"gap":{…}}`.
pub(super) fn gap(gap: &Gap) -> String {
    format!("{{\"gap\":{}}}\n", encode::gap_json(gap))
}

/// `{"at":…,"end":true}`: the channel has ended.
pub(super) fn end(at: Position) -> String {
    format!("{}\n", encode::end_json("", at))
}
