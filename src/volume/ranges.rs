//! Writes that overlap never fly together.
//!
//! A write-like io (write, trim, write zeroes) *holds* its range from its start to its answer. One that
//! overlaps a held range, or the range of an io that waits before it, waits: so overlapping writes execute
//! in the order of their arrival, and a waiting io is never overtaken by a later one that overlaps it.
//! The caller says which ranges are haunted (`fence.rs`); those wait as well.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{IoId, PathId};
use crate::units::BlockRange;

/// The ranges that are being written, and the ios that wait for them.
#[derive(Debug, Default)]
pub struct RangeTable {
    /// First block → (block after the last, io). Disjoint.
    held: BTreeMap<u64, (u64, IoId)>,
    /// In order of arrival.
    waiting: VecDeque<(IoId, BlockRange)>,
    /// Ranges that are compared between two paths, by the path that is compared, and whether one was held
    /// since.
    watched: Vec<(PathId, BlockRange, bool)>,
}

impl RangeTable {
    /// Whether `range` overlaps one that is held.
    fn is_held(&self, range: BlockRange) -> bool {
        self.held
            .range(..range.end())
            .next_back()
            .is_some_and(|(_, &(end, _))| end > range.lba())
    }

    /// Takes the range for `io`, or queues it: `true` if it may start now.
    pub fn acquire(
        &mut self,
        io: IoId,
        range: BlockRange,
        haunted: impl Fn(BlockRange) -> bool,
    ) -> bool {
        let blocked = self.is_held(range)
            || self.waiting.iter().any(|(_, other)| other.overlaps(range))
            || haunted(range);
        if blocked {
            self.waiting.push_back((io, range));
        } else {
            self.hold(io, range);
        }
        !blocked
    }

    fn hold(&mut self, io: IoId, range: BlockRange) {
        let before = self.held.insert(range.lba(), (range.end(), io));
        assert!(before.is_none(), "held ranges are disjoint");
        for (_, watched, touched) in &mut self.watched {
            *touched |= watched.overlaps(range);
        }
    }

    /// From now on it is of interest for `path` whether something is written there.
    pub fn watch(&mut self, path: PathId, range: BlockRange, haunted: bool) {
        self.watch_no_more(path);
        let touched = haunted || self.is_held(range);
        self.watched.push((path, range, touched));
    }

    /// Whether nothing was written where `path` has it watched.
    pub fn is_undisturbed(&self, path: PathId) -> bool {
        let mut watched = self.watched.iter();
        watched.any(|(other, _, touched)| *other == path && !touched)
    }

    /// It is of no interest any more.
    pub fn watch_no_more(&mut self, path: PathId) {
        self.watched.retain(|(other, ..)| *other != path);
    }

    /// Gives back the range that `io` holds.
    pub fn release(&mut self, io: IoId, range: BlockRange) {
        let held = self.held.remove(&range.lba());
        assert_eq!(
            held,
            Some((range.end(), io)),
            "an io releases the range that it holds"
        );
    }

    /// Starts every waiting io that may start now; they are returned in order of arrival.
    pub fn start_waiting(&mut self, haunted: impl Fn(BlockRange) -> bool) -> Vec<IoId> {
        let mut started = Vec::new();
        let mut still: VecDeque<(IoId, BlockRange)> = VecDeque::new();
        for (io, range) in std::mem::take(&mut self.waiting) {
            let blocked = self.is_held(range)
                || still.iter().any(|(_, other)| other.overlaps(range))
                || haunted(range);
            if blocked {
                still.push_back((io, range));
            } else {
                self.hold(io, range);
                started.push(io);
            }
        }
        self.waiting = still;
        started
    }

    /// Whether an io waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether one of those that wait has such a range.
    pub fn any_waiting(&self, which: impl Fn(BlockRange) -> bool) -> bool {
        self.waiting.iter().any(|&(_, range)| which(range))
    }

    /// Number of ios that wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets an io that waits; `false` if it did not.
    pub fn forget_waiting(&mut self, io: IoId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|&(other, _)| other != io);
        self.waiting.len() < before
    }

    /// Number of ranges held.
    #[cfg(test)]
    fn held_count(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Geometry;

    fn range(lba: u64, blocks: u64) -> BlockRange {
        Geometry::new(512, 1 << 20)
            .unwrap()
            .range(lba * 512, blocks * 512)
            .unwrap()
    }

    fn calm(_: BlockRange) -> bool {
        false
    }

    #[test]
    fn disjoint_writes_fly_together() {
        let mut table = RangeTable::default();
        assert!(table.acquire(IoId(1), range(0, 8), calm));
        assert!(table.acquire(IoId(2), range(8, 8), calm));
        assert!(!table.has_waiting());
    }

    #[test]
    fn overlapping_writes_start_in_the_order_of_their_arrival() {
        let mut table = RangeTable::default();
        assert!(table.acquire(IoId(1), range(0, 8), calm));
        assert!(!table.acquire(IoId(2), range(4, 8), calm));
        assert!(
            !table.acquire(IoId(3), range(8, 8), calm),
            "overlaps the waiting one"
        );
        assert!(table.acquire(IoId(4), range(100, 1), calm));
        table.release(IoId(1), range(0, 8));
        assert_eq!(table.start_waiting(calm), [IoId(2)]);
        table.release(IoId(2), range(4, 8));
        assert_eq!(table.start_waiting(calm), [IoId(3)]);
    }

    #[test]
    fn a_haunted_range_waits_until_it_is_not() {
        let mut table = RangeTable::default();
        let ghost = range(10, 2);
        assert!(!table.acquire(IoId(1), range(8, 4), |r| r.overlaps(ghost)));
        assert!(table.start_waiting(|r| r.overlaps(ghost)).is_empty());
        assert_eq!(table.start_waiting(calm), [IoId(1)]);
    }

    #[test]
    fn a_watched_range_is_disturbed_by_what_is_written_there_and_by_nothing_else() {
        let (a, b) = (PathId(0), PathId(1));
        let mut table = RangeTable::default();
        assert!(!table.is_undisturbed(a), "nothing is watched");
        table.watch(a, range(8, 4), false);
        table.watch(b, range(20, 4), false);
        assert!(table.acquire(IoId(1), range(0, 8), calm));
        assert!(table.is_undisturbed(a));
        assert!(table.acquire(IoId(2), range(11, 1), calm));
        table.release(IoId(2), range(11, 1));
        assert!(!table.is_undisturbed(a), "a write came and went");
        assert!(table.is_undisturbed(b));
        table.watch(a, range(7, 1), false);
        assert!(!table.is_undisturbed(a), "a write was under way");
        table.watch(a, range(40, 1), true);
        assert!(!table.is_undisturbed(a), "a lost write may come");
        table.watch_no_more(b);
        assert!(!table.is_undisturbed(b));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(u64, u64),
        ReleaseNth(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u64..24, 1u64..6).prop_map(|(lba, len)| Step::Acquire(lba, len)),
            (0usize..8).prop_map(Step::ReleaseNth),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// Against a slow oracle: a list in order of arrival, where an io runs if no earlier unfinished
        /// one overlaps it.
        #[test]
        fn agrees_with_the_slow_oracle(steps in steps()) {
            let mut table = RangeTable::default();
            let mut unfinished: Vec<(IoId, BlockRange)> = Vec::new();
            let mut running: Vec<IoId> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Acquire(lba, len) => {
                        let (io, r) = (IoId(number as u64), range(lba, len));
                        let free = !unfinished.iter().any(|(_, other)| other.overlaps(r));
                        unfinished.push((io, r));
                        prop_assert_eq!(table.acquire(io, r, calm), free);
                        if free { running.push(io); }
                    }
                    Step::ReleaseNth(n) if !running.is_empty() => {
                        let io = running.remove(n % running.len());
                        let at = unfinished.iter().position(|&(i, _)| i == io).unwrap();
                        let (_, r) = unfinished.remove(at);
                        table.release(io, r);
                        let mut expected = Vec::new();
                        for (i, &(io, r)) in unfinished.iter().enumerate() {
                            if !running.contains(&io) && !unfinished[..i].iter().any(|(_, o)| o.overlaps(r)) {
                                expected.push(io);
                            }
                        }
                        let started = table.start_waiting(calm);
                        prop_assert_eq!(&started, &expected);
                        running.extend(started);
                    }
                    Step::ReleaseNth(_) => {}
                }
                prop_assert_eq!(table.held_count(), running.len());
            }
        }
    }
}
