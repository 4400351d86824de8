//! Where the volume wrote last, and whether it writes where two paths are being compared.

use crate::ids::PathId;
use crate::units::BlockRange;

use super::Volume;

/// So many of the last writes are remembered.
const REMEMBERED: usize = 16;

/// The last writes that were asked for; which of them is older does not matter.
#[derive(Debug, Default)]
pub(super) struct Written {
    ranges: [Option<BlockRange>; REMEMBERED],
    next: usize,
}

impl Written {
    pub(super) fn note(&mut self, range: BlockRange) {
        self.ranges[self.next] = Some(range);
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Volume {
    /// Where it wrote last: a copy of the unit differs there.
    #[must_use]
    pub fn last_written(&self) -> Vec<BlockRange> {
        self.written.ranges.iter().flatten().copied().collect()
    }

    /// From now on it is of interest for `path` whether something is written there.
    pub fn watch(&mut self, path: PathId, range: BlockRange) {
        let haunted = self.ledger.is_haunted(range);
        self.ranges.watch(path, range, haunted);
    }

    /// Whether nothing was written where `path` has it watched, nor may have been.
    #[must_use]
    pub fn is_undisturbed(&self, path: PathId) -> bool {
        self.ranges.is_undisturbed(path)
    }

    /// It is of no interest any more.
    pub fn watch_no_more(&mut self, path: PathId) {
        self.ranges.watch_no_more(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Geometry;

    #[test]
    fn the_last_writes_are_remembered_and_no_more() {
        let unit = Geometry::new(512, 1 << 20).unwrap();
        let mut written = Written::default();
        for block in 0..40 {
            written.note(unit.range(block * 512, 512).unwrap());
        }
        let mut blocks: Vec<_> = written.ranges.iter().flatten().map(|r| r.lba()).collect();
        blocks.sort_unstable();
        assert_eq!(blocks, (24..40).collect::<Vec<_>>());
    }
}
