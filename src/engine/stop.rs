//! The end: what was asked is answered, the target's cache is flushed, the paths are logged out.

use std::time::Instant;

use crate::ids::IoId;
use crate::path::Path;
use crate::volume::{Reply, Request};

use super::Engine;
use super::next_id;

/// The flush that a stop makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LastFlush {
    #[default]
    NotAsked,
    Asked(IoId),
    Done,
    Failed,
}

impl LastFlush {
    pub(super) fn on_reply(&mut self, reply: &Reply) {
        if *self == Self::Asked(reply.io) {
            *self = if reply.result.is_ok() {
                Self::Done
            } else {
                Self::Failed
            };
        }
    }
}

impl Engine {
    /// No new requests; what is asked runs to its end.
    pub fn begin_stop(&mut self) {
        self.stopping = true;
    }

    /// Whether everything asked is answered and written.
    #[must_use]
    pub fn is_drained(&mut self) -> bool {
        self.volume.is_idle()
            && self.owners.is_empty()
            && self
                .clients
                .values_mut()
                .all(|entry| entry.connection.outgoing().is_empty())
    }

    /// Asks for one flush, if a path can take it.
    pub fn flush_for_stop(&mut self, now: Instant) {
        if self.online && !self.volume.is_starved() {
            let io = next_id(&mut self.next_io);
            self.last_flush = LastFlush::Asked(io);
            self.volume.request(now, io, Request::Flush);
        }
    }

    /// Whether nothing that was acknowledged can be in the target's volatile cache only: nothing was
    /// written, there is no such cache, or the flush of the stop succeeded.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let cached = |unit: &crate::path::message::Unit| unit.features.caches();
        let needed =
            self.volume.has_written() && self.volume.unit().is_some_and(|unit| cached(unit));
        self.last_flush == LastFlush::Done || !needed
    }

    /// Logs every path out.
    pub fn stop_paths(&mut self, now: Instant) {
        self.volume.begin_stop();
        for path in self.paths.iter_mut().filter(|path| !path.is_stopped()) {
            path.stop(now);
        }
    }

    /// Whether every path is logged out.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.paths.iter().all(Path::is_stopped)
    }
}
