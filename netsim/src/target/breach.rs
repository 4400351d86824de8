//! What an initiator did that RFC 7143 forbids. The target is a strict judge: every breach is kept,
//! and a test asserts that there was none.

use iiblockdaemon::iscsi::pdu::InvalidPdu;
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::iscsi::tags::{Itt, Ttt};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A PDU whose format is wrong.
    #[error("malformed PDU: {0}")]
    Malformed(#[from] InvalidPdu),
    /// A login that was refused for what the initiator sent.
    #[error("login refused: {0}")]
    Login(&'static str),
    /// CmdSN is not the next one although there is one connection (4.2.2.1).
    #[error("CmdSN {got} where {expected} is next")]
    CmdSn {
        /// What came.
        got: SerialNumber,
        /// What was due.
        expected: SerialNumber,
    },
    /// CmdSN is before ExpCmdSN or beyond MaxCmdSN (4.2.2.1).
    #[error("CmdSN {got} outside of the window from {first} to {max}")]
    OutsideWindow {
        /// What came.
        got: SerialNumber,
        /// ExpCmdSN.
        first: SerialNumber,
        /// MaxCmdSN.
        max: SerialNumber,
    },
    /// ExpStatSN acknowledges a status that was never sent (4.2.2.2).
    #[error("ExpStatSN {got} acknowledges what was not sent, next is {next}")]
    ExpStatSn {
        /// What came.
        got: SerialNumber,
        /// The next StatSN.
        next: SerialNumber,
    },
    /// The tag of a task that is still active (11.2.1.8).
    #[error("task tag {0} is in use")]
    TagInUse(Itt),
    /// More immediate or unsolicited data than was negotiated (11.3.4, 13.14).
    #[error("task {0}: unsolicited data beyond what was negotiated")]
    TooMuchUnsolicited(Itt),
    /// Immediate data although ImmediateData=No (13.11).
    #[error("task {0}: immediate data although ImmediateData=No")]
    ImmediateData(Itt),
    /// Unsolicited Data-Out although InitialR2T=Yes (13.10).
    #[error("task {0}: unsolicited Data-Out announced although InitialR2T=Yes")]
    InitialR2t(Itt),
    /// Data-Out with a target transfer tag that is not outstanding (11.7.4).
    #[error("task {itt}: Data-Out for {ttt:?}, which is not outstanding")]
    NoSuchBurst {
        /// The task.
        itt: Itt,
        /// The tag.
        ttt: Option<Ttt>,
    },
    /// Data-Out whose number is not the next one of its burst (11.7.5).
    #[error("task {itt}: DataSN {got} where {expected} is next")]
    DataSn {
        /// The task.
        itt: Itt,
        /// What came.
        got: u32,
        /// What was due.
        expected: u32,
    },
    /// Data-Out out of order or outside its burst (11.7.6).
    #[error("task {itt}: data at offset {got} where {expected} is next, or too much")]
    DataOffset {
        /// The task.
        itt: Itt,
        /// What came.
        got: u32,
        /// What was due.
        expected: u32,
    },
    /// The burst ended too early or too late (11.7.1).
    #[error("task {0}: the F bit does not stand at the end of the burst")]
    BurstEnd(Itt),
    /// SCSI in a discovery session (4.3).
    #[error("opcode {0:#04x} in a discovery session")]
    NotInDiscovery(u8),
    /// A PDU that has no place in this phase.
    #[error("opcode {0:#04x} in the wrong phase")]
    WrongPhase(u8),
    /// An additional header segment that this target does not know.
    #[error("additional header segments of {0} bytes")]
    Ahs(usize),
}
