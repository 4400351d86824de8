//! Writes that were aborted, and may run on in the target's backing store all the same.
//!
//! They haunt their ranges as those of a lost session do, but theirs lives: it need not end to lay them. An
//! ordered command in the same session is answered after everything older (`path/fencing.rs`). It stands in
//! the way of younger commands for as long as something older takes, and so it is asked for only when
//! somebody waits: a write for its range, or, on a `shared` volume, the write's own acknowledgement; or if
//! its path is about to go; or after [`IDLE`], when what ran on has ended and the command costs nothing.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};
use crate::path::message::{Order, Standing};

use super::Volume;

/// Nobody waits: then the barrier does.
const IDLE: Duration = Duration::from_secs(10);

impl Volume {
    /// Sessions that live and have ghosts, when the youngest of each was recorded, and whether somebody
    /// waits.
    fn live_ghosts(&self) -> impl Iterator<Item = (PathId, Instant, bool)> {
        let routes = self.roster.iter().filter(|(path, route)| {
            route.standing != Standing::Unusable && !self.drains.contains_key(path)
        });
        routes.filter_map(|(path, route)| {
            let youngest = self.ledger.youngest(path, route.incarnation)?;
            let waits = |range| self.ledger.haunts_by(path, range);
            let waits = self.config.shared || route.retiring || self.ranges.any_waiting(waits);
            Some((path, youngest, waits))
        })
    }

    /// Asks paths for a barrier where it is time.
    pub(super) fn drain_ghosts(&mut self, now: Instant) {
        if self.ledger.is_empty() {
            return;
        }
        let due = |(path, youngest, waits)| (waits || youngest + IDLE <= now).then_some(path);
        let due: Vec<PathId> = self.live_ghosts().filter_map(due).collect();
        for path in due {
            let incarnation = self.roster.route(path).incarnation;
            self.drains.insert(path, incarnation);
            self.orders.push_back((path, Order::Drain));
        }
    }

    /// When [`Volume::drain_ghosts`] has to be called, whatever happens.
    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        if self.ledger.is_empty() {
            return None;
        }
        let due = self.live_ghosts().map(|(_, youngest, _)| youngest + IDLE);
        due.min()
    }

    /// A barrier that was sent at `asked` has passed.
    pub(super) fn on_drained(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        asked: Instant,
    ) {
        self.drains.remove(&path);
        self.roster.route_mut(path).flow.on_drained(now);
        let since = self.ledger.oldest(path, incarnation);
        if self.ledger.drained(path, incarnation, asked) {
            let path = self.names.of(path);
            let why = format!("aborted writes of {path} cannot be carried out any more");
            self.journal
                .lasted(since.unwrap_or(now), now, "drained", &why);
            tracing::info!(path, %incarnation, "aborted writes have ended");
            self.counters.fenced += 1;
            self.after_fence(now);
        }
    }

    /// Whether writes wait for ghosts of the path's sessions.
    #[must_use]
    pub fn holds_writes(&self, path: PathId) -> bool {
        self.ledger.haunts_path(path)
            && (!self.unacknowledged.is_empty()
                || self
                    .ranges
                    .any_waiting(|range| self.ledger.haunts_by(path, range)))
    }
}
