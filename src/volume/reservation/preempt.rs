//! The fence `preempt-abort`: another path has the target remove a lost path's registration and abort its
//! tasks.
//!
//! 1. PREEMPT AND ABORT with the lost path's own key (SPC-5 5.14.11.3): its GOOD means that the tasks of
//!    that nexus are aborted.
//! 2. READ RESERVATION: the unit must be reserved for registrants. Commands of the lost session that are
//!    still in the network then meet RESERVATION CONFLICT; without a reservation nothing would keep them
//!    out.
//! 3. An ORDERED command, as after reinstatement: for targets whose backing store goes on with what was
//!    aborted.
//!
//! The path registers again with its next session, whose login ends the lost one (RFC 7143 6.3.5). It holds
//! for sessions that were registered with that key, all of which are: a path is used only then. It comes
//! after a login through a proven sibling, which ends the same session and leaves its key alone, and before
//! the quiesce time.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};
use crate::path::message::{FenceKind, Standing};
use crate::scsi::cdb::{Command, ReserveIn, ReserveOut};
use crate::scsi::reservation::{HeldReservation, ReservationType, parameter_list};
use crate::task::{Completion, TaskAttribute};

use super::enrol::read;
use super::said::Said;
use super::{Bearer, Reservation};
use crate::volume::Volume;

/// A login through a sibling that could fence the path has so long from the loss on.
const PATIENCE: Duration = Duration::from_secs(2);

/// After an attempt that failed, the next one comes no sooner.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers in a row that say "not now" or tell of something else.
const REPEATS_MAX: u32 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Abort,
    Look,
    Order,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume) struct Attempt {
    via: PathId,
    /// Sessions up to this one.
    upto: Incarnation,
    stage: Stage,
    repeats: u32,
}

impl Reservation {
    /// Whether each path has a key of its own, and something is reserved for those that are registered.
    fn can_preempt(&self) -> bool {
        self.in_force().is_some_and(|key| {
            let reserved = key.reserved.is_some_and(|kind| !kind.is_for_one_nexus());
            key.per_path && reserved
        })
    }

    /// When a lost path may be fenced that could not be before.
    pub(super) fn fence_due(&self) -> Option<Instant> {
        let can = self.preempt_abort && self.can_preempt();
        let members = self.members.iter().filter(|(path, member)| {
            can && !member.unfenceable && !self.fences.contains_key(*path)
        });
        members.filter_map(|(_, member)| member.fence_after).min()
    }
}

impl Volume {
    /// Whether the path could be fenced so, if it is lost.
    #[must_use]
    pub fn may_preempt(&self, path: PathId) -> bool {
        let reservation = &self.reservation;
        reservation.preempt_abort && reservation.can_preempt() && self.ledger.haunts_path(path)
    }

    /// Fences a lost path by its key, if that is possible and due; whether something was begun. A login
    /// through a sibling could do it as well if it is `reinstatable`.
    pub fn preempt_if_due(&mut self, now: Instant, path: PathId, reinstatable: bool) -> bool {
        let reservation = &self.reservation;
        let (Some(key), None) = (reservation.in_force(), &reservation.job) else {
            return false;
        };
        let known = reservation.members.get(&path);
        let (Some(member), true) = (known, self.may_preempt(path)) else {
            return false;
        };
        let lost = self.roster.route(path).standing == Standing::Unusable;
        let busy = reservation.fences.contains_key(&path)
            || reservation.sequences.contains_key(&path)
            || member.unfenceable
            || reservation.no_preempt_abort;
        // A session from before the key was registered does not have it.
        let covered = self
            .ledger
            .first(path)
            .zip(member.since)
            .is_some_and(|(first, since)| first >= since);
        if !lost || busy || !covered {
            return false;
        }
        let due = match (member.fence_after, member.lost_at) {
            (Some(at), _) => at,
            (None, Some(at)) if reinstatable => at + PATIENCE,
            (None, _) => now,
        };
        if due > now {
            self.reservation.member(path).fence_after = Some(due);
            return false;
        }
        let upto = self.roster.route(path).incarnation;
        let others = self.roster.iter().find(|(other, route)| {
            *other != path
                && route.rank() == Standing::Ready
                && self.reservation.is_enrolled(*other)
        });
        let Some(via) = others.map(|(via, _)| via) else {
            return false;
        };
        let attempt = Attempt {
            via,
            upto,
            stage: Stage::Abort,
            repeats: 0,
        };
        self.reservation.fences.insert(path, attempt);
        let victim = self.names.of(path);
        tracing::info!(path = victim, via = %self.names.of(via), key = %key.of(path), "PREEMPT AND ABORT of the lost path's key");
        self.send_preempt(path);
        true
    }

    fn send_preempt(&mut self, path: PathId) {
        let (Some(key), Some(attempt)) = (
            self.reservation.in_force(),
            self.reservation.fences.get(&path).copied(),
        ) else {
            return;
        };
        let (bearer, simple) = (Bearer::Fence(path), TaskAttribute::Simple);
        let (command, attribute, list) = match attempt.stage {
            Stage::Abort => {
                let kind = key.reserved;
                let kind = kind.unwrap_or(ReservationType::WriteExclusiveRegistrantsOnly);
                let list = parameter_list(key.of(attempt.via), key.of(path));
                let action = ReserveOut::PreemptAndAbort(kind);
                (Command::PersistentReserveOut(action), simple, Some(list))
            }
            Stage::Look => (read(ReserveIn::ReadReservation), simple, None),
            Stage::Order => (Command::TestUnitReady, TaskAttribute::Ordered, None),
        };
        self.send_errand(bearer, attempt.via, command, attribute, list);
    }

    pub(super) fn on_fence_answer(
        &mut self,
        now: Instant,
        path: PathId,
        answer: Option<&Completion>,
    ) {
        let fenced = self.reservation.member(path).fenced;
        let Some(attempt) = self.reservation.fences.get_mut(&path) else {
            return;
        };
        let said = Said::of(answer);
        let again = matches!(said, Said::Attention | Said::NotNow(_));
        if again && attempt.repeats < REPEATS_MAX {
            attempt.repeats += 1;
            return self.send_preempt(path);
        }
        let (via, upto) = (attempt.via, attempt.upto);
        match (attempt.stage, said) {
            (Stage::Abort, Said::Good(_)) => {
                attempt.stage = Stage::Look;
                self.reservation.member(path).fenced = true;
                self.reservation.generation = self.reservation.generation.saturating_add(1);
                self.send_preempt(path);
            }
            // Another attempt had removed the key; what came after it was lost.
            (Stage::Abort, Said::Conflict) if fenced => {
                attempt.stage = Stage::Look;
                self.send_preempt(path);
            }
            (Stage::Look, Said::Good(data)) if keeps_strangers_out(&data) => {
                attempt.stage = Stage::Order;
                self.send_preempt(path);
            }
            (Stage::Look, Said::Good(_)) => {
                self.end_attempt(path);
                self.reservation.member(path).unfenceable = true;
                tracing::warn!(path = %self.names.of(path), "nothing is reserved for registrants any more: the lost path is not fenced by its key");
                self.journal
                    .note(now, "not fenced", "the reservation is gone");
            }
            (Stage::Order, Said::Good(_)) => {
                self.end_attempt(path);
                self.on_fenced(now, path, upto, FenceKind::PreemptAbort);
            }
            (Stage::Abort, Said::Refused(why)) => {
                self.end_attempt(path);
                self.reservation.no_preempt_abort = true;
                self.journal.note(now, "no preempt-abort", &why);
                tracing::warn!(path = %self.names.of(via), why, "the target refuses PREEMPT AND ABORT: lost paths are not fenced so");
            }
            (Stage::Abort, Said::Conflict) => {
                self.end_attempt(path);
                self.reservation.member(path).unfenceable = true;
                tracing::warn!(path = %self.names.of(path), "its key was not registered: it is not fenced so");
                self.look_after(via);
            }
            (_, said) => {
                tracing::debug!(path = %self.names.of(path), ?said, "PREEMPT AND ABORT: tried again");
                self.end_attempt(path);
                self.reservation.member(path).fence_after = Some(now + PAUSE);
            }
        }
    }

    fn end_attempt(&mut self, path: PathId) {
        self.reservation.fences.remove(&path);
        self.reservation.member(path).fence_after = None;
        self.go_on_joining();
    }
}

/// Whether a nexus that is not registered cannot write.
fn keeps_strangers_out(data: &[u8]) -> bool {
    let held = HeldReservation::parse(data).ok().and_then(|read| read.held);
    let kind = held.and_then(|(_, code)| ReservationType::from_wire(code));
    kind.is_some()
}
