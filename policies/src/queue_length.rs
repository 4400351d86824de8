//! `queue-length`: the path with the fewest commands in flight.
//!
//! dm-multipath's rule (dm-queue-length), with weights: the smallest `in flight ÷ weight` of the best
//! tier carries the I/O; among equals the one whose turn is longest ago. A path that answers slowly
//! keeps more in flight and so gets less.
//!
//! It knows neither sizes nor latencies: paths of unequal latency with few commands in flight get
//! equal shares. Its good side is that it needs no history at all.

use std::time::Instant;

use crate::least::Least;
use crate::tier::{Rank, Tier};
use crate::{Candidates, IoView, PathView, Pick, Policy, Preference};

/// See the module.
#[derive(Debug)]
pub struct QueueLength {
    tier: Tier,
    least: Least,
}

impl QueueLength {
    /// No path was seen yet.
    #[must_use]
    pub fn new(preference: impl Into<Preference>) -> Self {
        Self {
            tier: Tier::new(preference.into()),
            least: Least::default(),
        }
    }
}

impl Policy for QueueLength {
    fn choose(&mut self, now: Instant, _io: &IoView, candidates: Candidates<'_>) -> Pick {
        let tier = self.tier.choose(now, candidates);
        let cost = |view: &PathView| f64::from(view.in_flight) / f64::from(view.weight.max(1));
        self.least.choose(candidates, tier, cost)
    }

    fn on_dispatch(&mut self, _now: Instant, path: u16, _io: &IoView) {
        self.least.on_dispatch(path);
    }

    fn on_roster(&mut self, now: Instant, paths: &[PathView]) {
        self.tier.update(now, paths);
        self.least.update(paths);
    }

    fn tier(&self, path: &PathView) -> Rank {
        self.tier.of(path)
    }

    fn forget(&mut self, path: u16) {
        self.tier.forget(path);
    }

    fn fail_back(&mut self) {
        self.tier.forgive();
    }
}
