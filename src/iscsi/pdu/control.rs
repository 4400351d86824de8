//! Asynchronous Message, Logout and Reject (RFC 7143 11.9, 11.14, 11.15, 11.17).

use super::bhs::{Bhs, InitiatorNumbers, TargetNumbers};
use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::tags::Itt;

const FINAL: u8 = 0x80;

/// An Asynchronous Message. It consumes a StatSN although it has no task tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// Logical unit, for events 0 and 5.
    pub lun: Lun,
    /// StatSN, ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// AsyncEvent.
    pub event: u8,
    /// AsyncVCode.
    pub vendor_code: u8,
    /// Parameter1 to Parameter3.
    pub parameters: [u16; 3],
}

impl AsyncMessage {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::AsyncMessage);
        let [one, two, three] = self.parameters;
        bhs.set_flags(FINAL);
        bhs.set_lun(self.lun);
        bhs.set_itt(None);
        bhs.set_target_numbers(self.numbers);
        bhs.set_byte::<36>(self.event);
        bhs.set_byte::<37>(self.vendor_code);
        bhs.set_half::<38>(one);
        bhs.set_half::<40>(two);
        bhs.set_half::<42>(three);
        bhs
    }

    /// Reads a header: every one is an Asynchronous Message.
    #[must_use]
    pub fn decode(bhs: &Bhs) -> Self {
        Self {
            lun: bhs.lun(),
            numbers: bhs.target_numbers(),
            event: bhs.byte::<36>(),
            vendor_code: bhs.byte::<37>(),
            parameters: [bhs.half::<38>(), bhs.half::<40>(), bhs.half::<42>()],
        }
    }
}

/// What a logout ends (RFC 7143 11.14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutReason {
    /// 0: the session.
    CloseSession,
    /// 1: one connection.
    CloseConnection,
    /// 2: one connection, for recovery.
    RemoveForRecovery,
}

/// A Logout Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// I bit.
    pub immediate: bool,
    /// What is to end.
    pub reason: LogoutReason,
    /// The request's tag.
    pub itt: Itt,
    /// The connection; reserved (0) where the session ends.
    pub cid: u16,
    /// CmdSN and ExpStatSN.
    pub numbers: InitiatorNumbers,
}

impl LogoutRequest {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::LogoutRequest);
        bhs.set_immediate(self.immediate);
        let reason = match self.reason {
            LogoutReason::CloseSession => 0,
            LogoutReason::CloseConnection => 1,
            LogoutReason::RemoveForRecovery => 2,
        };
        bhs.set_flags(FINAL | reason);
        bhs.set_itt(Some(self.itt));
        bhs.set_half::<20>(self.cid);
        bhs.set_initiator_numbers(self.numbers);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag, or an unknown reason.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let reason = match bhs.flags() & 0x7f {
            0 => LogoutReason::CloseSession,
            1 => LogoutReason::CloseConnection,
            2 => LogoutReason::RemoveForRecovery,
            other => return Err(InvalidPdu::undefined("Reason Code", other)),
        };
        Ok(Self {
            immediate: bhs.is_immediate(),
            reason,
            itt: bhs.required_itt()?,
            cid: bhs.half::<20>(),
            numbers: bhs.initiator_numbers(),
        })
    }
}

/// A Logout Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// The request's tag.
    pub itt: Itt,
    /// 0: closed; 1: no such CID; 2: recovery not supported; 3: cleanup failed.
    pub response: u8,
    /// StatSN, ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// Seconds to wait before the next login.
    pub time2wait: u16,
    /// Seconds for which the session's state is kept after that.
    pub time2retain: u16,
}

impl LogoutResponse {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::LogoutResponse);
        bhs.set_flags(FINAL);
        bhs.set_byte::<2>(self.response);
        bhs.set_itt(Some(self.itt));
        bhs.set_target_numbers(self.numbers);
        bhs.set_half::<40>(self.time2wait);
        bhs.set_half::<42>(self.time2retain);
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
            numbers: bhs.target_numbers(),
            time2wait: bhs.half::<40>(),
            time2retain: bhs.half::<42>(),
        })
    }
}

/// Why a PDU was rejected (RFC 7143 11.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// 02h: the target found a data digest error.
    DataDigestError,
    /// 03h: SNACK reject.
    SnackReject,
    /// 04h: protocol error.
    ProtocolError,
    /// 05h: command not supported.
    CommandNotSupported,
    /// 06h: too many immediate commands.
    ImmediateCommandReject,
    /// 07h: task in progress.
    TaskInProgress,
    /// 08h: invalid data acknowledgement.
    InvalidDataAck,
    /// 09h: invalid PDU field.
    InvalidPduField,
    /// 0Ah: the target is out of resources for this long operation.
    LongOperationReject,
    /// 0Ch: the target waits for a logout.
    WaitingForLogout,
    /// A reason that the RFC does not define.
    Other(u8),
}

impl RejectReason {
    /// From its code.
    #[must_use]
    pub const fn from_wire(code: u8) -> Self {
        match code {
            0x02 => Self::DataDigestError,
            0x03 => Self::SnackReject,
            0x04 => Self::ProtocolError,
            0x05 => Self::CommandNotSupported,
            0x06 => Self::ImmediateCommandReject,
            0x07 => Self::TaskInProgress,
            0x08 => Self::InvalidDataAck,
            0x09 => Self::InvalidPduField,
            0x0a => Self::LongOperationReject,
            0x0c => Self::WaitingForLogout,
            other => Self::Other(other),
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::DataDigestError => 0x02,
            Self::SnackReject => 0x03,
            Self::ProtocolError => 0x04,
            Self::CommandNotSupported => 0x05,
            Self::ImmediateCommandReject => 0x06,
            Self::TaskInProgress => 0x07,
            Self::InvalidDataAck => 0x08,
            Self::InvalidPduField => 0x09,
            Self::LongOperationReject => 0x0a,
            Self::WaitingForLogout => 0x0c,
            Self::Other(code) => code,
        }
    }
}

/// A Reject; the header of the rejected PDU stands in the data segment. It consumes a StatSN
/// although it has no task tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// StatSN, ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
    /// DataSN or R2TSN, for a rejected data acknowledgement or SNACK.
    pub data_sn: u32,
}

impl Reject {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::Reject);
        bhs.set_flags(FINAL);
        bhs.set_byte::<2>(self.reason.code());
        bhs.set_itt(None);
        bhs.set_target_numbers(self.numbers);
        bhs.set_word::<36>(self.data_sn);
        bhs
    }

    /// Reads a header: every one is a Reject.
    #[must_use]
    pub fn decode(bhs: &Bhs) -> Self {
        Self {
            reason: RejectReason::from_wire(bhs.byte::<2>()),
            numbers: bhs.target_numbers(),
            data_sn: bhs.word::<36>(),
        }
    }
}
