//! The commands that we send: SPC-5 and SBC-4 descriptor blocks, typed.
//!
//! A [`Command`] says what is wanted; [`Command::cdb`] chooses the shortest form that can say it: READ,
//! WRITE and SYNCHRONIZE CACHE use their 10-byte form below 2^32 blocks, which every target knows.

mod build;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::reservation::ReservationType;
use crate::task::Cdb;
use crate::units::BlockRange;

/// Descriptors that one UNMAP parameter list can hold: its length field has 16 bits.
pub const UNMAP_DESCRIPTORS_MAX: usize = 4095;

/// Allocation for standard INQUIRY data: one byte, since SCSI-2 targets know no more.
pub const INQUIRY_ALLOCATION: u16 = 255;

/// Allocation for a vital product data page: long enough for any array's list of designators.
pub const VPD_ALLOCATION: u16 = 4096;

/// First allocation for REPORT LUNS; some targets fail large ones, so ask for the rest when it is known.
pub const REPORT_LUNS_FIRST: u32 = 16;

/// Operation codes (SPC-5 annex F).
pub(super) mod op {
    pub(in crate::scsi) const TEST_UNIT_READY: u8 = 0x00;
    pub(in crate::scsi) const INQUIRY: u8 = 0x12;
    pub(in crate::scsi) const MODE_SENSE_6: u8 = 0x1a;
    pub(in crate::scsi) const READ_CAPACITY_10: u8 = 0x25;
    pub(in crate::scsi) const READ_10: u8 = 0x28;
    pub(in crate::scsi) const WRITE_10: u8 = 0x2a;
    pub(in crate::scsi) const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    pub(in crate::scsi) const WRITE_SAME_10: u8 = 0x41;
    pub(in crate::scsi) const UNMAP: u8 = 0x42;
    pub(in crate::scsi) const MODE_SENSE_10: u8 = 0x5a;
    pub(in crate::scsi) const PERSISTENT_RESERVE_IN: u8 = 0x5e;
    pub(in crate::scsi) const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
    pub(in crate::scsi) const READ_16: u8 = 0x88;
    pub(in crate::scsi) const WRITE_16: u8 = 0x8a;
    pub(in crate::scsi) const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    pub(in crate::scsi) const WRITE_SAME_16: u8 = 0x93;
    pub(in crate::scsi) const SERVICE_ACTION_IN_16: u8 = 0x9e;
    pub(in crate::scsi) const REPORT_LUNS: u8 = 0xa0;
    pub(in crate::scsi) const MAINTENANCE_IN: u8 = 0xa3;
    pub(in crate::scsi) const MAINTENANCE_OUT: u8 = 0xa4;

    /// Service action of SERVICE ACTION IN(16).
    pub(in crate::scsi) const READ_CAPACITY_16: u8 = 0x10;
    /// Service actions of MAINTENANCE IN.
    pub(in crate::scsi) const REPORT_TARGET_PORT_GROUPS: u8 = 0x0a;
    pub(in crate::scsi) const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;
    /// Service action of MAINTENANCE OUT.
    pub(in crate::scsi) const SET_TARGET_PORT_GROUPS: u8 = 0x0a;
}

/// Which way a transfer's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the medium.
    Read,
    /// To the medium.
    Write,
}

/// The blocks of a READ, WRITE or SYNCHRONIZE CACHE as a descriptor block states them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u32,
}

impl Extent {
    /// The extent of a range.
    ///
    /// # Panics
    /// If the range has 2^32 blocks or more: what is sent has been split long before.
    #[must_use]
    pub fn of(range: BlockRange) -> Self {
        let blocks = u32::try_from(range.blocks()).expect("commands are split below 2^32 blocks");
        Self {
            lba: range.lba(),
            blocks,
        }
    }

    /// Both numbers in the widths of the 10-byte forms, if they fit.
    fn short(self) -> Option<(u32, u16)> {
        Some((self.lba.try_into().ok()?, self.blocks.try_into().ok()?))
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.lba, self.blocks)
    }
}

/// How WRITE SAME writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSameFlags {
    /// The target may deallocate instead of writing, if it reads back as written (SBC-4 5.50).
    pub unmap: bool,
    /// With `unmap`: the space stays reserved.
    pub anchor: bool,
    /// No data-out buffer: the target writes zeroes without being sent a block of them. 16-byte form only.
    pub no_data_out: bool,
}

/// Service actions of PERSISTENT RESERVE IN (SPC-5 6.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveIn {
    /// All registered keys.
    ReadKeys,
    /// The reservation that is held.
    ReadReservation,
    /// What the target can do.
    ReportCapabilities,
}

/// Service actions of PERSISTENT RESERVE OUT (SPC-5 6.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveOut {
    /// Registers, replaces or (new key 0) removes this nexus's key.
    Register,
    /// The same, whatever key was registered before.
    RegisterAndIgnoreExistingKey,
    /// Reserves the unit for this nexus.
    Reserve(ReservationType),
    /// Releases this nexus's reservation, which is of this type.
    Release(ReservationType),
    /// Removes all registrations, and the reservation.
    Clear,
    /// Removes the registrations of a key; takes the reservation over, with this type, if that key holds it.
    Preempt(ReservationType),
    /// The same, and aborts the tasks of the key's nexuses.
    PreemptAndAbort(ReservationType),
}

/// A command for a logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// INQUIRY: standard data, or a vital product data page.
    Inquiry {
        /// The page, or `None` for standard data.
        page: Option<u8>,
        /// Allocation length in bytes.
        allocation: u16,
    },
    /// READ CAPACITY(10).
    ReadCapacity10,
    /// READ CAPACITY(16).
    ReadCapacity16,
    /// REPORT LUNS, all but well-known units (SELECT REPORT 00h).
    ReportLuns {
        /// Allocation length in bytes, at least 16.
        allocation: u32,
    },
    /// MODE SENSE(6), current values, without block descriptors.
    ModeSense6 {
        /// Page code.
        page: u8,
        /// Allocation length in bytes.
        allocation: u8,
    },
    /// MODE SENSE(10), current values, without block descriptors.
    ModeSense10 {
        /// Page code.
        page: u8,
        /// Allocation length in bytes.
        allocation: u16,
    },
    /// READ(10) or READ(16).
    Read {
        /// Blocks.
        extent: Extent,
        /// Force unit access.
        fua: bool,
    },
    /// WRITE(10) or WRITE(16).
    Write {
        /// Blocks.
        extent: Extent,
        /// Force unit access.
        fua: bool,
    },
    /// SYNCHRONIZE CACHE(10) or (16), not immediate; zero blocks mean "to the end".
    SynchronizeCache(Extent),
    /// UNMAP with a parameter list from [`Command::unmap`].
    Unmap {
        /// Length of the parameter list in bytes.
        list: u16,
    },
    /// WRITE SAME(10), for units whose page B2h has LBPWS10 without LBPWS.
    WriteSame10 {
        /// First logical block.
        lba: u32,
        /// Number of blocks, not 0.
        blocks: u16,
        /// How; without `no_data_out`.
        flags: WriteSameFlags,
    },
    /// WRITE SAME(16).
    WriteSame16 {
        /// Blocks, not none.
        extent: Extent,
        /// How.
        flags: WriteSameFlags,
    },
    /// REPORT TARGET PORT GROUPS, length-only header.
    ReportTargetPortGroups {
        /// Allocation length in bytes.
        allocation: u32,
    },
    /// SET TARGET PORT GROUPS with a parameter list from [`super::alua`].
    SetTargetPortGroups {
        /// Length of the parameter list in bytes.
        list: u32,
    },
    /// REPORT SUPPORTED OPERATION CODES for one operation code, or one service action of it.
    ReportSupportedOperationCode {
        /// Operation code.
        code: u8,
        /// Service action, for an operation code that has them.
        action: Option<u16>,
    },
    /// PERSISTENT RESERVE IN.
    PersistentReserveIn {
        /// What is asked.
        action: ReserveIn,
        /// Allocation length in bytes.
        allocation: u16,
    },
    /// PERSISTENT RESERVE OUT with a parameter list from [`super::reservation`].
    PersistentReserveOut(ReserveOut),
}

/// How many bytes of data a command has, and which way they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataLength {
    /// None.
    None,
    /// The target may send so many.
    In(u32),
    /// We send so many.
    Out(u32),
}

/// Length of READ CAPACITY(16) parameter data that we ask for.
const READ_CAPACITY_16_LEN: u32 = 32;
/// Length of the one-command answer of REPORT SUPPORTED OPERATION CODES: header, usage data, timeouts.
const SUPPORTED_OPERATION_LEN: u32 = 32;
/// Length of the PERSISTENT RESERVE OUT parameter list of the actions that we send.
pub(super) const RESERVE_OUT_LEN: u32 = 24;

/// DBD of MODE SENSE.
const DISABLE_BLOCK_DESCRIPTORS: u8 = 0x08;
/// NDOB of WRITE SAME(16).
const NO_DATA_OUT: u8 = 0x01;

impl Command {
    /// READ or WRITE of a range.
    ///
    /// # Panics
    /// If the range has 2^32 blocks or more.
    #[must_use]
    pub fn transfer(direction: Direction, range: BlockRange, fua: bool) -> Self {
        let extent = Extent::of(range);
        match direction {
            Direction::Read => Self::Read { extent, fua },
            Direction::Write => Self::Write { extent, fua },
        }
    }

    /// SYNCHRONIZE CACHE of the whole unit.
    #[must_use]
    pub fn flush() -> Self {
        Self::SynchronizeCache(Extent { lba: 0, blocks: 0 })
    }

    /// UNMAP of some ranges, with the parameter list to send (SBC-4 5.35).
    ///
    /// # Panics
    /// If there are more than [`UNMAP_DESCRIPTORS_MAX`] ranges, or one has 2^32 blocks or more.
    #[must_use]
    pub fn unmap(ranges: &[BlockRange]) -> (Self, Bytes) {
        assert!(
            ranges.len() <= UNMAP_DESCRIPTORS_MAX,
            "UNMAP descriptors fit the list"
        );
        let descriptors = u16::try_from(16 * ranges.len()).expect("checked above");
        let list = descriptors + 8;
        let mut data = BytesMut::with_capacity(usize::from(list));
        data.put_u16(list - 2);
        data.put_u16(descriptors);
        data.put_u32(0);
        for extent in ranges.iter().copied().map(Extent::of) {
            data.put_u64(extent.lba);
            data.put_u32(extent.blocks);
            data.put_u32(0);
        }
        (Self::Unmap { list }, data.freeze())
    }

    /// The descriptors of an UNMAP parameter list; `None` if its lengths contradict each other.
    #[must_use]
    pub fn unmap_extents(list: &[u8]) -> Option<Vec<Extent>> {
        parse::unmap_list(list)
    }

    /// The command of a descriptor block; `None` if it is not one of ours or uses what we never use.
    #[must_use]
    pub fn parse(cdb: &[u8; 16]) -> Option<Self> {
        parse::command(cdb)
    }

    /// How much data goes which way, on a unit with blocks of `block_size` bytes.
    ///
    /// # Panics
    /// If a transfer has 4 GiB or more: what is sent has been split long before.
    #[must_use]
    pub fn data_length(&self, block_size: u32) -> DataLength {
        let transfer = |extent: &Extent| {
            extent
                .blocks
                .checked_mul(block_size)
                .expect("commands are split below 4 GiB")
        };
        match self {
            Self::TestUnitReady | Self::SynchronizeCache(_) => DataLength::None,
            Self::Inquiry { allocation, .. }
            | Self::ModeSense10 { allocation, .. }
            | Self::PersistentReserveIn { allocation, .. } => DataLength::In((*allocation).into()),
            Self::ReadCapacity10 => DataLength::In(8),
            Self::ReadCapacity16 => DataLength::In(READ_CAPACITY_16_LEN),
            Self::ModeSense6 { allocation, .. } => DataLength::In((*allocation).into()),
            Self::ReportLuns { allocation } | Self::ReportTargetPortGroups { allocation } => {
                DataLength::In(*allocation)
            }
            Self::ReportSupportedOperationCode { .. } => DataLength::In(SUPPORTED_OPERATION_LEN),
            Self::Read { extent, .. } => DataLength::In(transfer(extent)),
            Self::Write { extent, .. } => DataLength::Out(transfer(extent)),
            Self::Unmap { list } => DataLength::Out((*list).into()),
            Self::SetTargetPortGroups { list } => DataLength::Out(*list),
            Self::WriteSame10 { .. } => DataLength::Out(block_size),
            Self::WriteSame16 { flags, .. } if flags.no_data_out => DataLength::None,
            Self::WriteSame16 { .. } => DataLength::Out(block_size),
            Self::PersistentReserveOut(_) => DataLength::Out(RESERVE_OUT_LEN),
        }
    }

    /// The descriptor block.
    #[must_use]
    pub fn cdb(&self) -> Cdb {
        build::cdb(*self)
    }
}
