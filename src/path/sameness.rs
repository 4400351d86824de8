//! Is it the same unit? Equal identifiers do not prove it: a cloned array has the identifiers of the
//! first, and a LUN number may be given to another unit while a path is away.
//!
//! So a path whose unit has the volume's identifiers is compared, in every session and whenever the unit may
//! have changed, with a path that is in use, the *reference*, before it carries anything:
//!
//! 1. by a reservation key (`by_key`), which proves it one way or the other;
//! 2. where the target has no reservations, by blocks (`by_blocks`), which can show that it is another unit;
//! 3. else the identifiers decide.
//!
//! A path that turns out to lead to another unit is `Disabled`, and from then on its identifiers count for
//! nothing: it comes back only by a comparison, and it is never the first.
//!
//! Where no other path has a session, there is nothing to compare with: the path goes into use, and others
//! are compared with it. A comparison must not keep I/O waiting either: while no other path carries any, it
//! may take [`ALONE_MAX`]. A path that went into use so is compared as soon as there is a reference.
//!
//! Both sides are here: a path asks the engine to put a [`Question`] to the reference, which answers as soon
//! as its target does (`testimony`).

mod by_blocks;
mod by_key;
mod keys;
mod run;
mod testimony;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{Lun, PathId, TaskId};
use crate::iscsi::session::config::{Entropy, SessionConfig};
use crate::scsi::cdb::{Command, Direction, ReserveIn, ReserveOut};
use crate::scsi::reservation::{ReservationKey, parameter_list};
use crate::task::{Completion, DataTransfer, Task, TaskAttribute};
use crate::units::BlockRange;

use keys::Keys;
use run::Run;
use testimony::Stand;

/// While no other path carries I/O a comparison may take so long.
const ALONE_MAX: Duration = Duration::from_secs(1);

/// What is the strongest that a path is compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameBy {
    /// A reservation key; blocks where the target has no reservations.
    #[default]
    Reservation,
    /// Blocks.
    Blocks,
    /// Nothing: the identifiers decide.
    Identifiers,
}

/// What shows that a path's unit is the volume's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Its identifiers: there was nothing to compare with, and the others are compared with it.
    First,
    /// A reservation key.
    Reservation,
    /// Blocks.
    Blocks {
        /// Places that were alike.
        alike: u32,
        /// Those of them that hold one byte over and over.
        blank: u32,
    },
    /// Its identifiers, although there was another path.
    Identifiers {
        /// Why no more.
        why: String,
    },
}

impl Basis {
    /// In one word: `first`, `reservation`, `blocks`, `identifiers`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Reservation => "reservation",
            Self::Blocks { .. } => "blocks",
            Self::Identifiers { .. } => "identifiers",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("no other path was there to compare with"),
            Self::Reservation => f.write_str("its reservation key is seen"),
            Self::Blocks { alike, blank } => {
                write!(f, "{alike} places are alike, {blank} of them blank")
            }
            Self::Identifiers { why } => write!(f, "the identifiers are equal; no more, for {why}"),
        }
    }
}

/// What a path wants to know of the unit over the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// READ KEYS.
    Keys {
        /// Bytes of the answer at most.
        allocation: u16,
    },
    /// Blocks.
    Blocks {
        /// Which.
        range: BlockRange,
        /// Their size in bytes.
        block_size: u32,
        /// From now on it is of interest whether the volume writes there.
        watched: bool,
    },
}

/// A question to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Comes back with the answer.
    pub number: u64,
    /// What is asked.
    pub matter: Matter,
}

/// What the reference says.
#[derive(Clone, Debug)]
pub struct Testimony {
    /// Of the question.
    pub number: u64,
    /// What its target answered, or why it did not.
    pub answer: Result<Completion, String>,
}

/// A command of the path's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Register {
        own: ReservationKey,
        new: ReservationKey,
    },
    Keys {
        allocation: u16,
    },
    Blocks {
        range: BlockRange,
        block_size: u32,
    },
}

impl Ask {
    fn task(self, id: TaskId, lun: Lun) -> Task {
        let (command, data) = match self {
            Self::Register { own, new } => {
                let list = Bytes::copy_from_slice(&parameter_list(own, new));
                let command = Command::PersistentReserveOut(ReserveOut::Register);
                (command, DataTransfer::Out(list.into()))
            }
            Self::Keys { allocation } => (
                Command::PersistentReserveIn {
                    action: ReserveIn::ReadKeys,
                    allocation,
                },
                DataTransfer::In(allocation.into()),
            ),
            Self::Blocks { range, block_size } => {
                let bytes = range.blocks() * u64::from(block_size);
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                let command = Command::transfer(Direction::Read, range, false);
                (command, DataTransfer::In(bytes))
            }
        };
        Task {
            id,
            lun,
            cdb: command.cdb(),
            attribute: TaskAttribute::Simple,
            data,
        }
    }
}

impl Matter {
    fn ask(self) -> Ask {
        match self {
            Self::Keys { allocation } => Ask::Keys { allocation },
            Self::Blocks {
                range, block_size, ..
            } => Ask::Blocks { range, block_size },
        }
    }
}

/// What a comparison wants next.
#[derive(Debug)]
enum Step {
    Own(Ask),
    Reference(Matter),
    Done(Finding),
}

/// What a comparison has shown.
#[derive(Debug)]
enum Finding {
    Same(Basis),
    /// Why, up to the name of the reference.
    Different(String),
    /// Nothing; whether it may be otherwise later.
    Open {
        why: String,
        again: bool,
    },
}

impl Finding {
    fn open(why: String) -> Self {
        Self::Open { why, again: true }
    }

    fn never(why: String) -> Self {
        Self::Open { why, again: false }
    }
}

/// A command under way, or one that waits for a place in the target's command window.
#[derive(Debug, Default)]
struct Slot {
    asked: Option<(TaskId, Ask, Instant)>,
    unsent: Option<Task>,
    /// Answers in a row that said "not now".
    repeats: u32,
}

/// What a path knows of its unit being the volume's.
#[derive(Debug, Default)]
pub(super) struct Sameness {
    keys: Keys,
    slot: Slot,
    run: Option<Run>,
    /// Of the present session.
    basis: Option<Basis>,
    /// It was another unit when it was last compared.
    refuted: Option<String>,
    /// A path in use that only its identifiers speak for is compared then, and the pause after that.
    again: Option<(Instant, Duration)>,
    /// When a key is tried to be removed again whose removal the target refused for the moment.
    clean_at: Option<Instant>,
    /// When to look for a key that a REGISTER without an answer may have registered late.
    late_at: Option<Instant>,
    question: Option<(PathId, Question)>,
    next_question: u64,
    /// Where the volume wrote last.
    written: Vec<BlockRange>,
    /// Who the unit says that it is.
    identity: String,
    /// What others asked.
    stand: Stand,
}

impl Sameness {
    pub(super) fn new(session: &SessionConfig, seed: u64) -> Self {
        Self {
            keys: Keys::new(session, seed),
            ..Self::default()
        }
    }

    pub(super) fn stir(&mut self, entropy: &Entropy) {
        self.keys.stir(entropy);
    }

    /// The unit was identified as that.
    pub(super) fn on_identified(&mut self, identity: String) {
        self.identity = identity;
    }

    pub(super) fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    /// It was compared, or there was nothing to compare it with, and it is not being compared again.
    pub(super) fn is_taken(&self) -> bool {
        self.basis.is_some() && self.run.is_none()
    }

    pub(super) fn is_comparing(&self) -> bool {
        self.run.is_some()
    }

    /// Commands under way.
    pub(super) fn commands(&self) -> usize {
        usize::from(self.slot.asked.is_some()) + self.stand.commands()
    }

    pub(super) fn take_unsent(&mut self) -> Option<Task> {
        self.slot.unsent.take().or_else(|| self.stand.take_unsent())
    }
}
