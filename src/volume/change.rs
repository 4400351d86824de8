//! Settings and paths that change while the volume lives.
//!
//! A path keeps its number as long as anything may come of it: attempts, answers, ghosts. A number is given
//! to another path only when [`Volume::may_forget`] says so.

use std::time::Instant;

use crate::ids::PathId;

use super::roster::Route;
use super::{Domain, NoPath, Volume, VolumeConfig};

/// What the operator says of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteConfig {
    /// Its rank or share.
    pub weight: u8,
    /// Its tier; 0 where there is none.
    pub tier: u8,
    /// What it shares with others.
    pub domain: Option<Domain>,
}

impl VolumeConfig {
    /// What it says of each path.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteConfig> {
        let weights = self.weights.iter().enumerate();
        weights
            .map(|(at, weight)| RouteConfig {
                weight: *weight,
                tier: self.tiers.get(at).copied().unwrap_or(0),
                domain: self.gray.domains.get(at).copied(),
            })
            .collect()
    }
}

impl Volume {
    /// Other settings from now on. Of the policy only if it `changed`: another one has all to learn. What
    /// the volume is (`pin`) and how the last run ended stay as they are, and what is said of the paths is
    /// told with [`Volume::set_route`]. `why` is for the journal.
    pub fn reconfigure(&mut self, now: Instant, settings: VolumeConfig, changed: bool, why: &str) {
        let several = settings.weights.len() > 1;
        let VolumeConfig {
            weights: _,
            tiers: _,
            activate,
            shared,
            no_path,
            quiesce,
            reinstate,
            grow,
            pin: _,
            unclean: _,
            orphaned: _,
            policy,
            gray,
            reservation,
        } = settings;
        self.config.activate = activate;
        self.config.shared = shared;
        self.config.reinstate = reinstate;
        self.config.grow = grow;
        self.config.quiesce = quiesce;
        self.set_preempt_abort(reservation.preempt_abort);
        self.ledger.set_quiesce(quiesce);
        if changed {
            self.config.policy = policy;
        }
        self.reconfigure_gray(now, &gray, several);
        let no_path_changed = self.config.no_path != no_path;
        self.config.no_path = no_path;
        self.journal.note(now, "reconfigured", why);
        self.on_roster(now);
        self.judge_size(now);
        if no_path_changed {
            self.judge_no_path(now);
        }
        // What waited for a fence as a shared volume's writes do may have no reason to any more.
        self.after_fence(now);
        self.handle_timeout(now);
    }

    /// Another limit holds for the wait that may be under way; it counts from the loss of the last path.
    fn judge_no_path(&mut self, now: Instant) {
        let Some(since) = self.no_path_since else {
            return;
        };
        let over = match self.config.no_path {
            NoPath::Fail => true,
            NoPath::Queue(limit) => since + limit <= now,
            NoPath::QueueForever => false,
        };
        if over && !self.no_path_expired {
            self.on_no_path_expired(now);
        }
        self.no_path_expired = over;
    }

    /// What the operator says of a path.
    pub fn set_route(&mut self, now: Instant, path: PathId, config: RouteConfig) {
        self.roster.route_mut(path).configure(config);
        self.gray.set_domain(path, config.domain);
        self.on_roster(now);
    }

    /// A path that nobody has heard of yet, under a number that is new or that [`Volume::may_forget`].
    pub fn add_path(&mut self, path: PathId, config: RouteConfig) {
        let removed = self
            .roster
            .put(path, Route::new(config.weight, config.tier));
        if let Some(route) = removed {
            self.counters.retries_removed += route.counters.retries;
            self.config.policy.forget(path.0);
        }
        self.gray.put(path, config.domain);
        self.durability.forget(path);
        self.on_member_new(path);
    }

    /// Whether the path is about to go: it gets new commands only while no other path is `Ready`.
    pub fn set_retiring(&mut self, now: Instant, path: PathId, retiring: bool) {
        let before = std::mem::replace(&mut self.roster.route_mut(path).retiring, retiring);
        if before != retiring {
            let what = if retiring {
                "path removed"
            } else {
                "path added again"
            };
            self.journal.note(now, what, self.names.of(path));
        }
        if retiring {
            // The numbers of what it shares may be others' by now.
            self.gray.set_domain(path, None);
        }
        self.on_roster(now);
        self.judge_size(now);
    }

    /// Whether a path that is about to go may be logged out: others carry what it carried, and its next
    /// login is not waited for as a fence.
    #[must_use]
    pub fn may_let_go(&self, path: PathId) -> bool {
        let idle = self.roster.route(path).in_flight == 0 && !self.gray.reads_on(path);
        idle && !self.roster.is_candidate(path) && !self.wants_fence(path)
    }

    /// Whether writes of the path's lost sessions may still execute.
    #[must_use]
    pub fn haunted_by(&self, path: PathId) -> bool {
        self.ledger.haunts_path(path)
    }

    /// Whether nothing can come any more of a path that has no session.
    #[must_use]
    pub fn may_forget(&self, path: PathId) -> bool {
        let idle = self.roster.route(path).in_flight == 0 && !self.gray.reads_for(path);
        let known = self.founder == Some(path) || self.rumours.doubts(path);
        idle && !known && !self.haunted_by(path)
    }

    /// Another path in use stands for the one that found the unit first.
    pub fn set_founder(&mut self, heir: PathId) {
        self.founder = Some(heir);
    }
}
