//! The cheapest path: what all selectors by cost have in common.
//!
//! A path of another tier or without a free slot does not compete; if all are full, the I/O waits. Equal
//! costs take turns.

use std::collections::BTreeMap;

use crate::tier::Competing;
use crate::{Candidates, PathView, Pick};

/// Remembers whose turn is longest ago.
#[derive(Debug, Default)]
pub struct Least {
    turn: u64,
    /// Each path's last turn.
    turns: BTreeMap<u16, u64>,
}

impl Least {
    /// The cheapest competing candidate with a free slot; without one, a full path that competes.
    #[must_use]
    pub fn choose(
        &self,
        candidates: Candidates<'_>,
        competing: Competing,
        mut cost: impl FnMut(&PathView) -> f64,
    ) -> Pick {
        let competes = |view: &&PathView| competing.has(view) && view.slots_free > 0;
        let mut best: Option<(f64, u64, u16)> = None;
        for view in candidates.views().iter().filter(competes) {
            let (cost, turn) = (cost(view), self.turns.get(&view.path).copied());
            let turn = turn.unwrap_or_default();
            let better = best
                .is_none_or(|(least, oldest, _)| cost < least || (cost <= least && turn < oldest));
            if better {
                best = Some((cost, turn, view.path));
            }
        }
        match best {
            Some((_, _, path)) => candidates.pick_path(path),
            None => candidates.best_by(|view| (!competing.has(view), view.path)),
        }
    }

    /// It was this path's turn.
    pub fn on_dispatch(&mut self, path: u16) {
        self.turn += 1;
        self.turns.insert(path, self.turn);
    }

    /// Forgets paths that are gone.
    pub fn update(&mut self, paths: &[PathView]) {
        self.turns
            .retain(|path, _| paths.iter().any(|view| view.path == *path));
    }
}
