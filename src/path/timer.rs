//! When a path has to act next.

use super::fencer::Fencer;
use super::{Path, State};
use crate::deadline::Deadline;
use crate::iscsi::session::Session;

impl Path {
    /// When [`Path::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        let state = match self.state {
            State::Down { retry_at } if self.may_connect() => {
                Some(Deadline::new(retry_at, "reconnect"))
            }
            State::Connecting { deadline } => Some(Deadline::new(deadline, "TCP connect")),
            State::LoggingIn => {
                let fence = self.would_rather_fence().map(|at| {
                    let at = at.max(self.attempted + self.patience.before_fence());
                    Deadline::new(at, "login before a fence")
                });
                let silent = self
                    .login_silent_at()
                    .map(|at| Deadline::new(at, "answer to the login"));
                Deadline::earlier(fence, silent)
            }
            State::Probation {
                next, asked: None, ..
            } => Some(Deadline::new(next, "probation")),
            State::Probation {
                asked: Some(asked), ..
            } => Some(Deadline::new(
                self.config
                    .detect
                    .next_probe_check(self.silence.checked, asked),
                "answer to a probe of the probation",
            )),
            State::Disabled { retry_at } if self.may_connect() => {
                Some(Deadline::new(retry_at, "disabled path retry"))
            }
            State::Down { .. }
            | State::Probing
            | State::Ready
            | State::Suspect
            | State::Disabled { .. }
            | State::Stopped => None,
        };
        let probe = self
            .probe
            .as_ref()
            .map(|probe| Deadline::new(probe.next_at(), "probe"));
        let fencer = self.fencer.as_ref().and_then(Fencer::poll_timeout);
        let proof = self.proof.as_ref().and_then(|proof| proof.deadline());
        let proof = proof.map(|at| Deadline::new(at, "proof of a session group"));
        let stale = self.commands_deadline();
        let drain = self
            .draining
            .map(|at| Deadline::new(at, "logout asked for by the target"));
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        let health = self.health_deadline();
        let network = self.network_deadline();
        let uplink = self.uplink_deadline();
        let barrier = self
            .barrier_due()
            .map(|at| Deadline::new(at, "a barrier that was refused"));
        let access = self
            .access_due()
            .map(|at| Deadline::new(at, "access states"));
        let sameness = self
            .sameness_due()
            .map(|at| Deadline::new(at, "comparison of the unit"));
        [
            state, probe, fencer, proof, stale, drain, session, health, network, uplink, barrier,
            access, sameness,
        ]
        .into_iter()
        .fold(None, Deadline::earlier)
    }

    fn commands_deadline(&self) -> Option<Deadline> {
        let due = self.escalation.due();
        let stale = due.map(|at| Deadline::new(at, "command deadline"));
        let again = self.drain.retry_at();
        let again = again.map(|at| Deadline::new(at, "barrier after an abort"));
        let held_up = self.held_up_at();
        let held_up = held_up.map(|at| Deadline::new(at, "fence that is held up"));
        Deadline::earlier(Deadline::earlier(stale, again), held_up)
    }

    fn health_deadline(&mut self) -> Option<Deadline> {
        let (detect, checked) = (self.config.detect, self.silence.checked);
        let session = self.session.as_mut()?;
        let heard = session.last_received()?;
        let session = session.full_feature()?;
        let busy = session.outstanding() > 0;
        let pinged = session.oldest_ping().map(|pinged| pinged.max(heard));
        Some(detect.next_check(checked, pinged, heard, busy))
    }
}
