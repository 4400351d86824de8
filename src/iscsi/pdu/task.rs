//! Task management (RFC 7143 11.5, 11.6).

use super::bhs::{Bhs, InitiatorNumbers, TargetNumbers};
use super::{InvalidPdu, Opcode};
use crate::ids::Lun;
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::{Itt, RESERVED_TAG};

const FINAL: u8 = 0x80;

/// What a task management request asks for (RFC 7143 11.5.1), with what it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Function 1: abort one task.
    AbortTask {
        /// Its logical unit.
        lun: Lun,
        /// Its tag (Referenced Task Tag).
        itt: Itt,
        /// Its CmdSN (RefCmdSN).
        cmd_sn: SerialNumber,
    },
    /// Function 2: abort all tasks of this initiator on a logical unit.
    AbortTaskSet(Lun),
    /// Function 3: clear an ACA condition.
    ClearAca(Lun),
    /// Function 4: abort all tasks on a logical unit, as its task set says.
    ClearTaskSet(Lun),
    /// Function 5: reset a logical unit.
    LogicalUnitReset(Lun),
    /// Function 6: reset the target.
    TargetWarmReset,
    /// Function 7: reset the target and end all sessions.
    TargetColdReset,
}

impl Function {
    const fn code(self) -> u8 {
        match self {
            Self::AbortTask { .. } => 1,
            Self::AbortTaskSet(_) => 2,
            Self::ClearAca(_) => 3,
            Self::ClearTaskSet(_) => 4,
            Self::LogicalUnitReset(_) => 5,
            Self::TargetWarmReset => 6,
            Self::TargetColdReset => 7,
        }
    }

    /// The logical unit that it applies to.
    #[must_use]
    pub const fn lun(self) -> Option<Lun> {
        match self {
            Self::AbortTask { lun, .. }
            | Self::AbortTaskSet(lun)
            | Self::ClearAca(lun)
            | Self::ClearTaskSet(lun)
            | Self::LogicalUnitReset(lun) => Some(lun),
            Self::TargetWarmReset | Self::TargetColdReset => None,
        }
    }
}

/// A Task Management Function Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// I bit.
    pub immediate: bool,
    /// What is asked for.
    pub function: Function,
    /// The request's own tag.
    pub itt: Itt,
    /// CmdSN and ExpStatSN.
    pub numbers: InitiatorNumbers,
}

impl TaskManagementRequest {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::TaskManagementRequest);
        bhs.set_immediate(self.immediate);
        bhs.set_flags(FINAL | self.function.code());
        if let Some(lun) = self.function.lun() {
            bhs.set_lun(lun);
        }
        bhs.set_itt(Some(self.itt));
        bhs.set_word::<20>(RESERVED_TAG);
        bhs.set_initiator_numbers(self.numbers);
        if let Function::AbortTask { itt, cmd_sn, .. } = self.function {
            bhs.set_word::<20>(itt.get());
            bhs.set_serial::<32>(cmd_sn);
        }
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// A reserved tag, or a function that we do not know (TASK REASSIGN included: error recovery level 2).
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        let lun = bhs.lun();
        let function = match bhs.flags() & 0x7f {
            1 => Function::AbortTask {
                lun,
                itt: Itt::new(bhs.word::<20>())
                    .ok_or_else(|| InvalidPdu::ReservedTag(bhs.opcode_value()))?,
                cmd_sn: bhs.serial::<32>(),
            },
            2 => Function::AbortTaskSet(lun),
            3 => Function::ClearAca(lun),
            4 => Function::ClearTaskSet(lun),
            5 => Function::LogicalUnitReset(lun),
            6 => Function::TargetWarmReset,
            7 => Function::TargetColdReset,
            other => return Err(InvalidPdu::undefined("Function", other)),
        };
        Ok(Self {
            immediate: bhs.is_immediate(),
            function,
            itt: bhs.required_itt()?,
            numbers: bhs.initiator_numbers(),
        })
    }
}

/// The answer to a task management request (RFC 7143 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmfResponse {
    /// 0: done.
    Complete,
    /// 1: there is no such task (any more).
    TaskDoesNotExist,
    /// 2: there is no such logical unit.
    LunDoesNotExist,
    /// 3: the task is still allegiant.
    TaskStillAllegiant,
    /// 4: allegiance reassignment is not supported.
    ReassignmentNotSupported,
    /// 5: the function is not supported.
    NotSupported,
    /// 6: the initiator may not do this.
    AuthorizationFailed,
    /// 255: the function was rejected.
    Rejected,
    /// A code that the RFC does not define: not done.
    Other(u8),
}

impl TmfResponse {
    const fn from_wire(code: u8) -> Self {
        match code {
            0 => Self::Complete,
            1 => Self::TaskDoesNotExist,
            2 => Self::LunDoesNotExist,
            3 => Self::TaskStillAllegiant,
            4 => Self::ReassignmentNotSupported,
            5 => Self::NotSupported,
            6 => Self::AuthorizationFailed,
            255 => Self::Rejected,
            other => Self::Other(other),
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::TaskDoesNotExist => 1,
            Self::LunDoesNotExist => 2,
            Self::TaskStillAllegiant => 3,
            Self::ReassignmentNotSupported => 4,
            Self::NotSupported => 5,
            Self::AuthorizationFailed => 6,
            Self::Rejected => 255,
            Self::Other(code) => code,
        }
    }
}

/// A Task Management Function Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// The request's tag.
    pub itt: Itt,
    /// The answer.
    pub response: TmfResponse,
    /// StatSN, ExpCmdSN and MaxCmdSN.
    pub numbers: TargetNumbers,
}

impl TaskManagementResponse {
    /// The header.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut bhs = Bhs::new(Opcode::TaskManagementResponse);
        bhs.set_flags(FINAL);
        bhs.set_byte::<2>(self.response.code());
        bhs.set_itt(Some(self.itt));
        bhs.set_target_numbers(self.numbers);
        bhs
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The reserved task tag.
    pub fn decode(bhs: &Bhs) -> Result<Self, InvalidPdu> {
        Ok(Self {
            itt: bhs.required_itt()?,
            response: TmfResponse::from_wire(bhs.byte::<2>()),
            numbers: bhs.target_numbers(),
        })
    }
}
