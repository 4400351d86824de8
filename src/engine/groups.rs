//! Which paths' portals share their sessions, as far as proofs have shown.

use std::collections::BTreeSet;

use crate::ids::PathId;
use crate::sabotage::{self, Sabotage};

/// Session groups: two paths are in the same one if a login through either's portal reinstates the
/// other's session.
#[derive(Debug)]
pub(super) struct SessionGroups {
    /// Group of each path; paths start alone.
    group: Vec<u32>,
    /// The number of the next new group; groups are never numbered anew.
    next: u32,
    /// Pairs of groups that a proof showed to be different, the lower first.
    different: BTreeSet<(u32, u32)>,
}

impl SessionGroups {
    pub(super) fn new(paths: usize) -> Self {
        let mut groups = Self {
            group: Vec::new(),
            next: 0,
            different: BTreeSet::new(),
        };
        for path in (0u16..).map(PathId).take(paths) {
            groups.put(path);
        }
        groups
    }

    /// A path of which nothing is known, under a number that may have been another one's.
    pub(super) fn put(&mut self, path: PathId) {
        let group = self.next;
        self.next += 1;
        match self.group.get_mut(usize::from(path.0)) {
            Some(place) => *place = group,
            None => self.group.push(group),
        }
        let groups = &self.group;
        let lives = |group: &u32| groups.contains(group);
        self.different.retain(|(a, b)| lives(a) && lives(b));
    }

    /// The two reach the same portal of the same target in the same way: what a login through that does to
    /// sessions of the one it does to the other's.
    pub(super) fn unite(&mut self, a: PathId, b: PathId) {
        self.merge(a, b);
    }

    fn of(&self, path: PathId) -> u32 {
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
        let (one, other) = ordered(self.of(a), self.of(b));
        if shared {
            self.merge(a, b);
        } else if one != other {
            self.different.insert((one, other));
        }
    }

    fn merge(&mut self, a: PathId, b: PathId) {
        let (keep, gone) = ordered(self.of(a), self.of(b));
        if keep == gone {
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

fn ordered(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_path_has_had_proves_nothing_for_its_new_one() {
        let [a, b, c] = [0, 1, 2].map(PathId);
        let mut groups = SessionGroups::new(3);
        groups.learn(a, b, true);
        groups.learn(c, a, false);
        groups.put(a);
        assert!(groups.unknown(a, b) && groups.unknown(a, c));
        assert!(!groups.unknown(b, c), "b is still known to be apart from c");
    }

    #[test]
    fn sharing_is_transitive_and_separation_follows_the_merged_group() {
        let [a, b, c, d] = [0, 1, 2, 3].map(PathId);
        let mut groups = SessionGroups::new(4);
        assert!(groups.unknown(a, b) && !groups.same(a, b));
        groups.learn(b, a, true);
        groups.learn(c, d, false);
        groups.learn(c, b, true);
        assert!(groups.same(a, c), "through b");
        assert!(
            !groups.unknown(a, d) && !groups.same(a, d),
            "d is known to be apart from c, so from a"
        );
    }
}
