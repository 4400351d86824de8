//! What an answer means: one table from (status, sense key, additional sense code) to what is to be done.
//!
//! A [`Verdict`] judges the answer, not the path and not the io: how often to retry, which path to take
//! and when to give up is its reader's business ([`crate::limits::RETRYABLE_MAX`]). The table is read from
//! the top, the first row that fits decides; its last rows are the defaults of each sense key, so that
//! every answer has a row and a name.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use table::{Code, Kinds, Row, TABLE};

use super::sense::{Sense, SenseKey};
use crate::errno::IoErrno;
use crate::task::Completion;

/// What a command was for: the same answer means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// SYNCHRONIZE CACHE.
    Flush,
    /// UNMAP, or WRITE SAME as a hint.
    Trim,
    /// WRITE SAME of zeroes.
    WriteZeroes,
    /// Anything else: questions about the unit.
    Other,
}

impl CommandKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Trim,
        Self::WriteZeroes,
        Self::Other,
    ];
}

/// What to do with a command, given its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was carried out.
    Good,
    /// Send it again, a bounded number of times.
    Retry {
        /// Over which path.
        path: RetryPath,
        /// Wait before, longer each time.
        backoff: bool,
    },
    /// This path cannot do it now: send it over another one at once; if there is none, over this one with
    /// a backoff. Bounded too.
    OtherPath(PathTrouble),
    /// A unit attention: the command was not carried out, and something changed. Send it again at once, not
    /// counted as a retry (but bounded), and look at what changed; over this path not before that.
    Recheck(Recheck),
    /// It fails on every path alike.
    Fail {
        /// The client's error.
        errno: IoErrno,
        /// What to look at, apart from the failure.
        recheck: Option<Recheck>,
    },
    /// The unit does not know this command, or not in this form: stop sending it. A flush has then
    /// succeeded (there is no cache to flush), a trim too (it is a hint), zeroes are written some other way.
    Unsupported,
    /// Somebody else reserved the unit and we are fenced off: never tried on another path.
    Conflict,
    /// Too many commands at once: fewer from now on, and this one again after an exponential backoff.
    ShrinkQueue,
}

/// Over which path a retry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPath {
    /// The same is as good as any.
    Any,
    /// Another one where there is one.
    Other,
}

/// Why a path cannot carry a command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTrouble {
    /// Its port group changes its access state: ask for the states again soon.
    Transitioning,
    /// Its port group is in standby.
    Standby,
    /// Its port group is unavailable.
    Unavailable,
    /// The unit is becoming ready, is being formatted and the like.
    NotReady,
    /// The unit needs a human, or its medium is gone.
    Offline,
    /// There is no such unit behind this path any more: identify it before anything is written again.
    Gone,
    /// The data was damaged or lost on its way.
    Transport,
    /// The target's hardware failed: worth one try over another path.
    Hardware,
}

/// What a target says has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Which unit this is (and so everything about it).
    Identity,
    /// Its size.
    Capacity,
    /// Its access states: asked for again, while the command goes over another path.
    Access,
    /// Its reservations.
    Reservations,
    /// Mode parameters, limits, provisioning.
    Parameters,
    /// It was reset, or our nexus was: writes in a volatile cache may be lost, so the next flush fails
    /// once where writes were unflushed.
    Reset,
    /// A write that was acknowledged before is lost (deferred error): the next flush fails once.
    CacheLost,
}

impl Verdict {
    /// The client's error when retrying is given up, or at once for what is not retried; `None` for success.
    #[must_use]
    pub fn errno(self) -> Option<IoErrno> {
        match self {
            Self::Good => None,
            Self::Fail { errno, .. } => Some(errno),
            Self::Unsupported => Some(IoErrno::Inval),
            Self::Retry { .. }
            | Self::OtherPath(_)
            | Self::Recheck(_)
            | Self::Conflict
            | Self::ShrinkQueue => Some(IoErrno::Io),
        }
    }
}

/// A verdict with its reason, for the log and for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub verdict: Verdict,
    /// What the answer says, in words.
    pub why: &'static str,
    /// The status.
    pub status: u8,
    /// The sense data, if there was any. For a medium error, `information` is the first bad block.
    pub sense: Option<Sense>,
}

impl fmt::Display for Judgement {
    /// E.g. `medium error (MEDIUM ERROR 11/00 at block 4711)`, `task set full (status 28h)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sense {
            Some(sense) => write!(f, "{} ({sense})", self.why),
            None => write!(f, "{} (status {:02x}h)", self.why, self.status),
        }
    }
}

/// Status codes (SAM-5 table 33).
pub mod status {
    /// GOOD.
    pub const GOOD: u8 = 0x00;
    /// CHECK CONDITION.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// CONDITION MET.
    pub const CONDITION_MET: u8 = 0x04;
    /// BUSY.
    pub const BUSY: u8 = 0x08;
    /// RESERVATION CONFLICT.
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    /// TASK SET FULL.
    pub const TASK_SET_FULL: u8 = 0x28;
    /// ACA ACTIVE.
    pub const ACA_ACTIVE: u8 = 0x30;
    /// TASK ABORTED.
    pub const TASK_ABORTED: u8 = 0x40;
}

/// What to do about an answer.
#[must_use]
pub fn verdict(answer: &Completion, kind: CommandKind) -> Verdict {
    judge(answer, kind).verdict
}

/// What to do about an answer, and why.
#[must_use]
pub fn judge(answer: &Completion, kind: CommandKind) -> Judgement {
    let sense = match answer.status {
        status::CHECK_CONDITION => Sense::parse(&answer.sense),
        _ => None,
    };
    let (verdict, why) = match (answer.status, sense) {
        (status::CHECK_CONDITION, Some(sense)) if sense.deferred => of_deferred(sense.key, kind),
        (status::CHECK_CONDITION, Some(sense)) => {
            let row = table::find(sense.key, sense.asc, sense.ascq, kind);
            (row.verdict, row.why)
        }
        (other, _) => of_status(other),
    };
    Judgement {
        verdict,
        why,
        status: answer.status,
        sense,
    }
}

/// Whether the target would not have answered so with a unit attention left to tell this nexus (SAM-5 5.14):
/// whoever is busy, or aborts, answers before it looks.
#[must_use]
pub fn shows_no_attention_is_left(answer: &Completion) -> bool {
    match answer.status {
        status::GOOD | status::CONDITION_MET => true,
        status::CHECK_CONDITION => Sense::parse(&answer.sense).is_some_and(|sense| {
            !sense.deferred
                && !matches!(
                    sense.key,
                    SenseKey::UnitAttention | SenseKey::AbortedCommand
                )
        }),
        _ => false,
    }
}

/// A retry of which the same path is as good as any.
const RETRY: Verdict = Verdict::Retry {
    path: RetryPath::Any,
    backoff: false,
};
/// A retry over another path if there is one, after a pause.
const RETRY_ELSEWHERE_LATER: Verdict = Verdict::Retry {
    path: RetryPath::Other,
    backoff: true,
};

fn of_status(status: u8) -> (Verdict, &'static str) {
    match status {
        status::GOOD => (Verdict::Good, "good"),
        status::CONDITION_MET => (Verdict::Good, "condition met"),
        status::CHECK_CONDITION => (
            RETRY_ELSEWHERE_LATER,
            "check condition without sense data that can be read",
        ),
        status::BUSY => (Verdict::ShrinkQueue, "busy"),
        status::TASK_SET_FULL => (Verdict::ShrinkQueue, "task set full"),
        status::RESERVATION_CONFLICT => (Verdict::Conflict, "reserved by another initiator"),
        status::TASK_ABORTED => (RETRY, "aborted by another initiator"),
        status::ACA_ACTIVE => {
            let later = Verdict::Retry {
                path: RetryPath::Any,
                backoff: true,
            };
            (later, "auto contingent allegiance is active")
        }
        _ => (RETRY_ELSEWHERE_LATER, "unknown status"),
    }
}

/// Deferred sense is about an earlier command; the one that was answered was not carried out (SPC-5 4.4.7).
fn of_deferred(key: SenseKey, kind: CommandKind) -> (Verdict, &'static str) {
    let harmless = matches!(
        key,
        SenseKey::NoSense | SenseKey::RecoveredError | SenseKey::Completed
    );
    match kind {
        _ if harmless => (RETRY, "an earlier command recovered"),
        CommandKind::Flush => {
            let lost = Verdict::Fail {
                errno: IoErrno::Io,
                recheck: None,
            };
            (lost, "an acknowledged write was lost before this flush")
        }
        CommandKind::Read
        | CommandKind::Write
        | CommandKind::Trim
        | CommandKind::WriteZeroes
        | CommandKind::Other => (
            Verdict::Recheck(Recheck::CacheLost),
            "an acknowledged write was lost",
        ),
    }
}
