//! `service-time`: the path that has the least to carry for its weight.
//!
//! dm-multipath's rule (dm-service-time): the smallest `(bytes in flight + this I/O) ÷ weight` of the
//! best tier carries the I/O, the weight standing for the path's relative throughput. Commands without
//! data count as [`COMMAND_COST`] bytes. Among equals, the one whose turn is longest ago.
//!
//! The operator has to know the throughput; a path that becomes slow is noticed only by what piles up.

use std::time::Instant;

use crate::least::Least;
use crate::round_robin::COMMAND_COST;
use crate::tier::{Rank, Tier};
use crate::{Candidates, IoView, PathView, Pick, Policy, Preference};

/// See the module.
#[derive(Debug)]
pub struct ServiceTime {
    tier: Tier,
    least: Least,
}

impl ServiceTime {
    /// No path was seen yet.
    #[must_use]
    pub fn new(preference: impl Into<Preference>) -> Self {
        Self {
            tier: Tier::new(preference.into()),
            least: Least::default(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes in flight are far below the 53 bits of a double"
)]
fn cost(view: &PathView, io: &IoView) -> f64 {
    let commands = u64::from(view.in_flight) * u64::from(COMMAND_COST);
    let carried = view.in_flight_bytes.max(commands) + u64::from(io.bytes.max(COMMAND_COST));
    carried as f64 / f64::from(view.weight.max(1))
}

impl Policy for ServiceTime {
    fn choose(&mut self, now: Instant, io: &IoView, candidates: Candidates<'_>) -> Pick {
        let tier = self.tier.choose(now, candidates);
        self.least.choose(candidates, tier, |view| cost(view, io))
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
