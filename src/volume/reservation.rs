//! Persistent reservations (SPC-5 5.14) of a volume: one key, registered over every path.
//!
//! A registration belongs to a nexus, and each path is one. So the key is registered over every session
//! before its path is used ([`enrol`]): a path that comes back and is not registered would get RESERVATION
//! CONFLICT for what the others may do. What an administrator asks for runs over all paths as one *job*
//! ([`job`]).
//!
//! Somebody else may take our registration away: that is how a cluster fences a host. Then the key is
//! *preempted*: it is not registered again until an administrator says so, and I/O goes on and fails with
//! what the target answers. Whether a missing registration was taken away or got lost [`enrol`] tells
//! apart.
//!
//! With the fence `preempt-abort` each path has a key of its own, whose low 16 bits carry the path's
//! number, and a lost path can be cut off by another one ([`preempt`]). Otherwise all paths have the same
//! key, as cluster software expects it of a host.

mod decide;
pub(super) mod enrol;
pub(super) mod job;
mod plan;
pub(super) mod preempt;
mod said;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::deadline::Deadline;
use crate::ids::{Incarnation, PathId};
use crate::path::message::{Enrol, Errand, Order};
use crate::scsi::cdb::{Command, DataLength};
use crate::scsi::reservation::{ReservationKey, ReservationType};
use crate::task::{Completion, DataTransfer, TaskAttribute};

use super::Volume;
use enrol::Sequence;
use job::Job;
pub use plan::ReservationAsk;
use preempt::Attempt;

/// The bits of a key that carry a path's number where each path has a key of its own.
pub const PATH_BITS: u64 = 0xffff;

/// What is to be remembered of a volume's key, over restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedKey {
    /// The key; not 0.
    pub key: ReservationKey,
    /// Each path has one of its own, made of that one: its [`PATH_BITS`] are 0.
    pub per_path: bool,
    /// The reservation that we made, if we made one.
    pub reserved: Option<ReservationType>,
    /// Somebody else took our registration away.
    pub preempted: bool,
}

impl RememberedKey {
    /// A key that is to be registered.
    #[must_use]
    pub fn new(key: ReservationKey, per_path: bool) -> Self {
        Self {
            key,
            per_path,
            reserved: None,
            preempted: false,
        }
    }

    /// The key of a path.
    #[must_use]
    pub fn of(&self, path: PathId) -> ReservationKey {
        match self.per_path {
            true => ReservationKey(self.key.0 | (u64::from(path.0) + 1)),
            false => self.key,
        }
    }

    /// Whether a key is ours, of whatever path.
    #[must_use]
    pub fn is_ours(&self, key: ReservationKey) -> bool {
        let known = match self.per_path {
            true => key.0 & !PATH_BITS,
            false => key.0,
        };
        known == self.key.0
    }
}

/// What the configuration says of reservations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservationConfig {
    /// The key that holds from the start on.
    pub key: Option<RememberedKey>,
    /// It stands in the configuration: no other may be registered.
    pub configured: bool,
    /// A lost path's key is preempted, and its tasks aborted, over another path.
    pub preempt_abort: bool,
}

/// A volume's key for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key, and what became of it.
    pub key: RememberedKey,
    /// Paths that are up and registered.
    pub registered: usize,
    /// The target refused PREEMPT AND ABORT.
    pub no_preempt_abort: bool,
}

/// What is known of a path's registration.
#[derive(Debug, Default)]
struct Member {
    /// The key is registered over its present session.
    enrolled: bool,
    /// All its sessions from this one on were registered with the present key.
    since: Option<Incarnation>,
    /// We removed its registration ourselves, to fence it.
    fenced: bool,
    /// Fencing it so failed: not before this, or not at all before it was registered again.
    fence_after: Option<Instant>,
    unfenceable: bool,
    lost_at: Option<Instant>,
    /// When its registration was looked at last for a conflict.
    checked: Option<Instant>,
    /// Why it is not registered.
    why: String,
}

/// Who waits for the end of an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearer {
    Sequence(PathId),
    Fence(PathId),
    Job,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    key: Option<RememberedKey>,
    configured: bool,
    preempt_abort: bool,
    no_preempt_abort: bool,
    members: BTreeMap<PathId, Member>,
    /// The key was registered over some path in this run.
    enrolled_once: bool,
    /// PRGENERATION is at least that, unless the unit forgot everything: it counts from its power-on.
    generation: u32,
    /// Registrations can be made to outlive a loss of the target's power, if that is known.
    persistent: Option<bool>,
    next_ticket: u64,
    errands: BTreeMap<u64, Bearer>,
    sequences: BTreeMap<PathId, Sequence>,
    /// Paths that ask for their registration while something else is under way.
    joining: BTreeSet<PathId>,
    fences: BTreeMap<PathId, Attempt>,
    job: Option<Job>,
    /// Somebody changed reservations while a job was under way.
    look_again: bool,
    answers: VecDeque<job::Answered>,
    changed: bool,
}

impl Reservation {
    pub(super) fn new(config: &ReservationConfig) -> Self {
        Self {
            key: config.key,
            configured: config.configured,
            preempt_abort: config.preempt_abort,
            ..Self::default()
        }
    }

    /// The key that every path in use has to be registered with.
    fn in_force(&self) -> Option<RememberedKey> {
        self.key.filter(|key| !key.preempted)
    }

    fn member(&mut self, path: PathId) -> &mut Member {
        self.members.entry(path).or_default()
    }

    fn is_enrolled(&self, path: PathId) -> bool {
        self.members
            .get(&path)
            .is_some_and(|member| member.enrolled)
    }

    /// PRGENERATION was read: whether the unit forgot everything since it was at least at `floor`.
    fn learn_generation(&mut self, floor: u32, read: u32) -> bool {
        let lost_power = read < floor;
        self.generation = match lost_power {
            true => read,
            false => self.generation.max(read),
        };
        lost_power
    }

    /// Whether the path has something to wait for before it may be used.
    pub(super) fn bars(&self, path: PathId) -> bool {
        self.in_force().is_some() && !self.is_enrolled(path)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let sequences = self.sequences.values().filter_map(|s| s.again_at);
        let sequences = sequences
            .min()
            .map(|at| Deadline::new(at, "registration of a path"));
        let job = self.job.as_ref().map(|job| job.next_at());
        let job = job.map(|at| Deadline::new(at, "a change of reservations"));
        let fences = self.fence_due().map(|at| Deadline::new(at, "preemption"));
        [sequences, job, fences]
            .into_iter()
            .fold(None, Deadline::earlier)
    }
}

impl Volume {
    /// What an administrator and the next run have to know of the key.
    #[must_use]
    pub fn remembered_key(&self) -> Option<RememberedKey> {
        self.reservation.key
    }

    /// Whether that has changed since this was asked last.
    pub fn take_key_changed(&mut self) -> bool {
        std::mem::take(&mut self.reservation.changed)
    }

    /// The key, for status.
    pub(super) fn key_status(&self) -> Option<KeyStatus> {
        let key = self.reservation.key?;
        let members = self.reservation.members.values();
        Some(KeyStatus {
            key,
            registered: members.filter(|member| member.enrolled).count(),
            no_preempt_abort: self.reservation.no_preempt_abort,
        })
    }

    /// Sends a command over a path.
    fn send_errand(
        &mut self,
        bearer: Bearer,
        path: PathId,
        command: Command,
        attribute: TaskAttribute,
        list: Option<[u8; 24]>,
    ) {
        self.reservation.next_ticket += 1;
        let ticket = self.reservation.next_ticket;
        self.reservation.errands.insert(ticket, bearer);
        let data = match (command.data_length(512), list) {
            (DataLength::In(length), _) => DataTransfer::In(length),
            (DataLength::Out(_), Some(list)) => {
                DataTransfer::Out(Bytes::copy_from_slice(&list).into())
            }
            (DataLength::Out(_) | DataLength::None, _) => DataTransfer::None,
        };
        let errand = Errand {
            ticket,
            command,
            attribute,
            data,
        };
        self.orders.push_back((path, Order::Carry(errand)));
    }

    /// An errand has ended; `None`: its session has, or there is no answer.
    pub(super) fn on_carried(&mut self, now: Instant, ticket: u64, answer: Option<&Completion>) {
        match self.reservation.errands.remove(&ticket) {
            Some(Bearer::Sequence(path)) => self.on_sequence_answer(now, path, answer),
            Some(Bearer::Fence(path)) => self.on_fence_answer(now, path, answer),
            Some(Bearer::Job) => self.on_job_answer(now, answer),
            // Nobody waits for it any more.
            None => {}
        }
    }

    /// Nobody waits any more for what that one sent.
    fn forget_errand(&mut self, bearer: Bearer) {
        self.reservation.errands.retain(|_, known| *known != bearer);
    }

    /// The path's session is gone.
    pub(super) fn on_member_lost(&mut self, now: Instant, path: PathId) {
        let member = self.reservation.member(path);
        member.enrolled = false;
        member.lost_at = Some(now);
        self.on_job_path_lost(path);
        self.set_bars();
    }

    /// Tells the roster who may be used.
    fn set_bars(&mut self) {
        let reservation = &self.reservation;
        for (path, route) in self.roster.iter_mut() {
            route.barred = reservation.bars(path);
        }
    }

    /// Every path registers the key before it is used, or none needs to.
    fn tell_all(&mut self, enrol: Enrol) {
        let paths: Vec<PathId> = self.roster.iter().map(|(path, _)| path).collect();
        let orders = paths.into_iter().map(|path| (path, Order::Enrol(enrol)));
        self.orders.extend(orders);
    }

    /// What paths have to know of the key from the beginning on.
    pub(super) fn begin_reservation(&mut self) {
        if self.reservation.in_force().is_some() {
            self.tell_all(Enrol::Needed);
            self.set_bars();
        }
    }

    /// A path that nobody has heard of yet, under a number that another one may have had.
    pub(super) fn on_member_new(&mut self, path: PathId) {
        self.reservation.members.remove(&path);
        if self.reservation.in_force().is_some() {
            self.orders.push_back((path, Order::Enrol(Enrol::Needed)));
            self.set_bars();
        }
    }

    /// The fence is configured, or not any more. Keys of paths are made when they are registered.
    pub(super) fn set_preempt_abort(&mut self, preempt_abort: bool) {
        let reservation = &mut self.reservation;
        let before = std::mem::replace(&mut reservation.preempt_abort, preempt_abort);
        let common = reservation.in_force().is_some_and(|key| !key.per_path);
        if preempt_abort && !before && common {
            tracing::warn!(
                "preempt-abort has no effect yet: all paths are registered with one key; register it again to give each its own"
            );
        }
    }

    /// The key is another one from now on, or in another state.
    fn set_key(&mut self, key: Option<RememberedKey>) {
        self.reservation.changed |= self.reservation.key != key;
        self.reservation.key = key;
    }

    /// Acts on what is due.
    pub(super) fn check_reservation(&mut self, now: Instant) {
        let due = |sequence: &Sequence| sequence.again_at.is_some_and(|at| at <= now);
        let sequences = self.reservation.sequences.iter();
        let again: Vec<PathId> = sequences
            .filter(|(_, sequence)| due(sequence))
            .map(|(path, _)| *path)
            .collect();
        for path in again {
            self.send_step(path);
        }
        for member in self.reservation.members.values_mut() {
            member.fence_after.take_if(|at| *at <= now);
        }
        self.check_job(now);
    }
}
