//! A CHAP secret that does not show itself.

use std::fmt;

/// Shortest secret in bytes: 96 bits (RFC 7143 12.1.3).
pub const SECRET_LEN_MIN: usize = 12;

/// Longest secret in bytes; 128 bits must be possible (RFC 7143 12.1.3), this is twice LIO's limit.
pub const SECRET_LEN_MAX: usize = 256;

/// A CHAP secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why bytes are no [`Secret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Below [`SECRET_LEN_MIN`].
    #[error(
        "the CHAP secret has {0} bytes, at least {SECRET_LEN_MIN} are required \
         (RFC 7143 section 12.1.3)"
    )]
    TooShort(usize),
    /// Above [`SECRET_LEN_MAX`].
    #[error("the CHAP secret has {0} bytes, at most {SECRET_LEN_MAX} are possible")]
    TooLong(usize),
}

impl Secret {
    /// Takes the secret's bytes as they are.
    ///
    /// # Errors
    /// Shorter than 12 or longer than 256 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        match bytes.len() {
            len if len < SECRET_LEN_MIN => Err(SecretError::TooShort(len)),
            len if len > SECRET_LEN_MAX => Err(SecretError::TooLong(len)),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Whether both are the same secret, in a time that depends on the lengths only.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Compares without telling by its duration where the first difference is.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_below_96_bits_are_refused_with_their_length() {
        assert_eq!(
            Secret::new(b"elevenbytes").unwrap_err(),
            SecretError::TooShort(11)
        );
        assert!(Secret::new(b"twelve bytes").is_ok());
        assert!(Secret::new(&[b'x'; SECRET_LEN_MAX]).is_ok());
        assert_eq!(
            Secret::new(&[b'x'; SECRET_LEN_MAX + 1]).unwrap_err(),
            SecretError::TooLong(SECRET_LEN_MAX + 1)
        );
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new(b"correct horse battery").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(!format!("{:#?}", Some(&secret)).contains("horse"));
    }

    #[test]
    fn equality_looks_at_every_byte() {
        assert!(constant_time_eq(b"abcd", b"abcd"));
        assert!(!constant_time_eq(b"abcd", b"abce"));
        assert!(!constant_time_eq(b"abcd", b"bbcd"));
        assert!(!constant_time_eq(b"abcd", b"abc"));
        assert!(constant_time_eq(b"", b""));
    }
}
