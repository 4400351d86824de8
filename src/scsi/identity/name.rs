//! One name of a logical unit.

use std::fmt;

use super::super::vpd::Designator;
use super::super::wire::{array, text};

/// Kinds of names, strongest first: those that an authority makes unique, then those that a vendor does,
/// then those that nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// NAA 2h, 5h or 6h: the company is registered with IEEE.
    Naa,
    /// EUI-64 based.
    Eui,
    /// UUID.
    Uuid,
    /// SCSI name string: `iqn.`, `eui.` or `naa.` and more.
    NameString,
    /// T10 vendor identification and whatever the vendor adds.
    T10,
    /// NAA 3h (locally assigned), of an unknown type, or with a company identifier of zero (tgt).
    LocalNaa,
}

impl NameKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Naa,
        Self::Eui,
        Self::Uuid,
        Self::NameString,
        Self::T10,
        Self::LocalNaa,
    ];
}

/// One name of a logical unit. The order is that of strength, then of bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LunName {
    kind: NameKind,
    bytes: Vec<u8>,
}

impl LunName {
    /// The name that a designator gives to its unit; `None` for kinds that name none, for vendor specific
    /// ones, and for empty ones. Padding of texts is no part of the name.
    #[must_use]
    pub fn of(designator: &Designator) -> Option<Self> {
        let bytes = &designator.bytes;
        let kind = match designator.kind {
            Designator::NAA if is_registered_naa(bytes) => NameKind::Naa,
            Designator::NAA => NameKind::LocalNaa,
            Designator::EUI64 => NameKind::Eui,
            Designator::UUID => NameKind::Uuid,
            Designator::NAME_STRING => NameKind::NameString,
            Designator::T10 => NameKind::T10,
            _ => return None,
        };
        let bytes = match kind {
            NameKind::Naa | NameKind::LocalNaa | NameKind::Eui => bytes.as_slice(),
            // UUID TYPE and a reserved byte stand before the UUID (SPC-5 7.7.6.12).
            NameKind::Uuid => bytes.get(2..)?,
            NameKind::NameString | NameKind::T10 => trim(bytes),
        };
        (!bytes.is_empty()).then(|| Self {
            kind,
            bytes: bytes.to_vec(),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> NameKind {
        self.kind
    }

    /// Whether it looks like a name that was never chosen to be unique: see the module's head.
    #[must_use]
    pub(super) fn looks_default(&self) -> bool {
        match self.kind {
            // NAA 6h: 4 bits NAA, 24 bits company, then what the company chose.
            NameKind::Naa => self.bytes.get(4..).is_none_or(all_zero),
            NameKind::Eui | NameKind::Uuid => all_zero(&self.bytes),
            NameKind::NameString => false,
            NameKind::T10 => looks_default_t10(&self.bytes),
            NameKind::LocalNaa => true,
        }
    }
}

/// Whether the company identifier of 24 bits is set: behind the NAA in types 5h and 6h, behind 12 more bits
/// in type 2h (SPC-5 7.7.6.6). tgt leaves it zero: it makes an NAA 6h of the hexadecimal digits of its SCSI
/// id, by default the `E` of `IET`, then target and LUN number.
fn is_registered_naa(bytes: &[u8]) -> bool {
    let number = array(bytes, 0).map_or(0, u64::from_be_bytes);
    let company = match number >> 60 {
        2 => number >> 24 & 0x00ff_ffff,
        5 | 6 => number >> 36 & 0x00ff_ffff,
        _ => 0,
    };
    company != 0
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b == 0)
}

/// Trailing blanks and zeroes pad a text; leading ones do not.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [head @ .., b' ' | 0] = bytes {
        bytes = head;
    }
    bytes
}

/// A vendor alone; tgt's vendor with eight hexadecimal digits; ctld's `MYDEVID` with a number.
fn looks_default_t10(bytes: &[u8]) -> bool {
    let Some((vendor, rest)) = bytes.split_at_checked(8) else {
        return true;
    };
    let rest = text(rest);
    let tgt = rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit());
    rest.is_empty() || rest.starts_with("MYDEVID") || (text(vendor) == "IET" && tgt)
}

impl fmt::Display for LunName {
    /// `naa.`, `eui.` and `uuid.` with hexadecimal digits; texts as they are, blanks as underscores.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind {
            NameKind::Naa | NameKind::LocalNaa => "naa.",
            NameKind::Eui => "eui.",
            NameKind::Uuid => "uuid.",
            NameKind::T10 => "t10.",
            NameKind::NameString => "",
        };
        f.write_str(prefix)?;
        match self.kind {
            NameKind::T10 | NameKind::NameString => {
                f.write_str(&self.bytes.escape_ascii().to_string().replace(' ', "_"))
            }
            NameKind::Naa | NameKind::LocalNaa | NameKind::Eui => {
                self.bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            NameKind::Uuid => self.bytes.iter().enumerate().try_for_each(|(at, b)| {
                let dash = if matches!(at, 4 | 6 | 8 | 10) {
                    "-"
                } else {
                    ""
                };
                write!(f, "{dash}{b:02x}")
            }),
        }
    }
}

impl fmt::Debug for LunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.kind)
    }
}
