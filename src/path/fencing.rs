//! What a session's login did to the sessions before it, and what the target told on that occasion.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, TaskId};
use crate::iscsi::name::PortalAddr;
use crate::iscsi::session::Session;
use crate::scsi::cdb::Command;
use crate::task::{Completion, TaskAttribute};

use super::fencer::{Turn, test_unit_ready, turn};
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

/// A barrier in a session that lives: aborted commands of it may still run on in a backing store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drain {
    wanted: bool,
    /// Not before this: the target did not let it take its turn.
    not_before: Option<Instant>,
    asked: Option<(TaskId, Instant)>,
    /// Times in a row that it ended without an answer.
    failures: u32,
}

/// So often a barrier may end without an answer; then its session is given up.
const BARRIERS_MAX: u32 = 2;

impl Drain {
    /// The volume asks for one that begins now or later.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether it waits for a place in the target's command window.
    pub(super) fn waits(&self) -> bool {
        self.wanted && self.not_before.is_none() && self.asked.is_none()
    }

    /// Whether its answer is due.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether that is the one whose answer is due.
    pub(super) fn is(&self, task: TaskId) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == task)
    }

    /// When it is tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.wanted)
    }

    /// When it was sent, if that is it.
    pub(super) fn take_asked(&mut self, task: TaskId) -> Option<Instant> {
        let asked = self.asked.take_if(|(asked, _)| *asked == task);
        asked.map(|(_, at)| at)
    }
}

impl Path {
    /// Sends the barrier that the volume asked for, if it may be sent now.
    pub(super) fn try_drain(&mut self, now: Instant) {
        self.drain.not_before.take_if(|at| *at <= now);
        if !self.drain.waits() || !self.admitted || self.logging_out {
            return;
        }
        let id = self.own_task();
        let lun = self.config.lun;
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        if session.free_slots() == 0 {
            return;
        }
        session.submit(now, test_unit_ready(id, lun, TaskAttribute::Ordered));
        self.drain.wanted = false;
        self.drain.asked = Some((id, now));
        self.watch_barrier(now);
    }

    /// The answer to that barrier, which was sent at `asked`.
    pub(super) fn on_drain_answer(
        &mut self,
        now: Instant,
        asked: Instant,
        answer: Option<&Completion>,
    ) {
        let incarnation = self.incarnation;
        match answer.map(turn) {
            Some(Turn::Taken) => {
                self.drain.failures = 0;
                let drained = Message::Drained { incarnation, asked };
                self.messages.push_back(drained);
            }
            Some(Turn::Attention) => {
                self.drain.wanted = true;
                self.recheck(now, "a unit attention met a barrier");
            }
            Some(Turn::Refused | Turn::NotNow) => {
                self.drain.wanted = true;
                self.drain.not_before = Some(now + BARRIER_RETRY);
            }
            // A reset may have ended it. If it hangs itself, only the end of the session is left.
            None => {
                self.drain.wanted = true;
                self.drain.failures += 1;
                if self.drain.failures >= BARRIERS_MAX {
                    self.lose(now, "a barrier after an abort was not carried out");
                }
            }
        }
    }

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
