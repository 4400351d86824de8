//! Durations and sizes as people write them: `250ms`, `5s`, `2m`, `64KiB`, `1GiB`.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No number at the beginning.
    #[error("{0:?} does not begin with a whole number")]
    NoNumber(String),
    /// An unknown unit.
    #[error("{text:?}: unknown unit, use one of {units}")]
    Unit {
        /// What was given.
        text: String,
        /// The units that exist.
        units: &'static str,
    },
    /// The number is too large.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

fn split(text: &str) -> Result<(u64, &str), QuantityError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(QuantityError::NoNumber(text.to_owned()));
    }
    let number = digits
        .parse()
        .map_err(|_| QuantityError::TooLarge(text.to_owned()))?;
    Ok((number, unit.trim()))
}

/// A duration with its unit, e.g. `700ms`.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    const UNITS: &str = "us, ms, s, m, h";
    let (number, unit) = split(text)?;
    let nanos_per_unit: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => {
            return Err(QuantityError::Unit {
                text: text.to_owned(),
                units: UNITS,
            });
        }
    };
    number
        .checked_mul(nanos_per_unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
}

/// A size in bytes; without a unit the number counts bytes.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    const UNITS: &str = "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB";
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => {
            return Err(QuantityError::Unit {
                text: text.to_owned(),
                units: UNITS,
            });
        }
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_unknown_ones_are_named() {
        assert_eq!(parse_duration("700ms"), Ok(Duration::from_millis(700)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("512"), Ok(512));
        assert!(parse_duration("5").is_err(), "a duration needs its unit");
        let error = parse_size("3 Gb").unwrap_err().to_string();
        assert!(error.contains("GiB"), "{error}");
        assert!(parse_size("99999999999TiB").is_err());
        assert!(parse_size("MiB").is_err());
    }
}
