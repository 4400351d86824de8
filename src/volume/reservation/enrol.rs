//! The key is registered over a session, or it is looked after whether it still is.
//!
//! 1. REGISTER of the key by itself: GOOD only if it is registered over this nexus, and then nothing
//!    changes. A target that remembers the nexus needs no more.
//! 2. READ KEYS. If the key is there (another path's registration, or a stale one of a target that takes
//!    every session for another nexus, as tgt does), nobody took it away: PREEMPT and CLEAR remove *all*
//!    registrations of a key.
//! 3. If it is not there, somebody did, unless
//!    - PRGENERATION went back: the unit lost its power, and everybody's registrations with it;
//!    - we removed this path's key ourselves, to fence the path;
//!    - this run has not registered it yet, or not over this path, whose siblings' keys are there.
//!
//!    Even then READ RESERVATION must not show somebody else's reservation: whoever made it may have fenced
//!    us.
//! 4. REGISTER AND IGNORE EXISTING KEY: the nexus is ours, whatever it was registered with before.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};
use crate::path::message::{Enrol, Order};
use crate::sabotage::{self, Feature};
use crate::scsi::cdb::{Command, ReserveIn, ReserveOut};
use crate::scsi::reservation::{
    Capabilities, HeldReservation, RegisteredKeys, ReservationKey, parameter_list,
    persistent_parameter_list,
};
use crate::task::{Completion, TaskAttribute};

use super::said::Said;
use super::{Bearer, RememberedKey};
use crate::volume::Volume;

/// Before a command is sent again that was answered with "not now".
const PAUSE: Duration = Duration::from_millis(200);

/// Unit attentions in a row that one command meets.
const ATTENTIONS_MAX: u32 = 32;

/// For the keys of a thousand nexuses.
pub(super) const ALLOCATION: u16 = 8 << 10;

/// A registration that met conflicts is not looked at more often than this.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Verify,
    ReadKeys,
    ReadReservation,
    Capabilities,
    Register,
}

/// See the module.
#[derive(Debug)]
pub(in crate::volume) struct Sequence {
    step: Step,
    /// The path waits for it; otherwise it is in use, and looked after.
    joins: bool,
    incarnation: Incarnation,
    attentions: u32,
    /// PRGENERATION was at least that when the keys were asked for.
    floor: u32,
    /// The step is to be made again then.
    pub(super) again_at: Option<Instant>,
}

/// What the keys that are registered say of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// Nobody took it away.
    Register,
    /// It depends on who has reserved the unit.
    Unsure,
    /// Somebody did.
    Preempted,
}

/// PERSISTENT RESERVE IN.
pub(super) fn read(action: ReserveIn) -> Command {
    Command::PersistentReserveIn {
        action,
        allocation: ALLOCATION,
    }
}

impl Volume {
    /// A path could go into use but for its registration.
    pub(in crate::volume) fn on_joining(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
    ) {
        self.roster.route_mut(path).incarnation = incarnation;
        let member = self.reservation.member(path);
        let believed = member.since.is_some() && sabotage::is_without(Feature::Registration);
        member.enrolled = believed;
        self.set_bars();
        if self.reservation.in_force().is_none() {
            self.orders
                .push_back((path, Order::Enrol(Enrol::NotNeeded)));
        } else if believed {
            self.orders.push_back((path, Order::Enrol(Enrol::Done)));
        } else if self.reservation.job.is_some() || self.reservation.fences.contains_key(&path) {
            self.reservation.joining.insert(path);
        } else {
            self.begin_sequence(path, true);
        }
        self.check_job(now);
    }

    /// Whatever kept paths from their registration is over.
    pub(super) fn go_on_joining(&mut self) {
        if self.reservation.job.is_some() {
            return;
        }
        let in_force = self.reservation.in_force().is_some();
        let fences = &self.reservation.fences;
        let ready = |path: &&PathId| !fences.contains_key(*path);
        let paths: Vec<PathId> = self
            .reservation
            .joining
            .iter()
            .filter(ready)
            .copied()
            .collect();
        for path in paths {
            self.reservation.joining.remove(&path);
            match in_force {
                true => self.begin_sequence(path, true),
                false => self
                    .orders
                    .push_back((path, Order::Enrol(Enrol::NotNeeded))),
            }
        }
    }

    /// Somebody changed something: are the paths in use still registered?
    pub(in crate::volume) fn on_reservations_changed(&mut self, path: PathId) {
        self.reservation.look_again |= self.reservation.job.is_some();
        self.look_after(path);
    }

    /// A command was refused for a reservation.
    pub(in crate::volume) fn on_conflict(&mut self, now: Instant, path: PathId) {
        let member = self.reservation.member(path);
        let recent = |at: Instant| now.saturating_duration_since(at) < CHECK_PAUSE;
        if !member.checked.is_some_and(recent) {
            member.checked = Some(now);
            self.look_after(path);
        }
    }

    pub(in crate::volume) fn look_after(&mut self, path: PathId) {
        let reservation = &self.reservation;
        if sabotage::is_without(Feature::Registration) {
            return;
        }
        let free = reservation.job.is_none() && !reservation.sequences.contains_key(&path);
        if free && reservation.in_force().is_some() && reservation.is_enrolled(path) {
            self.begin_sequence(path, false);
        }
    }

    fn begin_sequence(&mut self, path: PathId, joins: bool) {
        self.forget_errand(Bearer::Sequence(path));
        let sequence = Sequence {
            step: Step::Verify,
            joins,
            incarnation: self.roster.route(path).incarnation,
            attentions: 0,
            floor: 0,
            again_at: None,
        };
        self.reservation.sequences.insert(path, sequence);
        self.send_step(path);
    }

    pub(super) fn send_step(&mut self, path: PathId) {
        let Some(key) = self.reservation.in_force() else {
            return;
        };
        let floor = self.reservation.generation;
        let Some(sequence) = self.reservation.sequences.get_mut(&path) else {
            return;
        };
        (sequence.again_at, sequence.floor) = (None, floor);
        let (own, none) = (key.of(path), ReservationKey(0));
        let out = Command::PersistentReserveOut;
        let (command, list) = match sequence.step {
            Step::Verify => (out(ReserveOut::Register), Some(parameter_list(own, own))),
            Step::ReadKeys => (read(ReserveIn::ReadKeys), None),
            Step::ReadReservation => (read(ReserveIn::ReadReservation), None),
            Step::Capabilities => (read(ReserveIn::ReportCapabilities), None),
            Step::Register => {
                let list = self.registration(none, own);
                (out(ReserveOut::RegisterAndIgnoreExistingKey), Some(list))
            }
        };
        let (bearer, attribute) = (Bearer::Sequence(path), TaskAttribute::Simple);
        self.send_errand(bearer, path, command, attribute, list);
    }

    /// The list that registers a key so that it outlives a loss of power, where that is possible.
    pub(super) fn registration(&self, own: ReservationKey, new: ReservationKey) -> [u8; 24] {
        match self.reservation.persistent {
            Some(true) => persistent_parameter_list(own, new),
            Some(false) | None => parameter_list(own, new),
        }
    }

    pub(super) fn on_sequence_answer(
        &mut self,
        now: Instant,
        path: PathId,
        answer: Option<&Completion>,
    ) {
        let Some(key) = self.reservation.in_force() else {
            self.reservation.sequences.remove(&path);
            return;
        };
        let Some(sequence) = self.reservation.sequences.get_mut(&path) else {
            return;
        };
        let step = sequence.step;
        let said = Said::of(answer);
        match (&said, step) {
            (Said::Attention, _) if sequence.attentions < ATTENTIONS_MAX => {
                sequence.attentions += 1;
                return self.send_step(path);
            }
            (Said::Attention, _) => {
                return self.give_up(now, path, "only unit attentions", false);
            }
            (Said::NotNow(why), _) => {
                sequence.again_at = Some(now + PAUSE);
                let why = format!("its registration is put off: {why}");
                self.reservation.member(path).why = why;
                return;
            }
            (Said::Nothing, _) => return self.give_up(now, path, "no answer", false),
            _ => sequence.attentions = 0,
        }
        match (step, said) {
            (Step::Verify, Said::Good(_)) => self.on_enrolled(now, path, false),
            (Step::Verify, Said::Conflict) => self.go_to(path, Step::ReadKeys),
            (Step::ReadKeys, Said::Good(data)) => {
                let keys = RegisteredKeys::parse(&data);
                match keys.map(|keys| self.judge_keys(path, key, &keys)) {
                    Ok(Finding::Register) => self.go_to(path, Step::Capabilities),
                    Ok(Finding::Unsure) => self.go_to(path, Step::ReadReservation),
                    Ok(Finding::Preempted) => self.on_preempted(now, path),
                    Err(error) => self.give_up(now, path, &error.to_string(), true),
                }
            }
            (Step::ReadReservation, Said::Good(data)) => match HeldReservation::parse(&data) {
                Ok(held) if held.held.is_none_or(|(holder, _)| key.is_ours(holder)) => {
                    self.go_to(path, Step::Capabilities);
                }
                Ok(_) => self.on_preempted(now, path),
                Err(error) => self.give_up(now, path, &error.to_string(), true),
            },
            // A target that does not know the question does not keep registrations without power.
            (Step::Capabilities, said) => {
                self.learn_capabilities(&said);
                self.go_to(path, Step::Register);
            }
            (Step::Register, Said::Good(_)) => {
                self.reservation.generation = self.reservation.generation.saturating_add(1);
                self.on_enrolled(now, path, true);
            }
            (_, Said::Refused(why)) => self.give_up(now, path, &why, true),
            (_, _) => self.give_up(now, path, "RESERVATION CONFLICT", true),
        }
    }

    pub(super) fn learn_capabilities(&mut self, said: &Said) {
        let Said::Good(data) = said else {
            return;
        };
        let told = Capabilities::parse(data);
        self.reservation.persistent = Some(told.is_ok_and(|told| told.persistent));
    }

    fn go_to(&mut self, path: PathId, step: Step) {
        let skipped = step == Step::Capabilities && self.reservation.persistent.is_some();
        if let Some(sequence) = self.reservation.sequences.get_mut(&path) {
            sequence.step = if skipped { Step::Register } else { step };
        }
        self.send_step(path);
    }

    /// See the module.
    fn judge_keys(&mut self, path: PathId, key: RememberedKey, read: &RegisteredKeys) -> Finding {
        let reservation = &mut self.reservation;
        let floor = reservation.sequences.get(&path).map_or(0, |s| s.floor);
        let lost_power = reservation.learn_generation(floor, read.generation);
        let member = reservation.members.entry(path).or_default();
        let first = member.since.is_none();
        let family = read.keys.iter().any(|known| key.is_ours(*known));
        if read.keys.contains(&key.of(path)) || (family && (first || member.fenced)) {
            return Finding::Register;
        }
        if lost_power || member.fenced || !reservation.enrolled_once {
            return Finding::Unsure;
        }
        Finding::Preempted
    }

    /// The key is registered over the path's session.
    fn on_enrolled(&mut self, now: Instant, path: PathId, anew: bool) {
        let Some(sequence) = self.reservation.sequences.remove(&path) else {
            return;
        };
        self.reservation.enrolled_once = true;
        let member = self.reservation.member(path);
        member.enrolled = true;
        member.fenced = false;
        member.unfenceable = false;
        member.fence_after = None;
        member.why.clear();
        member.since.get_or_insert(sequence.incarnation);
        self.set_bars();
        if anew {
            let note = Order::Note {
                what: "registered",
                why: "the volume's reservation key, over this session".to_owned(),
            };
            self.orders.push_back((path, note));
        }
        if sequence.joins {
            self.orders.push_back((path, Order::Enrol(Enrol::Done)));
        } else {
            self.on_roster(now);
        }
        self.check_job(now);
    }

    /// It is not registered, and the path must not be used; for good: until somebody changes something.
    fn give_up(&mut self, now: Instant, path: PathId, why: &str, for_good: bool) {
        let Some(sequence) = self.reservation.sequences.remove(&path) else {
            return;
        };
        let why = format!("the volume's reservation key cannot be registered: {why}");
        self.reservation.member(path).why.clone_from(&why);
        if sequence.joins {
            self.orders
                .push_back((path, Order::Reject { why, for_good }));
        } else {
            tracing::info!(path = %self.names.of(path), why, "its registration was not looked at");
        }
        self.check_job(now);
    }

    /// Somebody else took our registration away. It is not made again: that is what taking it away is for.
    fn on_preempted(&mut self, now: Instant, path: PathId) {
        let Some(key) = self.reservation.in_force() else {
            return;
        };
        let preempted = RememberedKey {
            preempted: true,
            ..key
        };
        self.set_key(Some(preempted));
        let why = format!(
            "somebody else removed the registration of {}, as was seen over {}; I/O may fail with reservation conflicts \
             until an administrator registers a key again (iibadm reservation)",
            key.key,
            self.names.of(path)
        );
        self.journal.note(now, "preempted", &why);
        tracing::warn!(path = %self.names.of(path), key = %key.key, "our registration was preempted: it is not made again before an administrator says so");
        self.leave();
        self.on_roster(now);
        self.check_job(now);
    }

    /// Nobody has to be registered any more.
    pub(super) fn leave(&mut self) {
        let paths: Vec<PathId> = self.reservation.sequences.keys().copied().collect();
        for path in paths {
            self.forget_errand(Bearer::Sequence(path));
        }
        self.reservation.sequences.clear();
        self.reservation.joining.clear();
        let fences = std::mem::take(&mut self.reservation.fences);
        for path in fences.into_keys() {
            self.forget_errand(Bearer::Fence(path));
        }
        for member in self.reservation.members.values_mut() {
            member.enrolled = false;
            member.since = None;
        }
        self.tell_all(Enrol::NotNeeded);
        self.set_bars();
    }
}
