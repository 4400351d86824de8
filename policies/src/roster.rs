//! What is known of the paths over time: which are usable, and since when.
//!
//! Shared by the selectors for one question: may a path that failed and came back be preferred
//! again ([`Roster::proven`])? A path that never failed always may; one that came back must have
//! been usable without a break for the time that the failback rule demands. A path that is up and
//! whose access state becomes better is proven at once: there the array asks for it, nothing has failed.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::tier::Rank;
use crate::{Failback, PathView, Preference, Tiers};

/// History of the usable paths.
#[derive(Debug)]
pub struct Roster {
    preference: Preference,
    paths: BTreeMap<u16, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Up { rank: Rank, since: Since },
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ever,
    Back(Instant),
}

impl Roster {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(preference: Preference) -> Self {
        Self {
            preference,
            paths: BTreeMap::new(),
        }
    }

    pub(crate) fn tiers(&self) -> Tiers {
        self.preference.tiers
    }

    /// These paths are up now, and no others.
    pub fn update(&mut self, now: Instant, up: &[PathView]) {
        for (path, entry) in &mut self.paths {
            if !up.iter().any(|view| view.path == *path) {
                *entry = Entry::Failed;
            }
        }
        self.observe(now, up);
    }

    /// These paths are up now; nothing is said about others.
    pub fn observe(&mut self, now: Instant, up: &[PathView]) {
        for view in up {
            let rank = self.preference.tiers.of(view);
            let since = match self.paths.get(&view.path) {
                None => Since::Ever,
                Some(Entry::Up { rank: was, .. }) if rank < *was => Since::Ever,
                Some(Entry::Up { since, .. }) => *since,
                Some(Entry::Failed) => Since::Back(now),
            };
            self.paths.insert(view.path, Entry::Up { rank, since });
        }
    }

    /// Whether the failback rule allows that `path` is preferred over one that works.
    #[must_use]
    pub fn proven(&self, now: Instant, path: u16) -> bool {
        match (self.paths.get(&path), self.preference.failback) {
            (None | Some(Entry::Failed), _) => false,
            (
                Some(Entry::Up {
                    since: Since::Ever, ..
                }),
                _,
            ) => true,
            (Some(_), Failback::Immediate) => true,
            (Some(_), Failback::Manual) => false,
            (
                Some(Entry::Up {
                    since: Since::Back(since),
                    ..
                }),
                Failback::After(time),
            ) => now.saturating_duration_since(*since) >= time,
        }
    }

    /// Whether `path` is usable, free slot or not.
    #[must_use]
    pub fn usable(&self, path: u16) -> bool {
        matches!(self.paths.get(&path), Some(Entry::Up { rank, .. }) if *rank < Rank::RESTING)
    }

    /// Whether any usable path, free slot or not, is in that tier.
    #[must_use]
    pub fn tier_usable(&self, tier: Rank) -> bool {
        let mut entries = self.paths.values();
        entries.any(|entry| matches!(entry, Entry::Up { rank, .. } if *rank == tier))
    }

    /// Forgets a path.
    pub fn forget(&mut self, path: u16) {
        self.paths.remove(&path);
    }

    /// Forgets every failure: all usable paths count as proven.
    pub fn forgive(&mut self) {
        for entry in self.paths.values_mut() {
            if let Entry::Up { since, .. } = entry {
                *since = Since::Ever;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;
    use crate::view::tests::{path, start};
    use std::time::Duration;

    #[test]
    fn a_path_that_never_failed_is_proven_under_every_rule() {
        let now = start();
        for rule in [Failback::Immediate, Failback::DEFAULT, Failback::Manual] {
            let mut roster = Roster::new(rule.into());
            roster.update(now, &[path(3)]);
            assert!(roster.proven(now, 3));
            assert!(!roster.proven(now, 4), "an unknown path is not proven");
        }
    }

    #[test]
    fn a_path_that_came_back_is_proven_after_unbroken_time() {
        let t = Duration::from_secs;
        let base = start();
        let mut roster = Roster::new(Failback::After(t(30)).into());
        roster.update(base, &[path(0), path(1)]);
        roster.update(base + t(1), &[path(1)]);
        roster.update(base + t(2), &[path(0), path(1)]);
        assert!(!roster.proven(base + t(31), 0));
        roster.update(base + t(31), &[path(1)]);
        roster.update(base + t(32), &[path(0), path(1)]);
        assert!(
            !roster.proven(base + t(61), 0),
            "the break starts the time again"
        );
        assert!(roster.proven(base + t(62), 0));
        assert!(roster.proven(base, 1));
    }

    #[test]
    fn manual_failback_waits_for_the_operator() {
        let now = start();
        let mut roster = Roster::new(Failback::Manual.into());
        roster.update(now, &[path(0)]);
        roster.update(now, &[]);
        assert!(!roster.usable(0));
        roster.update(now, &[path(0)]);
        assert!(roster.usable(0));
        assert!(!roster.proven(now + Duration::from_secs(1 << 20), 0));
        roster.forgive();
        assert!(roster.proven(now, 0));
    }

    #[test]
    fn a_path_that_the_array_promotes_is_proven_at_once() {
        let now = start();
        let standby = PathView {
            access: Access::ActiveNonOptimized,
            ..path(0)
        };
        let mut roster = Roster::new(Failback::Manual.into());
        roster.update(now, &[standby]);
        roster.update(now, &[]);
        roster.update(now, &[standby]);
        assert!(!roster.proven(now, 0));
        roster.update(now, &[path(0)]);
        assert!(roster.proven(now, 0));
    }
}
