//! Spans of time as findings show them: `0.4 ms`, `12 ms`, `1.5 s`, `90 s`, `3 days`.

use std::time::Duration;

/// A span of time for a person.
pub(crate) fn span(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs_f64(), time.as_secs_f64() * 1000.0);
    match time.as_secs() {
        0 if millis < 9.95 => format!("{millis:.1} ms"),
        0 => format!("{millis:.0} ms"),
        1..10 => format!("{seconds:.1} s"),
        10..300 => format!("{seconds:.0} s"),
        300..7_200 => format!("{} minutes", time.as_secs() / 60),
        7_200..172_800 => format!("{} hours", time.as_secs() / 3_600),
        _ => format!("{} days", time.as_secs() / 86_400),
    }
}

/// The same for programs.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_that_a_person_can_read() {
        for (millis, text) in [
            (0, "0.0 ms"),
            (3, "3.0 ms"),
            (45, "45 ms"),
            (1_000, "1.0 s"),
            (30_040, "30 s"),
            (299_000, "299 s"),
            (600_000, "10 minutes"),
            (8_000_000, "2 hours"),
            (900_000_000, "10 days"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!(millis(Duration::from_micros(1_500)), 1.5);
    }
}
