//! Which access tier competes: the best one that has a usable path.
//!
//! Down is immediate; back up to a tier whose paths had failed follows the failback rule
//! ([`Roster::proven`]).

use std::time::Instant;

use crate::roster::Roster;
use crate::{Access, Candidates, Failback, PathView};

/// See the module.
#[derive(Debug)]
pub struct Tier {
    roster: Roster,
    now_used: Option<Access>,
}

impl Tier {
    /// No path was seen yet.
    #[must_use]
    pub fn new(failback: Failback) -> Self {
        Self {
            roster: Roster::new(failback),
            now_used: None,
        }
    }

    /// The tier that competes now.
    pub fn choose(&mut self, now: Instant, candidates: Candidates<'_>) -> Access {
        self.roster.observe(now, candidates.views());
        let best = candidates.best_view_by(|view| view.access).access;
        let tier = match self.now_used {
            Some(tier) if self.roster.tier_usable(tier) => {
                let proven = candidates
                    .views()
                    .iter()
                    .filter(|view| view.access < tier && self.roster.proven(now, view.path));
                proven.map(|view| view.access).min().unwrap_or(tier)
            }
            _ => best,
        };
        self.now_used = Some(tier);
        let present = candidates.views().iter().any(|view| view.access == tier);
        if present { tier } else { best }
    }

    /// These paths are usable now, and no others.
    pub fn update(&mut self, now: Instant, usable: &[PathView]) {
        self.roster.update(now, usable);
    }

    /// Forgets a path.
    pub fn forget(&mut self, path: u16) {
        self.roster.forget(path);
    }

    /// All usable paths count as proven.
    pub fn forgive(&mut self) {
        self.roster.forgive();
    }
}
