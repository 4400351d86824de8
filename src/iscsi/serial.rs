//! Serial number arithmetic on 32 bits (RFC 1982), as iSCSI uses it for CmdSN and StatSN (RFC 7143 4.2.2).

use std::fmt;

/// A sequence number that wraps: there is deliberately no `Ord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SerialNumber(pub u32);

impl SerialNumber {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The number before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// Whether this number is older than `other` (RFC 1982 3.2). Numbers 2^31 apart precede neither way.
    #[must_use]
    pub const fn precedes(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0);
        ahead != 0 && ahead < 1 << 31
    }

    /// How many steps `other` is ahead of this number; 0 if it is not ahead.
    #[must_use]
    pub const fn distance(self, other: Self) -> u32 {
        if self.precedes(other) {
            other.0.wrapping_sub(self.0)
        } else {
            0
        }
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_before_the_wrap_precedes_one_after_it() {
        assert!(SerialNumber(u32::MAX).precedes(SerialNumber(0)));
        assert!(!SerialNumber(0).precedes(SerialNumber(u32::MAX)));
        assert_eq!(SerialNumber(u32::MAX - 1).distance(SerialNumber(3)), 5);
    }

    #[test]
    fn numbers_half_the_space_apart_precede_neither_way() {
        let (a, b) = (SerialNumber(7), SerialNumber(7 + (1 << 31)));
        assert!(!a.precedes(b) && !b.precedes(a));
    }

    proptest! {
        #[test]
        fn whatever_is_less_than_half_the_space_ahead_is_newer(from: u32, ahead in 1u32..1 << 31) {
            let (a, b) = (SerialNumber(from), SerialNumber(from).plus(ahead));
            prop_assert!(a.precedes(b) && !b.precedes(a));
            prop_assert_eq!(a.distance(b), ahead);
            prop_assert_eq!(b.distance(a), 0);
            prop_assert_eq!(a.next().previous(), a);
        }
    }
}
