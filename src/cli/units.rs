//! Sizes, rates and durations as people write and read them, in both directions.
//!
//! Pure. `16K` and `10M` are binary (KiB, MiB), `16kB` decimal, `100Mbit` bits a second in decimal; anything that is
//! not understood to the last character is refused with an example of what would be.

use std::time::Duration;

/// Why a quantity was not understood; the text is for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("not a size: write bytes, or a number with a unit, such as 16K or 1M")]
    Size,
    #[error("not a rate: write bytes a second such as 10M (10 MiB/s), or bits such as 100Mbit")]
    Rate,
    #[error("a rate of nothing would stop everything: leave the option out for no limit")]
    NoRate,
    #[error("not a time: write seconds, or a number with a unit, such as 90s, 30m or 2h")]
    Duration,
}

/// A size in bytes: `142044`, `16K`, `1.5M`, `4GiB` (powers of 1024), `100kB` (powers of 1000).
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let factor = byte_unit(unit).ok_or(UnitError::Size)?;
    scale(number, factor).ok_or(UnitError::Size)
}

/// A rate in bytes a second: `10M` and `10MiB/s` are 10 MiB/s, `100Mbit` and `100Mbit/s` 12.5 million bytes a second.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text.trim_end().strip_suffix("/s").unwrap_or(text));
    let rate = match unit.to_ascii_lowercase().strip_suffix("bit") {
        Some(prefix) => {
            let factor = decimal_prefix(prefix).ok_or(UnitError::Rate)?;
            scale(number, factor).map(|bits| bits / 8)
        }
        None => byte_unit(unit).and_then(|factor| scale(number, factor)),
    };
    match rate.ok_or(UnitError::Rate)? {
        0 => Err(UnitError::NoRate),
        rate => Ok(rate),
    }
}

/// A duration: `90` (seconds), `90s`, `30m`, `2h`, `1d`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(u64::from(seconds)));
    }
    humantime::parse_duration(text).map_err(|_| UnitError::Duration)
}

/// A size for people: `18.6 GiB`, `142 bytes`, `4 GiB`.
pub fn size(bytes: u64) -> String {
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    scaled(bytes as f64, "bytes", 100.0)
}

/// A rate for people, from bytes a second: `99 MiB/s`, `3.4 KiB/s`, `0 B/s`.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", scaled(bytes_per_second.max(0.0), "B", 10.0))
}

/// A duration for people, in its two largest units: `130 ms`, `4.2 s`, `12 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    if millis < 9_950 {
        return format!("{} s", one_decimal(time.as_secs_f64()));
    }
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    let (large, unit, small, sub) = match seconds {
        ..60 => (seconds, "s", 0, ""),
        60..3_600 => (seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {sub}"),
    }
}

/// A time left for people: as [`duration`], in whole seconds, rounded up. Tenths would only flicker.
pub fn time_left(time: Duration) -> String {
    duration(Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}

/// The number and the unit behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Bytes in one such unit.
fn byte_unit(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "b" | "byte" | "bytes") {
        return Some(1);
    }
    let (prefix, rest) = unit.split_at_checked(1)?;
    let power = match prefix {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    match rest {
        "" | "i" | "ib" => Some(1024u64.pow(power)),
        "b" => Some(1000u64.pow(power)),
        _ => None,
    }
}

fn decimal_prefix(prefix: &str) -> Option<u64> {
    match prefix {
        "" => Some(1),
        "k" => Some(1_000),
        "m" => Some(1_000_000),
        "g" => Some(1_000_000_000),
        _ => None,
    }
}

/// `number` times `factor`, whole numbers exactly, fractions to the nearest.
fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    (value < u64::MAX as f64).then_some(value.round() as u64)
}

/// `value` in the unit that leaves it below 1024, with one decimal below `decimals_below`.
fn scaled(value: f64, plain: &str, decimals_below: f64) -> String {
    let mut value = value;
    let mut unit = plain;
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // What rounds to 1024 belongs to the next unit already.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    // Half a tenth below the limit would print as the limit itself with a needless decimal.
    if unit == plain || value >= decimals_below - 0.05 {
        format!("{} {unit}", value.round())
    } else {
        format!("{} {unit}", one_decimal(value))
    }
}

fn one_decimal(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("142044", 142_044),
            ("16K", 16 << 10),
            ("16k", 16 << 10),
            ("1M", 1 << 20),
            ("1.5M", 3 << 19),
            ("4GiB", 4 << 30),
            ("4 GiB", 4 << 30),
            ("100kB", 100_000),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1X", "1KK", "99999999999999T", "1e9", "1..2M", "é"] {
            assert_eq!(parse_size(text), Err(UnitError::Size), "{text}");
        }
    }

    #[test]
    fn rates_are_read() {
        for (text, bytes) in [
            ("10M", 10 << 20),
            ("10MiB/s", 10 << 20),
            ("100Mbit", 12_500_000),
            ("100mbit/s", 12_500_000),
            ("1Gbit", 125_000_000),
            ("500K/s", 500 << 10),
        ] {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_rate("0"), Err(UnitError::NoRate));
        assert_eq!(parse_rate("1bit"), Err(UnitError::NoRate));
        assert_eq!(parse_rate("fast"), Err(UnitError::Rate));
        assert_eq!(parse_rate("10Xbit"), Err(UnitError::Rate));
    }

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1h 30m", 5_400)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-5", "5 parsecs", "999999999999999999999d"] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration), "{text}");
        }
    }

    #[test]
    fn people_read_sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1_024, "1 KiB"),
            (142_044, "139 KiB"),
            (20_000_000_000, "18.6 GiB"),
            (4 << 30, "4 GiB"),
            ((1 << 20) - 1, "1 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn people_read_rates() {
        assert_eq!(rate(0.0), "0 B/s");
        assert_eq!(rate(99.2 * 1048576.0), "99 MiB/s");
        assert_eq!(rate(3_500.0), "3.4 KiB/s");
        assert_eq!(rate(9.97 * 1024.0), "10 KiB/s");
        assert_eq!(rate(-1.0), "0 B/s");
    }

    #[test]
    fn people_read_durations() {
        for (millis, text) in [
            (0, "0 ms"),
            (130, "130 ms"),
            (4_200, "4.2 s"),
            (4_000, "4 s"),
            (9_960, "10 s"),
            (12_400, "12 s"),
            (59_700, "1 min"),
            (192_000, "3 min 12 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(n in 0u64..1 << 40) {
            prop_assert_eq!(parse_size(&n.to_string()), Ok(n));
            prop_assert_eq!(parse_size(&format!("{n}K")), Ok(n << 10));
            prop_assert_eq!(parse_rate(&format!("{}Mbit", n + 1)), Ok((n + 1) * 125_000));
        }

        #[test]
        fn what_people_read_is_near_the_truth(n in 0u64..1 << 60) {
            let back = parse_size(&size(n)).unwrap();
            prop_assert!(back.abs_diff(n) <= n / 20, "{} became {}", n, size(n));
        }

        #[test]
        fn written_durations_are_read_back(seconds in 0u64..1 << 32) {
            let time = Duration::from_secs(seconds);
            let text = humantime::format_duration(time).to_string();
            prop_assert_eq!(parse_duration(&text), Ok(time));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}", number in "[0-9.]{0,30}[kKmMgGtTiIbBs/ ]{0,4}") {
            for text in [text.as_str(), number.as_str()] {
                let _ = parse_size(text);
                let _ = parse_rate(text);
                let _ = parse_duration(text);
            }
        }

        #[test]
        fn no_number_panics(value in any::<f64>(), millis in any::<u64>()) {
            rate(value);
            duration(Duration::from_millis(millis));
        }
    }
}
