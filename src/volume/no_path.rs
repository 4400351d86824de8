//! Paths come and go; I/O while none is left.

use std::time::{Duration, Instant};

use crate::errno::IoErrno;
use crate::ids::IoId;

use super::{Io, IoError, Volume};

/// What happens to I/O while no path is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// It fails at once.
    Fail,
    /// It waits so long from the loss of the last path on, then fails until a path is back.
    Queue(Duration),
    /// It waits for ever.
    QueueForever,
}

impl Volume {
    /// The set of usable paths changed.
    pub(super) fn on_roster(&mut self, now: Instant) {
        self.roster.candidates(None, &mut self.views);
        self.config.policy.on_roster(now, &self.views);
        if self.roster.any_alive() {
            if let Some(since) = self.no_path_since.take() {
                if std::mem::replace(&mut self.had_path, true) {
                    let why = format!("{} requests waited", self.ios.len());
                    self.journal.lasted(since, now, "path back", &why);
                }
                self.pace.on_back(now);
                // A target that comes back says "not now" for a while, however long it was away.
                for command in self.commands.values_mut() {
                    command.put_off_since = None;
                }
            }
            self.no_path_expired = false;
        } else if self.no_path_since.is_none() {
            self.no_path_since = Some(now);
            self.pace.on_last_lost(now);
            if self.stopping {
                return;
            }
            tracing::warn!("no path left: I/O waits");
            self.journal.note(
                now,
                "no path",
                "the last usable path was lost: requests wait",
            );
            if self.config.no_path == NoPath::Fail {
                self.on_no_path_expired(now);
            }
        }
    }

    pub(super) fn no_path_deadline(&self) -> Option<Instant> {
        match self.config.no_path {
            NoPath::Queue(limit) if !self.no_path_expired => {
                self.no_path_since.map(|since| since + limit)
            }
            NoPath::Queue(_) | NoPath::Fail | NoPath::QueueForever => None,
        }
    }

    /// Fails everything that waits. Without a path nothing is in flight.
    pub(super) fn on_no_path_expired(&mut self, now: Instant) {
        assert!(
            self.attempts.is_empty(),
            "without a path nothing is in flight"
        );
        self.no_path_expired = true;
        let ios: Vec<IoId> = self.ios.keys().copied().collect();
        let why = format!(
            "the no_path limit is over: {} requests failed, and all do until a path is back",
            ios.len()
        );
        let since = self.no_path_since.unwrap_or(now);
        self.journal.lasted(since, now, "I/O fails", &why);
        tracing::error!(
            ios = ios.len(),
            "no path within the no_path limit: I/O fails"
        );
        self.ready.clear();
        self.delayed.clear();
        self.commands.clear();
        let mut failed: Vec<(IoId, Io)> = self.unacknowledged.drain(..).collect();
        for id in ios {
            failed.push((id, self.take_io(id)));
        }
        for (id, mut io) in failed {
            io.error = Some(IoError {
                errno: IoErrno::Io,
                lba: None,
            });
            io.ghosts.clear();
            self.answer(now, id, io);
        }
        self.start_waiting(now);
    }
}
