//! What a path tells its volume, and what a volume may order. All that the two know of each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::{Disposition, Incarnation, TaskId};
use crate::scsi::alua::AccessState;
use crate::scsi::cdb::Command;
use crate::scsi::identity::LunIdentity;
use crate::task::{Completion, DataTransfer, TaskAttribute};
use crate::units::Geometry;

/// How the logical unit unmaps blocks (SBC-4 5.35, 5.54).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimMethod {
    /// Not at all.
    None,
    /// UNMAP, up to so many blocks and descriptors a command.
    Unmap {
        /// MAXIMUM UNMAP LBA COUNT; at least 1.
        blocks_max: u32,
        /// OPTIMAL UNMAP GRANULARITY in blocks; at least 1.
        granularity: u32,
        /// UNMAP GRANULARITY ALIGNMENT in blocks; 0 if not given.
        alignment: u32,
    },
    /// WRITE SAME(16) with the UNMAP bit.
    WriteSame,
}

/// What the logical unit can do, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Writes honour the FUA bit (DPOFUA of the MODE SENSE header).
    pub fua: bool,
    /// There is a volatile write cache (WCE of the caching page), if the unit said: it may refuse to for a
    /// while.
    pub write_cache: Option<bool>,
    /// Writes are refused (WP of the MODE SENSE header).
    pub write_protected: bool,
    /// A rotating medium (VPD B1h).
    pub rotational: bool,
    /// Most blocks of one READ or WRITE; at least 1.
    pub transfer_blocks_max: u32,
    /// Preferred I/O size in bytes, a power of two.
    pub preferred_bytes: u32,
    /// How blocks are unmapped.
    pub trim: TrimMethod,
    /// Most blocks of one WRITE SAME; 0 if the command is not to be used.
    pub write_same_blocks_max: u32,
    /// Unmapped blocks read as zeroes (LBPRZ), so WRITE SAME may unmap.
    pub unmapped_reads_zero: bool,
}

impl Features {
    /// Whether what was acknowledged may be lost with the unit's power until it is flushed: if nothing is
    /// known, it may.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.write_cache != Some(false)
    }

    /// What holds over both paths: another port of the same unit may have other limits. What clients were
    /// told that there is stays.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self {
            fua: self.fua && other.fua,
            write_cache: match (self.write_cache, other.write_cache) {
                (Some(one), Some(other)) => Some(one || other),
                (one, other) => one.or(other),
            },
            transfer_blocks_max: self.transfer_blocks_max.min(other.transfer_blocks_max),
            trim: match (self.trim, other.trim) {
                (
                    TrimMethod::Unmap {
                        blocks_max: a,
                        granularity,
                        alignment,
                    },
                    TrimMethod::Unmap { blocks_max: b, .. },
                ) => TrimMethod::Unmap {
                    blocks_max: a.min(b),
                    granularity,
                    alignment,
                },
                // A command that a path does not know is noticed when it is tried.
                (method, _) => method,
            },
            write_same_blocks_max: self.write_same_blocks_max.min(other.write_same_blocks_max),
            unmapped_reads_zero: self.unmapped_reads_zero && other.unmapped_reads_zero,
            write_protected: self.write_protected,
            rotational: self.rotational,
            preferred_bytes: self.preferred_bytes,
        }
    }
}

/// A logical unit as one path found it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Who it is.
    pub identity: LunIdentity,
    /// Its size.
    pub geometry: Geometry,
    /// What it can do.
    pub features: Features,
    /// The target that the path logged in to.
    pub target: String,
    /// Target portal group tag, if the target told one.
    pub portal_group: Option<u16>,
}

/// How a path's port reaches the unit, as the target tells it (ALUA, SPC-5 5.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAccess {
    /// Target port group of the path's port.
    pub group: u16,
    /// The group's access state.
    pub state: AccessState,
    /// The target prefers the group.
    pub preferred: bool,
    /// The group's state can be asked for by SET TARGET PORT GROUPS.
    pub explicit: bool,
    /// How long a transition may take.
    pub transition: Duration,
}

impl PathAccess {
    /// Whether reads and writes go there: states that the standard reserves are tried.
    #[must_use]
    pub fn carries_io(&self) -> bool {
        self.state.carries_io() || matches!(self.state, AccessState::Other(_))
    }

    /// Whether it is between two states.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.state == AccessState::Transitioning
    }
}

impl std::fmt::Display for PathAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port group {} is {}", self.group, self.state)?;
        if self.preferred {
            f.write_str(", preferred")?;
        }
        Ok(())
    }
}

/// A unit that cannot be identified in full: the path's port carries nothing and does not tell the size.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Who it is; its size is not meant.
    pub identity: LunIdentity,
    /// How the port reaches it.
    pub access: PathAccess,
}

/// May the volume send I/O on a path?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No.
    Unusable,
    /// What is in flight may finish; new I/O only goes elsewhere.
    Suspect,
    /// Only if no path is `Ready`.
    Probation,
    /// Yes.
    Ready,
}

/// What ended a ghost's possibility to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceKind {
    /// The session was reinstated and its tasks were waited for.
    Reinstatement,
    /// Another path had the target remove the registration of the path's own key and abort its tasks.
    PreemptAbort,
    /// So much time passed that the target is assumed to be done.
    Quiesce,
}

/// A command that the volume sends over one certain path.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The volume's name for it; never used again.
    pub ticket: u64,
    /// The command.
    pub command: Command,
    /// Its attribute.
    pub attribute: TaskAttribute,
    /// Its data.
    pub data: DataTransfer,
}

impl PartialEq for Errand {
    /// Tickets are never used again.
    fn eq(&self, other: &Self) -> bool {
        self.ticket == other.ticket
    }
}

impl Eq for Errand {}

/// What the volume wants of a path before it is used: a reservation key has to be registered over each
/// session of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrol {
    /// Nothing: the volume has no key.
    #[default]
    NotNeeded,
    /// The path asks with [`Message::Joining`] and waits.
    Needed,
    /// The key is registered over this session.
    Done,
}

/// A path's news for its volume.
#[derive(Debug)]
pub enum Message {
    /// The probes of this incarnation are done: the volume answers with [`Order::Admit`] or
    /// [`Order::Refuse`].
    Identified {
        /// The session that was probed.
        incarnation: Incarnation,
        /// What was found.
        unit: Arc<Unit>,
    },
    /// Whether the path may be used has changed.
    Standing {
        /// The session that this holds for.
        incarnation: Incarnation,
        /// What holds now.
        standing: Standing,
    },
    /// What is known of the path's access to the unit has changed. Without such news in a session the target
    /// makes no difference between its ports, or the path does not ask.
    Access {
        /// The session that was asked.
        incarnation: Incarnation,
        /// What holds now.
        access: Option<PathAccess>,
    },
    /// The path waits in its session until its port carries something, or does not wait any more.
    Waiting(Option<Box<Waiting>>),
    /// The session is gone. Its tasks, in the order of their submission, with what is known of each.
    Lost {
        /// The session that is gone.
        incarnation: Incarnation,
        /// Every task that it had not answered.
        tasks: Vec<(TaskId, Disposition)>,
    },
    /// Sessions up to this one cannot execute anything any more.
    Fenced {
        /// The last fenced session.
        upto: Incarnation,
        /// How.
        by: FenceKind,
    },
    /// A session, or a fencer's, ended before the first answer of the unit came, which would have told if the
    /// unit was without power. The target does not tell it again.
    PowerDoubted {
        /// When the path was in touch with the unit before; `None`: never.
        heard: Option<Instant>,
    },
    /// The target says that the unit was without power: what a volatile cache held is gone.
    PowerLost {
        /// When the path was in touch with the unit before; `None`: never.
        heard: Option<Instant>,
    },
    /// The path would go into use, but for the registration of the volume's key: the volume answers with
    /// [`Order::Enrol`] or [`Order::Refuse`].
    Joining {
        /// The session.
        incarnation: Incarnation,
    },
    /// An [`Errand`] has ended.
    Carried {
        /// Its ticket.
        ticket: u64,
        /// The target's answer, if there is one.
        answer: Option<Completion>,
    },
    /// A command of the path's own met a unit attention: somebody changed reservations or registrations.
    ReservationsChanged,
    /// A task was answered.
    Completed {
        /// The session that answered.
        incarnation: Incarnation,
        /// The task.
        task: TaskId,
        /// The answer.
        completion: Completion,
    },
    /// A task ended without a SCSI status. It may have been executed.
    Failed {
        /// The session that it ended in.
        incarnation: Incarnation,
        /// The task.
        task: TaskId,
        /// What that says of its execution.
        fate: Fate,
    },
    /// What this session, which lives, had asked for and was ended without a SCSI status before that time
    /// does not execute any more.
    Drained {
        /// The session.
        incarnation: Incarnation,
        /// When its barrier was sent.
        asked: Instant,
    },
    /// A LOGICAL UNIT RESET of ours was carried out.
    UnitReset {
        /// The session that asked for it.
        incarnation: Incarnation,
    },
}

/// What the end of a task without a SCSI status says of its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not execute: the target never took it, or its answer came and was useless.
    Over,
    /// The target says that it aborted it. There are targets that say so while it runs on in their backing
    /// store: what has changed data haunts its range until a barrier of the same session has passed.
    Aborted,
    /// It may execute at any time: only the end of the session is its end.
    AtLarge,
}

/// Why a command is to be aborted before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// Later ones of its kind have been answered for long, and it made no progress for this time.
    Overtaken {
        /// So long.
        idle: Duration,
    },
    /// Another path has answered it. It is not worth it once its data arrives.
    Beaten,
}

/// What a volume wants of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The unit is the volume's: go into use.
    Admit,
    /// The same, if it is proven that the path's portal shares its sessions with those of the paths in
    /// use: what it found has an identifier that other units may have too.
    AdmitIfProven,
    /// The unit is not the volume's: stay out of use.
    Refuse {
        /// Both identities, and what to do.
        why: String,
        /// It is surely another unit: what it told is not for this volume.
        stranger: bool,
    },
    /// Identity, size or access may have changed: probe again before further use.
    Recheck,
    /// Access states may have changed: read them again at once.
    ReadAccess,
    /// Ask the target for the path's port group to become active/optimized.
    Activate,
    /// Send this command, and tell its end with [`Message::Carried`].
    Carry(Errand),
    /// What the volume's reservation key demands of the path.
    Enrol(Enrol),
    /// The key cannot be registered over the session of a path that waits for that: give it up.
    Reject {
        /// What the target said.
        why: String,
        /// Another session will not change that.
        for_good: bool,
    },
    /// What the volume decided, for the path's journal.
    Note {
        /// What.
        what: &'static str,
        /// What it concluded that from.
        why: String,
    },
    /// A write of this session may still execute although the target reported its end: give the session
    /// up, so that it can be fenced.
    GiveUp,
    /// This command is to be aborted before its deadline, if the target bears that.
    Abort {
        /// The command.
        task: TaskId,
        /// Why.
        why: Abort,
    },
    /// Writes that were aborted in this session are waited for: find out when nothing older executes.
    Drain,
}

/// A path's answer times, for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// The last ping's.
    pub last: Option<Duration>,
}
