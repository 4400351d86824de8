//! Values as people write them: durations, sizes, choices, places to listen.

use std::path::PathBuf;
use std::time::Duration;

use policies::Hedge;

use super::Listen;
use super::error::Problem;
use super::names::{SOCKET_PATH_MAX, host_and_port};
use super::reader::nearest;

/// `"700ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"`.
///
/// # Errors
/// If it is none.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    let bad = || Problem::BadDuration(text.to_owned());
    let (number, unit) = number_and_unit(text).ok_or_else(bad)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err(bad()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(bad)
}

/// A duration within bounds.
pub(super) fn duration_in(
    min: Duration,
    max: Duration,
) -> impl Fn(&str) -> Result<Duration, Problem> {
    move |text| {
        let value = duration(text)?;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(Problem::OutOfRange {
            value: text.to_owned(),
            min: show_duration(min),
            max: show_duration(max),
        })
    }
}

/// As [`duration`] reads it, in the largest unit that is exact.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let unit = units
        .iter()
        .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{}{name}", millis / size),
        None => format!("{millis}ms"),
    }
}

/// `"512B"`, `"256KiB"`, `"1MiB"`, `"1GiB"`, in bytes.
///
/// # Errors
/// If it is none.
pub fn size(text: &str) -> Result<u64, Problem> {
    let bad = || Problem::BadSize(text.to_owned());
    let (number, unit) = number_and_unit(text).ok_or_else(bad)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    number.checked_mul(bytes).ok_or_else(bad)
}

/// A size within bounds that fit in 32 bits.
pub(super) fn size_in(min: u32, max: u32) -> impl Fn(&str) -> Result<u32, Problem> {
    move |text| {
        let value = size(text)?;
        let fits = u32::try_from(value).ok();
        fits.filter(|value| (min..=max).contains(value))
            .ok_or_else(|| Problem::OutOfRange {
                value: text.to_owned(),
                min: show_size(min),
                max: show_size(max),
            })
    }
}

/// As [`size`] reads it, in the largest unit that is exact.
#[must_use]
pub fn show_size(bytes: u32) -> String {
    let units = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units
        .iter()
        .find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{}{name}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// A whole number within bounds.
pub(super) fn number_in<T>(min: T, max: T) -> impl Fn(u64) -> Result<T, Problem>
where
    T: Copy + PartialOrd + TryFrom<u64> + std::fmt::Display,
{
    move |value| {
        let fits = T::try_from(value).ok();
        fits.filter(|value| (min..=max).contains(value))
            .ok_or_else(|| Problem::OutOfRange {
                value: value.to_string(),
                min: min.to_string(),
                max: max.to_string(),
            })
    }
}

/// `"off"`, or a share such as `"1%"` or `"0.5%"`.
pub(super) fn hedge(text: &str) -> Result<Hedge, Problem> {
    if text == "off" {
        return Ok(Hedge::OFF);
    }
    let bad = || Problem::BadShare(text.to_owned());
    let number = text.strip_suffix('%').ok_or_else(bad)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return Err(bad());
    }
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| bad())?;
    let whole: u32 = whole.parse().map_err(|_| bad())?;
    let share = whole.saturating_mul(100).saturating_add(part);
    let fits = u16::try_from(share).ok().map(Hedge);
    fits.filter(|share| (1..=Hedge::MAX.0).contains(&share.0))
        .ok_or_else(|| Problem::OutOfRange {
            value: text.to_owned(),
            min: Hedge(1).to_string(),
            max: Hedge::MAX.to_string(),
        })
}

/// One of several words.
pub(super) fn choice<T: Copy>(
    choices: &[(&'static str, T)],
) -> impl Fn(&str) -> Result<T, Problem> {
    move |text| {
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(*value);
        }
        let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
        Err(Problem::UnknownChoice {
            value: text.to_owned(),
            suggestion: nearest(text, &names),
            choices: names,
        })
    }
}

/// `"unix:/path"` or `"tcp:host:port"`.
///
/// # Errors
/// If it is none.
pub fn listen(text: &str) -> Result<Listen, Problem> {
    let bad = || Problem::BadListen(text.to_owned());
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Listen::Unix);
    }
    let address = text.strip_prefix("tcp:").ok_or_else(bad)?;
    let (host, port) = host_and_port(address).map_err(|_| bad())?;
    match port {
        Some(port) if port > 0 => Ok(Listen::Tcp { host, port }),
        _ => Err(bad()),
    }
}

/// The path of a unix socket.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Problem> {
    let path = absolute_path(text)?;
    if text.len() > SOCKET_PATH_MAX {
        return Err(Problem::SocketPathTooLong {
            found: text.len(),
            max: SOCKET_PATH_MAX,
        });
    }
    Ok(path)
}

/// A path that does not depend on where the daemon was started.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Problem> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err(Problem::NotAbsolute(text.to_owned()))
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A key of persistent reservations: `0x` and up to 16 hexadecimal digits.
///
/// # Errors
/// It is something else, or 0.
pub fn reservation_key(text: &str) -> Result<u64, Problem> {
    let bad = || Problem::BadReservationKey(text.to_owned());
    let digits = text.strip_prefix("0x").ok_or_else(bad)?;
    let hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let key = u64::from_str_radix(digits, 16)
        .ok()
        .filter(|key| hex && *key != 0);
    key.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let millis = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("700ms"), Ok(700));
        assert_eq!(millis("5s"), Ok(5000));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("5 min"), Ok(300_000));
        assert_eq!(millis("2h"), Ok(7_200_000));
        assert_eq!(millis("1d"), Ok(86_400_000));
        for bad in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 weeks",
            "99999999999999999999s",
            "99999999999999999d",
            "٥s",
        ] {
            assert_eq!(duration(bad), Err(Problem::BadDuration(bad.to_owned())));
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read() {
        for text in ["0ms", "1ms", "700ms", "90s", "5m", "2h", "3d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("256KiB"), Ok(256 << 10));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for bad in ["", "4096", "1MB", "1kib", "1.5MiB", "99999999999GiB", "MiB"] {
            assert_eq!(size(bad), Err(Problem::BadSize(bad.to_owned())));
        }
    }

    #[test]
    fn a_share_of_reads_is_shown_as_it_is_read() {
        for text in ["off", "0.01%", "0.5%", "1%", "2.25%", "10%"] {
            assert_eq!(hedge(text).unwrap().to_string(), text);
        }
        assert_eq!(hedge("1.50%").unwrap(), Hedge(150));
        for bad in ["", "1", "%", "1.%", ".5%", "0.001%", "-1%", "1 %", "on"] {
            assert_eq!(hedge(bad), Err(Problem::BadShare(bad.to_owned())), "{bad}");
        }
        for out in ["0%", "0.00%", "10.01%", "99999999999%"] {
            assert!(hedge(out).is_err(), "{out}");
        }
    }

    #[test]
    fn bounds_are_inclusive_and_named() {
        assert_eq!(size_in(512, 1 << 20)("512B"), Ok(512));
        assert_eq!(size_in(512, 1 << 20)("1MiB"), Ok(1 << 20));
        let error = size_in(512, 1 << 20)("5GiB").unwrap_err().to_string();
        assert_eq!(error, "5GiB is out of range; it may be 512B to 1MiB");
        assert_eq!(number_in(1_u8, 255)(255), Ok(255));
        assert!(number_in(1_u8, 255)(0).is_err());
        assert!(number_in(1_u8, 255)(256).is_err());
    }

    #[test]
    fn a_mistyped_choice_suggests_the_near_one() {
        let pick = choice(&[("reinstate", 1), ("quiesce", 2)]);
        let error = pick("quisce").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"quisce\" is not possible; did you mean \"quiesce\"?; there are: \"reinstate\", \"quiesce\""
        );
    }

    #[test]
    fn exports_are_unix_sockets_or_tcp_ports() {
        assert_eq!(
            listen("unix:/run/db.sock"),
            Ok(Listen::Unix("/run/db.sock".into()))
        );
        let tcp = |host: &str, port| {
            let host = host.to_owned();
            Ok(Listen::Tcp { host, port })
        };
        assert_eq!(listen("tcp:10.9.0.1:10809"), tcp("10.9.0.1", 10809));
        assert_eq!(listen("tcp:[::1]:10809"), tcp("::1", 10809));
        assert_eq!(listen("tcp:localhost:10809"), tcp("localhost", 10809));
        for bad in [
            "",
            "/run/db.sock",
            "unix:db.sock",
            "tcp:10.9.0.1",
            "tcp:10.9.0.1:0",
            "tcp::1:5",
            "udp:a:1",
        ] {
            assert!(listen(bad).is_err(), "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(SOCKET_PATH_MAX));
        assert!(matches!(
            listen(&long),
            Err(Problem::SocketPathTooLong {
                found: 108,
                max: 107
            })
        ));
    }
}
