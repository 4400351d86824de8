//! The paths of a volume as the volume sees them: whether each may be used, and how loaded it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use policies::tier::Rank;
use policies::{Access, IoView, PathView};
use smallvec::SmallVec;

use crate::ids::{Incarnation, PathId, TaskId};
use crate::path::message::{PathAccess, Standing, Unit};

use super::access::RouteAccess;
use super::change::RouteConfig;
use super::duty::WHOLE;
use super::latency::Class;
use super::overtaken::{Flow, Sort};
use super::window::Window;

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
    /// Times that it was put out of use for being worse than its peers.
    pub ejections: u64,
}

/// A command in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) task: TaskId,
    pub(super) sent: Instant,
    pub(super) sort: Option<Sort>,
    /// It was sent again somewhere else, or is what was.
    pub(super) hedged: bool,
    pub(super) ended: bool,
}

impl Flight {
    /// Its class, if it moves data.
    pub(super) fn class(&self) -> Option<Class> {
        self.sort.and_then(Sort::class)
    }
}

/// A path's slow start.
#[derive(Clone, Copy, Debug)]
struct SlowStart {
    /// Of [`WHOLE`] commands of all paths so many.
    share: u32,
    /// What it has of that; a command costs [`WHOLE`].
    credit: u32,
}

impl SlowStart {
    /// Commands that may be in flight, of so many that there is room for.
    fn ceiling(self, depth: u32) -> u32 {
        let part = u64::from(depth) * u64::from(self.share) / u64::from(WHOLE);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }
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
    tier: u8,
    pub(super) alua: RouteAccess,
    /// How its port reaches the unit, while it waits for a change and the unit seems to be the volume's.
    pub(super) waiting: Option<PathAccess>,
    /// It is about to go: used only while no other path is `Ready`.
    pub(super) retiring: bool,
    pub(super) in_flight: u32,
    pub(super) in_flight_bytes: u64,
    /// Commands sent, oldest first. The first has not ended.
    pub(super) flying: VecDeque<Flight>,
    pub(super) counters: RouteCounters,
    /// How commands of this session are answered.
    pub(super) flow: Flow,
    /// What the session has room for.
    slots: u32,
    /// What the target bears.
    pub(super) window: Window,
    /// It may be used, but not while another path is (`duty.rs`).
    pub(super) out: bool,
    /// The volume's reservation key is not registered over its session.
    pub(super) barred: bool,
    /// Its slow start, while that goes on.
    start: Option<SlowStart>,
}

impl Route {
    pub(super) fn new(weight: u8, tier: u8) -> Self {
        Self {
            incarnation: Incarnation::default(),
            standing: Standing::Unusable,
            unit: None,
            used: false,
            weight,
            tier,
            alua: RouteAccess::default(),
            waiting: None,
            retiring: false,
            in_flight: 0,
            in_flight_bytes: 0,
            flying: VecDeque::new(),
            counters: RouteCounters::default(),
            flow: Flow::default(),
            slots: 0,
            window: Window::default(),
            out: false,
            barred: false,
            start: None,
        }
    }

    /// What the operator says of it.
    pub(super) fn configure(&mut self, config: RouteConfig) {
        (self.weight, self.tier) = (config.weight, config.tier);
    }

    /// What it is good for: its standing, but nothing while its port carries nothing, and one which is out
    /// or about to go comes after those that are not.
    pub(super) fn rank(&self) -> Standing {
        match self.standing {
            _ if self.barred || !self.alua.carries_io() => Standing::Unusable,
            Standing::Ready if self.out || self.retiring => Standing::Probation,
            standing @ (Standing::Unusable
            | Standing::Suspect
            | Standing::Probation
            | Standing::Ready) => standing,
        }
    }

    /// Whether it could carry commands beside others, or does.
    pub(super) fn is_ready(&self) -> bool {
        let able = self.alua.carries_io() && !self.barred;
        self.standing == Standing::Ready && able && !self.retiring
    }

    /// How its port reaches the unit.
    pub(super) fn access(&self) -> Access {
        self.alua.access()
    }

    pub(super) fn view(&self, path: PathId) -> PathView {
        PathView {
            path: path.0,
            access: self.access(),
            preferred: self.alua.is_preferred(),
            tier: self.tier,
            weight: self.weight,
            in_flight: self.in_flight,
            in_flight_bytes: self.in_flight_bytes,
            oldest: self.oldest().map(|flight| flight.sent),
            slots_free: self.slots_free(),
        }
    }

    /// What the session has room for now, beyond what is in flight.
    pub(super) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// What the session has room for, whatever the volume thinks that it should carry.
    pub(super) fn session_slots(&self) -> u32 {
        self.slots
    }

    /// What the session has room for in all.
    pub(super) fn depth(&self) -> u32 {
        self.slots.saturating_add(self.in_flight)
    }

    pub(super) fn slots_free(&self) -> u32 {
        let start = self
            .start
            .map_or(u32::MAX, |start| start.ceiling(self.depth()));
        let limit = self.window.limit().min(start);
        self.slots.min(limit.saturating_sub(self.in_flight))
    }

    /// Whether it had its share, as long as its slow start goes on.
    fn had_its_share(&self) -> bool {
        let had = |start: SlowStart| start.credit < WHOLE || self.slots_free() == 0;
        self.start.is_some_and(had)
    }

    /// Its slow start is at that share of all commands; `None`: it is over.
    pub(super) fn set_share(&mut self, share: Option<u32>) {
        let credit = self.start.map_or(WHOLE, |start| start.credit);
        self.start = share.map(|share| SlowStart { share, credit });
    }

    /// The command was sent on another path as well.
    pub(super) fn mark_hedged(&mut self, task: TaskId) {
        if let Ok(at) = self
            .flying
            .binary_search_by_key(&task, |flight| flight.task)
        {
            self.flying[at].hedged = true;
        }
    }

    /// The command that has been in flight for longest.
    pub(super) fn oldest(&self) -> Option<&Flight> {
        self.flying.front()
    }

    /// A command was sent; task numbers grow.
    pub(super) fn on_dispatch(
        &mut self,
        now: Instant,
        task: TaskId,
        (sort, io): (Option<Sort>, &IoView),
        hedged: bool,
    ) {
        self.flying.push_back(Flight {
            task,
            sent: now,
            sort,
            hedged,
            ended: false,
        });
        self.in_flight += 1;
        self.in_flight_bytes += u64::from(io.bytes);
        self.take_slot();
    }

    /// A command of the volume's own was sent.
    pub(super) fn take_slot(&mut self) {
        self.slots = self.slots.saturating_sub(1);
    }

    /// A command of `bytes` is no longer in flight.
    pub(super) fn on_end(&mut self, task: TaskId, bytes: u32) {
        if let Ok(at) = self
            .flying
            .binary_search_by_key(&task, |flight| flight.task)
        {
            self.flying[at].ended = true;
        }
        while self.flying.front().is_some_and(|flight| flight.ended) {
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
    pub(super) fn new(weights: &[u8], tiers: &[u8]) -> Self {
        let tiers = tiers.iter().copied().chain(std::iter::repeat(0));
        let routes = weights.iter().zip(tiers);
        Self {
            routes: routes
                .map(|(&weight, tier)| Route::new(weight, tier))
                .collect(),
        }
    }

    pub(super) fn route(&self, path: PathId) -> &Route {
        &self.routes[usize::from(path.0)]
    }

    pub(super) fn route_mut(&mut self, path: PathId) -> &mut Route {
        &mut self.routes[usize::from(path.0)]
    }

    pub(super) fn len(&self) -> usize {
        self.routes.len()
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
            .any(|route| route.standing != Standing::Unusable && route.alua.is_hopeful())
    }

    /// Whether no path carries anything.
    pub(super) fn is_starved(&self) -> bool {
        self.tier() == Standing::Unusable
    }

    /// The paths that are up and carry nothing because of their access states.
    pub(super) fn resting(&self, views: &mut Vec<PathView>) {
        let resting = |route: &Route| route.standing.is_usable() && !route.alua.carries_io();
        let resting = self.iter().filter(|(_, route)| resting(route));
        views.extend(resting.map(|(path, route)| route.view(path)));
        views.sort_by_key(|view| view.path);
    }

    /// A command is sent on that path: paths in their slow start earn their share of it.
    pub(super) fn spend(&mut self, path: PathId) {
        for (other, route) in self.iter_mut() {
            if let Some(start) = &mut route.start {
                let price = if other == path { WHOLE } else { 0 };
                start.credit = (start.credit + start.share).min(2 * WHOLE);
                start.credit = start.credit.saturating_sub(price);
            }
        }
    }

    /// Leaves out paths that had their share of their slow start, if others of their tier have room.
    pub(super) fn hold_back(&self, views: &mut Vec<PathView>, tier: impl Fn(&PathView) -> Rank) {
        let had = |view: &PathView| self.route(PathId(view.path)).had_its_share();
        let room = views
            .iter()
            .filter(|view| view.slots_free > 0 && !had(view));
        let room: SmallVec<[Rank; 4]> = room.map(&tier).collect();
        views.retain(|view| !had(view) || !room.contains(&tier(view)));
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
                views.push(route.view(path));
            }
        }
    }
}
