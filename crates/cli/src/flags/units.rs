//! Sizes and times as people write them: `64k`, `16M`; `500ms`, `30s`, `2h`.

use std::{fmt, num::IntErrorKind, str::FromStr, time::Duration};

/// A number of bytes. Units are powers of 1024: `k`, `M`, `G`, also as `KB` or `KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split(text);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err("write a size as 512, 64k, 16M or 1G"),
        };
        let number: u64 = number.parse().map_err(|_| "write a size as 512, 64k, 16M or 1G")?;
        number.checked_mul(1 << shift).map(Self).ok_or("the size is too large")
    }
}

/// A size of something that cannot be nothing.
pub(crate) fn some_size(text: &str) -> Result<Size, &'static str> {
    match text.parse()? {
        Size(0) => Err("0 leaves no room: write a size as 512, 64k, 16M or 1G"),
        size => Ok(size),
    }
}

impl Size {
    /// As a size in memory.
    pub(crate) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    /// In the largest unit that says it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            bytes if bytes.trailing_zeros() >= 30 => write!(f, "{}G", bytes >> 30),
            bytes if bytes.trailing_zeros() >= 20 => write!(f, "{}M", bytes >> 20),
            bytes if bytes.trailing_zeros() >= 10 => write!(f, "{}k", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// The longest time: clocks reach further.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 100);

/// The longest deadline: timers of the kernel reach further.
const LONGEST_DEADLINE: Duration = Duration::from_hours(24);

/// A span of time that is shown as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        time(text).map(Self)
    }
}

impl fmt::Display for Time {
    /// In the largest unit that says it exactly; a day is 24h.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.as_millis());
        match seconds {
            _ if !millis.is_multiple_of(1000) => write!(f, "{millis}ms"),
            0 => f.write_str("0s"),
            172_800.. if seconds.is_multiple_of(24 * 60 * 60) => {
                write!(f, "{}d", seconds / (24 * 60 * 60))
            }
            _ if seconds.is_multiple_of(60 * 60) => write!(f, "{}h", seconds / (60 * 60)),
            _ if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

/// A span of time: `500ms`, `30s`, `10m`, `2h`, `7d`.
pub(crate) fn time(text: &str) -> Result<Duration, &'static str> {
    const HOW: &str = "write a time as 500ms, 30s, 10m, 2h or 7d";
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| HOW)?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(HOW),
    };
    let time = number.checked_mul(seconds).map(Duration::from_secs);
    time.filter(|time| *time <= LONGEST).ok_or("the time is too long")
}

/// A span of time in which something has to happen: more than nothing, and a day at most.
pub(crate) fn deadline(text: &str) -> Result<Time, &'static str> {
    match at_most_a_day(text)? {
        Time(Duration::ZERO) => Err("write a time above zero"),
        time => Ok(time),
    }
}

/// The same, or nothing.
pub(crate) fn at_most_a_day(text: &str) -> Result<Time, &'static str> {
    match time(text)? {
        time if time > LONGEST_DEADLINE => Err("write a time of 24h at most"),
        time => Ok(Time(time)),
    }
}

/// A span of time for which something is kept.
pub(crate) fn some_time(text: &str) -> Result<Time, &'static str> {
    match time(text)? {
        Duration::ZERO => Err("0s keeps nothing: write a time as 30s, 10m, 2h or 7d"),
        time => Ok(Time(time)),
    }
}

/// The same, or `off`.
pub(crate) fn deadline_or_off(text: &str) -> Result<Switch, &'static str> {
    match text {
        "off" => Ok(Switch(None)),
        text => deadline(text).map(|time| Switch(Some(time.0))),
    }
}

/// A span of time that is not zero, or `off`.
pub(crate) fn time_or_off(text: &str) -> Result<Switch, &'static str> {
    if text == "off" {
        return Ok(Switch(None));
    }
    match time(text)? {
        Duration::ZERO => Err("write off, or a time above zero"),
        time => Ok(Switch(Some(time))),
    }
}

/// A time that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) Option<Duration>);

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => Time(time).fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// An address to listen on, `HOST:PORT`: its form, not whether it exists.
/// Without a host it is every address of this machine.
pub(crate) fn listen_address(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let is_host = |host: &str| match host.strip_prefix('[') {
        Some(host) => host.ends_with(']'),
        None => !host.contains([':', '/']),
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write an address as 127.0.0.1:8080, [::1]:8080, localhost:8080 or :8080"),
    }
}

/// One of a list, whose commas may have blanks behind them.
pub(crate) fn trimmed<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().parse()
}

/// Seconds in the largest unit, for a person.
pub(crate) fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A whole number above zero.
pub(crate) fn number<T: TryFrom<u64>>(text: &str) -> Result<T, &'static str> {
    const HOW: &str = "write a whole number above zero, such as 1000";
    match text.trim().parse::<u64>() {
        Ok(0) => Err(HOW),
        Ok(number) => T::try_from(number).map_err(|_| "the number is too large"),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err("the number is too large"),
        Err(_) => Err(HOW),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_have_a_port() {
        for good in ["127.0.0.1:1", " [::1]:80", "localhost:80", ":8080", "[fe80::1%eth0]:80"] {
            assert_eq!(listen_address(good), Ok(good.trim().to_owned()));
        }
        for bad in ["", "8080", "localhost", "::1:80", "http://localhost:80", "[::1:80", "a:99999"]
        {
            assert!(listen_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_above_zero() {
        assert_eq!(number::<u32>(" 7"), Ok(7));
        for bad in ["", "0", "abc", "-1", "1.5", "1k", "99999999999", "99999999999999999999999"] {
            assert!(number::<u32>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64k", 65536),
            ("64KiB", 65536),
            ("16M", 16 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "k", "-1", "1.5M", "64x", "99999999999G"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for text in ["0", "512", "64k", "1025", "16M", "1G", "3000M"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0s", "500ms", "1500ms", "25s", "90s", "2m", "1h", "24h", "2d", "100d"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!(Switch(None).to_string(), "off");
    }

    #[test]
    fn times_have_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "30", "s", "1w", "-1s", "99999999999999999d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(deadline("24h"), Ok(Time(Duration::from_hours(24))));
        for bad in ["0s", "25h", "off"] {
            assert!(deadline(bad).is_err(), "{bad}");
        }
        assert_eq!(deadline_or_off("off"), Ok(Switch(None)));
        assert_eq!(time_or_off("off"), Ok(Switch(None)));
        assert!(time_or_off("0s").is_err());
    }
}
