//! Quantities as people read them.

use std::time::Duration;

/// `850us`, `12ms`, `4.2s`, `3m05s`, `2h10m`, `12d3h`: three digits or so.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match seconds {
        0 if duration.as_millis() == 0 => format!("{}us", duration.as_micros()),
        0 => format!("{}ms", duration.as_millis()),
        1..=9 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        10..=59 => format!("{seconds}s"),
        60..=3599 => format!("{minutes}m{rest:02}s"),
        3600..=86_399 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours}h"),
    }
}

pub(super) fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// `512B`, `4.0KiB`, `10.5GiB`, in tenths, rounded down.
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut shift = 0;
    let mut name = None;
    for unit in units {
        if bytes >> shift < 1024 {
            break;
        }
        shift += 10;
        name = Some(unit);
    }
    let Some(name) = name else {
        return format!("{bytes}B");
    };
    // Tenths of the unit; u128 because ten EiB do not fit.
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

/// `1 path`, `2 paths`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_about_three_digits() {
        for (millis_given, shown) in [
            (0, "0us"),
            (12, "12ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (185_000, "3m05s"),
            (7_800_000, "2h10m"),
            (1_047_600_000, "12d3h"),
        ] {
            assert_eq!(millis(millis_given), shown);
        }
        assert_eq!(duration(Duration::from_micros(850)), "850us");
    }

    #[test]
    fn sizes_are_in_the_largest_unit_that_fits() {
        for (size, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (4096, "4.0KiB"),
            (1 << 20, "1.0MiB"),
            ((1 << 30) + (1 << 29), "1.5GiB"),
            (1 << 40, "1.0TiB"),
            (u64::MAX, "15.9EiB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "path"), "1 path");
        assert_eq!(count(0, "path"), "0 paths");
    }
}
