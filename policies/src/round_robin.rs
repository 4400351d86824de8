//! `round-robin`: the paths of the best tier take turns, by weight.
//!
//! Smooth weighted round-robin (the rule of nginx's upstreams, which interleaves instead of serving
//! one path's share in a burst): for an I/O of cost `c`, each competing path earns `c × weight`; the
//! one with the most credit, lowest number first, carries the I/O and pays `c × (sum of weights)`.
//! The cost is 1, or the bytes (at least [`COMMAND_COST`]) if bytes are to be balanced.
//!
//! - Credits always sum up to zero, so every path's share is met within one I/O per competitor at
//!   any time, not only over a long run.
//! - Reads and writes have an account each. With one account a client that alternates them would
//!   send all reads over one path of two and all writes over the other.
//! - A path without a free slot does not compete and does not earn, so it has no burst to catch up.
//!   If all are full, the I/O waits; no slower tier is used because the better one is busy.
//! - A change in the set of competitors starts a new round: old credits say nothing about it.
//! - The tier is the best one that has a usable path. Down is immediate; back up to a tier whose paths
//!   had failed follows the failback rule ([`crate::roster::Roster::proven`]).
//!
//! It knows no load: one slow path of several holds all others up. That is why it is no default.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::tier::{Rank, Tier};
use crate::{Balance, Candidates, Direction, IoView, PathView, Pick, Policy, Preference};

/// Bytes that a command counts for at least: below this its handling costs more than its data.
pub const COMMAND_COST: u32 = 4096;

/// See the module.
#[derive(Debug)]
pub struct RoundRobin {
    balance: Balance,
    tier: Tier,
    reads: Account,
    writes: Account,
}

/// Credits of the competing paths for one direction.
#[derive(Debug, Default)]
struct Account {
    credits: BTreeMap<u16, Credit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Credit {
    weight: u8,
    // Bounded by paths × weights × largest I/O, 2^16 × 2^24 × 2^32: far inside.
    credit: i128,
}

impl RoundRobin {
    /// Sharing out what `balance` says.
    #[must_use]
    pub fn new(balance: Balance, preference: impl Into<Preference>) -> Self {
        Self {
            balance,
            tier: Tier::new(preference.into()),
            reads: Account::default(),
            writes: Account::default(),
        }
    }

    fn cost(&self, io: &IoView) -> u32 {
        match self.balance {
            Balance::Ios => 1,
            Balance::Bytes => io.bytes.max(COMMAND_COST),
        }
    }
}

impl Policy for RoundRobin {
    fn choose(&mut self, now: Instant, io: &IoView, candidates: Candidates<'_>) -> Pick {
        let tier = self.tier.choose(now, candidates);
        let cost = self.cost(io);
        let account = match io.direction {
            Direction::Read => &mut self.reads,
            Direction::Write => &mut self.writes,
        };
        let competes = |view: &&PathView| tier.has(view) && view.slots_free > 0;
        match account.serve(cost, candidates.views().iter().filter(competes)) {
            Some(path) => candidates.pick_path(path),
            // All full: wait for any of the tier.
            None => candidates.best_by(|view| (!tier.has(view), view.path)),
        }
    }

    fn on_roster(&mut self, now: Instant, paths: &[PathView]) {
        self.tier.update(now, paths);
        self.reads.restart_unless_same(paths);
        self.writes.restart_unless_same(paths);
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

impl Account {
    /// One turn among `views`; `None` if there are none.
    fn serve<'a>(
        &mut self,
        cost: u32,
        views: impl Iterator<Item = &'a PathView> + Clone,
    ) -> Option<u16> {
        let cost = i128::from(cost);
        let mut total = 0;
        let mut best: Option<(i128, u16)> = None;
        for view in views {
            let weight = view.weight.max(1);
            let entry = self
                .credits
                .entry(view.path)
                .or_insert(Credit { weight, credit: 0 });
            entry.weight = weight;
            entry.credit += cost * i128::from(weight);
            total += i128::from(weight);
            if best.is_none_or(|(credit, _)| entry.credit > credit) {
                best = Some((entry.credit, view.path));
            }
        }
        let (_, path) = best?;
        if let Some(entry) = self.credits.get_mut(&path) {
            entry.credit -= cost * total;
        }
        Some(path)
    }

    fn restart_unless_same(&mut self, paths: &[PathView]) {
        let same = self.credits.iter().all(|(path, known)| {
            let mut views = paths.iter();
            views.any(|view| view.path == *path && view.weight.max(1) == known.weight)
        });
        if !same {
            self.credits.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{path, start};
    use crate::{Access, Failback};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn weighted(number: u16, weight: u8) -> PathView {
        PathView {
            weight,
            ..path(number)
        }
    }

    fn slow(number: u16) -> PathView {
        PathView {
            access: Access::ActiveNonOptimized,
            ..path(number)
        }
    }

    fn io(direction: Direction, bytes: u32) -> IoView {
        IoView {
            direction,
            bytes,
            lba: 0,
        }
    }

    fn next(policy: &mut RoundRobin, now: Instant, io: IoView, paths: &[PathView]) -> u16 {
        policy
            .choose(now, &io, Candidates::new(paths).unwrap())
            .path()
    }

    #[test]
    fn heavier_paths_are_interleaved_and_not_served_in_a_burst() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Ios, Failback::DEFAULT);
        let paths = [weighted(0, 5), weighted(1, 1), weighted(2, 1)];
        policy.on_roster(now, &paths);
        let read = io(Direction::Read, 4096);
        let turns: Vec<u16> = (0..14)
            .map(|_| next(&mut policy, now, read, &paths))
            .collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_client_that_alternates_reads_and_writes_spreads_both() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Ios, Failback::DEFAULT);
        let paths = [path(0), path(1)];
        let mut reads = [0; 2];
        let mut writes = [0; 2];
        for _ in 0..10 {
            reads[usize::from(next(&mut policy, now, io(Direction::Read, 512), &paths))] += 1;
            writes[usize::from(next(&mut policy, now, io(Direction::Write, 512), &paths))] += 1;
        }
        assert_eq!((reads, writes), ([5, 5], [5, 5]));
    }

    #[test]
    fn bytes_are_balanced_whatever_the_sizes() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Bytes, Failback::DEFAULT);
        let paths = [weighted(0, 1), weighted(1, 3)];
        let mut bytes = [0_u64; 2];
        let mut draw = 7_u64;
        for _ in 0..10_000 {
            draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1);
            let size = 4096 << (draw >> 61);
            let path = next(&mut policy, now, io(Direction::Write, size), &paths);
            bytes[usize::from(path)] += u64::from(size);
        }
        let expected = bytes[0] * 3;
        assert!(
            expected.abs_diff(bytes[1]) <= 4 * (4096 << 7) * 2,
            "{bytes:?} is not one to three"
        );
    }

    #[test]
    fn commands_without_data_take_turns_too() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Bytes, Failback::DEFAULT);
        let flush = io(Direction::Write, 0);
        let paths = [path(0), path(1)];
        let turns: Vec<u16> = (0..4)
            .map(|_| next(&mut policy, now, flush, &paths))
            .collect();
        assert_eq!(turns, [0, 1, 0, 1]);
    }

    #[test]
    fn a_full_path_loses_its_turn_and_has_no_burst_after() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Ios, Failback::DEFAULT);
        let read = io(Direction::Read, 4096);
        let mut paths = [path(0), path(1), path(2)];
        paths[0].slots_free = 0;
        for _ in 0..100 {
            assert_ne!(next(&mut policy, now, read, &paths), 0);
        }
        paths[0].slots_free = 1;
        let turns: Vec<u16> = (0..6)
            .map(|_| next(&mut policy, now, read, &paths))
            .collect();
        assert_eq!(
            turns.iter().filter(|path| **path == 0).count(),
            2,
            "{turns:?}"
        );
    }

    #[test]
    fn a_full_tier_makes_io_wait_instead_of_taking_a_worse_tier() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Ios, Failback::DEFAULT);
        let mut paths = [slow(0), path(1)];
        paths[1].slots_free = 0;
        policy.on_roster(now, &paths);
        assert_eq!(next(&mut policy, now, io(Direction::Read, 4096), &paths), 1);
    }

    #[test]
    fn the_better_tier_is_used_again_once_one_of_its_paths_is_proven() {
        let now = start();
        let mut policy = RoundRobin::new(Balance::Ios, Failback::After(30 * SECOND));
        let read = io(Direction::Read, 4096);
        let all = [path(0), path(1), slow(2), slow(3)];
        policy.on_roster(now, &all);
        assert!(next(&mut policy, now, read, &all) < 2);
        policy.on_roster(now, &all[2..]);
        assert!(next(&mut policy, now, read, &all[2..]) >= 2);
        policy.on_roster(now, &all[1..]);
        assert!(next(&mut policy, now + 29 * SECOND, read, &all[1..]) >= 2);
        policy.on_roster(now + 29 * SECOND, &all);
        let later = now + 30 * SECOND;
        let turns: Vec<u16> = (0..4)
            .map(|_| next(&mut policy, later, read, &all))
            .collect();
        let own: Vec<u16> = turns.iter().copied().filter(|path| *path < 2).collect();
        assert_eq!(
            own.len(),
            4,
            "with one path proven the whole tier competes: {turns:?}"
        );
        assert_eq!(
            own.iter().filter(|path| **path == 0).count(),
            2,
            "{turns:?}"
        );
    }
}
