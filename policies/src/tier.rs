//! Which tier competes: the best one that has a usable path.
//!
//! A path's tier is its access state, the operator's number, or the same for all ([`Tiers`]). By access
//! state:
//!
//! 1. active/optimized, whatever the target prefers: who says that several groups are optimized means all of
//!    them;
//! 2. active/non-optimized in a group that the target prefers;
//! 3. active/non-optimized;
//! 4. logical block dependent.
//!
//! Down is immediate; back up to a tier whose paths had failed follows the failback rule
//! ([`Roster::proven`]).

use std::time::Instant;

use crate::roster::Roster;
use crate::{Access, Candidates, PathView, Preference, Tiers};

/// Place of a tier; the smallest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u16);

impl Rank {
    /// Of paths that carry nothing now.
    pub const RESTING: Self = Self(u16::MAX);

    /// For people: 0 is the best that there can be. `None` for paths that carry nothing.
    #[must_use]
    pub fn number(self) -> Option<u16> {
        (self != Self::RESTING).then_some(self.0)
    }
}

impl Tiers {
    /// The tier of a path.
    #[must_use]
    pub fn rank(self, access: Access, preferred: bool, tier: u8) -> Rank {
        match (self, access) {
            (_, Access::Resting) => Rank::RESTING,
            (Self::Explicit, _) => Rank(u16::from(tier)),
            (Self::Single, _) | (Self::Alua, Access::ActiveOptimized) => Rank(0),
            (Self::Alua, Access::ActiveNonOptimized) if preferred => Rank(1),
            (Self::Alua, Access::ActiveNonOptimized) => Rank(2),
            (Self::Alua, Access::BlockDependent) => Rank(3),
        }
    }

    pub(crate) fn of(self, view: &PathView) -> Rank {
        self.rank(view.access, view.preferred, view.tier)
    }
}

/// The paths that compete now.
#[derive(Clone, Copy, Debug)]
pub struct Competing {
    tiers: Tiers,
    rank: Rank,
}

impl Competing {
    /// Whether this one does.
    #[must_use]
    pub fn has(&self, view: &PathView) -> bool {
        self.tiers.of(view) == self.rank
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tier {
    roster: Roster,
    now_used: Option<Rank>,
}

impl Tier {
    /// No path was seen yet.
    #[must_use]
    pub fn new(preference: Preference) -> Self {
        Self {
            roster: Roster::new(preference),
            now_used: None,
        }
    }

    /// The tier that competes now.
    pub fn choose(&mut self, now: Instant, candidates: Candidates<'_>) -> Competing {
        self.roster.observe(now, candidates.views());
        let tiers = self.roster.tiers();
        let views = || candidates.views().iter();
        let best = tiers.of(candidates.best_view_by(|view| tiers.of(view)));
        let rank = match self.now_used {
            Some(rank) if self.roster.tier_usable(rank) => {
                let proven = views()
                    .filter(|view| tiers.of(view) < rank && self.roster.proven(now, view.path));
                proven.map(|view| tiers.of(view)).min().unwrap_or(rank)
            }
            _ => best,
        };
        self.now_used = Some(rank);
        let present = views().any(|view| tiers.of(view) == rank);
        let rank = if present { rank } else { best };
        Competing { tiers, rank }
    }

    /// The tier of a path.
    #[must_use]
    pub fn of(&self, path: &PathView) -> Rank {
        self.roster.tiers().of(path)
    }

    /// These paths are up now, and no others.
    pub fn update(&mut self, now: Instant, up: &[PathView]) {
        self.roster.update(now, up);
    }

    /// Forgets a path.
    pub fn forget(&mut self, path: u16) {
        self.roster.forget(path);
    }

    /// All usable paths count as proven.
    pub fn forgive(&mut self) {
        self.roster.forgive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failback;
    use crate::view::tests::{path, start};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn with(number: u16, access: Access, preferred: bool) -> PathView {
        PathView {
            access,
            preferred,
            ..path(number)
        }
    }

    fn competing(tier: &mut Tier, now: Instant, views: &[PathView]) -> Vec<u16> {
        let competing = tier.choose(now, Candidates::new(views).unwrap());
        let views = views.iter().filter(|view| competing.has(view));
        views.map(|view| view.path).collect()
    }

    #[test]
    fn access_states_are_ranked_as_the_module_says() {
        use Access::{ActiveNonOptimized, ActiveOptimized, BlockDependent};
        let views = [
            with(0, BlockDependent, true),
            with(1, ActiveNonOptimized, false),
            with(2, ActiveNonOptimized, true),
            with(3, ActiveOptimized, false),
            with(4, ActiveOptimized, true),
        ];
        let tier = |views: &[PathView]| {
            let mut tier = Tier::new(Failback::Immediate.into());
            competing(&mut tier, start(), views)
        };
        assert_eq!(tier(&views), [3, 4], "both optimized groups");
        assert_eq!(tier(&views[..3]), [2]);
        assert_eq!(tier(&views[..2]), [1]);
        assert_eq!(tier(&views[..1]), [0]);
    }

    #[test]
    fn the_operators_numbers_stand_in_for_the_access_states_where_he_says_so() {
        let numbered = |number, access, tier| PathView {
            tier,
            ..with(number, access, false)
        };
        let views = [
            numbered(0, Access::ActiveOptimized, 7),
            numbered(1, Access::ActiveNonOptimized, 3),
            numbered(2, Access::BlockDependent, 3),
        ];
        let mut seen = Vec::new();
        for tiers in [Tiers::Alua, Tiers::Explicit, Tiers::Single] {
            let failback = Failback::Immediate;
            let mut tier = Tier::new(Preference { tiers, failback });
            seen.push(competing(&mut tier, start(), &views));
        }
        assert_eq!(seen, [vec![0], vec![1, 2], vec![0, 1, 2]]);
    }

    #[test]
    fn a_path_that_only_rested_needs_no_proof() {
        let now = start();
        let mut tier = Tier::new(Failback::Manual.into());
        let (best, rest) = (path(0), with(1, Access::ActiveNonOptimized, false));
        let resting = with(0, Access::Resting, false);
        tier.update(now, &[best, rest]);
        assert_eq!(competing(&mut tier, now, &[best, rest]), [0]);
        tier.update(now, &[resting, rest]);
        assert_eq!(competing(&mut tier, now, &[rest]), [1]);
        tier.update(now + SECOND, &[best, rest]);
        assert_eq!(competing(&mut tier, now + SECOND, &[best, rest]), [0]);
    }

    #[test]
    fn a_path_that_failed_while_it_rested_needs_proof() {
        let now = start();
        let mut tier = Tier::new(Failback::Manual.into());
        let (best, rest) = (path(0), with(1, Access::ActiveNonOptimized, false));
        let resting = with(0, Access::Resting, false);
        tier.update(now, &[best, rest]);
        tier.update(now, &[resting, rest]);
        assert_eq!(competing(&mut tier, now, &[rest]), [1]);
        tier.update(now, &[rest]);
        tier.update(now, &[best, rest]);
        assert_eq!(competing(&mut tier, now, &[best, rest]), [1]);
    }
}
