//! How an I/O fails, in the eight numbers that NBD knows.

use std::fmt;

/// An error that an NBD reply may carry (NBD protocol, "Error values").
///
/// The kernel's NBD client turns each of them into EIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoErrno {
    /// EPERM: not allowed, e.g. a write to a write-protected unit.
    Perm,
    /// EIO: anything that has no number of its own.
    Io,
    /// ENOMEM.
    NoMem,
    /// EINVAL: the request makes no sense for this unit.
    Inval,
    /// ENOSPC: a write beyond the end, or a thin unit without space.
    NoSpc,
    /// EOVERFLOW.
    Overflow,
    /// ENOTSUP.
    NotSup,
    /// ESHUTDOWN: the server is stopping. Never for the kernel's client: close its socket instead.
    Shutdown,
}

impl IoErrno {
    /// Every one of them.
    pub const ALL: [Self; 8] = [
        Self::Perm,
        Self::Io,
        Self::NoMem,
        Self::Inval,
        Self::NoSpc,
        Self::Overflow,
        Self::NotSup,
        Self::Shutdown,
    ];

    /// The number on the NBD wire.
    #[must_use]
    pub const fn wire(self) -> u32 {
        match self {
            Self::Perm => 1,
            Self::Io => 5,
            Self::NoMem => 12,
            Self::Inval => 22,
            Self::NoSpc => 28,
            Self::Overflow => 75,
            Self::NotSup => 95,
            Self::Shutdown => 108,
        }
    }

    /// The error of a number on the NBD wire; `None` for a number that NBD does not know.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|errno| errno.wire() == number)
    }

    /// The name that C programs know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Perm => "EPERM",
            Self::Io => "EIO",
            Self::NoMem => "ENOMEM",
            Self::Inval => "EINVAL",
            Self::NoSpc => "ENOSPC",
            Self::Overflow => "EOVERFLOW",
            Self::NotSup => "ENOTSUP",
            Self::Shutdown => "ESHUTDOWN",
        }
    }
}

impl fmt::Display for IoErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_eight_numbers_of_the_protocol_have_an_errno() {
        let known = (0..=4096).filter(|&n| IoErrno::from_wire(n).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [1, 5, 12, 22, 28, 75, 95, 108]);
        for errno in IoErrno::ALL {
            assert_eq!(IoErrno::from_wire(errno.wire()), Some(errno));
        }
    }
}
