//! The table itself. Codes are those of SPC-5 annex F; read from the top, first match decides.

use std::fmt;

use super::{CommandKind, PathTrouble, RETRY, RETRY_ELSEWHERE_LATER, Recheck, Verdict};
use crate::errno::IoErrno;
use crate::scsi::sense::SenseKey::{self, *};
use crate::scsi::sense::SenseKey::{
    AbortedCommand as Aborted, IllegalRequest as Illegal, UnitAttention as Attention,
};

/// One row: what an answer with CHECK CONDITION looks like, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The sense key.
    pub key: SenseKey,
    /// The additional sense codes.
    pub code: Code,
    /// The commands that it is about.
    pub kinds: Kinds,
    /// What to do.
    pub verdict: Verdict,
    /// What the answer says, in words.
    pub why: &'static str,
}

/// Which additional sense codes a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Code and qualifier.
    Exact(u8, u8),
    /// A code with any qualifier.
    Asc(u8),
    /// Any.
    Any,
}

/// A set of command kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const fn of(kinds: &[CommandKind]) -> Self {
        let (mut set, mut at) = (0, 0);
        while let Some((_, [kind, ..])) = kinds.split_at_checked(at) {
            set |= 1 << *kind as u8;
            at += 1;
        }
        Self(set)
    }

    /// Whether the kind is in the set.
    #[must_use]
    pub const fn contains(self, kind: CommandKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

impl Code {
    fn contains(self, asc: u8, ascq: u8) -> bool {
        match self {
            Self::Exact(code, qualifier) => (code, qualifier) == (asc, ascq),
            Self::Asc(code) => code == asc,
            Self::Any => true,
        }
    }
}

const ALL: Kinds = Kinds::of(&CommandKind::ALL);
/// They need space or fall outside of it.
const WRITES: Kinds = Kinds::of(&[CommandKind::Write, CommandKind::WriteZeroes]);
/// The program can live without them where the unit does not know them.
const OPTIONAL: Kinds = Kinds::of(&[
    CommandKind::Flush,
    CommandKind::Trim,
    CommandKind::WriteZeroes,
    CommandKind::Other,
]);
/// The same where the unit dislikes how they are put. Not a flush: that it is refused in one form says
/// nothing of whether there is a cache to flush.
const FEATURES: Kinds = Kinds::of(&[
    CommandKind::Trim,
    CommandKind::WriteZeroes,
    CommandKind::Other,
]);

use Code::{Any, Asc, Exact};
use PathTrouble::{
    Gone, Hardware, NotReady as Unready, Offline, Standby, Transitioning, Transport, Unavailable,
};
use Recheck::{Access, Capacity, Identity, Parameters, Reservations, Reset};

const GOOD: Verdict = Verdict::Good;

const fn row(key: SenseKey, code: Code, kinds: Kinds, verdict: Verdict, why: &'static str) -> Row {
    Row {
        key,
        code,
        kinds,
        verdict,
        why,
    }
}

const fn fail(errno: IoErrno) -> Verdict {
    Verdict::Fail {
        errno,
        recheck: None,
    }
}

const fn fail_and(errno: IoErrno, recheck: Recheck) -> Verdict {
    Verdict::Fail {
        errno,
        recheck: Some(recheck),
    }
}

const fn other(trouble: PathTrouble) -> Verdict {
    Verdict::OtherPath(trouble)
}

const fn check(what: Recheck) -> Verdict {
    Verdict::Recheck(what)
}

const UNSUPPORTED: Verdict = Verdict::Unsupported;
const PERM: Verdict = fail(IoErrno::Perm);
const INVAL: Verdict = fail(IoErrno::Inval);
const IO: Verdict = fail(IoErrno::Io);
const NO_SPACE: Verdict = fail(IoErrno::NoSpc);
const PROTECTED: Verdict = fail_and(IoErrno::Perm, Parameters);
/// A write, or anything else, to a block that the unit does not have.
const NO_BLOCK: Verdict = fail_and(IoErrno::NoSpc, Capacity);
const BAD_BLOCK: Verdict = fail_and(IoErrno::Inval, Capacity);

/// All rows, in order of precedence. The last row of each sense key is its default.
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    // Carried out.
    row(RecoveredError, Any, ALL, GOOD, "recovered by the target"),
    row(Completed,      Any, ALL, GOOD, "completed"),

    // Unit attentions: something changed; the command was not carried out.
    row(Attention, Asc(0x28),         ALL, check(Identity),   "medium may have changed"),
    row(Attention, Asc(0x29),         ALL, check(Reset),      "power on, reset or nexus loss"),
    row(Attention, Asc(0x2f),         ALL, check(Reset),      "commands were cleared by another initiator"),
    row(Attention, Exact(0x2a, 0x03), ALL, check(Reservations), "reservations preempted"),
    row(Attention, Exact(0x2a, 0x04), ALL, check(Reservations), "reservations released"),
    row(Attention, Exact(0x2a, 0x05), ALL, check(Reservations), "registrations preempted"),
    row(Attention, Exact(0x2a, 0x06), ALL, check(Access),     "access state changed"),
    row(Attention, Exact(0x2a, 0x07), ALL, check(Access),     "access state transition failed"),
    row(Attention, Exact(0x2a, 0x09), ALL, check(Capacity),   "capacity changed"),
    row(Attention, Asc(0x2a),         ALL, check(Parameters), "parameters changed"),
    row(Attention, Exact(0x04, 0x0a), ALL, check(Access),     "access state is changing"),
    row(Attention, Exact(0x04, 0x0b), ALL, check(Access),     "port group is in standby"),
    row(Attention, Exact(0x04, 0x0c), ALL, check(Access),     "port group is unavailable"),
    row(Attention, Asc(0x38),         ALL, check(Parameters), "provisioning threshold reached"),
    row(Attention, Asc(0x5d),         ALL, check(Parameters), "failure prediction threshold reached"),
    row(Attention, Asc(0x3f),         ALL, check(Identity),   "inquiry data, name or list of units changed"),
    row(Attention, Any,               ALL, check(Identity),   "unknown unit attention"),

    // Not ready: mostly this path's port group.
    row(NotReady, Exact(0x04, 0x0a), ALL, other(Transitioning), "access state is changing"),
    row(NotReady, Exact(0x04, 0x0b), ALL, other(Standby),       "port group is in standby"),
    row(NotReady, Exact(0x04, 0x0c), ALL, other(Unavailable),   "port group is unavailable"),
    row(NotReady, Exact(0x04, 0x02), ALL, other(Offline),       "not ready, needs a start command"),
    row(NotReady, Exact(0x04, 0x03), ALL, other(Offline),       "not ready, needs a human"),
    row(NotReady, Exact(0x04, 0x12), ALL, other(Offline),       "offline"),
    row(NotReady, Asc(0x3a),         ALL, other(Offline),       "no medium"),
    row(NotReady, Asc(0x68),         ALL, other(Gone),          "unit is not configured"),
    row(NotReady, Asc(0x25),         ALL, other(Gone),          "no such unit"),
    row(NotReady, Any,               ALL, other(Unready),       "not ready"),

    // The same on every path.
    row(MediumError,   Any, ALL, IO,              "medium error"),
    row(BlankCheck,    Any, ALL, IO,              "blank check"),
    row(Miscompare,    Any, ALL, IO,              "miscompare"),
    row(CopyAborted,   Any, ALL, IO,              "copy aborted"),
    row(HardwareError, Any, ALL, other(Hardware), "hardware error"),

    // What we asked for makes no sense to the unit.
    row(Illegal, Exact(0x20, 0x00), OPTIONAL, UNSUPPORTED,     "command is not known"),
    row(Illegal, Exact(0x20, 0x00), ALL,      INVAL,           "command is not known"),
    row(Illegal, Asc(0x20),         ALL,      PERM,            "access denied"),
    row(Illegal, Exact(0x21, 0x00), WRITES,   NO_BLOCK,        "block is beyond the end"),
    row(Illegal, Exact(0x21, 0x00), ALL,      BAD_BLOCK,       "block is beyond the end"),
    row(Illegal, Asc(0x25),         ALL,      other(Gone),     "no such unit"),
    row(Illegal, Asc(0x68),         ALL,      other(Gone),     "unit is not configured"),
    row(Illegal, Asc(0x3f),         ALL,      other(Gone),     "target changed its units"),
    row(Illegal, Exact(0x1a, 0x00), FEATURES, UNSUPPORTED,     "parameter list length is refused"),
    row(Illegal, Exact(0x22, 0x00), FEATURES, UNSUPPORTED,     "function is not known"),
    row(Illegal, Asc(0x24),         FEATURES, UNSUPPORTED,     "field of the command is refused"),
    row(Illegal, Asc(0x26),         FEATURES, UNSUPPORTED,     "field of the parameter list is refused"),
    row(Illegal, Any,               ALL,      INVAL,           "illegal request"),

    // No right, or no space, to write.
    row(DataProtect, Exact(0x27, 0x07), ALL, NO_SPACE,  "no space left to allocate"),
    row(DataProtect, Asc(0x27),         ALL, PROTECTED, "write protected"),
    row(DataProtect, Any,               ALL, PERM,      "data protect"),
    row(VolumeOverflow, Any, WRITES, NO_SPACE, "volume overflow"),
    row(VolumeOverflow, Any, ALL,    IO,       "volume overflow"),

    // Aborted underway: by the transport, or by something that will pass.
    row(Aborted, Asc(0x10),         ALL, IO,                   "protection information does not match"),
    row(Aborted, Exact(0x04, 0x0a), ALL, other(Transitioning), "access state is changing"),
    row(Aborted, Asc(0x08),         ALL, other(Transport),     "unit does not answer its target"),
    row(Aborted, Asc(0x47),         ALL, other(Transport),     "data arrived damaged"),
    row(Aborted, Asc(0x48),         ALL, other(Transport),     "initiator detected an error"),
    row(Aborted, Asc(0x4a),         ALL, other(Transport),     "command phase error"),
    row(Aborted, Asc(0x4b),         ALL, other(Transport),     "data phase error"),
    row(Aborted, Any,               ALL, RETRY,                "aborted by the target"),

    // Nothing that says what happened.
    row(NoSense,        Any, ALL, RETRY,                 "check condition without a sense key"),
    row(VendorSpecific, Any, ALL, RETRY_ELSEWHERE_LATER, "vendor specific"),
    row(Reserved,       Any, ALL, RETRY_ELSEWHERE_LATER, "reserved sense key"),
];

/// The row that decides.
pub(super) fn find(key: SenseKey, asc: u8, ascq: u8, kind: CommandKind) -> &'static Row {
    TABLE
        .iter()
        .find(|row| row.key == key && row.code.contains(asc, ascq) && row.kinds.contains(kind))
        .expect("every sense key has a default row for all kinds")
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(asc, ascq) => write!(f, "{asc:02x}/{ascq:02x}"),
            Self::Asc(asc) => write!(f, "{asc:02x}/xx"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == ALL {
            return f.write_str("any");
        }
        let names = CommandKind::ALL.iter().filter(|kind| self.contains(**kind));
        let names: Vec<_> = names.map(|kind| format!("{kind:?}")).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Display for Row {
    /// A row of a Markdown table: sense key, code, commands, verdict, words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            code,
            kinds,
            verdict,
            why,
        } = self;
        write!(
            f,
            "| {} | {code} | {kinds} | `{verdict:?}` | {why} |",
            key.name()
        )
    }
}
