//! What is done about gray paths: `outlier.rs` finds them, `duty.rs` says how long each stays out, `trial.rs`
//! how it comes back; here that meets the volume.
//!
//! There is one timer for all of it: a window of a quarter of a second while something is in flight, and
//! what paths that are out wait for. A volume with one path has none of it.

use crate::sabotage::{self, Feature};
mod settings;

use std::collections::BTreeMap;
use std::time::Instant;

use policies::tier::Rank;
use smallvec::SmallVec;

use crate::deadline::Deadline;
use crate::ids::{Incarnation, PathId, TaskId};
use crate::path::message::{Order, Standing};
use crate::scsi::cdb::{Command, Direction};
use crate::scsi::verdict::{CommandKind, Verdict, judge};
use crate::task::{Completion, DataTransfer};
use crate::units::{BlockRange, Geometry};

use super::duty::Duty;
use super::hedge::Hedge;
use super::outlier::{Finding, Outlier, Seen, WINDOW};
use super::trial::{Progress, Read};
use super::{Attempt, Volume};

pub use settings::{Domain, GrayConfig};

/// Why a path is in use without more ado.
const ALONE: &str = "no other path of its tier is in use";

/// A read of the volume itself, for a trial.
#[derive(Clone, Copy, Debug)]
struct Errand {
    /// The path that it was sent on.
    on: PathId,
    /// The path that is on trial.
    of: PathId,
    /// Of the trial's reads.
    number: u32,
    sent: Instant,
}

/// One path.
#[derive(Debug)]
struct Watched {
    duty: Duty,
    /// The session that showed what it can, or need not.
    proven: Incarnation,
}

impl Watched {
    fn new(jitter: Option<u64>, path: usize) -> Self {
        let seed = jitter.map(|seed| seed ^ (path as u64) << 48);
        Self {
            duty: Duty::new(seed),
            proven: Incarnation::default(),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Gray {
    eject: bool,
    prove: bool,
    /// Paths that are not simply in use.
    away: usize,
    paths: Vec<Watched>,
    jitter: Option<u64>,
    outlier: Outlier,
    seen: Vec<Seen>,
    window_ends: Option<Instant>,
    /// A command was sent in this window.
    active: bool,
    errands: BTreeMap<TaskId, Errand>,
    pub(super) hedge: Hedge,
    pub(super) hedge_due: Option<Instant>,
    pub(super) domains: Vec<Option<Domain>>,
    /// A path that nothing was heard of for long.
    pub(super) stale: Option<PathId>,
    /// Since when all paths are slower than they were.
    pub(super) slow_since: Option<Instant>,
}

impl Gray {
    pub(super) fn new(config: &GrayConfig, paths: usize) -> Self {
        let several = paths > 1;
        let domain = |path: usize| config.domains.get(path).copied();
        Self {
            eject: config.eject && several,
            prove: config.prove && several,
            away: 0,
            paths: (0..paths)
                .map(|path| Watched::new(config.jitter, path))
                .collect(),
            jitter: config.jitter,
            outlier: Outlier::new(paths),
            seen: Vec::new(),
            window_ends: None,
            active: false,
            errands: BTreeMap::new(),
            hedge: Hedge::new(if several { config.hedge } else { 0 }),
            hedge_due: None,
            domains: (0..paths).map(domain).collect(),
            stale: None,
            slow_since: None,
        }
    }

    /// A path that nobody has heard of yet, under a new number or one that is free.
    pub(super) fn put(&mut self, path: PathId, domain: Option<Domain>) {
        let place = usize::from(path.0);
        if place == self.paths.len() {
            self.paths.push(Watched::new(self.jitter, place));
            self.domains.push(domain);
        } else {
            (self.paths[place], self.domains[place]) = (Watched::new(self.jitter, place), domain);
        }
        self.outlier.put(place);
        self.stale.take_if(|stale| *stale == path);
        self.count_away();
    }

    pub(super) fn set_domain(&mut self, path: PathId, domain: Option<Domain>) {
        self.domains[usize::from(path.0)] = domain;
    }

    /// Whether a read of the volume's own is under way on the path.
    pub(super) fn reads_on(&self, path: PathId) -> bool {
        self.errands.values().any(|errand| errand.on == path)
    }

    /// The same, or one for its trial on another path.
    pub(super) fn reads_for(&self, path: PathId) -> bool {
        let concerns = |errand: &Errand| errand.on == path || errand.of == path;
        self.errands.values().any(concerns)
    }

    fn count_away(&mut self) {
        let away = |watched: &&Watched| watched.duty.is_out() || watched.duty.is_rising();
        self.away = self.paths.iter().filter(away).count();
    }

    fn watches(&self) -> bool {
        self.eject || self.hedge.is_on()
    }

    /// Whether all paths are slower than they were.
    pub(super) fn all_slow(&self) -> bool {
        self.outlier.all_slow()
    }

    fn at(&mut self, path: PathId) -> &mut Watched {
        &mut self.paths[usize::from(path.0)]
    }

    pub(super) fn duty(&self, path: PathId) -> &Duty {
        &self.paths[usize::from(path.0)].duty
    }

    /// A command is sent: its window begins, if none has.
    pub(super) fn on_dispatch(&mut self, now: Instant) {
        if self.watches() {
            self.active = true;
            self.window_ends.get_or_insert(now + WINDOW);
        }
    }

    /// Whether any path is not simply in use.
    pub(super) fn any_away(&self) -> bool {
        self.away > 0
    }

    /// Reads of the volume's own that are under way.
    pub(super) fn errands(&self) -> usize {
        self.errands.len()
    }

    /// A command failed on the way, for which the unit is not to blame.
    pub(super) fn on_error(&mut self, path: PathId) {
        self.outlier.on_error(usize::from(path.0));
    }
}

impl Volume {
    /// A command of a client was answered.
    pub(super) fn on_answer(&mut self, now: Instant, attempt: &Attempt) {
        self.took_until(now, attempt);
        let route = self.roster.route_mut(attempt.path);
        let depth = route.depth();
        route.window.on_answer(now, depth);
    }

    /// It was, or was aborted because another path had answered it: that long it took at least.
    pub(super) fn took_until(&mut self, now: Instant, attempt: &Attempt) {
        if self.gray.watches() {
            let (path, io) = (usize::from(attempt.path.0), &attempt.io);
            self.gray.outlier.on_answer(now, path, io, attempt.sent);
        }
    }

    /// What a path's standing means after it was lost.
    pub(super) fn on_standing(&mut self, now: Instant, path: PathId) {
        let route = self.roster.route(path);
        let (incarnation, lost) = (route.incarnation, route.counters.losses > 0);
        if route.standing != Standing::Ready || self.gray.at(path).proven == incarnation {
            return;
        }
        self.gray.at(path).proven = incarnation;
        if !lost {
            return;
        }
        self.gray.outlier.forget(usize::from(path.0));
        let prove = self.gray.prove && !sabotage::is_without(Feature::Trial);
        if prove && self.in_use_beside(path).next().is_some() {
            self.gray.at(path).duty.on_return(now);
            self.tell_duty(now, path, "came back");
        } else {
            self.gray.at(path).duty.release();
        }
        self.apply_duty(now, path);
    }

    /// A session of the path was lost; whether clients' commands went there.
    pub(super) fn on_loss(&mut self, now: Instant, path: PathId, in_use: bool) {
        if self.stopping {
            return;
        }
        self.gray.at(path).duty.on_loss(now, in_use);
        self.apply_duty(now, path);
        // What all paths lose together none of them is to blame for.
        let standings = |standing| matches!(standing, Standing::Ready | Standing::Suspect);
        if !self
            .roster
            .iter()
            .any(|(_, route)| standings(route.standing))
        {
            for watched in &mut self.gray.paths {
                watched.duty.pardon(now);
            }
        }
    }

    /// The tier that the path is in.
    pub(super) fn tier(&self, path: PathId) -> Rank {
        let view = self.roster.route(path).view(path);
        self.config.policy.tier(&view)
    }

    /// Other paths that carry what clients ask for, without reserve, and their tiers.
    fn in_use_beside(&self, path: PathId) -> impl Iterator<Item = (Rank, PathId)> {
        let routes = self.roster.iter();
        let routes =
            routes.filter(move |(other, route)| *other != path && route.rank() == Standing::Ready);
        routes.map(|(other, _)| (self.tier(other), other))
    }

    /// The route heeds what was decided.
    fn apply_duty(&mut self, now: Instant, path: PathId) {
        let duty = &self.gray.paths[usize::from(path.0)].duty;
        let route = self.roster.route_mut(path);
        route.out = duty.is_out();
        route.set_share(duty.share(now));
        self.gray.count_away();
    }

    /// Other settings hold; `several` paths are configured. Paths that are out for being slow and would not
    /// be put out by now are taken back.
    pub(super) fn reconfigure_gray(&mut self, now: Instant, config: &GrayConfig, several: bool) {
        self.gray.eject = config.eject && several;
        self.gray.prove = config.prove && several;
        self.gray.hedge.set(if several { config.hedge } else { 0 });
        if !self.gray.hedge.is_on() {
            (self.gray.hedge_due, self.gray.stale) = (None, None);
        }
        for path in (0..self.gray.paths.len()).map(path_id) {
            if !self.gray.eject && self.gray.duty(path).is_ejected() {
                self.gray.at(path).duty.release();
                self.apply_duty(now, path);
                self.tell_duty(now, path, "slow paths are not put out of use any more");
            }
        }
    }

    /// Writes into the path's journal what was decided, and why.
    fn tell_duty(&mut self, now: Instant, path: PathId, why: &str) {
        let status = self.gray.duty(path).status(now);
        tracing::info!(path = %self.names.of(path), duty = %status, why, "path");
        let what = status.name();
        let why = format!("{why}: {status}");
        self.orders.push_back((path, Order::Note { what, why }));
    }

    pub(super) fn gray_timeout(&mut self, now: Instant) {
        if self.gray.window_ends.is_some_and(|at| at <= now) {
            self.close_window(now);
        }
        if self.gray.away == 0 {
            return;
        }
        for number in 0..self.gray.paths.len() {
            let watched = &mut self.gray.paths[number];
            if watched.duty.advance(now) {
                let path = path_id(number);
                self.tell_duty(now, path, "its time is over");
                self.apply_duty(now, path);
            }
        }
    }

    /// When [`Volume::gray_timeout`] is due, or a dispatch.
    pub(super) fn gray_deadline(&self) -> Option<Deadline> {
        let window = self.gray.window_ends;
        let window = window.map(|at| Deadline::new(at, "comparison of paths"));
        let hedge = self.gray.hedge_due;
        let hedge = hedge.map(|at| Deadline::new(at, "late read"));
        let mut next = Deadline::earlier(window, hedge);
        if self.gray.away > 0 {
            for (watched, (_, route)) in self.gray.paths.iter().zip(self.roster.iter()) {
                let ready = route.is_ready() || !watched.duty.is_on_trial();
                let due = watched.duty.due().filter(|_| ready);
                let due = due.map(|at| Deadline::new(at, "path that is out of use"));
                next = Deadline::earlier(next, due);
            }
        }
        next
    }

    fn close_window(&mut self, now: Instant) {
        let mut seen = std::mem::take(&mut self.gray.seen);
        seen.clear();
        for (watched, (path, route)) in self.gray.paths.iter().zip(self.roster.iter()) {
            let oldest = route.oldest();
            seen.push(Seen {
                competes: route.rank() == Standing::Ready,
                tier: self.config.policy.tier(&route.view(path)),
                oldest: oldest.and_then(|flight| Some((flight.class()?, flight.sent))),
                returning: watched.duty.is_rising(),
            });
        }
        let findings = self.gray.outlier.close(now, &seen);
        self.gray.hedge.learn(&self.gray.outlier);
        self.tell_of_slow_target(now);
        self.gray.stale = self.stale_path(now, &seen);
        if self.gray.eject {
            for (number, _) in seen.iter().enumerate() {
                if self.gray.outlier.is_accused(number) {
                    let route = self.roster.route_mut(path_id(number));
                    route.window.on_slow(now, route.in_flight);
                }
            }
            for (number, finding) in findings {
                self.eject(now, path_id(number), finding);
            }
        }
        self.gray.seen = seen;
        let flying = self.roster.iter().any(|(_, route)| route.in_flight > 0);
        let again = std::mem::take(&mut self.gray.active) || flying;
        self.gray.window_ends = again.then(|| now + WINDOW);
    }

    /// A path that competes and that nothing was asked of for long.
    fn stale_path(&self, now: Instant, seen: &[Seen]) -> Option<PathId> {
        if !self.config.policy.refreshes() || !self.gray.hedge.is_on() {
            return None;
        }
        let mut paths = self.roster.iter().zip(seen);
        let stale = |number: usize| self.gray.outlier.is_stale(now, number);
        // A tier that nothing goes to now is left alone.
        let serves = |tier: Rank| {
            let mut peers = seen.iter().enumerate();
            peers.any(|(number, peer)| peer.competes && peer.tier == tier && !stale(number))
        };
        let found = paths.find(|((path, route), seen)| {
            let idle = seen.competes && route.in_flight == 0 && stale(usize::from(path.0));
            idle && serves(seen.tier)
        });
        found.map(|((path, _), _)| path)
    }

    fn tell_of_slow_target(&mut self, now: Instant) {
        match (self.gray.all_slow(), self.gray.slow_since) {
            (true, None) => {
                self.gray.slow_since = Some(now);
                tracing::warn!(
                    "all paths answer far more slowly than they used to: the target is slow, or has much to do"
                );
            }
            (false, Some(_)) => {
                self.gray.slow_since = None;
                tracing::info!("the paths answer as they used to");
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The path is gray: out of use, with its session kept, unless nothing else is in use.
    fn eject(&mut self, now: Instant, path: PathId, finding: Finding) {
        let mut peers = self.in_use_beside(path);
        if !peers.any(|(tier, _)| tier <= self.tier(path)) {
            return;
        }
        drop(peers);
        let why = match finding {
            Finding::Slow {
                took,
                peer,
                peer_took,
            } => {
                let peer = self.names.of(path_id(peer));
                format!("slower than its peers: {took:?}, and {peer} {peer_took:?}")
            }
            Finding::Errors { permille } => {
                format!("{permille} of 1000 commands failed on the way or were far too late")
            }
            Finding::Stalls { times } => {
                format!("it stood still {times} times within ten seconds, and its peers did not")
            }
        };
        self.gray.at(path).duty.eject(now);
        self.gray.outlier.forget(usize::from(path.0));
        self.roster.route_mut(path).counters.ejections += 1;
        self.apply_duty(now, path);
        self.tell_duty(now, path, &why);
        self.on_roster(now);
    }

    /// What a slow start allows now.
    pub(super) fn before_dispatch(&mut self, now: Instant) {
        if self.gray.away == 0 {
            return;
        }
        for path in (0..self.gray.paths.len()).map(path_id) {
            let Some(share) = self.gray.duty(path).share(now) else {
                continue;
            };
            let tier = self.tier(path);
            if self.in_use_beside(path).any(|(other, _)| other == tier) {
                self.roster.route_mut(path).set_share(Some(share));
            } else {
                // Nobody else could carry what it does not.
                self.gray.at(path).duty.release();
                self.apply_duty(now, path);
                self.tell_duty(now, path, ALONE);
            }
        }
    }

    /// What the volume asks for itself.
    pub(super) fn after_dispatch(&mut self, now: Instant) {
        if self.gray.away > 0 && !self.stopping {
            for number in 0..self.gray.paths.len() {
                self.drive_trial(now, path_id(number));
            }
        }
        if self.gray.hedge_due.is_some_and(|at| at <= now) {
            self.hedge(now);
        }
    }

    /// Sends the read that is due on a path on trial, and on one in use.
    fn drive_trial(&mut self, now: Instant, path: PathId) {
        let ready = self.roster.route(path).is_ready();
        let Some(trial) = self.gray.at(path).duty.trial_mut() else {
            return;
        };
        if !ready || trial.due().is_none_or(|at| at > now) {
            return;
        }
        // Beside a better path it would never look good, and it need not.
        let own = self.tier(path);
        let peers = self.in_use_beside(path).filter(|(tier, _)| *tier >= own);
        let peers: SmallVec<[(Rank, PathId); 4]> = peers.collect();
        if peers.is_empty() {
            self.gray.at(path).duty.release();
            self.apply_duty(now, path);
            self.tell_duty(now, path, ALONE);
            return self.on_roster(now);
        }
        let peers = peers.into_iter().filter_map(|(tier, peer)| {
            let route = self.roster.route(peer);
            (route.session_slots() > 0).then_some((tier, route.in_flight, peer))
        });
        let peer = peers.min().map(|(.., peer)| peer);
        let room = self.roster.route(path).session_slots() > 0;
        let (Some(peer), Some(unit)) = (peer.filter(|_| room), self.unit.clone()) else {
            if let Some(trial) = self.gray.at(path).duty.trial_mut() {
                trial.postpone(now);
            }
            return;
        };
        let Some(trial) = self.gray.at(path).duty.trial_mut() else {
            return;
        };
        let read = trial.read();
        let range = place(&read, unit.geometry, unit.features.transfer_blocks_max);
        for on in [path, peer] {
            let id = TaskId(self.next_task);
            self.next_task += 1;
            let route = self.roster.route_mut(on);
            route.take_slot();
            let incarnation = route.incarnation;
            let errand = Errand {
                on,
                of: path,
                number: read.number,
                sent: now,
            };
            self.gray.errands.insert(id, errand);
            let bytes = range.blocks() * u64::from(unit.geometry.block_size());
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let command = Command::transfer(Direction::Read, range, false);
            self.submit(on, incarnation, id, command.cdb(), DataTransfer::In(bytes));
        }
    }

    /// Whether the task was the volume's own, which has ended then.
    pub(super) fn on_errand_end(
        &mut self,
        now: Instant,
        task: TaskId,
        completion: Option<&Completion>,
    ) -> bool {
        if let Some((on, sent)) = self.take_question(task) {
            if let Some(completion) = completion {
                let judgement = judge(completion, CommandKind::Other);
                self.heed(now, on, sent, &judgement);
                self.on_word(now, on, sent, completion);
                self.heed_refusal(now, on, &judgement);
            }
            return true;
        }
        if self.gray.errands.is_empty() {
            return false;
        }
        let Some(errand) = self.gray.errands.remove(&task) else {
            return false;
        };
        let judgement = completion.map(|completion| judge(completion, CommandKind::Read));
        if let Some(judgement) = &judgement {
            self.heed(now, errand.on, errand.sent, judgement);
            self.heed_refusal(now, errand.on, judgement);
            let on = usize::from(errand.on.0);
            self.gray.outlier.on_sign_of_life(now, on);
        }
        let own = errand.on == errand.of;
        let took = now.saturating_duration_since(errand.sent);
        let duty = &mut self.gray.at(errand.of).duty;
        let trial = duty.trial_mut().filter(|trial| trial.asks(errand.number));
        let Some(trial) = trial else { return true };
        let progress = match judgement.map(|judgement| judgement.verdict) {
            // What the unit refuses it refuses on every path.
            Some(
                Verdict::Good | Verdict::Fail { .. } | Verdict::Conflict | Verdict::Unsupported,
            ) => match own {
                true => trial.on_own_answer(now, took),
                false => trial.on_peer_answer(now, took),
            },
            // Not now: that shows nothing.
            Some(Verdict::Recheck(_) | Verdict::ShrinkQueue | Verdict::Retry { .. }) => {
                trial.on_failure(now, false)
            }
            Some(Verdict::OtherPath(_)) | None => trial.on_failure(now, own),
        };
        if progress == Progress::Passed {
            duty.rise(now);
            self.apply_duty(now, errand.of);
            self.tell_duty(now, errand.of, "as fast as its peers");
            self.on_roster(now);
        }
        true
    }
}

fn path_id(index: usize) -> PathId {
    PathId(u16::try_from(index).expect("paths are bounded by PATHS_MAX"))
}

/// The blocks of a trial's read.
fn place(read: &Read, geometry: Geometry, transfer_max: u32) -> BlockRange {
    let size = geometry.block_size();
    let blocks = u64::from((read.bytes / size).clamp(1, transfer_max.max(1)));
    let blocks = blocks.min(geometry.blocks());
    let first = (u128::from(geometry.blocks() - blocks + 1) * u128::from(read.place)) >> 32;
    let bytes = |blocks: u64| blocks * u64::from(size);
    let first = u64::try_from(first).unwrap_or(0);
    let range = geometry.range(bytes(first), bytes(blocks));
    range.expect("inside the unit")
}
