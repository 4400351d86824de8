//! The merged LUN: splitting, ordering, failover and fences.
//!
//! An *io* (one NBD request) becomes one or more *commands*; each command is tried on a path as an *attempt*
//! until one attempt has an answer that counts. Commands wait in one queue, oldest io first, and pick their
//! path when a slot of a path is free, so that a dying path traps as little as possible.
//!
//! - `io`: from a request to its answer.
//! - `command`: from a request to commands, within the unit's limits.
//! - `dispatch`: commands find their paths.
//! - `ranges`: writes that overlap never fly together.
//! - `roster`: the paths, and which of them may take a command.
//! - `outcome`: what an answer means for its command.
//! - `failover`: what becomes of the attempts of a lost session.
//! - `fence`: the ledger of ghosts; `drain`: those of sessions that live.
//! - `overtaken`: a command that hangs while later ones are answered.
//! - `no_path`: what waits, and how long, while no path is left; `pace`: how fast that goes out after.
//! - `access`: access states of the paths (ALUA), and `activation`: asking for others.
//! - `admission`: is what a path found the volume's unit?
//! - `capacity`: the unit grows, or shrinks; `journal`: what happened.
//! - `reservation`: a key of persistent reservations, registered over every path.
//! - `change`: other settings, paths that come and go by configuration.
//!
//! **Driver contract.** After any call that takes `now`, drain [`Volume::poll_submission`] (each
//! submission must reach its path before anything else is told to the volume), [`Volume::poll_order`],
//! [`Volume::poll_reply`], then read [`Volume::poll_timeout`]. Tell [`Volume::set_slots`] before
//! [`Volume::dispatch`]. Time never goes backwards.

mod access;
mod activation;
mod admission;
mod capacity;
mod change;
mod command;
mod dispatch;
mod drain;
mod durability;
mod duty;
mod failover;
mod fence;
mod gray;
mod hedge;
mod hedging;
mod io;
mod journal;
mod latency;
mod no_path;
mod outcome;
mod outlier;
mod overtaken;
mod pace;
pub mod ranges;
mod request;
mod reservation;
mod roster;
mod rumour;
mod status;
#[cfg(test)]
mod tests;
mod trial;
mod window;
mod written;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use policies::{IoView, PathView, Policy};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::deadline::Deadline;
use crate::ids::{Incarnation, IoId, PathId, PathNames, TaskId};
use crate::limits;
use crate::path::message::{Message, Order, Standing, Unit};
use crate::payload::Payload;
use crate::units::BlockRange;

pub use admission::Pin;
pub use change::RouteConfig;
pub use dispatch::Submission;
pub use duty::{DutyStatus, OutCause};
pub use gray::{Domain, GrayConfig};
pub use journal::VolumeEvent;
pub use no_path::NoPath;
pub use request::{IoError, Reply, Request};
pub use reservation::job::{PathRegistration, Registered, ReservationStatus};
pub use reservation::{KeyStatus, PATH_BITS, RememberedKey, ReservationAsk, ReservationConfig};
pub use roster::RouteCounters;
pub use status::{RouteStatus, VolumeCounters, VolumeStatus};

use activation::Activation;
use capacity::Disagreement;
use command::Op;
use durability::{Covers, Durability};
use fence::Ledger;
use gray::Gray;
use journal::Journal;
use overtaken::Overtaken;
use pace::Pace;
use ranges::RangeTable;
use reservation::Reservation;
use roster::Roster;
use rumour::Rumours;
use written::Written;

/// A volume's settings.
pub struct VolumeConfig {
    /// Operator's weight of each path, in the order of their ids, or of [`Volume::reconfigure`]'s caller.
    pub weights: Vec<u8>,
    /// Operator's tier of each path, likewise; 0 where there is none.
    pub tiers: Vec<u8>,
    /// Where no active/optimized path is usable, the target is asked to make one so.
    pub activate: bool,
    /// Another host may act on our acknowledgements: a write of unknown fate is acknowledged only after
    /// its fence.
    pub shared: bool,
    /// See [`NoPath`].
    pub no_path: NoPath,
    /// When a ghost is let go without a fence; `None`: never.
    pub quiesce: Option<Duration>,
    /// A later login with a lost session's name counts as its fence.
    pub reinstate: bool,
    /// A unit that grew is served with its new size.
    pub grow: bool,
    /// What is known of the unit from the configuration or an earlier run.
    pub pin: Pin,
    /// The last run did not end cleanly: every path's old session may still execute writes.
    pub unclean: bool,
    /// And one of them belongs to no path any more: nothing but time lays its ghosts.
    pub orphaned: bool,
    /// Chooses paths.
    pub policy: Box<dyn Policy>,
    /// What is done about paths that are slow, and about slow reads.
    pub gray: GrayConfig,
    /// The key of persistent reservations.
    pub reservation: ReservationConfig,
}

/// Stands in the ledger for paths that there are no more.
const ORPHANS: PathId = PathId(u16::MAX);
const _: () = assert!(limits::PATHS_MAX < ORPHANS.0 as usize);

/// One request and what is left of it.
#[derive(Debug)]
struct Io {
    request: Request,
    accepted: Instant,
    /// Commands not yet ended.
    commands_left: u32,
    /// Data of its read commands by their index.
    parts: SmallVec<[Payload; 1]>,
    error: Option<IoError>,
    /// A SYNCHRONIZE CACHE has still to follow the commands, for FUA that writes cannot carry.
    sync_after: bool,
    /// Writes acknowledged before it, for a flush.
    covers: Covers,
    /// A command of it was carried out.
    carried_out: bool,
    /// That is to be done again: the unit was without power since.
    redo: bool,
    /// It fails to tell of lost writes.
    tells_of_loss: bool,
    /// It holds its range in `ranges`.
    holds_range: bool,
    /// Lost sessions that may still execute a part of it.
    ghosts: Vec<(PathId, Incarnation)>,
}

/// One command of an io.
#[derive(Debug)]
struct Command {
    io: IoId,
    /// Its index among the io's commands.
    part: usize,
    op: Op,
    /// Attempts that ended with an answer that calls for another one.
    retries: u32,
    /// Those of them that are counted against a bound, for each bound.
    counted: u32,
    attentions: u32,
    /// When the first "not now" came after its io was made or had waited for a path.
    put_off_since: Option<Instant>,
    /// A path that failed it last.
    avoid: Option<PathId>,
    /// It was aborted once for hanging while others did not: now it has all the time that there is.
    overtaken: bool,
    /// It is a read that was sent twice: first so, and then so.
    rivals: Option<(TaskId, TaskId)>,
}

/// A command's place in the queue; never changes, so that a command that is tried again keeps its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CommandOrder(u64);

#[derive(Debug)]
struct Attempt {
    command: CommandOrder,
    path: PathId,
    incarnation: Incarnation,
    sent: Instant,
    io: IoView,
    /// Its command has ended without it.
    orphan: bool,
}

/// See the module's documentation.
pub struct Volume {
    config: VolumeConfig,
    /// For the log.
    names: PathNames,
    unit: Option<Arc<Unit>>,
    /// The path that found it first.
    founder: Option<PathId>,
    roster: Roster,
    activation: Activation,
    ios: FxHashMap<IoId, Io>,
    commands: FxHashMap<CommandOrder, Command>,
    ready: BTreeSet<CommandOrder>,
    delayed: BTreeSet<(Instant, CommandOrder)>,
    attempts: FxHashMap<TaskId, Attempt>,
    ranges: RangeTable,
    written: Written,
    ledger: Ledger,
    /// Barriers that were asked for, in these sessions.
    drains: BTreeMap<PathId, Incarnation>,
    overtaken: Overtaken,
    /// Finished ios that wait for a fence (`shared`).
    unacknowledged: VecDeque<(IoId, Io)>,
    no_path_since: Option<Instant>,
    no_path_expired: bool,
    /// Some path was usable in this run.
    had_path: bool,
    pace: Pace,
    /// Nothing but the pace keeps the next command from going out.
    paced: bool,
    /// Paths tell of different sizes.
    disagreement: Option<Disagreement>,
    journal: Journal,
    /// Bytes of all requests that are not answered.
    bytes: u64,
    next_command: u64,
    next_task: u64,
    submissions: VecDeque<Submission>,
    orders: VecDeque<(PathId, Order)>,
    replies: VecDeque<Reply>,
    /// Commands that the target does not know; not sent again.
    no_sync: bool,
    no_trim: bool,
    no_write_same: bool,
    durability: Durability,
    rumours: Rumours,
    reservation: Reservation,
    /// The paths are being logged out on purpose.
    stopping: bool,
    views: Vec<PathView>,
    gray: Gray,
    counters: VolumeCounters,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume")
            .field("ios", &self.ios.len())
            .finish_non_exhaustive()
    }
}

impl Volume {
    /// A volume without a path in use, at `now`.
    #[must_use]
    pub fn new(now: Instant, config: VolumeConfig) -> Self {
        let mut ledger = Ledger::new(config.quiesce);
        if config.orphaned {
            ledger.record(now, ORPHANS, Incarnation(0), BlockRange::EVERYTHING);
        }
        if config.unclean {
            for (path, _) in (0u16..).map(PathId).zip(&config.weights) {
                ledger.record(now, path, Incarnation(0), BlockRange::EVERYTHING);
            }
        }
        let mut volume = Self {
            unit: None,
            founder: None,
            roster: Roster::new(&config.weights, &config.tiers),
            activation: Activation::default(),
            ios: FxHashMap::default(),
            commands: FxHashMap::default(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            attempts: FxHashMap::default(),
            ranges: RangeTable::default(),
            written: Written::default(),
            ledger,
            drains: BTreeMap::new(),
            overtaken: Overtaken::new(now),
            unacknowledged: VecDeque::new(),
            no_path_since: Some(now),
            no_path_expired: config.no_path == NoPath::Fail,
            had_path: false,
            pace: Pace::new(now),
            paced: false,
            disagreement: None,
            journal: Journal::default(),
            bytes: 0,
            next_command: 0,
            next_task: 0,
            submissions: VecDeque::new(),
            orders: VecDeque::new(),
            replies: VecDeque::new(),
            no_sync: false,
            no_trim: false,
            no_write_same: false,
            names: PathNames::default(),
            durability: Durability::new(config.unclean),
            rumours: Rumours::default(),
            stopping: false,
            views: Vec::new(),
            gray: Gray::new(&config.gray, config.weights.len()),
            counters: VolumeCounters::default(),
            reservation: Reservation::new(&config.reservation),
            config,
        };
        volume.begin_reservation();
        volume
    }

    /// What log lines call the paths.
    pub fn set_names(&mut self, names: PathNames) {
        self.names = names;
    }

    /// The logical unit, once a path was admitted.
    #[must_use]
    pub fn unit(&self) -> Option<&Arc<Unit>> {
        self.unit.as_ref()
    }

    /// Whether a further request is within bounds; if not, clients are not read.
    #[must_use]
    pub fn accepts(&self) -> bool {
        let ios = self.ios.len() + self.unacknowledged.len();
        ios < limits::VOLUME_IOS_MAX && self.bytes < limits::VOLUME_BYTES_MAX
    }

    /// From now on paths are logged out on purpose.
    pub fn begin_stop(&mut self) {
        self.stopping = true;
    }

    /// Whether nothing is asked and unanswered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ios.is_empty() && self.unacknowledged.is_empty() && self.replies.is_empty()
    }

    /// Whether writes of lost sessions of `path` may still execute, so that it should be fenced soon.
    #[must_use]
    pub fn wants_fence(&self, path: PathId) -> bool {
        self.config.reinstate && self.ledger.haunts_path(path)
    }

    /// A path's news.
    pub fn handle_message(&mut self, now: Instant, path: PathId, message: Message) {
        match message {
            Message::Identified { incarnation, unit } => {
                self.on_identified(now, path, incarnation, unit);
            }
            Message::Standing {
                incarnation,
                standing,
            } => {
                let route = self.roster.route_mut(path);
                route.incarnation = incarnation;
                route.standing = standing;
                route.used |= standing.is_usable();
                if standing.is_usable() && self.durability.on_session(path, true) {
                    self.on_new_witness(now, path);
                }
                self.on_standing(now, path);
                self.on_roster(now);
                self.judge_size(now);
            }
            Message::Access {
                incarnation,
                access,
            } => self.on_access(now, path, incarnation, access),
            Message::Joining { incarnation } => self.on_joining(now, path, incarnation),
            Message::Carried { ticket, answer } => {
                self.on_carried(now, ticket, answer.as_ref());
            }
            Message::ReservationsChanged => self.on_reservations_changed(path),
            Message::Waiting(waiting) => self.on_waiting(now, path, waiting.as_deref()),
            Message::Lost { incarnation, tasks } => self.on_lost(now, path, incarnation, tasks),
            Message::PowerDoubted { heard } => self.on_power_doubted(now, path, heard),
            Message::PowerLost { heard } => self.on_power_lost(now, path, heard),
            Message::Fenced { upto, by } => self.on_fenced(now, path, upto, by),
            Message::Completed {
                incarnation,
                task,
                completion,
            } => {
                if self.on_errand_end(now, task, Some(&completion)) {
                    return;
                }
                let attempt = self.take_attempt(now, path, incarnation, task);
                self.on_word(now, path, attempt.sent, &completion);
                self.on_answer(now, &attempt);
                self.on_completed(now, &attempt, completion);
            }
            Message::Drained { incarnation, asked } => {
                self.on_drained(now, path, incarnation, asked);
            }
            Message::UnitReset { incarnation } => self.on_unit_reset(now, path, incarnation),
            Message::Failed {
                incarnation,
                task,
                fate,
            } => {
                if self.on_errand_end(now, task, None) {
                    return;
                }
                let attempt = self.take_attempt(now, path, incarnation, task);
                self.on_failed(now, &attempt, fate);
            }
        }
    }

    /// The operator asks for the preferred paths.
    pub fn fail_back(&mut self, now: Instant) {
        tracing::info!("failback to the preferred paths, as the operator asks");
        self.config.policy.fail_back();
        self.on_roster(now);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, order)) = self.delayed.first() {
            if at > now {
                break;
            }
            self.delayed.pop_first();
            self.ready.insert(order);
        }
        self.gray_timeout(now);
        self.check_reservation(now);
        self.find_overtaken(now);
        self.check_access(now);
        self.ask_about_size(now);
        let expired = self.ledger.expire(now);
        for ghosts in &expired {
            let why = format!(
                "{} lost writes of {}, by time alone",
                ghosts.ranges.len(),
                self.names.of(ghosts.path)
            );
            self.journal.note(now, "ghosts let go", &why);
            tracing::warn!(
                path = %self.names.of(ghosts.path), incarnation = %ghosts.incarnation,
                ranges = ?ghosts.ranges,
                "no fence within the quiesce time: assuming that the target executes nothing of this lost session any more"
            );
        }
        if !expired.is_empty() {
            self.counters.quiesced += expired.len() as u64;
            self.after_fence(now);
        }
        if let Some(deadline) = self.no_path_deadline()
            && deadline <= now
        {
            self.on_no_path_expired(now);
        }
    }

    /// When [`Volume::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let retry = self
            .delayed
            .first()
            .map(|&(at, _)| Deadline::new(at, "retry of a command"));
        let ghost = self
            .ledger
            .next_expiry()
            .map(|at| Deadline::new(at, "quiesce time of a ghost"));
        let no_path = self
            .no_path_deadline()
            .map(|at| Deadline::new(at, "no_path limit"));
        let access = self.access_deadline();
        let pace = self.pace.next_at().filter(|_| self.paced);
        let pace = pace.map(|at| Deadline::new(at, "pace of what has waited for a path"));
        let size = self
            .size_deadline()
            .map(|at| Deadline::new(at, "paths that disagree about the size"));
        let rumour = self
            .rumours
            .ask_at()
            .map(|at| Deadline::new(at, "question to a witness"));
        let gray = self.gray_deadline();
        let reservation = self.reservation.deadline();
        let drain = self
            .drain_deadline()
            .map(|at| Deadline::new(at, "barrier after an abort"));
        let overtaken = self
            .overtaken
            .due()
            .map(|at| Deadline::new(at, "command that may hang"));
        [
            retry,
            ghost,
            no_path,
            access,
            pace,
            size,
            rumour,
            gray,
            reservation,
            drain,
            overtaken,
        ]
        .into_iter()
        .fold(None, Deadline::earlier)
    }

    /// The next attempt to be made.
    pub fn poll_submission(&mut self) -> Option<Submission> {
        self.submissions.pop_front()
    }

    /// Whether there is one.
    #[must_use]
    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// The next order to a path.
    pub fn poll_order(&mut self) -> Option<(PathId, Order)> {
        self.orders.pop_front()
    }

    /// The next answer.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// The path that found the unit first in this run.
    #[must_use]
    pub fn founder(&self) -> Option<PathId> {
        self.founder
    }

    /// Paths that were usable in this run: the unit was found behind each of them, and believed to be the
    /// same.
    #[must_use]
    pub fn used_paths(&self) -> Vec<PathId> {
        let used = self.roster.iter().filter(|(_, route)| route.used);
        used.map(|(path, _)| path).collect()
    }

    /// The unit as that path found it in its present or last session.
    #[must_use]
    pub fn route_unit(&self, path: PathId) -> Option<&Unit> {
        self.roster.route(path).unit.as_deref()
    }
}

impl Standing {
    /// Whether new commands may go there.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Probation)
    }
}
