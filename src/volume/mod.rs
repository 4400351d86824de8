//! The merged LUN: splitting, ordering, failover and fences.
//!
//! An *io* (one NBD request) becomes one or more *commands*; each command is tried on a path as an *attempt*
//! until one attempt has an answer that counts. Commands wait in one queue, oldest io first, and pick their
//! path when a slot of a path is free, so that a dying path traps as little as possible.
//!
//! - `command`: from a request to commands, within the unit's limits.
//! - `ranges`: writes that overlap never fly together.
//! - `roster`: the paths, and which of them may take a command.
//! - `outcome`: what an answer means for its command.
//! - `failover`: what becomes of the attempts of a lost session.
//! - `fence`: the ledger of ghosts.
//! - `admission`: is what a path found the volume's unit?
//!
//! **Driver contract.** After any call that takes `now`, drain [`Volume::poll_submission`] (each
//! submission must reach its path before anything else is told to the volume), [`Volume::poll_order`],
//! [`Volume::poll_reply`], then read [`Volume::poll_timeout`]. Tell [`Volume::set_slots`] before
//! [`Volume::dispatch`]. Time never goes backwards.

mod admission;
mod command;
mod failover;
mod fence;
mod outcome;
mod ranges;
mod request;
mod roster;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use policies::{Candidates, Direction, IoView, PathView, Policy};

use crate::deadline::Deadline;
use crate::errno::IoErrno;
use crate::ids::{Incarnation, IoId, Lun, PathId, TaskId};
use crate::limits;
use crate::path::message::{FenceKind, Message, Order, Standing, Unit};
use crate::payload::Payload;
use crate::task::{Task, TaskAttribute};
use crate::units::BlockRange;

pub use admission::Pin;
pub use request::{IoError, Reply, Request};
pub use roster::RouteCounters;
pub use status::{RouteStatus, VolumeCounters, VolumeStatus};

use command::Op;
use fence::Ledger;
use ranges::RangeTable;
use roster::Roster;

/// What happens to I/O while no path is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// It fails at once.
    Fail,
    /// It waits so long from the loss of the last path on, then fails until a path is back.
    Queue(Duration),
    /// It waits for ever.
    QueueForever,
}

/// A volume's settings.
pub struct VolumeConfig {
    /// Operator's weight of each path, in the order of their ids.
    pub weights: Vec<u8>,
    /// Another host may act on our acknowledgements: a write of unknown fate is acknowledged only after
    /// its fence.
    pub shared: bool,
    /// See [`NoPath`].
    pub no_path: NoPath,
    /// When a ghost is let go without a fence; `None`: never.
    pub quiesce: Option<Duration>,
    /// A later login with a lost session's name counts as its fence.
    pub reinstate: bool,
    /// What is known of the unit from the configuration or an earlier run.
    pub pin: Pin,
    /// The last run did not end cleanly: every path's old session may still execute writes.
    pub unclean: bool,
    /// And one of them belongs to no path any more: nothing but time lays its ghosts.
    pub orphaned: bool,
    /// Chooses paths.
    pub policy: Box<dyn Policy>,
}

/// Stands in the ledger for paths that there are no more.
const ORPHANS: PathId = PathId(u16::MAX);
const _: () = assert!(limits::PATHS_MAX < ORPHANS.0 as usize);

/// One attempt to be made: hand the task to that path.
#[derive(Debug)]
pub struct Submission {
    /// The path.
    pub path: PathId,
    /// The session that the volume means; the path is in it, or the driver broke its contract.
    pub incarnation: Incarnation,
    /// The task; its `lun` is the path's business and 0 here.
    pub task: Task,
}

/// One request and what is left of it.
#[derive(Debug)]
struct Io {
    request: Request,
    accepted: Instant,
    /// Commands not yet ended.
    commands_left: u32,
    /// Data of its read commands by their index.
    parts: Vec<Payload>,
    error: Option<IoError>,
    /// A SYNCHRONIZE CACHE has still to follow the commands, for FUA that writes cannot carry.
    sync_after: bool,
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
}

/// A command's place in the queue; never changes, so that a command that is tried again keeps its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CommandOrder(u64);

#[derive(Debug)]
struct Attempt {
    command: CommandOrder,
    path: PathId,
    incarnation: Incarnation,
    sent: Instant,
    bytes: u32,
}

/// See the module's documentation.
pub struct Volume {
    config: VolumeConfig,
    unit: Option<Arc<Unit>>,
    /// The path that found it first.
    founder: Option<PathId>,
    roster: Roster,
    ios: BTreeMap<IoId, Io>,
    commands: BTreeMap<CommandOrder, Command>,
    ready: BTreeSet<CommandOrder>,
    delayed: BTreeSet<(Instant, CommandOrder)>,
    attempts: BTreeMap<TaskId, Attempt>,
    ranges: RangeTable,
    ledger: Ledger,
    /// Finished ios that wait for a fence (`shared`).
    unacknowledged: VecDeque<(IoId, Io)>,
    no_path_since: Option<Instant>,
    no_path_expired: bool,
    next_command: u64,
    next_task: u64,
    submissions: VecDeque<Submission>,
    orders: VecDeque<(PathId, Order)>,
    replies: VecDeque<Reply>,
    /// Commands that the target does not know; not sent again.
    no_sync: bool,
    no_trim: bool,
    no_write_same: bool,
    /// The target said that it lost a write that was acknowledged: the next flush fails, once.
    cache_lost: bool,
    /// The paths are being logged out on purpose.
    stopping: bool,
    views: Vec<PathView>,
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
        Self {
            unit: None,
            founder: None,
            roster: Roster::new(&config.weights),
            ios: BTreeMap::new(),
            commands: BTreeMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            attempts: BTreeMap::new(),
            ranges: RangeTable::default(),
            ledger,
            unacknowledged: VecDeque::new(),
            no_path_since: Some(now),
            no_path_expired: config.no_path == NoPath::Fail,
            next_command: 0,
            next_task: 0,
            submissions: VecDeque::new(),
            orders: VecDeque::new(),
            replies: VecDeque::new(),
            no_sync: false,
            no_trim: false,
            no_write_same: false,
            cache_lost: false,
            stopping: false,
            views: Vec::new(),
            counters: VolumeCounters::default(),
            config,
        }
    }

    /// The logical unit, once a path was admitted.
    #[must_use]
    pub fn unit(&self) -> Option<&Arc<Unit>> {
        self.unit.as_ref()
    }

    /// Whether a further request is within bounds; if not, clients are not read.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.ios.len() + self.unacknowledged.len() < limits::VOLUME_IOS_MAX
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

    /// Asks for one io. Exactly one [`Reply`] with its id follows.
    ///
    /// # Panics
    /// If no path was ever admitted, or the id is in use.
    pub fn request(&mut self, now: Instant, id: IoId, request: Request) {
        assert!(
            self.unit.is_some(),
            "a volume without a unit is not exported"
        );
        self.counters.on_request(&request);
        let mut io = Io {
            accepted: now,
            commands_left: 0,
            parts: Vec::new(),
            error: None,
            sync_after: false,
            holds_range: false,
            ghosts: Vec::new(),
            request,
        };
        if self.no_path_expired && !self.roster.any_alive() {
            io.error = Some(IoError {
                errno: IoErrno::Io,
                lba: None,
            });
            return self.answer(now, id, io);
        }
        let ledger = &self.ledger;
        let range = io.request.written_range();
        let start = range.is_none_or(|range| {
            self.ranges
                .acquire(id, range, |range| ledger.is_haunted(range))
        });
        io.holds_range = start && range.is_some();
        let before = self.ios.insert(id, io);
        assert!(before.is_none(), "io ids are never reused");
        if start {
            self.start(now, id);
        }
    }

    /// Makes the io's commands.
    fn start(&mut self, now: Instant, id: IoId) {
        let unit = Arc::clone(self.unit.as_ref().expect("requests come after the unit"));
        let mut features = unit.features.clone();
        if self.no_write_same {
            features.write_same_blocks_max = 0;
        }
        let io = self.ios.get_mut(&id).expect("a started io exists");
        let mut ops = command::split(&io.request, unit.geometry, &features);
        if (self.no_sync && matches!(io.request, Request::Flush))
            || (self.no_trim && matches!(io.request, Request::Trim { .. }))
        {
            ops.clear();
        }
        let carried = features.fua && matches!(io.request, Request::Write { .. });
        io.sync_after = io.request.fua() && !carried && !ops.is_empty() && !self.no_sync;
        if ops.is_empty() {
            let io = self.take_io(id);
            return self.answer(now, id, io);
        }
        self.enqueue(id, ops);
    }

    fn enqueue(&mut self, id: IoId, ops: Vec<Op>) {
        let io = self.ios.get_mut(&id).expect("commands belong to an io");
        // Never fewer: zeroes come in place of a WRITE SAME while others of its io are in flight.
        io.parts
            .resize(io.parts.len().max(ops.len()), Payload::new());
        for (part, op) in ops.into_iter().enumerate() {
            let order = CommandOrder(self.next_command);
            self.next_command += 1;
            io.commands_left += 1;
            self.commands.insert(
                order,
                Command {
                    io: id,
                    part,
                    op,
                    retries: 0,
                    counted: 0,
                    attentions: 0,
                    put_off_since: None,
                    avoid: None,
                },
            );
            self.ready.insert(order);
        }
    }

    /// What `path` can take now, beyond what is in flight on it.
    pub fn set_slots(&mut self, path: PathId, slots: u32) {
        self.roster.route_mut(path).set_slots(slots);
    }

    /// Sends waiting commands on paths with free slots.
    pub fn dispatch(&mut self, now: Instant) {
        let Some(unit) = self.unit.clone() else {
            return;
        };
        while let Some(&order) = self.ready.first() {
            let command = &self.commands[&order];
            self.roster.candidates(command.avoid, &mut self.views);
            let Some(candidates) = Candidates::new(&self.views) else {
                break;
            };
            let bytes = command.op.data_len(unit.geometry);
            let io = io_view(&command.op, bytes);
            let pick = self.config.policy.choose(now, &io, candidates);
            let path = PathId(pick.path());
            if self.roster.route(path).slots_free() == 0 {
                break;
            }
            self.config.policy.on_dispatch(now, pick.path(), &io);
            let (cdb, data) = command.op.build(unit.geometry);
            let id = TaskId(self.next_task);
            self.next_task += 1;
            let route = self.roster.route_mut(path);
            route.on_dispatch(bytes);
            let incarnation = route.incarnation;
            self.ready.remove(&order);
            self.attempts.insert(
                id,
                Attempt {
                    command: order,
                    path,
                    incarnation,
                    sent: now,
                    bytes,
                },
            );
            let lun = Lun::from_wire([0; 8]);
            let task = Task {
                id,
                lun,
                cdb,
                attribute: TaskAttribute::Simple,
                data,
            };
            self.submissions.push_back(Submission {
                path,
                incarnation,
                task,
            });
        }
    }

    /// A path's news.
    pub fn handle_message(&mut self, now: Instant, path: PathId, message: Message) {
        match message {
            Message::Identified { incarnation, unit } => {
                self.on_identified(path, incarnation, unit);
            }
            Message::Standing {
                incarnation,
                standing,
            } => {
                let route = self.roster.route_mut(path);
                route.incarnation = incarnation;
                route.standing = standing;
                self.on_roster(now);
            }
            Message::Lost { incarnation, tasks } => self.on_lost(now, path, incarnation, tasks),
            Message::Fenced { upto, by } => self.on_fenced(now, path, upto, by),
            Message::Completed {
                incarnation,
                task,
                completion,
            } => {
                let attempt = self.take_attempt(now, path, incarnation, task);
                self.on_completed(now, &attempt, completion);
            }
            Message::Failed {
                incarnation,
                task,
                at_large,
            } => {
                let attempt = self.take_attempt(now, path, incarnation, task);
                self.on_failed(now, &attempt, at_large);
            }
        }
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
        for (_, route) in self.roster.iter_mut() {
            route.relax(now);
        }
        let expired = self.ledger.expire(now);
        for ghosts in &expired {
            tracing::warn!(
                path = %ghosts.path, incarnation = %ghosts.incarnation, ranges = ?ghosts.ranges,
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
        let relax = self
            .roster
            .iter()
            .filter_map(|(_, route)| route.relax_at())
            .min();
        let relax = relax.map(|at| Deadline::new(at, "depth of a busy path"));
        [retry, ghost, no_path, relax]
            .into_iter()
            .fold(None, Deadline::earlier)
    }

    /// The next attempt to be made.
    pub fn poll_submission(&mut self) -> Option<Submission> {
        self.submissions.pop_front()
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

    /// The unit as that path found it in its present or last session.
    #[must_use]
    pub fn route_unit(&self, path: PathId) -> Option<&Unit> {
        self.roster.route(path).unit.as_deref()
    }

    fn on_identified(&mut self, path: PathId, incarnation: Incarnation, unit: Arc<Unit>) {
        match admission::judge(&self.config.pin, self.unit.as_deref(), &unit) {
            Ok(()) => {
                if self.unit.is_none() {
                    tracing::info!(unit = %unit.identity, "logical unit identified");
                    self.unit = Some(Arc::clone(&unit));
                    self.founder = Some(path);
                }
                if let Some(volume) = &self.unit
                    && unit.geometry != volume.geometry
                {
                    tracing::info!(
                        %path, found = %unit.geometry, served = %volume.geometry,
                        "the logical unit has grown: the new size is served after a restart"
                    );
                }
                let sure = !unit.identity.weak() || self.founder == Some(path);
                let route = self.roster.route_mut(path);
                route.incarnation = incarnation;
                route.unit = Some(unit);
                let order = if sure {
                    Order::Admit
                } else {
                    Order::AdmitIfProven
                };
                self.orders.push_back((path, order));
            }
            Err(why) => self.orders.push_back((path, Order::Refuse { why })),
        }
    }

    /// The set of usable paths changed.
    fn on_roster(&mut self, now: Instant) {
        self.roster.candidates(None, &mut self.views);
        self.config.policy.on_roster(now, &self.views);
        if self.roster.any_alive() {
            if self.no_path_since.take().is_some() {
                // A target that comes back says "not now" for a while, however long it was away.
                for command in self.commands.values_mut() {
                    command.put_off_since = None;
                }
            }
            self.no_path_expired = false;
        } else if self.no_path_since.is_none() {
            self.no_path_since = Some(now);
            if self.stopping {
                return;
            }
            tracing::warn!("no path left: I/O waits");
            if self.config.no_path == NoPath::Fail {
                self.on_no_path_expired(now);
            }
        }
    }

    fn no_path_deadline(&self) -> Option<Instant> {
        match self.config.no_path {
            NoPath::Queue(limit) if !self.no_path_expired => {
                self.no_path_since.map(|since| since + limit)
            }
            NoPath::Queue(_) | NoPath::Fail | NoPath::QueueForever => None,
        }
    }

    /// Fails everything that waits. Without a path nothing is in flight.
    fn on_no_path_expired(&mut self, now: Instant) {
        assert!(
            self.attempts.is_empty(),
            "without a path nothing is in flight"
        );
        self.no_path_expired = true;
        let ios: Vec<IoId> = self.ios.keys().copied().collect();
        tracing::error!(
            ios = ios.len(),
            "no path within the no_path limit: I/O fails"
        );
        self.ready.clear();
        self.delayed.clear();
        self.commands.clear();
        let mut failed: Vec<(IoId, Io)> = self.unacknowledged.drain(..).collect();
        for id in ios {
            failed.push((id, self.take_io(id)));
        }
        for (id, mut io) in failed {
            io.error = Some(IoError {
                errno: IoErrno::Io,
                lba: None,
            });
            io.ghosts.clear();
            self.answer(now, id, io);
        }
        self.start_waiting(now);
    }

    fn on_fenced(&mut self, now: Instant, path: PathId, upto: Incarnation, by: FenceKind) {
        if self.config.reinstate && self.ledger.fenced(path, upto) {
            tracing::info!(%path, %upto, ?by, "lost sessions fenced");
            self.counters.fenced += 1;
            self.after_fence(now);
        }
    }

    fn after_fence(&mut self, now: Instant) {
        for (id, io) in std::mem::take(&mut self.unacknowledged) {
            self.answer(now, id, io);
        }
        self.start_waiting(now);
    }

    fn start_waiting(&mut self, now: Instant) {
        // One that has nothing to do is answered at once and gives its range to the next, hence the loop.
        while self.ranges.has_waiting() {
            let ledger = &self.ledger;
            let started = self.ranges.start_waiting(|range| ledger.is_haunted(range));
            if started.is_empty() {
                break;
            }
            for id in started {
                self.ios
                    .get_mut(&id)
                    .expect("waiting ios exist")
                    .holds_range = true;
                self.start(now, id);
            }
        }
    }

    /// Takes an io out, with its range given back. Waiting ios are to be started after.
    fn take_io(&mut self, id: IoId) -> Io {
        let mut io = self.ios.remove(&id).expect("an io is answered once");
        if let Some(range) = io.request.written_range() {
            if std::mem::take(&mut io.holds_range) {
                self.ranges.release(id, range);
            } else {
                let waited = self.ranges.forget_waiting(id);
                assert!(waited, "a write-like io holds its range or waits for it");
            }
        }
        io
    }

    /// Answers an io that was taken out, unless it has to wait for a fence first.
    fn answer(&mut self, now: Instant, id: IoId, mut io: Io) {
        // Sessions may have been fenced while it was tried again.
        io.ghosts
            .retain(|&(path, incarnation)| self.ledger.has(path, incarnation));
        if self.config.shared && !io.ghosts.is_empty() {
            self.unacknowledged.push_back((id, io));
            return;
        }
        let result = match io.error {
            Some(error) => Err(error),
            None => Ok(match io.parts.len() {
                1 => io.parts.swap_remove(0),
                _ => io.parts.drain(..).fold(Payload::new(), |mut all, part| {
                    all.append(part);
                    all
                }),
            }),
        };
        let latency = now.saturating_duration_since(io.accepted);
        self.counters.on_reply(latency, result.is_err());
        self.replies.push_back(Reply {
            io: id,
            result,
            latency,
        });
    }
}

fn io_view(op: &Op, bytes: u32) -> IoView {
    let direction = if matches!(op, Op::Read(_)) {
        Direction::Read
    } else {
        Direction::Write
    };
    IoView {
        direction,
        bytes,
        lba: op.lba(),
    }
}

impl Standing {
    /// Whether new commands may go there.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Probation)
    }
}
