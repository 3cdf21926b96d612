//! Lines of JSON (NDJSON): what `curl -N … | jq` reads. An empty line means nothing to either.

use sockeye_hub::Gap;

use crate::message;

/// An empty line.
pub(super) const HEARTBEAT: &[u8] = b"\n";

/// Padding: spaces and a line break.
pub(super) fn opening(pad: usize) -> String {
    if pad == 0 { String::new() } else { format!("{}\n", " ".repeat(pad - 1)) }
}

/// `{"gap":{…}}`.
pub(super) fn gap(gap: &Gap) -> String {
    format!("{{\"gap\":{}}}\n", message::gap_json(gap))
}
