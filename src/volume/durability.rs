//! What a client may rely on after a flush, and what becomes of it when a unit with a volatile write cache
//! loses its power.
//!
//! Writes that were acknowledged without FUA and not flushed since may be gone then. Nobody can bring them
//! back, but no flush may hide it: the next one fails, once (as a deferred error of the unit makes it fail).
//! A write that is still under way, and of which a part was carried out, is carried out again as a whole
//! before it is acknowledged.
//!
//! The unit tells each nexus of the same event: what a path tells is old news if another one told of it
//! since this path was in touch with the target last, and that one's session lives on.

use std::time::Instant;

use crate::ids::{Incarnation, PathId};

use super::{Request, Volume};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// Writes acknowledged whose data may be in the unit's cache.
    acknowledged: u64,
    /// So many of them are flushed, or were reported lost.
    flushed: u64,
    /// An acknowledged write is lost, says the unit: the next flush fails.
    lost: bool,
    /// So it does after a loss of power, if there is a cache.
    dark: bool,
    /// Sessions that told of a power loss, and when, until they are lost.
    told: Vec<(Instant, PathId, Incarnation)>,
}

impl Durability {
    /// After an unclean exit nobody knows what was flushed.
    pub(super) fn new(unclean: bool) -> Self {
        Self {
            acknowledged: u64::from(unclean),
            ..Self::default()
        }
    }

    /// Writes that a flush which begins now makes durable.
    pub(super) fn begin(&self) -> u64 {
        self.acknowledged
    }

    /// The unit says that it lost an acknowledged write.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// The session of that path is lost: it vouches for nothing any more.
    pub(super) fn on_lost(&mut self, path: PathId) {
        self.told.retain(|(_, by, _)| *by != path);
    }

    /// An io was acknowledged.
    pub(super) fn on_acknowledged(&mut self, request: &Request) {
        self.acknowledged += u64::from(request.written_range().is_some() && !request.fua());
    }

    /// The unit answered a flush that began at `began`; whether the client is to be told that it failed.
    pub(super) fn on_flushed(&mut self, began: u64, cached: bool, good: bool) -> bool {
        let dark = std::mem::take(&mut self.dark) && cached;
        let fails = std::mem::take(&mut self.lost) || dark;
        if fails {
            self.flushed = self.acknowledged;
        } else if good {
            self.flushed = self.flushed.max(began);
        }
        fails
    }
}

impl Volume {
    /// The client that was to be told of lost writes is gone: the next one is told.
    pub fn loss_was_not_heard(&mut self) {
        self.durability.lose();
    }

    /// The unit was without power, as `path` learned in that session, or at the login before it is in use;
    /// `heard` is when it was in touch with the target before.
    pub(super) fn on_power_lost(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        heard: Option<Instant>,
    ) {
        // One that was not admitted yet may be gone: it vouches for nothing.
        let vouches = |&&(at, by, session): &&(Instant, PathId, Incarnation)| {
            by != path
                && self.roster.route(by).incarnation == session
                && heard.is_none_or(|heard| heard <= at)
        };
        if self.durability.told.iter().any(|told| vouches(&told)) {
            return;
        }
        self.durability.told.retain(|(_, by, _)| *by != path);
        self.durability.told.push((now, path, incarnation));
        for io in self.ios.values_mut() {
            io.redo |= io.carried_out && io.request.written_range().is_some();
        }
        let Durability {
            acknowledged,
            flushed,
            ..
        } = self.durability;
        if acknowledged > flushed {
            self.durability.dark = true;
            tracing::warn!(
                path = %self.names.of(path), writes = acknowledged - flushed,
                "the target was without power: with a volatile write cache, writes that were not flushed are lost, \
                 and the next flush fails"
            );
        }
    }
}
