//! What a job concludes from what was read, and what holds when it is done.

use std::time::Instant;

use crate::ids::PathId;
use crate::path::message::{Enrol, Order, Standing};
use crate::scsi::reservation::{ReservationKey, ReservationType};

use super::job::{PathRegistration, Registered, ReservationStatus};
use super::plan::{Deed, ReservationAsk, Step};
use super::{PATH_BITS, RememberedKey};
use crate::volume::Volume;

impl Volume {
    /// Who holds what we were refused?
    pub(super) fn judge_conflict(&self, kind: ReservationType) -> Result<(), String> {
        let (Some(key), Some(job)) = (self.reservation.key, &self.reservation.job) else {
            return Ok(());
        };
        match job.held {
            Some((holder, code)) if key.is_ours(holder) && code == kind.wire() => Ok(()),
            Some((holder, code)) if key.is_ours(holder) => Err(format!(
                "we have reserved it as {} already: `release` that first",
                type_name(code)
            )),
            Some((holder, code)) => Err(format!(
                "reserved by key {holder} ({}): `preempt` that key, if its host is gone",
                type_name(code)
            )),
            None => Err("RESERVATION CONFLICT: our registration is gone".into()),
        }
    }

    pub(super) fn judge_release(&mut self) -> Result<(), String> {
        let usable = self.usable();
        let (Some(key), Some(job)) = (self.reservation.key, &mut self.reservation.job) else {
            return Ok(());
        };
        let Some((holder, code)) = job.held else {
            job.notes.push("nothing was reserved".into());
            job.then([Step::Commit]);
            return Ok(());
        };
        let kind = ReservationType::from_wire(code);
        let ours = key.is_ours(holder) || kind.is_some_and(ReservationType::is_held_by_all);
        let (Some(kind), true) = (kind, ours) else {
            return Err(format!(
                "it is reserved by key {holder} ({}), not by us",
                type_name(code)
            ));
        };
        job.then(
            usable
                .iter()
                .map(|path| Step::Do(*path, Deed::Release(kind))),
        );
        let first = usable.first().copied();
        job.then(first.map(|path| Step::Do(path, Deed::ReadReservation)));
        job.then([Step::JudgeReleased(kind)]);
        Ok(())
    }

    pub(super) fn judge_released(&mut self, kind: ReservationType) -> Result<(), String> {
        let via = *self.usable().first().ok_or("no path is left")?;
        let own = self.own_key(via);
        let (Some(key), Some(job)) = (self.reservation.key, &mut self.reservation.job) else {
            return Ok(());
        };
        let Some((holder, _)) = job.held.filter(|(holder, _)| key.is_ours(*holder)) else {
            job.then([Step::Commit]);
            return Ok(());
        };
        let note =
            "the path that held it is gone, or another nexus since: another one took it over first";
        job.notes.push(note.into());
        if holder == own || !key.per_path {
            job.then([Step::Do(via, Deed::ReadKeys), Step::TakeOver(kind, holder)]);
            return Ok(());
        }
        let (victim, abort) = (holder, false);
        let preempt = Deed::Preempt {
            victim,
            kind,
            abort,
        };
        job.then([preempt, Deed::Release(kind)].map(|deed| Step::Do(via, deed)));
        job.then([Step::Commit]);
        let number = u16::try_from(holder.0 & PATH_BITS).unwrap_or(0);
        if let Some(path) = number.checked_sub(1) {
            self.reservation.member(PathId(path)).fenced = true;
        }
        Ok(())
    }

    /// See the module.
    pub(super) fn take_over(
        &mut self,
        kind: ReservationType,
        holder: ReservationKey,
    ) -> Result<(), String> {
        let usable = self.usable();
        let via = *usable.first().ok_or("no path is left")?;
        let (Some(key), Some(job)) = (self.reservation.key, &mut self.reservation.job) else {
            return Ok(());
        };
        let known = job.keys.clone().unwrap_or_default();
        let mut candidates = (1..=u64::from(u16::MAX)).map(|n| ReservationKey(holder.0 ^ n << 48));
        let free = candidates
            .find(|candidate| candidate.0 != 0 && !known.contains(candidate))
            .ok_or("no key is free")?;
        let renamed = usable.into_iter().filter(|path| key.of(*path) == holder);
        let renamed: Vec<PathId> = renamed.collect();
        let (victim, abort) = (holder, false);
        let preempt = Deed::Preempt {
            victim,
            kind,
            abort,
        };
        job.then(
            renamed
                .iter()
                .map(|path| Step::Do(*path, Deed::Register(free))),
        );
        job.then([preempt, Deed::Release(kind)].map(|deed| Step::Do(via, deed)));
        job.then(
            renamed
                .iter()
                .map(|path| Step::Do(*path, Deed::Restore(key.of(*path)))),
        );
        job.then([Step::Commit]);
        Ok(())
    }

    pub(super) fn judge_preempt(
        &mut self,
        victim: ReservationKey,
        abort: bool,
    ) -> Result<(), String> {
        let via = *self.usable().first().ok_or("no path is left")?;
        let (Some(key), Some(job)) = (self.reservation.key, &mut self.reservation.job) else {
            return Ok(());
        };
        let theirs = job.held.filter(|(holder, _)| *holder == victim);
        let theirs = theirs.and_then(|(_, code)| ReservationType::from_wire(code));
        job.kind = theirs;
        let usual = ReservationType::WriteExclusiveRegistrantsOnly;
        let kind = theirs.or(key.reserved).unwrap_or(usual);
        let deed = Deed::Preempt {
            victim,
            kind,
            abort,
        };
        job.then([Step::Do(via, deed), Step::Commit]);
        Ok(())
    }

    /// What was asked for holds from now on; at last the target is asked how things stand.
    pub(super) fn commit(&mut self, now: Instant) -> Result<(), String> {
        let preempt_abort = self.reservation.preempt_abort;
        let Some(job) = &mut self.reservation.job else {
            return Ok(());
        };
        let (ask, kind, key) = (job.ask, job.kind, self.reservation.key);
        match (ask, key) {
            (ReservationAsk::Register { key }, _) => {
                if job.rekeyed.is_empty() {
                    return Err("no path was up for long enough".into());
                }
                self.commit_key(now, RememberedKey::new(key, preempt_abort));
            }
            (ReservationAsk::Unregister | ReservationAsk::Clear, _) => {
                self.note_those_down();
                self.set_key(None);
                self.leave();
                self.on_roster(now);
            }
            (ReservationAsk::Reserve { .. }, Some(key)) => {
                let reserved = kind;
                self.set_key(Some(RememberedKey { reserved, ..key }));
            }
            (ReservationAsk::Preempt { .. }, Some(key)) if kind.is_some() => {
                let reserved = kind;
                self.set_key(Some(RememberedKey { reserved, ..key }));
            }
            (ReservationAsk::Release, Some(key)) => {
                let reserved = None;
                self.set_key(Some(RememberedKey { reserved, ..key }));
            }
            _ => {}
        }
        let (usable, up) = (self.usable(), self.up());
        let first = usable.first().or_else(|| up.first()).copied();
        if let Some(job) = &mut self.reservation.job {
            job.committed = true;
            job.rekeyed.clear();
            if job.ask != ReservationAsk::Show {
                let text = format!("{:?}", job.ask);
                tracing::info!(done = text, "reservations changed, as the operator asks");
                self.journal.note(now, "reservations", &text);
            }
            let look = [Deed::ReadKeys, Deed::ReadReservation];
            let look = first.map(|path| look.map(|deed| Step::Do(path, deed)));
            job.then(look.into_iter().flatten());
        }
        Ok(())
    }

    /// Who is down keeps its registration at the target.
    fn note_those_down(&mut self) {
        let reservation = &mut self.reservation;
        let Some(job) = &mut reservation.job else {
            return;
        };
        let down = |path: &PathId| {
            let member = reservation.members.get(path);
            member.is_some_and(|member| !member.enrolled && member.since.is_some())
        };
        let paths = self.roster.iter().map(|(path, _)| path).filter(down);
        let names: Vec<&str> = paths.map(|path| self.names.of(path)).collect();
        if job.ask == ReservationAsk::Unregister && !names.is_empty() {
            job.notes.push(format!(
                "down, so that the target may keep their registrations: {}",
                names.join(", ")
            ));
        }
    }

    fn commit_key(&mut self, now: Instant, new: RememberedKey) {
        let before = self.reservation.in_force();
        let reserved = before.and_then(|key| key.reserved);
        self.set_key(Some(RememberedKey { reserved, ..new }));
        let reservation = &mut self.reservation;
        reservation.enrolled_once = true;
        reservation.no_preempt_abort = false;
        let rekeyed = reservation
            .job
            .as_mut()
            .map(|job| std::mem::take(&mut job.rekeyed));
        let rekeyed = rekeyed.unwrap_or_default();
        reservation.members.clear();
        let mut orders = Vec::new();
        for (path, route) in self.roster.iter() {
            if rekeyed.contains_key(&path) {
                let member = self.reservation.member(path);
                member.enrolled = true;
                member.since = Some(route.incarnation);
                orders.push((path, Order::Enrol(Enrol::Done)));
                continue;
            }
            orders.push((path, Order::Enrol(Enrol::Needed)));
            if route.standing != Standing::Unusable {
                orders.push((path, Order::Recheck));
            }
        }
        self.orders.extend(orders);
        self.set_bars();
        self.on_roster(now);
    }

    pub(super) fn reservation_status(
        &self,
        keys: Option<Vec<ReservationKey>>,
        held: Option<(ReservationKey, u8)>,
        notes: Vec<String>,
    ) -> ReservationStatus {
        let key = self.reservation.key;
        let paths = self.roster.iter().map(|(path, route)| {
            let member = self.reservation.members.get(&path);
            let registered = match (self.reservation.is_enrolled(path), route.standing) {
                (true, _) => Registered::Yes,
                (false, Standing::Unusable) => Registered::Down,
                (false, _) => Registered::No,
            };
            PathRegistration {
                path,
                key: key.map(|key| key.of(path)),
                registered,
                why: member.map(|member| member.why.clone()).unwrap_or_default(),
            }
        });
        ReservationStatus {
            key,
            keys,
            held,
            paths: paths.collect(),
            notes,
        }
    }
}

fn type_name(code: u8) -> String {
    match ReservationType::from_wire(code) {
        Some(kind) => kind.name().to_owned(),
        None => format!("type {code}"),
    }
}
