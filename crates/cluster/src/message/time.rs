//! Times as NATS writes them: RFC 3339 in UTC, such as `2026-11-29T08:30:00.123456789Z`.

/// The milliseconds since the Unix epoch of such a time; `None` if it is not one, or before 1970.
pub(crate) fn parse_millis(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hours, minutes, seconds] = numbers(time, ':', [2, 2, 2])?;
    // A leap second is the last second of its minute.
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hours < 24
        && minutes < 60
        && seconds <= 60;
    if !in_range || year < 1970 {
        return None;
    }
    let seconds =
        days_since_1970(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds;
    Some(seconds * 1000 + millis(fraction)?)
}

/// Three numbers of these many digits.
fn numbers(text: &str, separator: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        if part.len() != length || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The milliseconds of a fraction of a second, cut off behind the third digit.
fn millis(fraction: &str) -> Option<u64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(*b"00").take(3);
    Some(digits.fold(0, |millis, digit| millis * 10 + u64::from(digit - b'0')))
}

/// Years are counted from March, so that the day that some have more is the last
/// (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2026-11-29T08:30:00.123456789Z", 1_795_941_000_123),
            ("2026-12-31T23:59:60Z", 1_798_761_600_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse_millis(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_none() {
        for text in [
            "",
            "Z",
            "2026-11-29",
            "2026-11-29T08:30:00",
            "2026-11-29T08:30:00+01:00",
            "2026-13-29T08:30:00Z",
            "2026-00-29T08:30:00Z",
            "2026-11-29T24:30:00Z",
            "2026-11-29T08:30:00.Z",
            "2026-11-29T08:30:00.x9Z",
            "2026-11-29T08:30Z",
            "2026-11-29T8:30:00Z",
            "+026-11-29T08:30:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_millis(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,40}|[0-9TZ:.-]{0,30}") {
            parse_millis(&text);
        }
    }
}
