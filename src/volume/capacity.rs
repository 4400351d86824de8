//! What becomes of a logical unit that changes its size.
//!
//! A unit that grew is served with its new size when every path that is up tells of it: an array's
//! controllers learn of a resize one after the other, and a write beyond the old end that one of them
//! refuses would be an error for the client. A path that carries nothing hears nothing, so those that tell
//! of less are asked to look again. Clients that are connected keep the size that they were told, for the
//! NBD protocol has no message for another one; whoever connects from then on is told the new one.
//!
//! A unit is never served with less than it had: what was written beyond its end is gone, so the path that
//! tells of less is refused ([`super::admission`]).

use crate::sabotage::{self, Feature};
use std::time::{Duration, Instant};

use crate::ids::PathId;
use crate::path::message::{Order, Standing};
use crate::units::Geometry;

use super::Volume;

/// Paths that disagree about the size are asked again after this; the pause doubles.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The longest such pause.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Paths that tell of different sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disagreement {
    /// The largest size that one of them tells of.
    largest: u64,
    /// The others are asked then.
    ask_at: Instant,
    pause: Duration,
}

impl Volume {
    /// The size that the volume's clients are told of.
    fn served(&self) -> Option<Geometry> {
        self.unit.as_ref().map(|unit| unit.geometry)
    }

    /// What the paths that are up tell of.
    fn sizes(&self) -> Vec<(PathId, u64)> {
        let up = self
            .roster
            .iter()
            .filter(|(_, route)| route.standing != Standing::Unusable && !route.retiring);
        up.filter_map(|(path, route)| Some((path, route.unit.as_ref()?.geometry.blocks())))
            .collect()
    }

    /// A path went into use, or out of it: do all that are up tell of a larger unit?
    pub(super) fn judge_size(&mut self, now: Instant) {
        if sabotage::is_without(Feature::Growth) {
            return;
        }
        let sizes = self.sizes();
        let largest = sizes.iter().map(|(_, blocks)| *blocks).max();
        let Some((served, largest)) = self.served().zip(largest) else {
            return;
        };
        if largest <= served.blocks() {
            self.disagreement = None;
            return;
        }
        if !self.config.grow {
            return;
        }
        if sizes.iter().all(|(_, blocks)| *blocks == largest) {
            self.disagreement = None;
            return self.grow(now, largest);
        }
        if self
            .disagreement
            .is_none_or(|known| known.largest != largest)
        {
            self.disagreement = Some(Disagreement {
                largest,
                ask_at: now,
                pause: ASK_AGAIN,
            });
            tracing::info!(
                served = %served, blocks = largest,
                "the logical unit has grown, says one path: the others are asked"
            );
        }
        self.ask_about_size(now);
    }

    /// Has the paths look again that tell of less than another one, if it is time.
    pub(super) fn ask_about_size(&mut self, now: Instant) {
        let Some(known) = &mut self.disagreement else {
            return;
        };
        if known.ask_at > now {
            return;
        }
        known.ask_at = now + known.pause;
        known.pause = known.pause.saturating_mul(2).min(ASK_AGAIN_MAX);
        let largest = known.largest;
        for (path, blocks) in self.sizes() {
            if blocks < largest && self.roster.route(path).standing.is_usable() {
                self.orders.push_back((path, Order::Recheck));
            }
        }
    }

    /// When [`Volume::ask_about_size`] is due.
    pub(super) fn size_deadline(&self) -> Option<Instant> {
        self.disagreement.map(|known| known.ask_at)
    }

    fn grow(&mut self, now: Instant, blocks: u64) {
        let Some(unit) = &mut self.unit else { return };
        let before = unit.geometry;
        let Some(after) = Geometry::new(before.block_size(), blocks) else {
            return;
        };
        let mut grown = (**unit).clone();
        grown.geometry = after;
        grown.identity = grown.identity.resized(after);
        *unit = std::sync::Arc::new(grown);
        let what =
            format!("from {before} to {after}; clients that are connected keep the old size");
        tracing::info!("the logical unit has grown {what}");
        self.journal.note(now, "grown", &what);
    }
}
