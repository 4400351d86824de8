//! SCSI Command and SCSI Response (RFC 7143 11.3, 11.4).

use super::bhs::{Bhs, InitiatorNumbers, TargetNumbers};
use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::tags::Itt;
use crate::task::{Residual, TaskAttribute};

const FINAL: u8 = 0x80;
const READ: u8 = 0x40;
const WRITE: u8 = 0x20;
const ATTRIBUTE: u8 = 0x07;

/// Which way the data of a command goes, and how much the initiator expects (RFC 7143 11.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirection {
    /// No data.
    None,
    /// R bit: to the initiator, at most so many bytes.
    Read(u32),
    /// W bit: to the target, so many bytes.
    Write(u32),
}

/// A SCSI Command; immediate data stands in the data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiCommand {
    /// I bit.
    pub immediate: bool,
    /// F bit: no unsolicited Data-Out follows.
    pub last: bool,
    /// R and W bits with the expected data transfer length.
    pub direction: DataDirection,
    /// Task attribute; others than ours decode as simple.
    pub attribute: TaskAttribute,
    /// Logical unit.
    pub lun: Lun,
    /// The task's tag.
    pub itt: Itt,
    /// CmdSN and ExpStatSN.
    pub numbers: InitiatorNumbers,
    /// The CDB, padded with zeroes to 16 bytes.
    pub cdb: [u8; 16],
}

impl ScsiCommand {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::ScsiCommand);
        bhs.set_immediate(self.immediate);
        let (direction, length) = match self.direction {
            DataDirection::None => (0, 0),
            DataDirection::Read(length) => (READ, length),
            DataDirection::Write(length) => (WRITE, length),
        };
        let attribute = match self.attribute {
            TaskAttribute::Simple => 1,
            TaskAttribute::Ordered => 2,
        };
        let last = if self.last { FINAL } else { 0 };
        bhs.set_flags(last | direction | attribute);
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_word::<20>(length);
        bhs.set_initiator_numbers(self.numbers);
        bhs.set::<32, 16>(self.cdb);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag, or both directions at once (we have no bidirectional commands).
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let flags = bhs.flags();
        let length = bhs.word::<20>();
        let direction = match flags & (READ | WRITE) {
            0 => DataDirection::None,
            READ => DataDirection::Read(length),
            WRITE => DataDirection::Write(length),
            both => return Err(InvalidPdu::undefined("R and W bits", both)),
        };
        let attribute = match flags & ATTRIBUTE {
            2 => TaskAttribute::Ordered,
            _ => TaskAttribute::Simple,
        };
        Ok(Self {
            immediate: bhs.is_immediate(),
            last: bhs.is_final(),
            direction,
            attribute,
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            numbers: bhs.initiator_numbers(),
            cdb: bhs.get::<32, 16>(),
        })
    }
}

/// The O and U bits with the residual count, as a PDU carries them (RFC 7143 11.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawResidual {
    /// O bit.
    pub overflow: bool,
    /// U bit.
    pub underflow: bool,
    /// Residual Count: means something only with one of the bits.
    pub count: u32,
}

impl RawResidual {
    const OVERFLOW: u8 = 0x04;
    const UNDERFLOW: u8 = 0x02;

    pub(super) fn from_flags(flags: u8, count: u32) -> Self {
        Self {
            overflow: flags & Self::OVERFLOW != 0,
            underflow: flags & Self::UNDERFLOW != 0,
            count,
        }
    }

    pub(super) fn flags(self) -> u8 {
        let overflow = if self.overflow { Self::OVERFLOW } else { 0 };
        let underflow = if self.underflow { Self::UNDERFLOW } else { 0 };
        overflow | underflow
    }

    /// What it says; `None` if both bits are set. The count is ignored where no bit is set.
    #[must_use]
    pub fn checked(self) -> Option<Residual> {
        match (self.overflow, self.underflow) {
            (false, false) => Some(Residual::None),
            (true, false) => Some(Residual::Overflow(self.count)),
            (false, true) => Some(Residual::Underflow(self.count)),
            (true, true) => None,
        }
    }
}

impl From<Residual> for RawResidual {
    fn from(residual: Residual) -> Self {
        let (overflow, underflow, count) = match residual {
            Residual::None => (false, false, 0),
            Residual::Overflow(count) => (true, false, count),
            Residual::Underflow(count) => (false, true, count),
        };
        Self {
            overflow,
            underflow,
            count,
        }
    }
}

/// A SCSI Response; sense data stands in the data segment behind a length of two bytes.
///
/// Where `response` is not [`ScsiResponse::COMPLETED`], status and residual mean nothing (RFC 7143 11.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// The task's tag.
    pub itt: Itt,
    /// iSCSI service response.
    pub response: u8,
    /// SCSI status.
    pub status: u8,
    /// O and U bits and the residual count.
    pub residual: RawResidual,
    /// StatSN, ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// ExpDataSN: number of Data-In and R2T PDUs of the task.
    pub exp_data_sn: u32,
}

impl ScsiResponse {
    /// Response 00h: command completed at target.
    pub const COMPLETED: u8 = 0x00;
    /// Response 01h: target failure.
    pub const TARGET_FAILURE: u8 = 0x01;

    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::ScsiResponse);
        bhs.set_flags(FINAL | self.residual.flags());
        bhs.set_byte::<2>(self.response);
        bhs.set_byte::<3>(self.status);
        bhs.set_itt(Some(self.itt));
        bhs.set_target_numbers(self.numbers);
        bhs.set_word::<36>(self.exp_data_sn);
        bhs.set_word::<44>(self.residual.count);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        Ok(Self {
            itt: bhs.required_itt()?,
            response: bhs.byte::<2>(),
            status: bhs.byte::<3>(),
            residual: RawResidual::from_flags(bhs.flags(), bhs.word::<44>()),
            numbers: bhs.target_numbers(),
            exp_data_sn: bhs.word::<36>(),
        })
    }
}
