//! Which paths' portals share their sessions, as far as proofs have shown.

use std::collections::BTreeSet;

use crate::ids::PathId;
use crate::sabotage::{self, Sabotage};

/// Session groups: two paths are in the same one if a login through either's portal reinstates the
/// other's session.
#[derive(Debug)]
pub(super) struct SessionGroups {
    /// Group of each path; paths start alone.
    group: Vec<u16>,
    /// Pairs of groups that a proof showed to be different, the lower first.
    different: BTreeSet<(u16, u16)>,
    /// Pairs of paths with one proof that they share their sessions. The network may have closed the
    /// connection at that very moment, so it takes a second one.
    claimed: BTreeSet<(PathId, PathId)>,
}

impl SessionGroups {
    pub(super) fn new(paths: usize) -> Self {
        Self {
            group: (0u16..).take(paths).collect(),
            different: BTreeSet::new(),
            claimed: BTreeSet::new(),
        }
    }

    fn of(&self, path: PathId) -> u16 {
        self.group[usize::from(path.0)]
    }

    /// Whether it is proven that the two share their sessions.
    pub(super) fn same(&self, a: PathId, b: PathId) -> bool {
        self.of(a) == self.of(b) || sabotage::is(Sabotage::ForeignFence)
    }

    /// Whether nothing is known of the two.
    pub(super) fn unknown(&self, a: PathId, b: PathId) -> bool {
        let pair = ordered(self.of(a), self.of(b));
        pair.0 != pair.1 && !self.different.contains(&pair)
    }

    /// A proof's result.
    pub(super) fn learn(&mut self, a: PathId, b: PathId, shared: bool) {
        let pair = (a.min(b), a.max(b));
        if shared && self.claimed.insert(pair) {
            return;
        }
        if !shared {
            self.claimed.remove(&pair);
        }
        let (keep, gone) = ordered(self.of(a), self.of(b));
        if keep == gone {
            return;
        }
        if !shared {
            self.different.insert((keep, gone));
            return;
        }
        for group in self.group.iter_mut().filter(|group| **group == gone) {
            *group = keep;
        }
        let rename = |group| if group == gone { keep } else { group };
        self.different = self
            .different
            .iter()
            .map(|&(x, y)| ordered(rename(x), rename(y)))
            .collect();
    }
}

fn ordered(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharing_is_transitive_and_separation_follows_the_merged_group() {
        let [a, b, c, d] = [0, 1, 2, 3].map(PathId);
        let mut groups = SessionGroups::new(4);
        assert!(groups.unknown(a, b) && !groups.same(a, b));
        groups.learn(b, a, true);
        assert!(groups.unknown(a, b), "once may be a coincidence");
        groups.learn(b, a, true);
        groups.learn(c, d, false);
        groups.learn(c, b, true);
        groups.learn(c, b, true);
        assert!(groups.same(a, c), "through b");
        assert!(
            !groups.unknown(a, d) && !groups.same(a, d),
            "d is known to be apart from c, so from a"
        );
    }
}
