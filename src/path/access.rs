//! How the path's port reaches the unit (ALUA, SPC-5 5.18): asked for, believed, asked for again.
//!
//! The probe of every session learns from VPD page 83h which port group the path's port is in, and from
//! REPORT TARGET PORT GROUPS the group's access state. It is asked for again
//!
//! - at once, when an answer or a unit attention over this path, or over another one of the same target, says
//!   that states have changed or are changing;
//! - every [`WATCH_CHANGING`] while the group is between two states or no path carries anything: the end
//!   of that is to be seen at once;
//! - every [`WATCH_RESTING`] in the other states without I/O, where no command brings the unit attention;
//! - every [`WATCH_ACTIVE`] else, in case that a target forgot to say.
//!
//! A path whose group carries nothing keeps its session and its state; the volume is told and sends no I/O
//! there.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::TaskId;
use crate::scsi::alua::{self, AccessState, PortGroups};
use crate::scsi::cdb::Command;
use crate::scsi::sense::{Sense, SenseKey};
use crate::scsi::verdict::status;
use crate::task::{Completion, DataTransfer, Task, TaskAttribute};

use super::fencer::{Turn, turn, unit_attention};
use super::message::{Message, PathAccess, Waiting};
use super::probe::Probe;
use super::{Path, State};

/// See the module.
const WATCH_CHANGING: Duration = Duration::from_millis(100);

/// See the module.
const WATCH_RESTING: Duration = Duration::from_secs(2);

/// See the module.
const WATCH_ACTIVE: Duration = Duration::from_secs(30);

/// How long a transition may take if the target does not say: T10's recommended limit.
const TRANSITION: Duration = Duration::from_secs(60);

/// For every group of a large array.
const ALLOCATION: u32 = 16 << 10;

/// Unit attentions in a row that one question meets.
const REPEATS_MAX: u32 = 16;

/// Where a path's port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortAddress {
    /// Its port group, if page 83h tells.
    pub(super) group: Option<u16>,
    /// Its relative identifier, if page 83h tells.
    pub(super) port: Option<u16>,
    /// SET TARGET PORT GROUPS is supported.
    pub(super) explicit: bool,
}

impl PortAddress {
    /// What the target says of its group.
    pub(super) fn access(&self, groups: &PortGroups) -> Option<PathAccess> {
        let by_group = self.group.and_then(|group| groups.group(group));
        let by_port = || self.port.and_then(|port| groups.group_of_port(port));
        let group = by_group.or_else(by_port)?;
        let transition = groups
            .transition_seconds
            .map(|s| Duration::from_secs(s.into()));
        Some(PathAccess {
            group: group.id,
            state: group.state,
            preferred: group.preferred,
            explicit: self.explicit,
            transition: transition.unwrap_or(TRANSITION),
        })
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) port: PortAddress,
    pub(super) access: Option<PathAccess>,
}

/// What is being asked of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    States,
    Activation,
}

/// What is known, and what is asked.
#[derive(Debug, Default)]
pub(super) struct Access {
    port: Option<PortAddress>,
    known: Option<PathAccess>,
    /// What the volume was told.
    told: Option<PathAccess>,
    /// There was news: the next answer is told, even if it says what was told before.
    doubted: bool,
    /// The same, of a path whose unit is not identified yet.
    told_waiting: Option<PathAccess>,
    /// What the journal said last, in whatever session.
    written: Option<PathAccess>,
    asked: Option<(TaskId, Asked)>,
    /// The same, while the target's command window has no place for it.
    unsent: Option<Task>,
    /// There was news since the states were asked for.
    outdated: bool,
    /// Activation is asked for next.
    activate: bool,
    repeats: u32,
    /// When the target answered last.
    read_at: Option<Instant>,
    /// A probation passed while the unit refused its commands: it has shown nothing.
    proof_owed: bool,
}

impl Access {
    pub(super) fn known(&self) -> Option<PathAccess> {
        self.known
    }

    /// Whether the port carries nothing now.
    pub(super) fn is_resting(&self) -> bool {
        self.known.is_some_and(|access| !access.carries_io())
    }

    /// The unit was identified: the path waits no longer.
    pub(super) fn on_identified(&mut self) {
        self.told_waiting = None;
    }

    /// Whether an answer is due.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a command waits for a place in the window.
    pub(super) fn waits(&self) -> bool {
        self.unsent.is_some()
    }

    pub(super) fn take_unsent(&mut self) -> Option<Task> {
        self.unsent.take()
    }

    pub(super) fn take_asked(&mut self, task: TaskId) -> Option<Asked> {
        self.asked
            .take_if(|(asked, _)| *asked == task)
            .map(|(_, what)| what)
    }

    /// Whatever was asked for before is old.
    pub(super) fn on_news(&mut self) {
        self.outdated = true;
    }

    pub(super) fn owe_proof(&mut self) {
        self.proof_owed = true;
    }

    /// Whether the path has to prove itself, now that it can.
    pub(super) fn take_proof_owed(&mut self) -> bool {
        !self.is_resting() && std::mem::take(&mut self.proof_owed)
    }
}

/// The question.
pub(super) fn question() -> Command {
    Command::ReportTargetPortGroups {
        allocation: ALLOCATION,
    }
}

impl Path {
    /// When the states are asked for again.
    pub(super) fn access_due(&self) -> Option<Instant> {
        let read_at = self.access.read_at?;
        let idle = self.access.asked.is_none() && self.probe.is_none() && !self.logging_out;
        let interval = match self.access.known.filter(|_| idle)? {
            _ if self.access.doubted => WATCH_CHANGING,
            access if access.is_changing() || self.surroundings.starved => WATCH_CHANGING,
            access if access.carries_io() => WATCH_ACTIVE,
            _ => WATCH_RESTING,
        };
        Some(read_at + interval)
    }

    /// Asks for the states, unless the target makes no difference between its ports, and tells the answer.
    pub(super) fn read_access(&mut self, now: Instant) {
        self.access.doubted = true;
        self.watch_access(now);
    }

    /// The same; only what is new is told.
    pub(super) fn watch_access(&mut self, now: Instant) {
        if let Some(probe) = &mut self.probe {
            // It asks for them itself; what it has found may be old by now.
            probe.hurry(now);
            self.access.outdated = true;
        } else if self.access.asked.is_some() {
            self.access.outdated = true;
        } else if self.access.port.is_some() && !self.logging_out {
            self.ask(now, Asked::States);
        }
    }

    /// The probe is through: were there news meanwhile?
    pub(super) fn read_access_if_outdated(&mut self, now: Instant) {
        if std::mem::take(&mut self.access.outdated) {
            self.watch_access(now);
        }
    }

    /// Asks for the path's port group to become active/optimized.
    pub(super) fn activate(&mut self, now: Instant) {
        if self.access.known.is_none() || self.logging_out {
            return;
        }
        let probing = self.probe.as_ref().is_some_and(|probe| !probe.is_waiting());
        if self.access.asked.is_some() || probing {
            self.access.activate = true;
        } else {
            self.ask(now, Asked::Activation);
        }
    }

    /// The probe waits for a unit that is not ready.
    pub(super) fn on_waiting(&mut self, now: Instant) {
        let resting = self.access.known.filter(|_| self.access.is_resting());
        if let Some(access) = resting
            && !self.admitted
            && self.access.told_waiting != resting
            && let Some(identity) = self.probe.as_ref().and_then(Probe::identity)
        {
            self.access.told_waiting = resting;
            let waiting = Waiting { identity, access };
            self.messages
                .push_back(Message::Waiting(Some(Box::new(waiting))));
        }
        if std::mem::take(&mut self.access.activate) {
            self.activate(now);
        }
    }

    /// The session is over.
    pub(super) fn end_access(&mut self) {
        if self.access.told_waiting.is_some() {
            self.messages.push_back(Message::Waiting(None));
        }
        self.access = Access {
            written: self.access.written,
            ..Access::default()
        };
    }

    fn ask(&mut self, now: Instant, what: Asked) {
        let (command, data) = match what {
            Asked::States => (question(), DataTransfer::In(ALLOCATION)),
            Asked::Activation => {
                let Some(PathAccess { group, .. }) = self.access.known else {
                    return;
                };
                let why = format!("port group {group} is asked to become active/optimized");
                self.journal.note(now, self.incarnation, "access", &why);
                tracing::info!(path = %self.config.name, why, "SET TARGET PORT GROUPS");
                let list = alua::ACTIVATION_LEN;
                let data = Bytes::copy_from_slice(&alua::activation(group));
                let command = Command::SetTargetPortGroups { list };
                (command, DataTransfer::Out(data.into()))
            }
        };
        let id = self.own_task();
        self.access.asked = Some((id, what));
        self.access.outdated = false;
        self.access.unsent = Some(Task {
            id,
            lun: self.config.lun,
            cdb: command.cdb(),
            attribute: TaskAttribute::Simple,
            data,
        });
        self.send_unsent(now);
    }

    /// The target answered, or the command ended without a status.
    pub(super) fn on_access_answer(
        &mut self,
        now: Instant,
        asked: Asked,
        answer: Option<&Completion>,
    ) {
        self.access.read_at = Some(now);
        let attention = answer.and_then(unit_attention);
        if let Some(sense) = attention
            && !sense.says_access_changed()
        {
            // It was for the volume.
            return self.recheck(now, "the target says that the unit may have changed");
        }
        self.access.repeats = match attention {
            Some(_) => self.access.repeats + 1,
            None => 0,
        };
        if attention.is_some() && self.access.repeats <= REPEATS_MAX {
            return self.ask(now, asked);
        }
        match (asked, answer) {
            (Asked::States, Some(answer)) => self.on_states(now, answer),
            (Asked::States, None) => {}
            (Asked::Activation, answer) => self.on_activated(now, answer),
        }
        if std::mem::take(&mut self.access.activate) {
            self.activate(now);
        } else {
            self.read_access_if_outdated(now);
        }
    }

    fn on_states(&mut self, now: Instant, answer: &Completion) {
        let Some(port) = self.access.port else {
            return;
        };
        let told = match answer.status {
            status::GOOD => PortGroups::parse(&answer.data.to_bytes()).ok(),
            _ => None,
        };
        let mut access = told.and_then(|groups| port.access(&groups));
        access = access.or(self.access.known);
        let sense = Sense::parse(&answer.sense).filter(|_| turn(answer) == Turn::Refused);
        if let Some(sense) = sense {
            if sense.key == SenseKey::IllegalRequest && sense.asc == 0x25 {
                return self.recheck(now, "the unit is gone from behind this path");
            }
            // It no longer knows the question, or does not answer it in its state.
            access = access.filter(|_| sense.key != SenseKey::IllegalRequest);
            let state = AccessState::of_refusal(&sense);
            access = access.map(|access| PathAccess {
                state: state.unwrap_or(access.state),
                ..access
            });
        }
        if turn(answer) != Turn::NotNow {
            self.learn_access(now, Reading { port, access });
        }
    }

    fn on_activated(&mut self, now: Instant, answer: Option<&Completion>) {
        match answer {
            Some(answer) if answer.status == status::GOOD => {}
            answer => {
                let sense = answer.and_then(|answer| Sense::parse(&answer.sense));
                let said = sense.map_or_else(|| "no answer".to_owned(), |sense| sense.to_string());
                let why = format!("the target does not make the port group active: {said}");
                self.journal.note(now, self.incarnation, "access", &why);
                tracing::warn!(path = %self.config.name, said, "the target does not make the port group active");
            }
        }
        self.access.outdated = true;
    }

    /// The target told its states.
    pub(super) fn learn_access(&mut self, now: Instant, reading: Reading) {
        let rested = self.access.is_resting();
        self.access.port = Some(reading.port);
        self.access.known = reading.access;
        self.access.read_at = Some(now);
        if let Some(access) = reading.access
            && self.access.written != Some(access)
        {
            self.access.written = Some(access);
            let why = access.to_string();
            self.journal.note(now, self.incarnation, "access", &why);
            tracing::info!(path = %self.config.name, incarnation = %self.incarnation, why, "access");
        }
        self.tell_access();
        let in_use = matches!(self.state, State::Ready | State::Suspect);
        if rested && !self.access.is_resting() && in_use && self.access.proof_owed {
            self.recheck(now, "active: what it could not show before is due");
        }
    }

    /// Tells the volume, once the unit is known to be its.
    pub(super) fn tell_access(&mut self) {
        let news = self.access.doubted || self.access.told != self.access.known;
        if self.admitted && news {
            self.access.told = self.access.known;
            self.access.doubted = false;
            self.messages.push_back(Message::Access {
                incarnation: self.incarnation,
                access: self.access.known,
            });
        }
    }
}
