//! A path's state for the administrator.

use std::time::{Duration, Instant};

use crate::ids::Incarnation;

use super::journal::PathEvent;
use super::message::PathAccess;
use super::sameness::Basis;
use super::{Path, State};

/// The states of a path, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the states are those of the module's table")]
pub enum PathState {
    Down,
    Connecting,
    LoggingIn,
    Probing,
    Probation,
    Ready,
    Suspect,
    Disabled,
    Stopped,
}

/// A path's state.
#[derive(Clone, Debug)]
pub struct PathStatus {
    /// Portal and NIC.
    pub name: String,
    /// The state.
    pub state: PathState,
    /// Why it is in that state.
    pub why: String,
    /// For how long.
    pub since: Duration,
    /// Its present or last session.
    pub incarnation: Incarnation,
    /// A fencing login through a sibling is under way.
    pub fencing: bool,
    /// Its access to the unit, if the target tells one in this session.
    pub access: Option<PathAccess>,
    /// What shows that its unit is the volume's, while it has a session that was admitted.
    pub same: Option<Basis>,
    /// Commands in flight that the volume did not ask for.
    pub own_commands: usize,
    /// The configuration does not have it any more: it goes when it is not needed.
    pub removing: bool,
    /// Round trip of the last ping.
    pub last_rtt: Option<Duration>,
    /// ABORT TASKs sent, since the start.
    pub aborts: u64,
    /// LOGICAL UNIT RESETs sent, since the start.
    pub resets: u64,
}

impl Path {
    /// What happened to it, oldest first.
    #[must_use]
    pub fn events(&self, now: Instant) -> Vec<PathEvent> {
        self.journal.events(now)
    }

    /// Its state at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> PathStatus {
        let state = match self.state {
            State::Down { .. } => PathState::Down,
            State::Connecting { .. } => PathState::Connecting,
            State::LoggingIn => PathState::LoggingIn,
            State::Probing => PathState::Probing,
            State::Probation { .. } => PathState::Probation,
            State::Ready => PathState::Ready,
            State::Suspect => PathState::Suspect,
            State::Disabled { .. } => PathState::Disabled,
            State::Stopped => PathState::Stopped,
        };
        let (since, why) = self.explanation();
        PathStatus {
            name: self.config.name.clone(),
            state,
            why: why.to_owned(),
            since: now.saturating_duration_since(since),
            incarnation: self.incarnation,
            fencing: self.fencer.is_some(),
            access: self.access.known(),
            same: self.sameness.basis().cloned(),
            own_commands: usize::from(self.own.is_some())
                + usize::from(self.access.is_asking())
                + self.sameness.commands()
                + usize::from(self.courier.is_asking())
                + usize::from(self.drain.is_asking()),
            removing: self.retiring,
            last_rtt: self.pong.map(|(_, rtt)| rtt),
            aborts: self.escalation.aborts(),
            resets: self.escalation.resets(),
        }
    }
}
