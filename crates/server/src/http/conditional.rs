//! Conditional requests: `If-None-Match` and entity tags (RFC 9110 §13.1.2).

use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName};
use sockeye_hub::{Position, Start};

use crate::http::composite::Composite;
use crate::http::headers::SOCKEYE_POSITION;

/// The entity tags that the client has, without the mark of weak ones: they are compared weakly.
pub(crate) struct Known(Vec<String>);

impl Known {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(IF_NONE_MATCH).iter().flat_map(|line| line.to_str());
        let tags = lines.flat_map(|line| line.split(',')).map(str::trim);
        Self(tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag).to_owned()).collect())
    }

    pub(crate) fn includes(&self, etag: &str) -> bool {
        self.0.iter().any(|tag| tag == "*" || *tag == etag)
    }

    /// Where several channels are begun to be read, if the client names one position of that many.
    pub(crate) fn starts(&self, channels: usize) -> Option<Vec<Start>> {
        let [tag] = &*self.0 else { return None };
        let Composite(positions) =
            Composite::parse(tag.strip_prefix('"')?.strip_suffix('"')?, channels)?;
        Some(positions.into_iter().map(Start::After).collect())
    }

    /// The position that the client has, if it names just one.
    pub(crate) fn position(&self) -> Option<Position> {
        let [tag] = &*self.0 else { return None };
        tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
    }
}

/// The headers that say the position of a response.
pub(crate) fn position_headers(position: Position) -> [(HeaderName, String); 2] {
    let text = position.to_string();
    [(ETAG, ["\"", &text, "\""].concat()), (SOCKEYE_POSITION, text)]
}

/// The same of several channels.
pub(crate) fn composite_headers(position: &Composite) -> [(HeaderName, String); 2] {
    [(ETAG, format!("\"{position}\"")), (SOCKEYE_POSITION, position.to_string())]
}

/// A position as an entity tag.
pub(crate) fn etag(position: Position) -> String {
    format!("\"{position}\"")
}
