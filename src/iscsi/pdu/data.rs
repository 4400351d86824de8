//! Data-Out, Data-In and Ready To Transfer (RFC 7143 11.7, 11.8).

use super::bhs::{Bhs, TargetNumbers};
use super::command::RawResidual;
use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::{Itt, Ttt};

const FINAL: u8 = 0x80;
const ACKNOWLEDGE: u8 = 0x40;
const STATUS: u8 = 0x01;

/// A SCSI Data-Out; the data stands in the data segment. It carries no CmdSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOut {
    /// F bit: the end of the burst.
    pub last: bool,
    /// Logical unit; with a TTT it is copied from the R2T.
    pub lun: Lun,
    /// The task's tag.
    pub itt: Itt,
    /// The R2T's tag; none in unsolicited data.
    pub ttt: Option<Ttt>,
    /// ExpStatSN.
    pub exp_stat_sn: SerialNumber,
    /// Number of the PDU within its burst, from 0.
    pub data_sn: u32,
    /// Place of the data within the command's data.
    pub offset: u32,
}

impl DataOut {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::DataOut);
        bhs.set_flags(if self.last { FINAL } else { 0 });
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_ttt(self.ttt);
        bhs.set_serial::<28>(self.exp_stat_sn);
        bhs.set_word::<36>(self.data_sn);
        bhs.set_word::<40>(self.offset);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        Ok(Self {
            last: bhs.is_final(),
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            ttt: bhs.ttt(),
            exp_stat_sn: bhs.serial::<28>(),
            data_sn: bhs.word::<36>(),
            offset: bhs.word::<40>(),
        })
    }
}

/// The status that the last Data-In of a command may carry (S bit, RFC 7143 11.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataInStatus {
    /// SCSI status.
    pub status: u8,
    /// O and U bits and the residual count.
    pub residual: RawResidual,
}

/// A SCSI Data-In; the data stands in the data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// F bit: the end of a burst, not of the command.
    pub last: bool,
    /// A bit: the target wants the data acknowledged (error recovery level 1 and above only).
    pub acknowledge: bool,
    /// The status, if the S bit is set: then this is the end of the command.
    pub status: Option<DataInStatus>,
    /// Logical unit; means something with a TTT only.
    pub lun: Lun,
    /// The task's tag.
    pub itt: Itt,
    /// Tag for an acknowledgement.
    pub ttt: Option<Ttt>,
    /// StatSN (with a status only), ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// Number of the PDU within its command, from 0.
    pub data_sn: u32,
    /// Place of the data within the command's data.
    pub offset: u32,
}

impl DataIn {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::DataIn);
        let mut flags = if self.last { FINAL } else { 0 };
        if self.acknowledge {
            flags |= ACKNOWLEDGE;
        }
        if let Some(DataInStatus { status, residual }) = self.status {
            flags |= STATUS | residual.flags();
            bhs.set_byte::<3>(status);
            bhs.set_word::<44>(residual.count);
        }
        bhs.set_flags(flags);
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_ttt(self.ttt);
        bhs.set_target_numbers(self.numbers);
        bhs.set_word::<36>(self.data_sn);
        bhs.set_word::<40>(self.offset);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let flags = bhs.flags();
        Ok(Self {
            last: bhs.is_final(),
            acknowledge: flags & ACKNOWLEDGE != 0,
            status: (flags & STATUS != 0).then(|| DataInStatus {
                status: bhs.byte::<3>(),
                residual: RawResidual::from_flags(flags, bhs.word::<44>()),
            }),
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            ttt: bhs.ttt(),
            numbers: bhs.target_numbers(),
            data_sn: bhs.word::<36>(),
            offset: bhs.word::<40>(),
        })
    }
}

/// Ready To Transfer: the target asks for a burst of a command's data. It consumes no StatSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// Logical unit, to be copied with the tag.
    pub lun: Lun,
    /// The task's tag.
    pub itt: Itt,
    /// The target's name for the burst: any value but the reserved one, reused once the burst ended.
    pub ttt: Ttt,
    /// StatSN (the next one, not consumed), ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// Number of the R2T within its command, from 0.
    pub r2t_sn: u32,
    /// Place of the burst within the command's data.
    pub offset: u32,
    /// Desired data transfer length: never 0.
    pub length: u32,
}

impl R2t {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::R2t);
        bhs.set_flags(FINAL);
        bhs.set_lun(self.lun);
        bhs.set_itt(Some(self.itt));
        bhs.set_ttt(Some(self.ttt));
        bhs.set_target_numbers(self.numbers);
        bhs.set_word::<36>(self.r2t_sn);
        bhs.set_word::<40>(self.offset);
        bhs.set_word::<44>(self.length);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// A reserved tag, or a length of zero (RFC 7143 11.8.4).
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let length = bhs.word::<44>();
        if length == 0 {
            return Err(InvalidPdu::undefined(
                "Desired Data Transfer Length",
                length,
            ));
        }
        Ok(Self {
            lun: bhs.lun(),
            itt: bhs.required_itt()?,
            ttt: bhs
                .ttt()
                .ok_or_else(|| InvalidPdu::ReservedTag(bhs.opcode_value()))?,
            numbers: bhs.target_numbers(),
            r2t_sn: bhs.word::<36>(),
            offset: bhs.word::<40>(),
            length,
        })
    }
}
