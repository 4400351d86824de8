//! What a session's login did to the sessions before it, and what the target told on that occasion.

use std::time::{Duration, Instant};

use crate::ids::Incarnation;
use crate::iscsi::name::PortalAddr;
use crate::iscsi::session::Session;
use crate::scsi::cdb::Command;
use crate::task::{Completion, TaskAttribute};

use super::fencer::{Turn, turn};
use super::message::{FenceKind, Message};
use super::{Path, State};

/// Where a session is: its portal group, and the address that its login was redirected to. Portals that
/// redirect may belong to machines that know nothing of each other's sessions.
pub(super) type Place = (Option<u16>, Option<PortalAddr>);

/// A barrier that the target refused at the door, for an access state or a reservation, is tried again so
/// often.
const BARRIER_RETRY: Duration = Duration::from_secs(1);

/// What a session's unit, of which it is not known yet whether it is the volume's, has told of its power. It
/// tells a session once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Power {
    /// Nothing yet.
    #[default]
    Untold,
    /// It was without power.
    Lost,
    /// An answer is missing which may have told that.
    Missed,
    /// All that there was to tell, and the volume knows.
    Told,
}

impl Power {
    /// An answer is lost, whatever it was meant to tell.
    pub(super) fn or_missed(self) -> Self {
        match self {
            Self::Untold => Self::Missed,
            Self::Lost | Self::Missed | Self::Told => self,
        }
    }
}

impl Path {
    /// When a path in use tries the barrier again that its login still owes.
    pub(super) fn barrier_due(&self) -> Option<Instant> {
        let owed = self.fence_owed && self.surroundings.wants_fence;
        let free = matches!(self.state, State::Ready) && self.own.is_none() && !self.logging_out;
        (owed && free).then(|| self.since.max(self.barrier_tried) + BARRIER_RETRY)
    }

    pub(super) fn try_barrier(&mut self, now: Instant) {
        self.barrier_tried = now;
        self.send_own(now, &Command::TestUnitReady, TaskAttribute::Ordered);
    }

    /// The answer to a barrier of a path in use.
    pub(super) fn on_late_barrier(&mut self, now: Instant, answer: Option<&Completion>) {
        match answer.map(turn) {
            Some(Turn::Taken) => {
                self.passed_barrier = true;
                self.report_barrier(now);
            }
            Some(Turn::Attention) => self.recheck(now, "a unit attention met a barrier"),
            Some(Turn::Refused | Turn::NotNow) | None => {}
        }
    }

    /// Where the session is; the portal group only if the target told.
    pub(super) fn place(&mut self) -> Place {
        let session = self.session.as_mut().and_then(Session::full_feature);
        let group = session.and_then(|session| session.negotiated().target_portal_group_tag);
        (group, self.redirected.clone())
    }

    /// The login of this session and its barrier were a fence.
    pub(super) fn report_barrier(&mut self, now: Instant) {
        if std::mem::take(&mut self.passed_barrier) {
            self.fence_owed = false;
            let before = Incarnation(self.incarnation.0 - 1);
            let group = self.place();
            self.fenced(now, before, group);
        }
    }

    pub(super) fn report_power_lost(&mut self, heard: Option<Instant>) {
        self.messages.push_back(Message::PowerLost { heard });
    }

    /// The session's unit is the volume's: what it has told counts.
    pub(super) fn report_power(&mut self) {
        match std::mem::replace(&mut self.power, Power::Told) {
            Power::Lost => self.report_power_lost(self.heard_before),
            Power::Missed => self.report_power_doubted(),
            Power::Untold | Power::Told => {}
        }
    }

    /// The answer that would have told of a power loss is missing.
    pub(super) fn report_power_doubted(&mut self) {
        let heard = self.heard_before;
        self.messages.push_back(Message::PowerDoubted { heard });
    }

    /// Everything up to this session has ended at the target, as far as it was in this place.
    pub(super) fn fenced(&mut self, now: Instant, upto: Incarnation, place: Place) {
        let elsewhere = |(_, other): &(&Incarnation, &Place)| **other != place;
        let first = self.groups.range(..=upto).find(elsewhere);
        let upto = match first {
            Some((&Incarnation(session), _)) => {
                tracing::warn!(
                    path = %self.config.name, incarnation = session,
                    "a lost session was in another portal group, or redirected elsewhere, than this login, which does not fence it"
                );
                // Sessions in use count from 1.
                Incarnation(session - 1)
            }
            None => upto,
        };
        let before = self.groups.len();
        self.groups.retain(|&session, _| session > upto);
        if self.groups.len() < before {
            let why = "nothing of the lost sessions can execute any more";
            self.journal.note(now, upto, "fenced", why);
        }
        self.messages.push_back(Message::Fenced {
            upto,
            by: FenceKind::Reinstatement,
        });
    }
}
