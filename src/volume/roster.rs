//! The paths of a volume as the volume sees them: whether each may be used, and how loaded it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policies::{Access, PathView};

use crate::ids::{Incarnation, PathId, TaskId};
use crate::path::message::{Standing, Unit};

/// How long a path that answered BUSY or TASK SET FULL takes to win back one slot.
const DEPTH_REGAIN: Duration = Duration::from_millis(100);

/// Counters of one path, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounters {
    /// Commands answered.
    pub commands: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Commands that ended with an error for the client.
    pub errors: u64,
    /// Commands that had to be issued again after this path failed them.
    pub retries: u64,
    /// Times that a session of it was lost while in use.
    pub losses: u64,
}

/// One path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) incarnation: Incarnation,
    pub(super) standing: Standing,
    pub(super) unit: Option<Arc<Unit>>,
    /// It was usable in this run.
    pub(super) used: bool,
    pub(super) weight: u8,
    /// It is about to go: used only while no other path is `Ready`.
    pub(super) retiring: bool,
    pub(super) in_flight: u32,
    pub(super) in_flight_bytes: u64,
    /// Commands sent, oldest first: their task, when, and whether they have ended. The first has not.
    flying: VecDeque<(TaskId, Instant, bool)>,
    pub(super) counters: RouteCounters,
    /// What the session has room for.
    slots: u32,
    /// What the target asked for by BUSY or TASK SET FULL, and when that was or was last relaxed.
    squeezed: Option<(u32, Instant)>,
}

impl Route {
    pub(super) fn new(weight: u8) -> Self {
        Self {
            incarnation: Incarnation::default(),
            standing: Standing::Unusable,
            unit: None,
            used: false,
            weight,
            retiring: false,
            in_flight: 0,
            in_flight_bytes: 0,
            flying: VecDeque::new(),
            counters: RouteCounters::default(),
            slots: 0,
            squeezed: None,
        }
    }

    /// What the session has room for now, beyond what is in flight.
    pub(super) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    pub(super) fn slots_free(&self) -> u32 {
        match self.squeezed {
            Some((depth, _)) => self.slots.min(depth.saturating_sub(self.in_flight)),
            None => self.slots,
        }
    }

    /// The target has no room: halve the depth.
    pub(super) fn squeeze(&mut self, now: Instant) {
        self.squeezed = Some(((self.in_flight / 2).max(1), now));
    }

    /// Relaxes a squeezed depth with time; `u32` steps of one slot.
    pub(super) fn relax(&mut self, now: Instant) {
        let Some((depth, since)) = self.squeezed else {
            return;
        };
        let steps = now.saturating_duration_since(since).as_millis() / DEPTH_REGAIN.as_millis();
        let Ok(steps) = u32::try_from(steps) else {
            self.squeezed = None;
            return;
        };
        if steps > 0 {
            let depth = depth.saturating_add(steps);
            self.squeezed =
                (depth < self.slots.saturating_add(self.in_flight)).then_some((depth, now));
        }
    }

    /// When a squeezed depth is relaxed next.
    pub(super) fn relax_at(&self) -> Option<Instant> {
        self.squeezed.map(|(_, since)| since + DEPTH_REGAIN)
    }

    /// What it is good for: its standing, but that one which is about to go comes after the others.
    pub(super) fn rank(&self) -> Standing {
        if self.retiring && self.standing == Standing::Ready {
            Standing::Probation
        } else {
            self.standing
        }
    }

    /// A command of `bytes` was sent; task numbers grow.
    pub(super) fn on_dispatch(&mut self, now: Instant, task: TaskId, bytes: u32) {
        self.flying.push_back((task, now, false));
        self.in_flight += 1;
        self.in_flight_bytes += u64::from(bytes);
        self.slots = self.slots.saturating_sub(1);
    }

    /// A command of `bytes` is no longer in flight.
    pub(super) fn on_end(&mut self, task: TaskId, bytes: u32) {
        if let Ok(at) = self.flying.binary_search_by_key(&task, |(task, ..)| *task) {
            self.flying[at].2 = true;
        }
        while self.flying.front().is_some_and(|(.., ended)| *ended) {
            self.flying.pop_front();
        }
        assert!(self.in_flight > 0, "an attempt ends once");
        self.in_flight -= 1;
        self.in_flight_bytes -= u64::from(bytes);
    }
}

/// All paths of a volume.
#[derive(Debug)]
pub(super) struct Roster {
    routes: Vec<Route>,
}

impl Roster {
    pub(super) fn new(weights: &[u8]) -> Self {
        Self {
            routes: weights.iter().map(|&weight| Route::new(weight)).collect(),
        }
    }

    pub(super) fn route(&self, path: PathId) -> &Route {
        &self.routes[usize::from(path.0)]
    }

    pub(super) fn route_mut(&mut self, path: PathId) -> &mut Route {
        &mut self.routes[usize::from(path.0)]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PathId, &Route)> {
        (0..).map(PathId).zip(&self.routes)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PathId, &mut Route)> {
        (0..).map(PathId).zip(&mut self.routes)
    }

    /// Puts a path in its place; what was there before.
    pub(super) fn put(&mut self, path: PathId, route: Route) -> Option<Route> {
        let place = usize::from(path.0);
        if place == self.routes.len() {
            self.routes.push(route);
            return None;
        }
        Some(std::mem::replace(&mut self.routes[place], route))
    }

    /// Whether the path may get the next command.
    pub(super) fn is_candidate(&self, path: PathId) -> bool {
        let rank = self.route(path).rank();
        rank == self.tier() && rank != Standing::Unusable
    }

    /// The best standing of any path: what tier new commands go to.
    fn tier(&self) -> Standing {
        let has = |standing| self.routes.iter().any(|route| route.rank() == standing);
        if has(Standing::Ready) {
            Standing::Ready
        } else if has(Standing::Probation) {
            Standing::Probation
        } else {
            Standing::Unusable
        }
    }

    /// Whether another path than this one takes new commands.
    pub(super) fn has_other(&self, path: PathId) -> bool {
        let tier = self.tier();
        tier != Standing::Unusable
            && self
                .iter()
                .any(|(other, route)| other != path && route.rank() == tier)
    }

    /// Whether some path is not beyond hope: it carries I/O, or may answer yet.
    pub(super) fn any_alive(&self) -> bool {
        self.routes
            .iter()
            .any(|route| route.standing != Standing::Unusable)
    }

    /// The usable paths in order, those without a free slot too. `avoid` is left out if another one is
    /// usable.
    pub(super) fn candidates(&self, avoid: Option<PathId>, views: &mut Vec<PathView>) {
        views.clear();
        let tier = self.tier();
        if tier == Standing::Unusable {
            return;
        }
        let others = |path| self.iter().any(|(p, r)| p != path && r.rank() == tier);
        let avoid = avoid.filter(|&path| others(path));
        for (path, route) in self.iter() {
            if route.rank() == tier && Some(path) != avoid {
                views.push(PathView {
                    path: path.0,
                    access: Access::ActiveOptimized,
                    weight: route.weight,
                    in_flight: route.in_flight,
                    in_flight_bytes: route.in_flight_bytes,
                    oldest: route.flying.front().map(|(_, sent, _)| *sent),
                    slots_free: route.slots_free(),
                });
            }
        }
    }
}
