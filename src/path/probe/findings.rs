//! What a probe was told, and the unit that comes out of it.

use crate::limits;
use crate::path::access::{PortAddress, Reading};
use crate::path::message::{Features, TrimMethod, Unit};
use crate::scsi::alua::PortGroups;
use crate::scsi::capacity::Capacity;
use crate::scsi::identity::LunIdentity;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::mode::ModeParameters;
use crate::scsi::vpd::{BlockLimits, DeviceIdentification, Provisioning};
use crate::units::Geometry;

/// WRITE SAME of so many blocks where the target states no limit, as Linux's sd does.
const WRITE_SAME_DEFAULT: u32 = 0x7f_ffff;

/// What the answers said so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) inquiry: Option<StandardInquiry>,
    pub(super) pages: Vec<u8>,
    pub(super) serial: Option<String>,
    pub(super) identification: Option<DeviceIdentification>,
    /// Not told to the path yet.
    pub(super) groups: Option<PortGroups>,
    pub(super) capacity: Option<Capacity>,
    pub(super) limits: BlockLimits,
    pub(super) rotational: bool,
    pub(super) provisioning: Option<Provisioning>,
    pub(super) mode: Option<ModeParameters>,
}

impl Findings {
    /// The unit as found; `None` before the steps that tell who it is.
    pub(super) fn unit(&self, target: String, portal_group: Option<u16>) -> Option<Unit> {
        let capacity = self.capacity?;
        let features = self.features(&capacity);
        Some(Unit {
            identity: self.identity(capacity.geometry)?,
            geometry: capacity.geometry,
            features,
            target,
            portal_group,
        })
    }

    /// The port that answers, where the unit says that its ports differ (TPGS) and which one this is.
    pub(super) fn port(&self) -> Option<PortAddress> {
        let tpgs = self.inquiry.as_ref()?.tpgs;
        let identification = self.identification.as_ref().filter(|_| tpgs != 0)?;
        let port = PortAddress {
            group: identification.target_port_group(),
            port: identification.relative_target_port(),
            explicit: tpgs & 2 != 0,
        };
        (port.group.is_some() || port.port.is_some()).then_some(port)
    }

    /// What was found out of the port's access, once.
    pub(super) fn take_access(&mut self) -> Option<Reading> {
        let port = self.port()?;
        let groups = self.groups.take()?;
        let access = port.access(&groups);
        Some(Reading { port, access })
    }

    pub(super) fn identity(&self, geometry: Geometry) -> Option<LunIdentity> {
        let inquiry = self.inquiry.as_ref()?;
        let designators = self
            .identification
            .as_ref()
            .map(|found| found.designators.as_slice());
        let serial = self.serial.clone();
        let designators = designators.unwrap_or_default();
        Some(LunIdentity::new(inquiry, designators, serial, geometry))
    }

    fn features(&self, capacity: &Capacity) -> Features {
        let (blocks, mode) = (&self.limits, self.mode);
        let block_size = capacity.geometry.block_size();
        let unlimited = |limit: u32| if limit == 0 { u32::MAX } else { limit };
        let provisioning = self.provisioning.unwrap_or_default();
        let write_same_max = u32::try_from(blocks.write_same_max).unwrap_or(u32::MAX);
        let write_same = if write_same_max == 0 {
            WRITE_SAME_DEFAULT
        } else {
            write_same_max
        };
        let trim = if provisioning.unmap && blocks.unmap_blocks_max > 0 {
            TrimMethod::Unmap {
                blocks_max: blocks.unmap_blocks_max,
                granularity: blocks.unmap_granularity.max(1),
                alignment: blocks.unmap_alignment.unwrap_or(0),
            }
        } else if provisioning.write_same_16 {
            TrimMethod::WriteSame
        } else {
            TrimMethod::None
        };
        let physical = u32::try_from(capacity.physical_block_size()).unwrap_or(block_size);
        let preferred = physical.clamp(4096, limits::TRANSFER_MAX);
        Features {
            fua: mode.is_some_and(|mode| mode.fua),
            write_cache: mode.and_then(|mode| mode.write_cache),
            write_protected: mode.is_some_and(|mode| mode.write_protected),
            rotational: self.rotational,
            transfer_blocks_max: unlimited(blocks.transfer_max)
                .min((limits::TRANSFER_MAX / block_size).max(1)),
            preferred_bytes: preferred,
            trim,
            write_same_blocks_max: write_same,
            unmapped_reads_zero: provisioning.reads_zeroes || capacity.reads_zeroes,
        }
    }
}
