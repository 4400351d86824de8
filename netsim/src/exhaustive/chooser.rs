//! A policy that does what the search says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use policies::tier::Rank;
use policies::{Candidates, IoView, PathView, Pick, Policy, Tiers};

/// One choice of a path: which candidate was taken, out of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) taken: usize,
    pub(super) of: usize,
}

#[derive(Debug, Default)]
struct Script {
    prescribed: Vec<usize>,
    made: Vec<Choice>,
}

/// Prescribes choices and tells which were made. Beyond what is prescribed, the first candidate is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Chooser(Arc<Mutex<Script>>);

impl Chooser {
    pub(super) fn prescribe(&self, choices: &[usize]) {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.prescribed = choices.to_vec();
        script.made.clear();
    }

    pub(super) fn made(&self) -> Vec<Choice> {
        let script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.made.clone()
    }
}

impl Policy for Chooser {
    fn choose(&mut self, _: Instant, _: &IoView, paths: Candidates<'_>) -> Pick {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = script.made.len();
        let taken = script.prescribed.get(place).copied().unwrap_or(0);
        let of = paths.views().len();
        script.made.push(Choice { taken, of });
        paths.pick(taken)
    }

    fn tier(&self, path: &PathView) -> Rank {
        Tiers::Single.rank(path.access, path.preferred, path.tier)
    }
}
