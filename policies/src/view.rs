//! What a policy sees.

/// ALUA access state of a path, best first (SPC-5 5.18.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Active/optimized, or a target without ALUA.
    ActiveOptimized,
    /// Active/non-optimized.
    ActiveNonOptimized,
    /// Logical block dependent, or a state that the standard reserves.
    BlockDependent,
    /// Up, but carrying nothing now: standby, unavailable, offline, transitioning. Such a path is in
    /// [`crate::Policy::on_roster`] only, so that its return is not taken for one from a failure.
    Resting,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the target.
    Read,
    /// To the target (writes, trims, write zeroes, flushes).
    Write,
}

/// The I/O to be placed.
#[derive(Clone, Copy, Debug)]
pub struct IoView {
    /// Which way.
    pub direction: Direction,
    /// Size of the data in bytes; 0 for commands without data.
    pub bytes: u32,
    /// First logical block.
    pub lba: u64,
}

/// A usable path.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    /// Its number in the volume.
    pub path: u16,
    /// Access state.
    pub access: Access,
    /// The target prefers its port group.
    pub preferred: bool,
    /// Operator's tier, smallest first, default 0.
    pub tier: u8,
    /// Operator's weight, 1–255, default 1.
    pub weight: u8,
    /// Commands in flight on it.
    pub in_flight: u32,
    /// Bytes in flight on it.
    pub in_flight_bytes: u64,
    /// When the command was sent that has been in flight for longest.
    pub oldest: Option<std::time::Instant>,
    /// Further commands that it may take now. 0: it is full, and a pick of it means that the I/O waits.
    pub slots_free: u32,
}

/// The usable paths for one choice: never empty, in ascending order of path number.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a>(&'a [PathView]);

impl<'a> Candidates<'a> {
    /// `None` if there is no path.
    #[must_use]
    pub fn new(paths: &'a [PathView]) -> Option<Self> {
        debug_assert!(paths.windows(2).all(|w| w[0].path < w[1].path));
        (!paths.is_empty()).then_some(Self(paths))
    }

    /// The paths.
    #[must_use]
    pub fn views(self) -> &'a [PathView] {
        self.0
    }

    /// Picks by index into [`Candidates::views`].
    ///
    /// # Panics
    /// If there is no such candidate.
    #[must_use]
    pub fn pick(self, index: usize) -> Pick {
        Pick(self.0[index].path)
    }

    /// Picks by path number.
    ///
    /// # Panics
    /// If there is no such candidate.
    #[must_use]
    pub fn pick_path(self, path: u16) -> Pick {
        assert!(
            self.0.iter().any(|view| view.path == path),
            "path {path} is no candidate"
        );
        Pick(path)
    }

    /// Picks the first candidate that is the best by `rank` (smallest wins).
    #[must_use]
    pub fn best_by<R: Ord>(self, rank: impl FnMut(&PathView) -> R) -> Pick {
        Pick(self.best_view_by(rank).path)
    }

    /// The first candidate that is the best by `rank` (smallest wins).
    #[must_use]
    pub fn best_view_by<R: Ord>(self, rank: impl FnMut(&PathView) -> R) -> &'a PathView {
        let mut rank = rank;
        let mut best = &self.0[0];
        let mut best_rank = rank(best);
        for view in &self.0[1..] {
            let r = rank(view);
            if r < best_rank {
                best = view;
                best_rank = r;
            }
        }
        best
    }
}

/// A choice: only a [`Candidates`] can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick(u16);

impl Pick {
    /// The path's number.
    #[must_use]
    pub fn path(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An origin for virtual time.
    #[expect(
        clippy::disallowed_methods,
        reason = "Instant has no other constructor; the value is never compared with the clock"
    )]
    pub(crate) fn start() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// An idle path with weight 1 in the best tier.
    pub(crate) fn path(number: u16) -> PathView {
        PathView {
            path: number,
            access: Access::ActiveOptimized,
            preferred: false,
            tier: 0,
            weight: 1,
            in_flight: 0,
            in_flight_bytes: 0,
            oldest: None,
            slots_free: 32,
        }
    }

    #[test]
    fn an_empty_set_is_no_candidates() {
        assert!(Candidates::new(&[]).is_none());
    }

    #[test]
    fn the_first_of_equally_ranked_candidates_wins() {
        let views = [path(2), path(5), path(7)];
        let candidates = Candidates::new(&views).unwrap();
        assert_eq!(candidates.best_by(|view| view.weight).path(), 2);
        assert_eq!(candidates.best_by(|view| u16::MAX - view.path).path(), 7);
        assert_eq!(candidates.pick(1).path(), 5);
    }
}
