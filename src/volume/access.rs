//! Access states of the paths (ALUA): who carries I/O, and what follows from a change.
//!
//! - A path whose port group is in standby, unavailable, offline or between two states gets no I/O, not even
//!   as the last one: it would be refused. The path keeps its session.
//! - A refusal that tells of such a state is believed at once; the command goes over another path without a
//!   pause. Every path of the same target then reads its state again: one path's news is news for all.
//! - While the groups of all usable paths are in transition, I/O waits, up to the time that a transition may
//!   take. After that, and in the other states at once, it is as if there were no path (`no_path`).

use std::time::Instant;

use policies::Access;

use crate::deadline::Deadline;
use crate::ids::{Incarnation, PathId};
use crate::path::message::{Order, PathAccess};
use crate::scsi::alua::AccessState;
use crate::scsi::verdict::Judgement;

use super::Volume;

/// What is known of one path.
#[derive(Debug, Default)]
pub(super) struct RouteAccess {
    known: Option<PathAccess>,
    /// When the transition that is under way has to be over.
    due: Option<Instant>,
    overdue: bool,
}

impl RouteAccess {
    pub(super) fn known(&self) -> Option<PathAccess> {
        self.known
    }

    /// Its session is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, now: Instant, access: Option<PathAccess>) {
        self.known = access;
        match access.filter(PathAccess::is_changing) {
            Some(access) => {
                self.due.get_or_insert(now + access.transition);
            }
            None => (self.due, self.overdue) = (None, false),
        }
    }

    /// Whether it carries I/O now.
    pub(super) fn carries_io(&self) -> bool {
        self.known.is_none_or(|access| access.carries_io())
    }

    /// Whether it does, or is about to by the time that the target has for it.
    pub(super) fn is_hopeful(&self) -> bool {
        self.carries_io() || (self.due.is_some() && !self.overdue)
    }

    /// For the policy.
    pub(super) fn access(&self) -> Access {
        let Some(known) = self.known else {
            return Access::ActiveOptimized;
        };
        match known.state {
            AccessState::Optimized => Access::ActiveOptimized,
            AccessState::NonOptimized => Access::ActiveNonOptimized,
            AccessState::BlockDependent | AccessState::Other(_) => Access::BlockDependent,
            AccessState::Standby
            | AccessState::Unavailable
            | AccessState::Offline
            | AccessState::Transitioning => Access::Resting,
        }
    }

    pub(super) fn is_preferred(&self) -> bool {
        self.known.is_some_and(|known| known.preferred)
    }
}

impl Volume {
    /// A path told its access state.
    pub(super) fn on_access(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        access: Option<PathAccess>,
    ) {
        let route = self.roster.route_mut(path);
        let before = route.alua.known();
        route.alua.set(now, access);
        if before == access {
            return;
        }
        tracing::debug!(path = %self.names.of(path), %incarnation, ?before, ?access, "access");
        // What was never asked before in this session is no change.
        if before.is_some() {
            self.read_access_of_siblings(path);
        }
        self.on_roster(now);
    }

    /// What an answer tells of the path's access state, if it is what refused the command.
    pub(super) fn refused_access(&self, path: PathId, judgement: &Judgement) -> Option<PathAccess> {
        let state = AccessState::of_refusal(judgement.sense.as_ref()?)?;
        let known = self.roster.route(path).alua.known()?;
        Some(PathAccess { state, ..known })
    }

    /// That is believed until the path has read its state again.
    pub(super) fn on_refused_access(&mut self, now: Instant, path: PathId, access: PathAccess) {
        let known = &mut self.roster.route_mut(path).alua;
        let before = known.known();
        known.set(now, Some(access));
        self.read_access_of_target(path);
        if before != Some(access) {
            self.on_roster(now);
        }
    }

    /// Every path of that one's target reads its state again.
    pub(super) fn read_access_of_target(&mut self, path: PathId) {
        self.orders.push_back((path, Order::ReadAccess));
        self.read_access_of_siblings(path);
    }

    fn read_access_of_siblings(&mut self, path: PathId) {
        let target = self
            .roster
            .route(path)
            .unit
            .as_ref()
            .map(|unit| &unit.target);
        let siblings = self.roster.iter().filter(|(other, route)| {
            let same = route.unit.as_ref().map(|unit| &unit.target) == target;
            *other != path && same && route.alua.known().is_some()
        });
        let orders = siblings.map(|(sibling, _)| (sibling, Order::ReadAccess));
        self.orders.extend(orders);
    }

    /// Whether no path carries anything: their states are watched closely then.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.roster.is_starved()
    }

    /// Acts on transitions that take too long, and on what takes an order to change.
    pub(super) fn check_access(&mut self, now: Instant) {
        let mut late = Vec::new();
        for (path, route) in self.roster.iter_mut() {
            let access = &mut route.alua;
            if !access.overdue && access.due.is_some_and(|due| due <= now) {
                access.overdue = true;
                late.push(path);
            }
        }
        for path in &late {
            tracing::warn!(path = %self.names.of(*path), "its port group has been in transition for longer than a transition may take");
        }
        if !late.is_empty() {
            self.on_roster(now);
        }
        self.check_activation(now);
    }

    /// When [`Volume::check_access`] is due.
    pub(super) fn access_deadline(&self) -> Option<Deadline> {
        let routes = self.roster.iter().map(|(_, route)| &route.alua);
        let running = routes.filter(|access| !access.overdue);
        let due = running.filter_map(|access| access.due).min();
        let due = due.map(|at| Deadline::new(at, "end of an access state's transition"));
        Deadline::earlier(due, self.activation_deadline())
    }
}
