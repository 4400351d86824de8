//! Initiator session identifiers (RFC 7143 11.12.5).

use std::fmt;

use sha2::{Digest, Sha256};

/// The initiator's part of a session's name. One ISID may be in use once per target portal group;
/// a second login with it reinstates, that is ends, the first session (RFC 7143 6.3.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isid([u8; 6]);

impl Isid {
    /// From its six bytes on the wire.
    #[must_use]
    pub const fn from_wire(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its six bytes on the wire.
    #[must_use]
    pub const fn to_wire(self) -> [u8; 6] {
        self.0
    }

    /// An ISID that depends on nothing but `parts`, so that a restarted daemon logs in with the
    /// same one and thereby fences its predecessor's session. Of the "random" type (10b), with 40
    /// bits of SHA-256 over the parts, each with its length.
    #[must_use]
    pub fn derive(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let [a, b, c, d, e, ..] = <[u8; 32]>::from(hash.finalize());
        Self([0x80, a, b, c, d, e])
    }
}

impl fmt::Display for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_isid_is_the_same_after_a_restart() {
        // python3: sha256 over (8-byte length, bytes) of each part, first five bytes
        let isid = Isid::derive(&["db", "eth1", "10.0.1.10:3260"]);
        assert_eq!(isid.to_string(), "0x80da746e50da");
    }

    #[test]
    fn paths_that_differ_in_any_part_have_different_isids() {
        let a = Isid::derive(&["db", "eth1", "10.0.1.10:3260"]);
        assert_ne!(a, Isid::derive(&["db", "eth2", "10.0.1.10:3260"]));
        assert_ne!(a, Isid::derive(&["dbe", "th1", "10.0.1.10:3260"]));
        assert_ne!(a, Isid::derive(&["db", "eth1", "10.0.1.10:3260", ""]));
    }

    #[test]
    fn a_derived_isid_is_of_the_random_type_with_reserved_bits_zero() {
        assert_eq!(Isid::derive(&["x"]).to_wire()[0], 0x80);
    }
}
