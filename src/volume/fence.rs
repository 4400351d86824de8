//! The ledger of ghosts: writes whose session was lost before their answer, and which the target may
//! therefore still execute.
//!
//! A ghost haunts its range. An overlapping later write waits until the ghost's session is fenced: until
//! the target cannot execute anything of it any more. Executing the same write once more is harmless, so the
//! write itself is issued again at once, and reads never wait. The ledger outlives reconnects; a ghost leaves
//! it by a fence or, as an assumption and not a proof, after the quiesce time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};
use crate::sabotage::{self, Sabotage};
use crate::units::BlockRange;

/// The ghosts of one lost session.
#[derive(Debug)]
struct Haunt {
    /// The youngest one's beginning.
    since: Instant,
    /// The oldest one's.
    begun: Instant,
    ranges: Vec<BlockRange>,
}

/// A session's ghosts that were let go by time alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    /// The path of the lost session.
    pub(super) path: PathId,
    /// The lost session.
    pub(super) incarnation: Incarnation,
    /// What it haunted.
    pub(super) ranges: Vec<BlockRange>,
}

/// All ghosts of a volume.
#[derive(Debug)]
pub(super) struct Ledger {
    haunts: BTreeMap<(PathId, Incarnation), Haunt>,
    quiesce: Option<Duration>,
    /// Paths that were fenced once.
    fenced: BTreeSet<PathId>,
}

impl Ledger {
    pub(super) fn new(quiesce: Option<Duration>) -> Self {
        Self {
            haunts: BTreeMap::new(),
            quiesce,
            fenced: BTreeSet::new(),
        }
    }

    /// Ghosts are let go after that time from now on, those that there are as well.
    pub(super) fn set_quiesce(&mut self, quiesce: Option<Duration>) {
        self.quiesce = quiesce;
    }

    /// A write to `range` was lost with that session at `now`.
    pub(super) fn record(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        range: BlockRange,
    ) {
        if sabotage::is(Sabotage::StaleFence) && self.fenced.contains(&path) {
            return;
        }
        let haunt = self.haunts.entry((path, incarnation)).or_insert(Haunt {
            since: now,
            begun: now,
            ranges: Vec::new(),
        });
        haunt.since = now;
        haunt.ranges.push(range);
    }

    /// Whether a ghost may still write to `range`.
    pub(super) fn is_haunted(&self, range: BlockRange) -> bool {
        let mut ghosts = self.haunts.values().flat_map(|haunt| &haunt.ranges);
        ghosts.any(|ghost| ghost.overlaps(range)) && !sabotage::is(Sabotage::GhostRuleOff)
    }

    /// Whether that session has unfenced ghosts.
    pub(super) fn has(&self, path: PathId, incarnation: Incarnation) -> bool {
        self.haunts.contains_key(&(path, incarnation))
    }

    /// Whether the path has unfenced ghosts.
    pub(super) fn haunts_path(&self, path: PathId) -> bool {
        self.haunts
            .range((path, Incarnation(0))..=(path, Incarnation(u32::MAX)))
            .next()
            .is_some()
    }

    /// The path's sessions up to `upto` cannot execute anything any more; `true` if that laid a ghost.
    pub(super) fn fenced(&mut self, path: PathId, upto: Incarnation) -> bool {
        if sabotage::is(Sabotage::StaleFence) {
            self.fenced.insert(path);
        }
        let before = self.haunts.len();
        self.haunts
            .retain(|&(p, incarnation), _| p != path || incarnation > upto);
        self.haunts.len() < before
    }

    /// The session lives, and nothing of it executes that had ended by then; `true` if that laid a ghost.
    pub(super) fn drained(&mut self, path: PathId, incarnation: Incarnation, by: Instant) -> bool {
        let key = (path, incarnation);
        let old = self.haunts.get(&key).is_some_and(|haunt| haunt.since <= by);
        old && self.haunts.remove(&key).is_some()
    }

    /// Whether there is no ghost.
    pub(super) fn is_empty(&self) -> bool {
        self.haunts.is_empty()
    }

    /// When the youngest ghost of that session was recorded.
    pub(super) fn youngest(&self, path: PathId, incarnation: Incarnation) -> Option<Instant> {
        let haunt = self.haunts.get(&(path, incarnation));
        haunt.map(|haunt| haunt.since)
    }

    /// Whether a ghost of one of the path's sessions may write to `range`.
    pub(super) fn haunts_by(&self, path: PathId, range: BlockRange) -> bool {
        let of_path = (path, Incarnation(0))..=(path, Incarnation(u32::MAX));
        let haunts = self.haunts.range(of_path);
        let mut ghosts = haunts.flat_map(|(_, haunt)| &haunt.ranges);
        ghosts.any(|ghost| ghost.overlaps(range))
    }

    /// All ghosts are taken for laid.
    pub(super) fn clear(&mut self) {
        self.haunts.clear();
    }

    /// Lets go of what was lost a quiesce time ago.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let Some(quiesce) = self.quiesce else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        self.haunts.retain(|&(path, incarnation), haunt| {
            let over = haunt.since + quiesce <= now || sabotage::is(Sabotage::QuiesceTooShort);
            if over {
                let ranges = std::mem::take(&mut haunt.ranges);
                expired.push(Expired {
                    path,
                    incarnation,
                    ranges,
                });
            }
            !over
        });
        expired
    }

    /// When the next ghost is let go by time.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let quiesce = self.quiesce?;
        self.haunts
            .values()
            .map(|haunt| haunt.since + quiesce)
            .min()
    }

    /// The first session of the path that has ghosts.
    pub(super) fn first(&self, path: PathId) -> Option<Incarnation> {
        let mut haunts = self
            .haunts
            .range((path, Incarnation(0))..=(path, Incarnation(u32::MAX)));
        haunts.next().map(|((_, incarnation), _)| *incarnation)
    }

    /// Since when the path's sessions up to `upto` have had ghosts.
    pub(super) fn oldest(&self, path: PathId, upto: Incarnation) -> Option<Instant> {
        let haunts = self.haunts.range((path, Incarnation(0))..=(path, upto));
        haunts.map(|(_, haunt)| haunt.begun).min()
    }

    /// Number of ghosts.
    pub(super) fn count(&self) -> usize {
        self.haunts.values().map(|haunt| haunt.ranges.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Geometry;

    fn range(lba: u64, blocks: u64) -> BlockRange {
        Geometry::new(512, 1 << 20)
            .unwrap()
            .range(lba * 512, blocks * 512)
            .unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of a test's time"
    )]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn only_a_fence_of_its_own_session_or_a_later_one_lays_a_ghost() {
        let (t0, mut ledger) = (origin(), Ledger::new(Some(Duration::from_secs(45))));
        ledger.record(t0, PathId(0), Incarnation(3), range(0, 8));
        assert!(
            !ledger.fenced(PathId(1), Incarnation(9)),
            "another path's fence"
        );
        assert!(
            !ledger.fenced(PathId(0), Incarnation(2)),
            "an older session's fence"
        );
        assert!(ledger.is_haunted(range(7, 4)));
        assert!(!ledger.is_haunted(range(8, 4)));
        assert!(ledger.fenced(PathId(0), Incarnation(3)));
        assert!(!ledger.is_haunted(range(7, 4)));
    }

    #[test]
    fn a_ghost_is_let_go_after_the_quiesce_time_and_named() {
        let (t0, mut ledger) = (origin(), Ledger::new(Some(Duration::from_secs(45))));
        ledger.record(t0, PathId(0), Incarnation(3), range(0, 8));
        ledger.record(
            t0 + Duration::from_secs(9),
            PathId(0),
            Incarnation(3),
            range(64, 8),
        );
        assert_eq!(
            ledger.next_expiry(),
            Some(t0 + Duration::from_secs(54)),
            "of the younger one"
        );
        assert!(ledger.expire(t0 + Duration::from_millis(53_999)).is_empty());
        let expired = ledger.expire(t0 + Duration::from_secs(54));
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].ranges, [range(0, 8), range(64, 8)]);
        assert_eq!(ledger.count(), 0);
    }
}
