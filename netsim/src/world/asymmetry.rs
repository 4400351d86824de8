//! Access states (ALUA): what a unit is like through which portal, and how a seed changes that.

use std::time::Duration;

use policies::Tiers;

use super::{Fault, Knobs, Planned};
use crate::rng::Rng;
use crate::target::lun::Access;

/// How the target's ports differ.
#[derive(Clone, Debug, Default)]
pub struct Asymmetry {
    /// They do not: the unit has no port groups.
    pub symmetric: bool,
    /// The state of each path's portal at the beginning; empty: all are optimized.
    pub initial: Vec<Access>,
    /// States can be asked for (SET TARGET PORT GROUPS).
    pub explicit: bool,
    /// A portal in standby tells the unit's size.
    pub standby_tells_size: bool,
}

impl Asymmetry {
    /// The state of a path's portal at the beginning.
    #[must_use]
    pub fn initial(&self, path: usize) -> Access {
        self.initial.get(path).copied().unwrap_or(Access::Optimized)
    }

    /// And once everything is mended: every path is to be of use then.
    pub(super) fn at_the_end(&self, path: usize) -> Access {
        match self.initial(path) {
            Access::NonOptimized => Access::NonOptimized,
            Access::Optimized
            | Access::Standby
            | Access::Unavailable
            | Access::Offline
            | Access::Transitioning => Access::Optimized,
        }
    }
}

const MILLI: Duration = Duration::from_millis(1);

impl Knobs {
    /// Half of the seeds have a symmetric unit, and nothing else is drawn for them: the worlds of other
    /// defects are not to be thinned out. The others have controllers that take over from each other.
    pub(super) fn draw_access(&mut self) {
        let mut rng = Rng::new(self.seed).stream("access");
        let paths = self.groups.len();
        self.asymmetry.symmetric = rng.chance(1, 2);
        if self.asymmetry.symmetric {
            return;
        }
        self.asymmetry.explicit = rng.chance(1, 2);
        self.asymmetry.standby_tells_size = rng.chance(1, 2);
        self.alua = rng.chance(5, 6);
        self.activate = rng.chance(1, 3);
        let tiers = Tiers::ALL[rng.index(Tiers::ALL.len())];
        if rng.chance(1, 3) {
            self.policy.tiers = tiers;
        }
        if rng.chance(1, 4) {
            self.tiers = (0..paths).map(|_| tier(&mut rng)).collect();
        }
        if rng.chance(1, 3) {
            // The volume comes up over the first one.
            let others = (1..paths).map(|_| state(&mut rng));
            self.asymmetry.initial = [Access::Optimized].into_iter().chain(others).collect();
        }
        if rng.chance(1, 2) && self.trouble > 2000 * MILLI {
            for _ in 0..rng.between(1, 3) {
                self.take_over(&mut rng);
            }
            self.faults.sort_by_key(|planned| planned.at);
        }
    }

    /// The controllers take over: some groups change together, most often by way of a transition. A path
    /// that is never broken keeps its state.
    fn take_over(&mut self, rng: &mut Rng) {
        let at = rng.duration_below(self.trouble - 2000 * MILLI);
        let slowly = rng.chance(2, 3);
        let takes = rng.duration_below(2000 * MILLI);
        let first = usize::from(self.spared.is_some());
        for path in first..self.groups.len() {
            let access = state(rng);
            let mut plan = |at, access| {
                let fault = Fault::Access { path, access };
                self.faults.push(Planned { at, fault });
            };
            if slowly {
                plan(at, Access::Transitioning);
                plan(at + takes, access);
            } else {
                plan(at, access);
            }
        }
    }
}

fn tier(rng: &mut Rng) -> u8 {
    if rng.chance(1, 2) { 0 } else { 7 }
}

fn state(rng: &mut Rng) -> Access {
    let states = [
        Access::Optimized,
        Access::Optimized,
        Access::NonOptimized,
        Access::NonOptimized,
        Access::Standby,
        Access::Unavailable,
        Access::Offline,
    ];
    states[rng.index(states.len())]
}
