//! What a session tells its owner.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{Disposition, Lun, TaskId};
use crate::iscsi::discovery::DiscoveredTarget;
use crate::iscsi::name::PortalAddr;
use crate::iscsi::pdu::{RejectReason, TmfResponse};
use crate::task::Completion;

/// Something that happened in a session.
#[derive(Clone, Debug)]
pub enum Event {
    /// The login succeeded: [`super::Session::full_feature`] answers from now on.
    LoggedIn(LoginSummary),
    /// The target is elsewhere; this connection is to be closed.
    Redirected {
        /// Where to log in instead.
        to: PortalAddr,
        /// Whether it stays there.
        permanent: bool,
    },
    /// The target answered a task: iSCSI response 00h, and the data agrees with the residual.
    Completed(TaskId, Completion),
    /// A task ended without a usable answer.
    Failed(TaskId, TaskFailure),
    /// A task was ended by task management of ours: surely it does not execute any more.
    Aborted(TaskId),
    /// The answer to a task management request. Tasks that it ended were reported before.
    TaskManagement {
        /// What [`super::FullFeature::manage`] returned.
        id: TmfId,
        /// The answer.
        response: TmfResponse,
    },
    /// A ping of ours was answered.
    PingAnswered {
        /// From queueing it to its answer.
        rtt: Duration,
    },
    /// The target told something of its own accord.
    Async(AsyncEvent),
    /// The answer to SendTargets, complete.
    Targets(Vec<DiscoveredTarget>),
    /// The target refused SendTargets.
    TargetsRefused(RejectReason),
    /// The target answered our logout and will close the connection.
    LoggedOut {
        /// How long to wait at least before the next login.
        time2wait: Duration,
    },
}

/// What a login brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSummary {
    /// Target portal group tag, if the target gave one. Zero is an ordinary tag.
    pub portal_group: Option<u16>,
    /// The target's number for the session.
    pub tsih: u16,
    /// Target alias, if the target gave one.
    pub target_alias: Option<Box<str>>,
}

/// Name of a task management request; never reused within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TmfId(pub u64);

/// What task management can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFunction {
    /// Ends one task.
    AbortTask(TaskId),
    /// Ends all tasks of this session on a logical unit.
    AbortTaskSet(Lun),
    /// Resets a logical unit: ends all tasks of all initiators there.
    LogicalUnitReset(Lun),
    /// Resets the target.
    TargetWarmReset,
    /// Resets the target and ends all its sessions.
    TargetColdReset,
}

/// Why a task ended without a usable answer. It may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    /// The iSCSI response was not 00h; the status means nothing then (RFC 7143 11.4.3).
    #[error("iSCSI response {0:#04x}")]
    Response(u8),
    /// The target rejected the command PDU: it was discarded (RFC 7143 7.3).
    #[error("command rejected by the target: {0:?}")]
    Rejected(RejectReason),
    /// The residual does not agree with the data that was transferred.
    #[error("the residual does not agree with the data that was transferred")]
    Residual,
    /// The target announced that it ends the tasks of the logical unit (asynchronous event 5).
    #[error("ended by the target on behalf of another initiator")]
    Terminated,
}

impl TaskFailure {
    /// Whether the target may still be executing the command: it said that it ends it, or that it failed, and
    /// neither is a SCSI status. A wrong residual comes with one.
    #[must_use]
    pub fn at_large(&self) -> bool {
        match self {
            Self::Response(_) | Self::Terminated => true,
            Self::Rejected(_) | Self::Residual => false,
        }
    }

    /// Whether the command may have been executed.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Rejected(_) => Disposition::Unsent,
            Self::Response(_) | Self::Residual | Self::Terminated => Disposition::Indeterminate,
        }
    }
}

/// Asynchronous messages (RFC 7143 11.9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsyncEvent {
    /// Event 0: a unit attention of a logical unit.
    Scsi {
        /// Logical unit.
        lun: Lun,
        /// Sense data without its length prefix.
        sense: Bytes,
    },
    /// Event 1: log out within this time.
    LogoutRequested {
        /// Parameter3.
        within: Duration,
    },
    /// Event 2: the target drops this connection.
    ConnectionDropped {
        /// Parameter2: wait at least so long before the next login.
        time2wait: Duration,
        /// Parameter3.
        time2retain: Duration,
    },
    /// Event 3: the target drops all connections of this session.
    SessionDropped {
        /// Parameter2: wait at least so long before the next login.
        time2wait: Duration,
        /// Parameter3.
        time2retain: Duration,
    },
    /// Event 4: the target wants to negotiate again; log out within this time and log in anew.
    Renegotiate {
        /// Parameter3.
        within: Duration,
    },
    /// Event 5: the tasks of a logical unit are being ended; each was reported as failed.
    TasksTerminated {
        /// Logical unit.
        lun: Lun,
    },
    /// Event 255, or one that the RFC does not define.
    Other {
        /// AsyncEvent.
        event: u8,
        /// AsyncVCode.
        vendor_code: u8,
    },
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskProgress {
    /// When it was submitted.
    pub submitted_at: Instant,
    /// When last something of it moved: bytes taken by the socket, an R2T, Data-In.
    pub last_progress_at: Instant,
    /// Whether any byte of it was taken by the socket.
    pub sent: bool,
    /// Bytes of its Data-In that have arrived.
    pub received: usize,
}

/// What SendTargets asks for (RFC 7143 appendix C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetQuery<'a> {
    /// All targets: in a discovery session.
    All,
    /// The target of this session.
    ThisTarget,
    /// A target by its name: in a discovery session, or this session's own.
    Named(&'a str),
}
