//! Paths come and go; I/O while none is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::errno::IoErrno;
use crate::ids::IoId;
use crate::path::message::Standing;

use super::roster::Route;
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
        self.check_activation(now);
        self.roster.candidates(None, &mut self.views);
        self.roster.resting(&mut self.views);
        self.config.policy.on_roster(now, &self.views);
        if self.roster.any_alive() {
            if let Some(since) = self.no_path_since.take() {
                if std::mem::replace(&mut self.had_path, true) {
                    let why = format!("{} requests waited", self.ios.len());
                    self.journal.lasted(since, now, "path back", &why);
                }
                self.pace.on_back(now);
                self.forget_refusals();
            }
            self.no_path_expired = false;
        } else if self.no_path_since.is_none() {
            self.no_path_since = Some(now);
            self.pace.on_last_lost(now);
            if self.stopping {
                return;
            }
            let resting = |(_, route): (_, &Route)| route.standing != Standing::Unusable;
            let why = if self.roster.iter().any(resting) {
                "no path's port group is active: requests wait"
            } else {
                "the last usable path was lost: requests wait"
            };
            tracing::warn!(why, "no path left: I/O waits");
            self.journal.note(now, "no path", why);
            if self.config.no_path == NoPath::Fail {
                self.on_no_path_expired(now);
            }
        }
    }

    /// A target that comes back says "not now" for a while, however long it was away.
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    fn forget_refusals(&mut self) {
        for command in self.commands.values_mut() {
            command.put_off_since = None;
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

    /// Fails everything that waits. What is in flight on a path that is up and carries nothing any more ends
    /// by itself, and is not sent again.
    #[expect(
        clippy::disallowed_methods,
        reason = "the requests are sorted, and of the commands only their number matters"
    )]
    pub(super) fn on_no_path_expired(&mut self, now: Instant) {
        self.no_path_expired = true;
        let mut ios: Vec<IoId> = self.ios.keys().copied().collect();
        ios.sort_unstable();
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
        self.drop_held_flushes();
        let flying: BTreeSet<_> = self
            .attempts
            .values()
            .map(|attempt| attempt.command)
            .collect();
        self.commands.retain(|order, _| flying.contains(order));
        let mut left: BTreeMap<IoId, u32> = BTreeMap::new();
        for command in self.commands.values() {
            *left.entry(command.io).or_default() += 1;
        }
        let mut failed: Vec<(IoId, Io)> = self.unacknowledged.drain(..).collect();
        for id in ios {
            match left.get(&id) {
                Some(&commands) => self.fail_when_ended(id, commands),
                None => failed.push((id, self.take_io(id))),
            }
        }
        for (id, mut io) in failed {
            io.error = Some(FAILURE);
            io.ghosts.clear();
            self.answer(now, id, io);
        }
        self.start_waiting(now);
    }

    fn fail_when_ended(&mut self, id: IoId, commands: u32) {
        let io = self.ios.get_mut(&id).expect("it was listed");
        io.error = Some(FAILURE);
        io.commands_left = commands;
    }
}

const FAILURE: IoError = IoError {
    errno: IoErrno::Io,
    lba: None,
};
