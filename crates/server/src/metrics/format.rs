//! The two text formats of metrics: OpenMetrics 1.0, and that of Prometheus, 0.0.4, which is older and
//! understood by every collector.

use http::HeaderMap;

use crate::http::accept::preferred;

/// A format that a collector asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text of version 0.0.4.
    Prometheus,
    /// <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>
    OpenMetrics,
}

const PLAIN: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// OpenMetrics for a client that asks for it and prefers nothing else.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match preferred(headers, &[PLAIN, OPEN_METRICS]) {
            Some(OPEN_METRICS) => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Converts OpenMetrics to this format.
    pub(super) fn of_open_metrics(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Prometheus => prometheus(&text),
        }
    }
}

/// Converts OpenMetrics to the format of Prometheus. Samples are the same. A metric has the name of its
/// samples here, and one without their suffix there; there are no units here.
fn prometheus(text: &str) -> String {
    let (mut plain, mut help) = (String::with_capacity(text.len()), "");
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // The type, which comes next, determines the name.
            (Some("#"), Some("HELP"), _, Some(text)) => help = text,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    kind => ("", kind),
                };
                plain += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            }
            (Some("#"), ..) => {}
            _ => {
                plain += line;
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn a_collector_gets_the_format_that_it_asks_for() {
        let format = |accept: &'static str| {
            Format::of(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert_eq!(Format::of(&HeaderMap::new()), Format::Prometheus);
        for other in ["*/*", "text/plain;version=0.0.4", "text/html", "application/*, text/*"] {
            assert_eq!(format(other), Format::Prometheus, "{other}");
        }
        // What Prometheus sends.
        let both = "application/openmetrics-text;version=1.0.0;q=0.5,\
                    application/openmetrics-text;version=0.0.1;q=0.4,\
                    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(both), Format::OpenMetrics);
        assert_eq!(format("application/openmetrics-text"), Format::OpenMetrics);
    }

    #[test]
    fn metrics_have_the_names_of_their_samples() {
        let text = "# HELP a_bytes Some help.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                    a_bytes_total{b=\"# x\"} 1\n# HELP c More.\n# TYPE c gauge\nc 2\n\
                    # HELP d E.\n# TYPE d info\nd_info{v=\"1\"} 1\n# EOF\n";
        let plain = "# HELP a_bytes_total Some help.\n# TYPE a_bytes_total counter\n\
                     a_bytes_total{b=\"# x\"} 1\n# HELP c More.\n# TYPE c gauge\nc 2\n\
                     # HELP d_info E.\n# TYPE d_info gauge\nd_info{v=\"1\"} 1\n";
        assert_eq!(prometheus(text), plain);
    }
}
