//! iSCSI names (RFC 7143 4.2.7) and portal addresses (RFC 7143 13.8).

mod address;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use address::{PORT_DEFAULT, PortalAddr, PortalAddrError};

/// Longest iSCSI name in bytes (RFC 7143 4.2.7.2).
pub const NAME_LEN_MAX: usize = 223;

/// The name of an iSCSI node: `iqn.`, `eui.` or `naa.` format (RFC 7143 4.2.7.3 to 4.2.7.5).
///
/// Names are equal if their normalised (lower-case) forms are. What goes over the wire is the
/// spelling that was given, since targets exist (tgt) that compare names byte by byte.
///
/// Deviations from the stringprep profile (RFC 3722), both on the lenient side: an underscore is
/// accepted because deployed names have it, and letters beyond ASCII are folded to lower case but
/// not composed.
#[derive(Clone)]
pub struct IscsiName {
    spelling: Box<str>,
    normalised: Box<str>,
}

/// Why a text is no [`IscsiName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than [`NAME_LEN_MAX`].
    #[error("an iSCSI name has at most {NAME_LEN_MAX} bytes")]
    TooLong,
    /// Neither `iqn.` nor `eui.` nor `naa.`.
    #[error("an iSCSI name starts with \"iqn.\", \"eui.\" or \"naa.\"")]
    UnknownFormat,
    /// `iqn.` without its year and month.
    #[error(
        "after \"iqn.\" comes a year and month and a reversed domain name, \
         e.g. iqn.2026-11.com.example:db1"
    )]
    BadDate,
    /// `iqn.YYYY-MM` without a naming authority.
    #[error(
        "after the year and month comes a reversed domain name, e.g. iqn.2026-11.com.example:db1"
    )]
    NoAuthority,
    /// A character that iSCSI names do not have.
    #[error("the character {0:?} is not allowed in an iSCSI name")]
    BadCharacter(char),
    /// `eui.` without exactly 16 hexadecimal digits.
    #[error("after \"eui.\" come exactly 16 hexadecimal digits")]
    BadEui,
    /// `naa.` without 16 or 32 hexadecimal digits.
    #[error("after \"naa.\" come 16 or 32 hexadecimal digits")]
    BadNaa,
}

impl IscsiName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_LEN_MAX {
            return Err(NameError::TooLong);
        }
        let normalised = text.to_lowercase();
        if let Some(rest) = normalised.strip_prefix("iqn.") {
            check_iqn(rest)?;
        } else if let Some(rest) = normalised.strip_prefix("eui.") {
            if !is_hex(rest) || rest.len() != 16 {
                return Err(NameError::BadEui);
            }
        } else if let Some(rest) = normalised.strip_prefix("naa.") {
            if !is_hex(rest) || !matches!(rest.len(), 16 | 32) {
                return Err(NameError::BadNaa);
            }
        } else {
            return Err(NameError::UnknownFormat);
        }
        Ok(Self {
            spelling: text.into(),
            normalised: normalised.into(),
        })
    }

    /// The name as it was given; this goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.spelling
    }

    /// The form that decides equality.
    #[must_use]
    pub fn normalised(&self) -> &str {
        &self.normalised
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn check_iqn(rest: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    if let Some(bad) = rest.chars().find(|c| !allowed(*c)) {
        return Err(NameError::BadCharacter(bad));
    }
    let (date, authority) = rest.split_once('.').ok_or(NameError::BadDate)?;
    let (year, month) = date.split_once('-').ok_or(NameError::BadDate)?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let month_number: u8 = month.parse().unwrap_or(0);
    if !digits(year, 4) || !digits(month, 2) || !(1..=12).contains(&month_number) {
        return Err(NameError::BadDate);
    }
    if authority.is_empty() || authority.starts_with([':', '.']) {
        return Err(NameError::NoAuthority);
    }
    Ok(())
}

impl FromStr for IscsiName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl PartialEq for IscsiName {
    fn eq(&self, other: &Self) -> bool {
        self.normalised == other.normalised
    }
}

impl Eq for IscsiName {}

impl PartialOrd for IscsiName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IscsiName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.normalised.cmp(&other.normalised)
    }
}

impl Hash for IscsiName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normalised.hash(state);
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_three_formats_are_accepted() {
        for text in [
            "iqn.1991-05.com.microsoft:host1",
            "iqn.2001-04.com.example",
            "iqn.2000-01.com.synology:NAS.Target-1.0ab4",
            "iqn.2004-04.com.qnap:ts_453:lun_1",
            "iqn.2001-04.com.example:grün",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
        ] {
            assert_eq!(IscsiName::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_rule_of_names_has_its_error() {
        let long = format!("iqn.2001-04.com.example:{}", "x".repeat(200));
        for (text, error) in [
            ("", NameError::UnknownFormat),
            ("example.com", NameError::UnknownFormat),
            ("iqn.", NameError::BadDate),
            ("iqn.2001-4.com.example", NameError::BadDate),
            ("iqn.2001-13.com.example", NameError::BadDate),
            ("iqn.2001-00.com.example", NameError::BadDate),
            ("iqn.01-04.com.example", NameError::BadDate),
            ("iqn.2001-+4.com.example", NameError::BadCharacter('+')),
            ("iqn.2001-04.", NameError::NoAuthority),
            ("iqn.2001-04.:disk", NameError::NoAuthority),
            ("iqn.2001-04.com.example:a b", NameError::BadCharacter(' ')),
            ("iqn.2001-04.com.example:a\0", NameError::BadCharacter('\0')),
            ("iqn.2001-04.com.example:a,1", NameError::BadCharacter(',')),
            ("eui.02004567A425678", NameError::BadEui),
            ("eui.02004567A425678DD", NameError::BadEui),
            ("eui.02004567A425678G", NameError::BadEui),
            ("naa.52004567BA64678D0", NameError::BadNaa),
            ("naa.", NameError::BadNaa),
            (&long, NameError::TooLong),
        ] {
            assert_eq!(IscsiName::new(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn names_compare_normalised_and_travel_as_spelled() {
        let upper = IscsiName::new("IQN.2001-04.COM.Example:Disk1").unwrap();
        let lower = IscsiName::new("iqn.2001-04.com.example:disk1").unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_eq!(upper.as_str(), "IQN.2001-04.COM.Example:Disk1");
        assert_eq!(upper.normalised(), lower.as_str());
        assert!(lower < IscsiName::new("iqn.2001-04.com.example:disk2").unwrap());
    }

    #[test]
    fn the_longest_name_has_223_bytes() {
        let prefix = "iqn.2001-04.com.example:";
        let longest = format!("{prefix}{}", "x".repeat(NAME_LEN_MAX - prefix.len()));
        assert!(IscsiName::new(&longest).is_ok());
    }
}
