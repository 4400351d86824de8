//! What an answer to a command about reservations says.

use bytes::Bytes;

use crate::scsi::sense::{Sense, SenseKey};
use crate::scsi::verdict::status;
use crate::task::Completion;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Done, with data.
    Good(Bytes),
    /// RESERVATION CONFLICT.
    Conflict,
    /// A unit attention was in its way: send it again.
    Attention,
    /// Not now, in words: send it again in a while.
    NotNow(String),
    /// No, in words.
    Refused(String),
    /// The session ended, or there is no answer.
    Nothing,
}

impl Said {
    pub(super) fn of(answer: Option<&Completion>) -> Self {
        let Some(answer) = answer else {
            return Self::Nothing;
        };
        let sense = Sense::parse(&answer.sense);
        match (answer.status, sense) {
            (status::GOOD | status::CONDITION_MET, _) => Self::Good(answer.data.to_bytes()),
            (status::RESERVATION_CONFLICT, _) => Self::Conflict,
            (status::CHECK_CONDITION, Some(sense)) => match sense.key {
                SenseKey::UnitAttention => Self::Attention,
                SenseKey::RecoveredError if !sense.deferred => Self::Good(answer.data.to_bytes()),
                SenseKey::AbortedCommand => Self::NotNow(sense.to_string()),
                // Whatever keeps the port from carrying anything passes.
                SenseKey::NotReady => Self::NotNow(sense.to_string()),
                _ if sense.deferred => Self::NotNow(sense.to_string()),
                SenseKey::NoSense
                | SenseKey::RecoveredError
                | SenseKey::MediumError
                | SenseKey::HardwareError
                | SenseKey::IllegalRequest
                | SenseKey::DataProtect
                | SenseKey::BlankCheck
                | SenseKey::VendorSpecific
                | SenseKey::CopyAborted
                | SenseKey::Reserved
                | SenseKey::VolumeOverflow
                | SenseKey::Miscompare
                | SenseKey::Completed => Self::Refused(sense.to_string()),
            },
            (
                busy @ (status::BUSY
                | status::TASK_SET_FULL
                | status::TASK_ABORTED
                | status::ACA_ACTIVE),
                _,
            ) => Self::NotNow(format!("SCSI status {busy:02x}h")),
            (other, _) => Self::Refused(format!("SCSI status {other:02x}h")),
        }
    }
}
