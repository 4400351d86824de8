//! What a client may rely on after a flush, and what becomes of it when a unit with a volatile write cache
//! loses its power.
//!
//! Writes that were acknowledged without FUA and not flushed since may be gone then. Nobody can bring them
//! back, but no flush may hide it: the next one fails, once (as a deferred error of the unit makes it fail).
//! A write that is still under way, and of which a part was carried out, is carried out again as a whole
//! before it is acknowledged.
//!
//! Flushes that were under way when the first one failed fail as well: they promise the same.
//!
//! The unit tells each nexus of the same event. What a path tells is old news if another one told of it since
//! this path was in touch with the unit last, and has a session that is well: no further event can have been
//! then. Where that cannot be said, others are asked (`rumour.rs`). What is taken for old news is taken for
//! that news and no newer one: if that session was dead already, it will tell of what ended it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::ids::PathId;
use crate::path::message::Standing;

use super::{Request, Volume};

/// What a flush is to make durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Covers {
    writes: u64,
    failures: u64,
}

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
    /// How often a flush failed for that; those under way meanwhile fail as well.
    failures: u64,
    /// Paths with a session in use.
    in_use: BTreeSet<PathId>,
    /// When paths last told of a loss of power, or when what they told was told first.
    told: BTreeMap<PathId, Instant>,
}

impl Durability {
    /// After an unclean exit nobody knows what was flushed.
    pub(super) fn new(unclean: bool) -> Self {
        Self {
            acknowledged: u64::from(unclean),
            ..Self::default()
        }
    }

    /// A flush that begins now: what it makes durable.
    pub(super) fn begin(&self) -> Covers {
        Covers {
            writes: self.acknowledged,
            failures: self.failures,
        }
    }

    /// The unit says that it lost an acknowledged write.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// A write was acknowledged whose data went with the unit's power: the next flush is to tell.
    pub(super) fn darken(&mut self) {
        self.dark = true;
    }

    /// The session of that path is in use, or lost; whether that is new.
    pub(super) fn on_session(&mut self, path: PathId, in_use: bool) -> bool {
        if in_use {
            self.in_use.insert(path)
        } else {
            self.in_use.remove(&path)
        }
    }

    /// The path's number belongs to another path.
    pub(super) fn forget(&mut self, path: PathId) {
        self.in_use.remove(&path);
        self.told.remove(&path);
    }

    /// Other paths than this one with a session in use.
    pub(super) fn others_in_use(&self, path: PathId) -> impl Iterator<Item = PathId> {
        self.in_use.iter().copied().filter(move |by| *by != path)
    }

    /// When another path than this one, which was in touch at `heard` the last time, told already.
    fn old_news(
        &self,
        path: PathId,
        heard: Option<Instant>,
        is_well: impl Fn(PathId) -> bool,
    ) -> Option<Instant> {
        let others = self
            .in_use
            .iter()
            .filter(|by| **by != path && is_well(**by));
        others
            .filter_map(|by| self.told.get(by).copied())
            .filter(|told| heard.is_none_or(|heard| heard <= *told))
            .max()
    }

    fn has_unflushed(&self) -> bool {
        self.acknowledged > self.flushed
    }

    /// An io was acknowledged.
    pub(super) fn on_acknowledged(&mut self, request: &Request) {
        self.acknowledged += u64::from(request.written_range().is_some() && !request.fua());
    }

    /// The unit answered a flush; whether the client is to be told that it failed.
    pub(super) fn on_flushed(&mut self, covers: Covers, cached: bool, good: bool) -> bool {
        let dark = std::mem::take(&mut self.dark) && cached;
        if std::mem::take(&mut self.lost) || dark {
            self.flushed = self.acknowledged;
            self.failures += 1;
            return true;
        }
        if good && covers.failures == self.failures {
            self.flushed = self.flushed.max(covers.writes);
        }
        covers.failures < self.failures
    }
}

impl Volume {
    /// The client that was to be told of lost writes is gone: the next one is told.
    pub fn loss_was_not_heard(&mut self) {
        self.durability.lose();
    }

    /// The unit was without power, says `path`, which was in touch with it at `heard` the last time.
    pub(super) fn on_power_lost(&mut self, now: Instant, path: PathId, heard: Option<Instant>) {
        let old = self.old_news(path, heard);
        self.durability.told.insert(path, old.unwrap_or(now));
        match (old, heard) {
            (Some(_), _) => {}
            (None, Some(_)) => self.power_is_lost(now, path),
            (None, None) => self.on_rumour(now, path),
        }
    }

    /// The unit may have told `path`, whose session is lost with the answer.
    pub(super) fn on_power_doubted(&mut self, now: Instant, path: PathId, heard: Option<Instant>) {
        if self.old_news(path, heard).is_none() {
            self.counters.doubts += 1;
            self.on_rumour(now, path);
        }
    }

    fn old_news(&self, path: PathId, heard: Option<Instant>) -> Option<Instant> {
        let is_well =
            |by| self.roster.route(by).standing != Standing::Suspect && !self.rumours.doubts(by);
        self.durability.old_news(path, heard, is_well)
    }

    /// What was in the unit's cache is gone.
    fn power_is_lost(&mut self, now: Instant, path: PathId) {
        self.forget_rumours();
        self.make_again();
        // Carried out, and only the fence of a ghost is waited for: newer data may have followed, so it
        // cannot be done again.
        for (_, io) in &mut self.unacknowledged {
            io.redo |= io.request.written_range().is_some() && !io.request.fua();
        }
        if self.durability.has_unflushed() {
            self.go_dark(now, path);
        }
        self.settle_rumours(now);
    }

    /// Writes under way whose parts may be in the unit's cache are made again before they are acknowledged.
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    pub(super) fn make_again(&mut self) {
        for io in self.ios.values_mut() {
            io.redo |= io.carried_out && io.request.written_range().is_some();
        }
    }

    /// Whether writes that were acknowledged, or are about to be, may be in the unit's cache alone.
    pub(super) fn has_at_stake(&self) -> bool {
        let mut held = self.unacknowledged.iter();
        self.durability.has_unflushed()
            || held.any(|(_, io)| io.request.written_range().is_some() && !io.request.fua())
    }

    /// The next flush fails.
    pub(super) fn go_dark(&mut self, now: Instant, path: PathId) {
        self.durability.dark = true;
        let writes = self.durability.acknowledged - self.durability.flushed;
        let why = format!(
            "after what {} says, or cannot say, of the target's power: {writes} writes were not flushed",
            self.names.of(path)
        );
        self.journal.note(now, "power lost", &why);
        tracing::warn!(
            path = %self.names.of(path), writes,
            "the target was without power, or nobody can tell that it was not: with a volatile write cache, \
             writes that were not flushed are lost, and the next flush fails"
        );
    }
}
