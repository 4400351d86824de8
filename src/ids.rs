//! Names of things that live in several layers.

use std::fmt;
use std::sync::Arc;

/// A path of one volume: its index in the volume's roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u16);

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the paths of one volume are called, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct PathNames(Arc<[String]>);

impl PathNames {
    /// These names.
    #[must_use]
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        Self(names.collect())
    }

    /// The name of a path; `?` for one that is none of them.
    #[must_use]
    pub fn of(&self, path: PathId) -> &str {
        self.0.get(usize::from(path.0)).map_or("?", String::as_str)
    }
}

/// Number of a path's session: 0 before the first login, +1 at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The number of the session after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One NBD request of one volume; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

/// One submission of a SCSI command to a session, as its submitter names it; never reused within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// What is known of a task whose session was lost before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// No byte of its command reached the socket: it was never executed and never will be.
    Unsent,
    /// It may have been executed, or may still be.
    Indeterminate,
}

/// A logical unit number in the 64-bit form of SAM-5 4.7, as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lun([u8; 8]);

impl Lun {
    /// Peripheral addressing for 0–255, flat space addressing for 256–16383 (SAM-5 4.7.7); `None` above.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        let [high, low] = number.to_be_bytes();
        match number {
            0..=255 => Some(Self([0, low, 0, 0, 0, 0, 0, 0])),
            256..=16383 => Some(Self([0x40 | high, low, 0, 0, 0, 0, 0, 0])),
            _ => None,
        }
    }

    /// The number as an administrator writes it: up to 16383, or the full 64-bit form, whose first level, the
    /// upper 16 bits, is never 0.
    #[must_use]
    pub fn from_config(value: u64) -> Option<Self> {
        match u16::try_from(value) {
            Ok(number) => Self::from_number(number),
            Err(_) if value >> 48 == 0 => None,
            Err(_) => Some(Self(value.to_be_bytes())),
        }
    }

    /// From its eight bytes on the wire.
    #[must_use]
    pub fn from_wire(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its eight bytes on the wire.
    #[must_use]
    pub fn to_wire(self) -> [u8; 8] {
        self.0
    }

    /// The small number if this is single-level peripheral or flat addressing.
    #[must_use]
    pub fn number(self) -> Option<u16> {
        let [a, b, rest @ ..] = self.0;
        match (a >> 6, rest) {
            (0, [0, 0, 0, 0, 0, 0]) if a == 0 => Some(u16::from(b)),
            (1, [0, 0, 0, 0, 0, 0]) => Some(u16::from_be_bytes([a & 0x3f, b])),
            _ => None,
        }
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

impl fmt::Debug for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
