//! What is known of a task until it resolves: how its data is getting on, and its answer.

use std::time::Instant;

use bytes::Bytes;

use crate::ids::{Disposition, Lun, TaskId};
use crate::iscsi::error::TransferFault;
use crate::iscsi::pdu::{DataDirection, DataIn, R2t, RawResidual};
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::session::event::{TaskFailure, TaskProgress};
use crate::limits;
use crate::payload::Payload;
use crate::task::{Completion, DataTransfer, Residual};

/// SAM-5 5.3.1: GOOD.
const GOOD: u8 = 0x00;

/// How the target ends a task.
pub(super) type Outcome = Result<Completion, TaskFailure>;

/// A task that is not resolved.
#[derive(Debug)]
pub(super) struct TaskState {
    pub(super) id: TaskId,
    pub(super) lun: Lun,
    pub(super) cmd_sn: SerialNumber,
    /// Place in the order of submission.
    pub(super) number: u64,
    /// Position of its command in the output stream.
    pub(super) start: u64,
    pub(super) submitted_at: Instant,
    pub(super) last_progress_at: Instant,
    pub(super) transfer: Transfer,
    /// ABORT TASK requests for it that are not answered.
    pub(super) aborts: u32,
    /// Its answer, held back while an abort is under way: a task that was aborted never completes.
    pub(super) answer: Option<Outcome>,
}

/// The data of a task.
#[derive(Debug)]
pub(super) enum Transfer {
    None,
    In {
        expected: u32,
        data: Payload,
        next_data_sn: u32,
    },
    Out {
        data: Payload,
        /// Everything before this offset was sent unasked, or asked for.
        asked: u32,
        next_r2t_sn: u32,
    },
}

impl TaskState {
    /// What is known of it if the session is lost now.
    pub(super) fn disposition(&self, sent: u64) -> Disposition {
        if self.start < sent {
            Disposition::Indeterminate
        } else {
            Disposition::Unsent
        }
    }

    pub(super) fn progress(&self, sent: u64) -> TaskProgress {
        TaskProgress {
            submitted_at: self.submitted_at,
            last_progress_at: self.last_progress_at,
            sent: self.start < sent,
            received: match &self.transfer {
                Transfer::In { data, .. } => data.len(),
                Transfer::None | Transfer::Out { .. } => 0,
            },
        }
    }

    /// The outcome of a command that the target completed (response 00h).
    pub(super) fn complete(&mut self, status: u8, residual: RawResidual, sense: Bytes) -> Outcome {
        let residual = residual.checked().ok_or(TaskFailure::Residual)?;
        if status == GOOD && !self.transfer.agrees(residual) {
            return Err(TaskFailure::Residual);
        }
        let data = match &mut self.transfer {
            Transfer::In { data, .. } => std::mem::take(data),
            Transfer::None | Transfer::Out { .. } => Payload::new(),
        };
        Ok(Completion {
            status,
            sense,
            data,
            residual,
        })
    }
}

impl Transfer {
    /// The transfer of a command, and what the command's header says of it.
    pub(super) fn start(data: DataTransfer) -> (DataDirection, Self) {
        match data {
            DataTransfer::In(expected) if expected > 0 => {
                assert!(expected <= limits::TRANSFER_MAX, "commands are split");
                let transfer = Self::In {
                    expected,
                    data: Payload::new(),
                    next_data_sn: 0,
                };
                (DataDirection::Read(expected), transfer)
            }
            DataTransfer::Out(data) if !data.is_empty() => {
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                assert!(length <= limits::TRANSFER_MAX, "commands are split");
                let transfer = Self::Out {
                    data,
                    asked: 0,
                    next_r2t_sn: 0,
                };
                (DataDirection::Write(length), transfer)
            }
            DataTransfer::None | DataTransfer::In(_) | DataTransfer::Out(_) => {
                (DataDirection::None, Self::None)
            }
        }
    }

    /// So much of a write goes without being asked for.
    pub(super) fn unasked(mut self, total: u32) -> Self {
        if let Self::Out { asked, .. } = &mut self {
            *asked = total;
        }
        self
    }

    /// Checks the header of a Data-In: DataSN and offset in order, inside the expected length.
    pub(super) fn accept(&mut self, pdu: &DataIn, length: u32) -> Result<(), TransferFault> {
        let Self::In {
            expected,
            data,
            next_data_sn,
        } = self
        else {
            return Err(TransferFault::WrongDirection);
        };
        in_order(*next_data_sn, pdu.data_sn)?;
        let received = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if length > 0 && pdu.offset != received {
            return Err(TransferFault::Offset {
                expected: received,
                found: pdu.offset,
            });
        }
        if length > expected.saturating_sub(received) {
            return Err(TransferFault::BeyondEnd);
        }
        *next_data_sn = next_data_sn.wrapping_add(1);
        Ok(())
    }

    /// Checks an R2T: R2TSN and offset in order, inside the data.
    ///
    /// A burst above MaxBurstLength is served: Linux does, and nothing is lost by it.
    pub(super) fn ask(&mut self, pdu: &R2t) -> Result<(), TransferFault> {
        let Self::Out {
            data,
            asked,
            next_r2t_sn,
        } = self
        else {
            return Err(TransferFault::WrongDirection);
        };
        in_order(*next_r2t_sn, pdu.r2t_sn)?;
        if pdu.offset != *asked {
            return Err(TransferFault::Offset {
                expected: *asked,
                found: pdu.offset,
            });
        }
        let end = u64::from(pdu.offset) + u64::from(pdu.length);
        if end > data.len() as u64 {
            return Err(TransferFault::BeyondEnd);
        }
        *asked += pdu.length;
        *next_r2t_sn = next_r2t_sn.wrapping_add(1);
        Ok(())
    }

    /// Whether the data that moved is what the residual of a GOOD status says.
    fn agrees(&self, residual: Residual) -> bool {
        match self {
            Self::None => true,
            Self::In { expected, data, .. } => {
                let short = u64::from(*expected) - data.len() as u64;
                match residual {
                    Residual::None | Residual::Overflow(_) => short == 0,
                    Residual::Underflow(count) => short == u64::from(count),
                }
            }
            // Data that the target has no use for may have been sent unasked.
            Self::Out { data, asked, .. } => {
                let short = data.len() as u64 - u64::from(*asked);
                match residual {
                    Residual::None | Residual::Overflow(_) => short == 0,
                    Residual::Underflow(count) => {
                        short <= u64::from(count) && u64::from(count) <= data.len() as u64
                    }
                }
            }
        }
    }
}

fn in_order(expected: u32, found: u32) -> Result<(), TransferFault> {
    if found == expected {
        Ok(())
    } else {
        Err(TransferFault::Number { expected, found })
    }
}
