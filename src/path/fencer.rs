//! The fencer: a short-lived session of a path's own initiator port through a sibling path's portal.
//!
//! A login with the lost session's ISID and TSIH 0 reinstates it: the target ends the old session's
//! tasks before the new one works (RFC 7143 6.3.5). That holds for every portal of the same target
//! portal group, so a path whose portal is out of reach can be fenced through a sibling. After the login
//! the fencer sends TEST UNIT READY until the unit attentions are gone, and then one with the ORDERED
//! attribute: a target that lets the old session's commands run on in its backing store (tgt does)
//! answers that one only after them.
//!
//! Equal portal group tags do not prove that two portals share their sessions (every tgt calls itself
//! group 1). So a path that joins proves it first, before it carries anything (`proof.rs`).

use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::deadline::Deadline;
use crate::ids::{Disposition, Lun, PathId, TaskId};
use crate::iscsi::session::{Event, Session};
use crate::scsi::cdb::Command;
use crate::scsi::sense::{Sense, SenseKey};
use crate::scsi::verdict::{shows_no_attention_is_left, status};
use crate::task::{Completion, DataTransfer, Task, TaskAttribute};

/// Unit attentions and busy answers in a row that are taken before the barrier is given up.
const ATTEMPTS_MAX: u32 = 16;

/// Sends TEST UNIT READY until no unit attention is left, then one ordered: everything older has then ended.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    attempts: u32,
    ordered: bool,
    unordered: bool,
}

/// What a [`Barrier`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarrierStep {
    /// Send TEST UNIT READY with this attribute.
    Send(TaskAttribute),
    /// Nothing older is executing.
    Passed,
    /// The target answers, but not so that it would show that nothing older is executing.
    Open,
    /// The target only answers with unit attentions or BUSY.
    Stuck,
}

impl Barrier {
    /// The first command's attribute.
    pub(super) fn first() -> TaskAttribute {
        TaskAttribute::Simple
    }

    /// One that only takes the unit attentions.
    pub(super) fn without_order() -> Self {
        Self {
            unordered: true,
            ..Self::default()
        }
    }

    /// The answer to the last one.
    pub(super) fn on_answer(&mut self, turn: Turn) -> BarrierStep {
        self.attempts += 1;
        match turn {
            Turn::Attention | Turn::NotNow if self.attempts >= ATTEMPTS_MAX => BarrierStep::Stuck,
            Turn::Attention | Turn::NotNow if self.ordered => {
                BarrierStep::Send(TaskAttribute::Ordered)
            }
            Turn::Attention | Turn::NotNow => BarrierStep::Send(TaskAttribute::Simple),
            Turn::Refused => BarrierStep::Open,
            Turn::Taken if self.unordered => BarrierStep::Open,
            Turn::Taken if self.ordered => BarrierStep::Passed,
            Turn::Taken => {
                self.ordered = true;
                BarrierStep::Send(TaskAttribute::Ordered)
            }
        }
    }
}

/// What an answer to a command says of its place among the unit's other commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was carried out, in its turn.
    Taken,
    /// It was answered, perhaps before it was queued: LIO refuses by access state and reservation, and
    /// any target a unit that it does not have, at the door.
    Refused,
    /// A unit attention was in its way.
    Attention,
    /// It was not carried out and may be sent again.
    NotNow,
}

/// What a unit attention says.
pub(super) fn unit_attention(completion: &Completion) -> Option<Sense> {
    let sense = Sense::parse(&completion.sense)?;
    let attention = sense.key == SenseKey::UnitAttention;
    (attention && completion.status == status::CHECK_CONDITION).then_some(sense)
}

/// Reads an answer for [`Turn`].
pub(super) fn turn(completion: &Completion) -> Turn {
    match completion.status {
        status::GOOD | status::CONDITION_MET => Turn::Taken,
        status::BUSY | status::TASK_SET_FULL | status::TASK_ABORTED | status::ACA_ACTIVE => {
            Turn::NotNow
        }
        status::CHECK_CONDITION => match Sense::parse(&completion.sense) {
            Some(sense) if sense.deferred => Turn::NotNow,
            Some(sense) if sense.key == SenseKey::UnitAttention => Turn::Attention,
            Some(sense) if sense.key == SenseKey::AbortedCommand => Turn::NotNow,
            Some(sense) if sense.key == SenseKey::RecoveredError => Turn::Taken,
            Some(_) => Turn::Refused,
            None => Turn::NotNow,
        },
        _ => Turn::Refused,
    }
}

/// Whether the target may have answered one of these tasks of a lost session.
pub(super) fn may_have_told(lost: &[(TaskId, Disposition)]) -> bool {
    lost.iter()
        .any(|(_, disposition)| *disposition == Disposition::Indeterminate)
}

/// Whether the answer is about the command, and not about something that came before it.
pub(super) fn is_settled(completion: &Completion) -> bool {
    matches!(turn(completion), Turn::Taken | Turn::Refused)
}

/// TEST UNIT READY.
pub(super) fn test_unit_ready(id: TaskId, lun: Lun, attribute: TaskAttribute) -> Task {
    Task {
        id,
        lun,
        cdb: Command::TestUnitReady.cdb(),
        attribute,
        data: DataTransfer::None,
    }
}

/// Why a fencer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To end the path's lost sessions.
    Fence,
    /// To learn whether it could.
    Proof,
}

#[derive(Debug)]
enum Phase {
    Dialing {
        deadline: Instant,
    },
    /// Nothing was heard since.
    LoggingIn {
        since: Instant,
    },
    Barrier {
        barrier: Barrier,
        deadline: Instant,
    },
    /// Waits for the login over the path's own portal that is to end it.
    Staying,
    LoggingOut,
    Ended,
}

/// What happened to a fencer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FencerEvent {
    LoggedIn,
    /// The unit was without power.
    PowerLost,
    /// It may have been: the answer that would tell is lost.
    PowerDoubted,
    /// Nothing older of the sessions that its login ended is executing: of those in this portal group.
    Passed {
        group: Option<u16>,
    },
    Ended,
    Failed(String),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Fencer {
    pub(super) via: PathId,
    pub(super) purpose: Purpose,
    phase: Phase,
    step: Duration,
    since: Instant,
    session: Option<Session>,
    next_task: u64,
    /// The command whose answer moves the barrier on.
    awaited: Option<TaskId>,
    /// The unit has answered.
    told: bool,
    events: std::collections::VecDeque<FencerEvent>,
}

impl Fencer {
    /// A fencer whose connection is being made through `via`; each of its steps may take `step`.
    pub(super) fn new(now: Instant, via: PathId, purpose: Purpose, step: Duration) -> Self {
        Self {
            via,
            purpose,
            phase: Phase::Dialing {
                deadline: now + step,
            },
            step,
            since: now,
            session: None,
            next_task: 0,
            awaited: None,
            told: false,
            events: std::collections::VecDeque::new(),
        }
    }

    /// Since when it tries to end the path's lost sessions, with a connection.
    pub(super) fn fencing_since(&self) -> Option<Instant> {
        let fences = self.purpose == Purpose::Fence && self.has_asked();
        fences.then_some(self.since)
    }

    /// The unit was reset: what the barrier has sent is gone without an answer.
    pub(super) fn begin_barrier_again(&mut self, now: Instant, lun: Lun) {
        if matches!(self.phase, Phase::Barrier { .. }) {
            self.phase = Phase::Barrier {
                barrier: Barrier::default(),
                deadline: now + self.step,
            };
            self.send(now, lun, Barrier::first());
        }
    }

    /// Whether its login is on its way, or was.
    pub(super) fn has_asked(&self) -> bool {
        !matches!(self.phase, Phase::Dialing { .. })
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    pub(super) fn portal_group(&mut self) -> Option<u16> {
        let session = self.session.as_mut().and_then(Session::full_feature)?;
        session.negotiated().target_portal_group_tag
    }

    pub(super) fn poll_event(&mut self) -> Option<FencerEvent> {
        self.events.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let step = match self.phase {
            Phase::Dialing { deadline } => Some(Deadline::new(deadline, "fencer connect")),
            Phase::Barrier { deadline, .. } => Some(Deadline::new(deadline, "fencer barrier")),
            Phase::LoggingIn { since } => Some(Deadline::new(
                since + self.step,
                "answer to the fencer's login",
            )),
            Phase::Staying | Phase::LoggingOut | Phase::Ended => None,
        };
        Deadline::earlier(step, self.session.as_ref().and_then(Session::poll_timeout))
    }

    pub(super) fn on_connected(&mut self, now: Instant, session: Session) {
        if matches!(self.phase, Phase::Dialing { .. }) {
            self.session = Some(session);
            self.phase = Phase::LoggingIn { since: now };
        }
    }

    pub(super) fn on_closed(&mut self, why: &str) {
        match self.phase {
            Phase::Staying | Phase::LoggingOut => self.end(FencerEvent::Ended),
            Phase::Ended => {}
            Phase::Dialing { .. } | Phase::LoggingIn { .. } | Phase::Barrier { .. } => {
                self.end(FencerEvent::Failed(why.to_owned()));
            }
        }
    }

    /// Ends its session: whether the answer that would have told of a power loss is lost with it.
    pub(super) fn leave_doubt(&mut self) -> bool {
        let lost = self.session.take().map(Session::into_lost);
        !self.told && lost.is_some_and(|lost| may_have_told(&lost))
    }

    fn end(&mut self, event: FencerEvent) {
        if self.leave_doubt() {
            self.events.push_back(FencerEvent::PowerDoubted);
        }
        self.phase = Phase::Ended;
        self.events.push_back(event);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let deadline = match self.phase {
            Phase::Dialing { deadline } | Phase::Barrier { deadline, .. } => Some(deadline),
            Phase::LoggingIn { since } => Some(since + self.step),
            Phase::Staying | Phase::LoggingOut | Phase::Ended => None,
        };
        if deadline.is_some_and(|at| at <= now) {
            return self.end(FencerEvent::Failed("no answer in time".to_owned()));
        }
        if let Some(session) = &mut self.session
            && let Err(error) = session.handle_timeout(now)
        {
            self.end(FencerEvent::Failed(error.to_string()));
        }
    }

    pub(super) fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut, lun: Lun) {
        let Some(session) = &mut self.session else {
            return;
        };
        if let Phase::LoggingIn { since } = &mut self.phase {
            *since = now;
        }
        if let Err(error) = session.handle_bytes(now, input) {
            return self.end(FencerEvent::Failed(error.to_string()));
        }
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            self.on_event(now, event, lun);
        }
    }

    fn on_event(&mut self, now: Instant, event: Event, lun: Lun) {
        match event {
            Event::LoggedIn(_) => {
                let deadline = now + self.step;
                self.phase = Phase::Barrier {
                    barrier: Barrier::default(),
                    deadline,
                };
                self.events.push_back(FencerEvent::LoggedIn);
                self.send(now, lun, Barrier::first());
            }
            Event::Completed(task, completion) => {
                self.told |= shows_no_attention_is_left(&completion);
                let sense = unit_attention(&completion);
                if sense.is_some_and(|sense| sense.says_power_was_lost()) {
                    self.told = true;
                    self.events.push_back(FencerEvent::PowerLost);
                }
                // A reset of the unit may have overtaken the answer to what was sent before it.
                let awaited = self.awaited == Some(task);
                let Phase::Barrier { barrier, .. } = &mut self.phase else {
                    return;
                };
                if !awaited {
                    return;
                }
                match barrier.on_answer(turn(&completion)) {
                    BarrierStep::Send(attribute) => self.send(now, lun, attribute),
                    BarrierStep::Passed => {
                        let group = self.portal_group();
                        self.events.push_back(FencerEvent::Passed { group });
                        match self.purpose {
                            Purpose::Fence => self.log_out(now),
                            Purpose::Proof => self.phase = Phase::Staying,
                        }
                    }
                    BarrierStep::Open | BarrierStep::Stuck if self.purpose == Purpose::Proof => {
                        self.phase = Phase::Staying;
                    }
                    BarrierStep::Open => {
                        let why = "the unit does not carry out commands here";
                        self.end(FencerEvent::Failed(why.to_owned()));
                    }
                    BarrierStep::Stuck => {
                        self.end(FencerEvent::Failed("only unit attentions".to_owned()));
                    }
                }
            }
            Event::Redirected { .. } => {
                self.end(FencerEvent::Failed(
                    "the portal redirects logins".to_owned(),
                ));
            }
            Event::LoggedOut { .. } => self.end(FencerEvent::Ended),
            Event::Failed(..)
            | Event::Aborted(..)
            | Event::TaskManagement { .. }
            | Event::PingAnswered { .. }
            | Event::Async(..)
            | Event::Targets(..)
            | Event::TargetsRefused(..) => {}
        }
    }

    fn send(&mut self, now: Instant, lun: Lun, attribute: TaskAttribute) {
        let id = TaskId(self.next_task);
        self.next_task += 1;
        self.awaited = Some(id);
        match self.session.as_mut().and_then(Session::full_feature) {
            Some(session) if session.free_slots() > 0 => {
                session.submit(now, test_unit_ready(id, lun, attribute));
            }
            _ => self.end(FencerEvent::Failed(
                "the target's command window is closed".to_owned(),
            )),
        }
    }

    pub(super) fn log_out(&mut self, now: Instant) {
        match self.session.as_mut().and_then(Session::full_feature) {
            Some(session) => {
                session.logout(now);
                self.phase = Phase::LoggingOut;
            }
            None => self.end(FencerEvent::Ended),
        }
    }
}
