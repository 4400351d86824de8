//! `failover`: one active path, the others wait.
//!
//! All I/O goes to the active path. Paths are ranked by tier, then by the target's preference, then by the
//! operator's weight (higher first), then by number; the first active path is the best of that order.
//!
//! - The active path is no longer usable: the best one takes over at once.
//! - The array moved the active path to a worse tier while a better tier has a path: that one takes
//!   over at once; it is the array's word, not a matter of health.
//! - A better-ranked path came back: it takes over when the failback rule allows
//!   ([`Roster::proven`]); one that had never failed before takes over at once.
//! - The active path is merely full: I/O waits for it. Standby paths are not a spill-over: with
//!   an asymmetric array one I/O on the wrong controller can move the LUN.
//!
//! The rule is dm-multipath's `failover` path grouping with priorities; the wait when full is ours,
//! because there the SCSI queue does the waiting.

use std::cmp::Reverse;
use std::time::Instant;

use crate::roster::Roster;
use crate::tier::Rank;
use crate::{Candidates, IoView, PathView, Pick, Policy, Preference, Tiers};

/// See the module.
#[derive(Debug)]
pub struct Failover {
    roster: Roster,
    active: Option<Active>,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    path: u16,
    rank: Rank,
}

impl Failover {
    /// With this failback rule.
    #[must_use]
    pub fn new(preference: impl Into<Preference>) -> Self {
        Self {
            roster: Roster::new(preference.into()),
            active: None,
        }
    }

    /// The path that should be active, given that `current` is and can be used.
    fn successor<'a>(
        &self,
        now: Instant,
        current: &'a PathView,
        rank_was: Rank,
        paths: &'a [PathView],
    ) -> &'a PathView {
        let tier = |view| self.roster.tiers().of(view);
        let demoted = tier(current) > rank_was;
        let better = paths.iter().filter(|view| {
            let moved_by_array = demoted && tier(view) < tier(current);
            self.place(view) < self.place(current)
                && (moved_by_array || self.roster.proven(now, view.path))
        });
        better
            .min_by_key(|view| self.place(view))
            .unwrap_or(current)
    }

    /// Most preferred first.
    fn place(&self, view: &PathView) -> (Rank, bool, Reverse<u8>, u16) {
        let rank = self.roster.tiers().of(view);
        let unwanted = self.roster.tiers() == Tiers::Alua && !view.preferred;
        (rank, unwanted, Reverse(view.weight), view.path)
    }
}

impl Policy for Failover {
    fn choose(&mut self, now: Instant, _io: &IoView, candidates: Candidates<'_>) -> Pick {
        let paths = candidates.views();
        self.roster.observe(now, paths);
        let current = self.active.and_then(|active| {
            let view = paths.iter().find(|view| view.path == active.path)?;
            Some((view, active.rank))
        });
        let chosen = match current {
            Some((view, rank_was)) => *self.successor(now, view, rank_was, paths),
            None => *candidates.best_view_by(|view| self.place(view)),
        };
        let hidden = self
            .active
            .is_some_and(|active| self.roster.usable(active.path));
        if current.is_some() || !hidden {
            self.active = Some(Active {
                path: chosen.path,
                rank: self.roster.tiers().of(&chosen),
            });
        }
        candidates.pick_path(chosen.path)
    }

    fn on_roster(&mut self, now: Instant, paths: &[PathView]) {
        self.roster.update(now, paths);
        if self
            .active
            .is_some_and(|active| !self.roster.usable(active.path))
        {
            self.active = None;
        }
    }

    fn tier(&self, path: &PathView) -> Rank {
        self.roster.tiers().of(path)
    }

    fn forget(&mut self, path: u16) {
        self.roster.forget(path);
    }

    fn fail_back(&mut self) {
        self.roster.forgive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{path, start};
    use crate::{Access, Direction, Failback};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn chosen(policy: &mut Failover, now: Instant, paths: &[PathView]) -> u16 {
        let io = IoView {
            direction: Direction::Read,
            bytes: 4096,
            lba: 0,
        };
        policy
            .choose(now, &io, Candidates::new(paths).unwrap())
            .path()
    }

    fn slow(number: u16) -> PathView {
        PathView {
            access: Access::ActiveNonOptimized,
            ..path(number)
        }
    }

    #[test]
    fn the_first_path_is_active_until_it_fails_and_again_once_it_is_proven() {
        let now = start();
        let mut policy = Failover::new(Failback::After(30 * SECOND));
        let both = [path(0), path(1)];
        policy.on_roster(now, &both);
        assert_eq!(chosen(&mut policy, now, &both), 0);
        policy.on_roster(now, &both[1..]);
        assert_eq!(chosen(&mut policy, now, &both[1..]), 1);
        policy.on_roster(now, &both);
        assert_eq!(chosen(&mut policy, now + 29 * SECOND, &both), 1);
        assert_eq!(chosen(&mut policy, now + 30 * SECOND, &both), 0);
    }

    #[test]
    fn at_start_the_preferred_path_takes_over_as_soon_as_it_is_there() {
        let now = start();
        let mut policy = Failover::new(Failback::Manual);
        policy.on_roster(now, &[path(1)]);
        assert_eq!(chosen(&mut policy, now, &[path(1)]), 1);
        policy.on_roster(now, &[path(0), path(1)]);
        assert_eq!(chosen(&mut policy, now, &[path(0), path(1)]), 0);
    }

    #[test]
    fn a_full_active_path_keeps_the_io() {
        let now = start();
        let mut policy = Failover::new(Failback::Immediate);
        let mut paths = [path(0), path(1)];
        policy.on_roster(now, &paths);
        paths[0].slots_free = 0;
        assert_eq!(chosen(&mut policy, now, &paths), 0);
        assert_eq!(
            chosen(&mut policy, now, &paths[1..]),
            1,
            "hidden: only this choice moves"
        );
        assert_eq!(chosen(&mut policy, now, &paths), 0);
    }

    #[test]
    fn the_best_tier_comes_before_weight_and_weight_before_number() {
        let now = start();
        let mut policy = Failover::new(Failback::DEFAULT);
        let heavy = |view| PathView { weight: 9, ..view };
        let paths = [heavy(slow(0)), path(1), heavy(path(2))];
        policy.on_roster(now, &paths);
        assert_eq!(chosen(&mut policy, now, &paths), 2);
        policy.on_roster(now, &paths[..2]);
        assert_eq!(chosen(&mut policy, now, &paths[..2]), 1);
        policy.on_roster(now, &paths[..1]);
        assert_eq!(chosen(&mut policy, now, &paths[..1]), 0);
    }

    #[test]
    fn a_move_by_the_array_is_followed_at_once_even_under_manual_failback() {
        let now = start();
        let mut policy = Failover::new(Failback::Manual);
        policy.on_roster(now, &[path(0), path(1)]);
        policy.on_roster(now, &[path(0)]);
        policy.on_roster(now, &[path(0), path(1)]);
        assert_eq!(chosen(&mut policy, now, &[path(0), path(1)]), 0);
        let moved = [slow(0), path(1)];
        policy.on_roster(now, &moved);
        assert_eq!(chosen(&mut policy, now, &moved), 1);
    }

    #[test]
    fn a_demotion_without_a_better_tier_changes_nothing() {
        let now = start();
        let mut policy = Failover::new(Failback::Manual);
        policy.on_roster(now, &[path(1), slow(2)]);
        assert_eq!(chosen(&mut policy, now, &[path(1), slow(2)]), 1);
        let back = [slow(0), slow(1), slow(2)];
        policy.on_roster(now, &[slow(0), path(1)]);
        policy.on_roster(now, &[path(1)]);
        policy.on_roster(now, &back);
        assert_eq!(chosen(&mut policy, now, &back), 1);
    }

    #[test]
    fn the_operator_can_ask_for_the_preferred_path() {
        let now = start();
        let mut policy = Failover::new(Failback::Manual);
        let both = [path(0), path(1)];
        policy.on_roster(now, &both);
        policy.on_roster(now, &both[1..]);
        assert_eq!(chosen(&mut policy, now, &both[1..]), 1);
        policy.on_roster(now, &both);
        assert_eq!(chosen(&mut policy, now + 9999 * SECOND, &both), 1);
        policy.fail_back();
        assert_eq!(chosen(&mut policy, now + 9999 * SECOND, &both), 0);
    }
}
