//! Is it the same logical unit? What a path's LUN says of itself, compared with what the volume's says.
//!
//! A [`LunIdentity`] holds the names from VPD page 83h that belong to the unit (not to the port), strongest
//! first, its serial number, vendor, product and size. Two of them match if
//!
//! 1. the strongest name of either is a name of the other too, and no kind of name that both have is
//!    contradicted (all designators of that kind must be equal);
//! 2. serial number, vendor, product, block size and capacity are equal.
//!
//! A name that only one side has is no contradiction as long as it is not the strongest: controllers that
//! run different firmware during an upgrade list more or fewer designators.
//!
//! Equal identifiers are no proof: tgt derives its names from target and LUN number, so that two hosts
//! export different disks under one name. [`LunIdentity::weak`] names the identities that must not be
//! trusted without a proof of sameness:
//!
//! - no name at all in page 83h, whatever the serial number;
//! - an NAA without a registered company (locally assigned, or company 0 as tgt has it) as the strongest
//!   name, or one with zeroes where the company's own number should stand (LIO without a unit serial);
//! - the defaults of tgt (`IET     00010001`, serial `beaf11`) and of FreeBSD's ctld (`MYDEVID   1`,
//!   serial `MYSERIAL   1`).

mod name;
#[cfg(test)]
mod tests;

use std::fmt;

pub use name::{LunName, NameKind};

use super::inquiry::StandardInquiry;
use super::vpd::{Association, Designator};
use crate::units::Geometry;

/// What a logical unit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunIdentity {
    /// Strongest first, each once.
    names: Vec<LunName>,
    serial: Option<String>,
    vendor: String,
    product: String,
    geometry: Geometry,
}

/// Where two identities differ: what the unit says, and what the volume's says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMismatch {
    /// Names of page 83h.
    #[error("it is named {found}, the volume's is {expected}")]
    Name {
        /// Of the unit.
        found: String,
        /// Of the volume.
        expected: String,
    },
    /// Serial number of page 80h.
    #[error("its serial number is {found:?}, the volume's is {expected:?}")]
    Serial {
        /// Of the unit; empty if it has none.
        found: String,
        /// Of the volume; empty if it has none.
        expected: String,
    },
    /// Vendor or product of the standard inquiry data.
    #[error("it is a {found}, the volume's is a {expected}")]
    Product {
        /// Of the unit.
        found: String,
        /// Of the volume.
        expected: String,
    },
    /// Logical block size in bytes.
    #[error("its blocks have {found} bytes, the volume's have {expected}")]
    BlockSize {
        /// Of the unit.
        found: u32,
        /// Of the volume.
        expected: u32,
    },
    /// Size in blocks. Everything else matches: the unit may have been resized.
    #[error("it has {found} blocks, the volume has {expected}")]
    Capacity {
        /// Of the unit.
        found: u64,
        /// Of the volume.
        expected: u64,
    },
}

impl LunIdentity {
    /// From what the probe learnt: standard inquiry data, designators of page 83h (those of ports and
    /// targets are left out), serial number of page 80h, and size.
    #[must_use]
    pub fn new(
        inquiry: &StandardInquiry,
        designators: &[Designator],
        serial: Option<String>,
        geometry: Geometry,
    ) -> Self {
        let of_unit = designators
            .iter()
            .filter(|d| d.association == Association::LogicalUnit);
        let mut names: Vec<_> = of_unit.filter_map(LunName::of).collect();
        names.sort();
        names.dedup();
        Self {
            names,
            serial,
            vendor: inquiry.vendor.clone(),
            product: inquiry.product.clone(),
            geometry,
        }
    }

    /// Whether this unit is the volume's, whose identity is `volume`.
    ///
    /// # Errors
    /// The first difference, in the order names, serial number, product, block size, capacity: after
    /// [`IdentityMismatch::Capacity`] everything else is known to match.
    pub fn matches(&self, volume: &Self) -> Result<(), IdentityMismatch> {
        if !self.names_match(volume) {
            let (found, expected) = (self.wwid(), volume.wwid());
            return Err(IdentityMismatch::Name { found, expected });
        }
        if self.serial != volume.serial {
            let serial = |of: &Self| of.serial.clone().unwrap_or_default();
            let (found, expected) = (serial(self), serial(volume));
            return Err(IdentityMismatch::Serial { found, expected });
        }
        if (&self.vendor, &self.product) != (&volume.vendor, &volume.product) {
            let (found, expected) = (self.model(), volume.model());
            return Err(IdentityMismatch::Product { found, expected });
        }
        let (found, expected) = (self.geometry, volume.geometry);
        if found.block_size() != expected.block_size() {
            let (found, expected) = (found.block_size(), expected.block_size());
            return Err(IdentityMismatch::BlockSize { found, expected });
        }
        if found.blocks() != expected.blocks() {
            let (found, expected) = (found.blocks(), expected.blocks());
            return Err(IdentityMismatch::Capacity { found, expected });
        }
        Ok(())
    }

    fn names_match(&self, other: &Self) -> bool {
        let strongest = match (self.names.first(), other.names.first()) {
            (Some(ours), Some(theirs)) => other.names.contains(ours) || self.names.contains(theirs),
            (None, None) => true,
            _ => false,
        };
        let agree = |kind| {
            let (ours, theirs) = (self.of_kind(kind), other.of_kind(kind));
            ours.is_empty() || theirs.is_empty() || ours == theirs
        };
        strongest && NameKind::ALL.into_iter().all(agree)
    }

    fn of_kind(&self, kind: NameKind) -> Vec<&LunName> {
        self.names
            .iter()
            .filter(|name| name.kind() == kind)
            .collect()
    }

    /// The strongest name in its canonical form, as it is pinned and configured: `naa.6001405f2d3c4b5a…`,
    /// `eui.…`, `uuid.…`, `iqn.…`, `t10.…`; without any, `serial.VENDOR_PRODUCT_SERIAL`.
    #[must_use]
    pub fn wwid(&self) -> String {
        match self.names.first() {
            Some(name) => name.to_string(),
            None => self.serial_name(),
        }
    }

    /// Whether `wwid` names this unit, be it by a weaker name than [`LunIdentity::wwid`]. Case does not
    /// count.
    #[must_use]
    pub fn is_named(&self, wwid: &str) -> bool {
        let wanted = wwid.trim();
        let named = |name: &LunName| name.to_string().eq_ignore_ascii_case(wanted);
        self.names.iter().any(named) || self.serial_name().eq_ignore_ascii_case(wanted)
    }

    fn serial_name(&self) -> String {
        let serial = self.serial.as_deref().unwrap_or_default();
        let parts = [self.vendor.as_str(), &self.product, serial].join("_");
        format!("serial.{}", parts.replace(' ', "_"))
    }

    /// All names, strongest first.
    #[must_use]
    pub fn names(&self) -> &[LunName] {
        &self.names
    }

    /// The serial number of page 80h.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// Size.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The same unit with another size: what a resize leaves of an identity.
    #[must_use]
    pub fn resized(&self, geometry: Geometry) -> Self {
        Self {
            geometry,
            ..self.clone()
        }
    }

    /// Vendor and product.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{} {}", self.vendor, self.product)
            .trim()
            .to_owned()
    }

    /// Whether other units may well have the same identity (see the module's head): such paths are merged
    /// only after a proof of sameness.
    #[must_use]
    pub fn weak(&self) -> bool {
        match self.names.first() {
            None => true,
            Some(name) => name.looks_default(),
        }
    }
}

impl fmt::Display for LunIdentity {
    /// E.g. `naa.6001405… (LIO-ORG disk1, serial "f2d3…", 2048 blocks of 512 bytes)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.wwid(), self.model())?;
        if let Some(serial) = &self.serial {
            write!(f, ", serial {serial:?}")?;
        }
        write!(f, ", {})", self.geometry)
    }
}
