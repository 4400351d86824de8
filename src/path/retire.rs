//! Changes of a path while it lives: other settings, removal, being put back, and its end.
//!
//! A path that is removed goes on as before, but its volume gives it new commands only while no other
//! path is usable. It stays until nothing of it is in flight, and as long as its lost sessions may still
//! write, for its next login is their fence; then it is stopped.

use std::sync::Arc;
use std::time::Instant;

use crate::ids::Incarnation;
use crate::iscsi::session::Session;

use super::fencing::Power;
use super::{Path, PathConfig, State};

impl Path {
    /// Other settings. Times and depth count at once, what is negotiated at the next login. A path that
    /// waits for an administrator tries again at once.
    pub fn reconfigure(&mut self, now: Instant, config: PathConfig) {
        assert_eq!(
            self.config.session.isid, config.session.isid,
            "a path keeps its name"
        );
        let same_login = *self.given == *config.session;
        self.given = Arc::clone(&config.session);
        let session = if same_login {
            // It may offer less by now than it was given.
            Arc::clone(&self.config.session)
        } else {
            Arc::clone(&config.session)
        };
        self.config = PathConfig { session, ..config };
        if let State::Disabled { retry_at } = &mut self.state
            && !same_login
        {
            *retry_at = now;
        }
    }

    /// The path is no longer wanted: once it is not needed any more, [`Path::stop`] it.
    pub fn retire(&mut self, now: Instant) {
        self.retiring = true;
        let why = "the configuration does not have it any more";
        self.journal.note(now, self.incarnation, "removed", why);
        tracing::info!(path = %self.config.name, "path removed: it takes new commands only while no other path is usable");
    }

    /// It is wanted again.
    pub fn revive(&mut self, now: Instant) {
        if !std::mem::take(&mut self.retiring) {
            return;
        }
        let why = "the configuration has it again";
        self.journal.note(now, self.incarnation, "added", why);
        let stopping = self.stopping.take().is_some();
        if matches!(self.state, State::Stopped) {
            self.enter(now, State::Down { retry_at: now }, why);
        } else if stopping {
            self.lose(now, why);
        }
    }

    /// Logs out; no new connection is made.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = Some(now);
        self.end_fencer();
        self.clean_up_last(now);
        match self.session.as_mut().and_then(Session::full_feature) {
            Some(session) => {
                session.logout(now);
                self.logging_out = true;
            }
            None => self.lose(now, "stopped"),
        }
    }

    /// Its sessions are numbered on from the last one of the path that had its number before.
    pub fn count_on_from(&mut self, last: Incarnation) {
        self.incarnation = last;
    }

    /// Whether it is about to go for good.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retiring
    }

    /// Whether it is to be left alone until its unit is identified: a session that ends before leaves it in
    /// doubt whether the unit has just told of a power loss, and flushes fail for that if nobody else knows.
    #[must_use]
    pub fn is_being_told(&self) -> bool {
        matches!(self.state, State::Probing) && !self.admitted && self.power != Power::Told
    }

    /// Whether [`Path::stop`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }
}
