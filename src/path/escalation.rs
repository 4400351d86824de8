//! A command that does not end: ABORT TASK, LOGICAL UNIT RESET, the end of the session; each with a bound.
//!
//! | step | when | bound |
//! | --- | --- | --- |
//! | ABORT TASK, early | the volume found out that later commands of its kind were answered for long (`volume/overtaken.rs`), or that another path has answered it | until the command's own deadline |
//! | ABORT TASK | no progress for `detect.command`, or the unit was reset under it | 5 s |
//! | LOGICAL UNIT RESET | the step before was refused or not answered, and the configuration allows it; also for a fence that is held up | 10 s |
//! | the session is dropped | the step before was refused or not answered | |
//!
//! An early ABORT TASK that is not answered is no reason for the next step until the command's own deadline
//! has passed: LIO and tgt answer it when their backing store is done with the command, however long that
//! takes, and what disturbs all commands must not come any sooner for one.
//!
//! What a target calls aborted may run on in its backing store. A write that was aborted is a ghost of its
//! session, which lives; a barrier in the same session lays it (`fencing.rs`), where somebody waits for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ids::TaskId;
use crate::iscsi::pdu::TmfResponse;
use crate::iscsi::session::{Session, TaskFunction, TmfId};

use super::message::{Abort, Message};
use super::{Path, State};

/// ABORT TASK must be answered within so long.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// LOGICAL UNIT RESET must be answered within so long: tgt waits for the commands that its backing store
/// works on.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// A reset that did not help is not repeated before so long, and hits everybody who uses the unit.
pub(crate) const RESET_PAUSE: Duration = Duration::from_secs(30);

/// Commands that another path has answered are not aborted any more in a session whose target took longer
/// than this for one: it has other things to do.
const SLOW_ABORT: Duration = Duration::from_millis(500);

/// So many of those at a time: as many as there are ABORT TASKs on the wire.
const BEATEN_MAX: usize = crate::limits::ABORTS_MAX;

/// Why a command is being aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Its deadline has passed, or the unit was reset under it: what follows is the next step.
    Due,
    /// The volume asked for it before that.
    Early,
    /// Nobody waits for its answer.
    Beaten,
}

#[derive(Clone, Copy, Debug)]
struct Aborting {
    id: TmfId,
    since: Instant,
    /// The next step is taken then.
    due: Instant,
    cause: Cause,
}

#[derive(Clone, Copy, Debug)]
struct Reset {
    id: TmfId,
    due: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Escalation {
    aborting: BTreeMap<TaskId, Aborting>,
    reset: Option<Reset>,
    /// When the commands are looked at next.
    due: Option<Instant>,
    /// The target refused an ABORT TASK of this session: none is sent that need not be.
    refused: bool,
    /// It took long for one: none is sent for what nobody waits for.
    slow: bool,
    /// When the last reset was sent, in whatever session.
    reset_at: Option<Instant>,
    aborts: u64,
    resets: u64,
}

impl Escalation {
    /// When [`Path::check_commands`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// ABORT TASKs sent.
    pub(super) fn aborts(&self) -> u64 {
        self.aborts
    }

    /// LOGICAL UNIT RESETs sent.
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    /// A command was sent whose deadline that is.
    pub(super) fn on_sent(&mut self, deadline: Instant) {
        self.due.get_or_insert(deadline);
    }

    fn look_at(&mut self, at: Instant) {
        self.due = self.due.into_iter().chain([at]).min();
    }

    /// A task has ended.
    pub(super) fn on_end(&mut self, now: Instant, task: TaskId) {
        if let Some(abort) = self.aborting.remove(&task) {
            self.slow |= now.saturating_duration_since(abort.since) > SLOW_ABORT;
        }
    }

    /// The session is gone.
    pub(super) fn end_session(&mut self) {
        *self = Self {
            reset_at: self.reset_at,
            aborts: self.aborts,
            resets: self.resets,
            ..Self::default()
        };
    }

    fn beaten(&self) -> usize {
        let beaten = |abort: &&Aborting| abort.cause == Cause::Beaten;
        self.aborting.values().filter(beaten).count()
    }

    /// No reset was sent just now.
    fn may_reset(&self, now: Instant) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < RESET_PAUSE;
        !self.reset_at.is_some_and(recent)
    }
}

impl Path {
    /// The volume wants a command aborted before its deadline.
    pub(super) fn abort_early(&mut self, now: Instant, task: TaskId, why: Abort) {
        let limit = self.config.detect.command;
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        let known = self.escalation.aborting.contains_key(&task);
        if known || self.escalation.refused || self.escalation.reset.is_some() {
            return;
        }
        let Some(progress) = session.progress(task) else {
            return;
        };
        let (worth, cause) = match why {
            Abort::Overtaken { idle } => (progress.last_progress_at + idle <= now, Cause::Early),
            Abort::Beaten => {
                let room = self.escalation.beaten() < BEATEN_MAX && !self.escalation.slow;
                (room && progress.received == 0, Cause::Beaten)
            }
        };
        if worth {
            let due = (progress.last_progress_at + limit).max(now + ABORT_TIMEOUT);
            self.abort(now, task, cause, due);
        }
    }

    fn abort(&mut self, now: Instant, task: TaskId, cause: Cause, due: Instant) {
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        let id = session.manage(now, TaskFunction::AbortTask(task));
        let since = now;
        let abort = Aborting {
            id,
            since,
            due,
            cause,
        };
        self.escalation.aborting.insert(task, abort);
        self.escalation.aborts += 1;
        self.escalation.look_at(due);
    }

    /// A reset ends the commands of everybody, and without the TAS bit (SPC-5 8.4.6) nobody is told of each.
    /// Which ones only the target knows: those that have no answer yet are aborted and come back.
    pub(super) fn abort_what_a_reset_ended(&mut self, now: Instant) {
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        let tasks: Vec<TaskId> = session.tasks().map(|(task, _)| task).collect();
        for task in tasks {
            if self.escalation.aborting.contains_key(&task) {
                continue;
            }
            tracing::debug!(path = %self.config.name, ?task, "the unit was reset: ABORT TASK");
            self.abort(now, task, Cause::Due, now + ABORT_TIMEOUT);
        }
    }

    /// Commands without progress for the command timeout are aborted; where that is not answered, the next
    /// step is taken.
    pub(super) fn check_commands(&mut self, now: Instant) {
        if self.escalation.due.is_none_or(|at| at > now) {
            return;
        }
        self.escalation.due = None;
        let limit = self.config.detect.command;
        if let Some(reset) = self.escalation.reset {
            if reset.due <= now {
                return self.lose(now, "no answer to LOGICAL UNIT RESET");
            }
            return self.escalation.look_at(reset.due);
        }
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        let mut next: Option<Instant> = None;
        let (mut stuck, mut overdue) = (Vec::new(), false);
        for (task, progress) in session.tasks() {
            let abort = self.escalation.aborting.get(&task);
            // Writes wait for a barrier, and it may hang as any command.
            let limit = if self.drain.is(task) {
                limit / 2
            } else {
                limit
            };
            let due = abort.map_or(progress.last_progress_at + limit, |abort| abort.due);
            if due > now {
                next = next.into_iter().chain([due]).min();
            } else if abort.is_some() {
                overdue = true;
            } else {
                stuck.push(task);
            }
        }
        self.escalation.due = next;
        for &task in &stuck {
            tracing::warn!(path = %self.config.name, ?task, timeout = ?limit, "a command makes no progress: ABORT TASK");
            let why = "a command made no progress within detect.command";
            self.journal.note(now, self.incarnation, "abort", why);
            self.abort(now, task, Cause::Due, now + ABORT_TIMEOUT);
        }
        if overdue {
            self.escalate(now, "no answer to ABORT TASK");
        }
    }

    /// A barrier was sent, which has half the time of other commands.
    pub(super) fn watch_barrier(&mut self, now: Instant) {
        self.escalation
            .look_at(now + self.config.detect.command / 2);
    }

    /// The next step after ABORT TASK.
    fn escalate(&mut self, now: Instant, why: &str) {
        if self.config.lun_reset && self.escalation.may_reset(now) {
            self.reset_unit(now, why);
        } else {
            self.lose(now, why);
        }
    }

    /// Resets the logical unit: everything that anybody has asked of it ends.
    pub fn reset_unit(&mut self, now: Instant, why: &str) {
        let function = TaskFunction::LogicalUnitReset(self.config.lun);
        let session = self.session.as_mut().and_then(Session::full_feature);
        let Some(session) = session.filter(|_| self.escalation.reset.is_none()) else {
            return;
        };
        let id = session.manage(now, function);
        let due = now + RESET_TIMEOUT;
        self.escalation.reset = Some(Reset { id, due });
        self.escalation.reset_at = Some(now);
        self.escalation.resets += 1;
        self.escalation.look_at(due);
        self.journal.note(now, self.incarnation, "lun reset", why);
        tracing::warn!(path = %self.config.name, why, "LOGICAL UNIT RESET: commands of all who use the unit end");
        self.watch_network(now);
    }

    /// Whether a reset of its own is not answered yet.
    #[must_use]
    pub fn is_resetting(&self) -> bool {
        self.escalation.reset.is_some()
    }

    /// Task management was answered. The tasks that it ended were reported before.
    pub(super) fn on_management(&mut self, now: Instant, id: TmfId, response: TmfResponse) {
        if self
            .escalation
            .reset
            .take_if(|reset| reset.id == id)
            .is_some()
        {
            return self.on_reset_answer(now, response);
        }
        let aborting = self.escalation.aborting.iter();
        let found = aborting
            .map(|(task, abort)| (*task, *abort))
            .find(|(_, abort)| abort.id == id);
        // One whose task has ended meanwhile may be answered as it likes.
        let Some((task, abort)) = found else { return };
        if matches!(
            response,
            TmfResponse::Complete | TmfResponse::TaskDoesNotExist
        ) {
            return;
        }
        if abort.cause == Cause::Due {
            return self.escalate(now, "the target refused ABORT TASK");
        }
        self.escalation.refused = true;
        self.escalation.aborting.remove(&task);
        self.escalation.look_at(now);
        let why = "the target refused ABORT TASK: the command's own deadline counts";
        self.journal
            .note(now, self.incarnation, "abort refused", why);
    }

    fn on_reset_answer(&mut self, now: Instant, response: TmfResponse) {
        if response != TmfResponse::Complete {
            return self.lose(now, "the target refused LOGICAL UNIT RESET");
        }
        let why = "the target has reset the unit";
        self.journal.note(now, self.incarnation, "lun reset", why);
        tracing::info!(path = %self.config.name, "the unit was reset");
        let incarnation = self.incarnation;
        self.messages.push_back(Message::UnitReset { incarnation });
        self.escalation.look_at(now);
    }
}

/// A fence that is under way for so long is held up.
const HELD_UP: Duration = Duration::from_secs(2);

impl Path {
    /// When a reset of the unit should free the fence that is under way: a command that hangs at the target
    /// keeps the login of the fencer, or of the path itself, or their barrier from being answered, and writes
    /// wait for that.
    pub(super) fn held_up_at(&self) -> Option<Instant> {
        let wanted = self.surroundings.wants_fence && self.surroundings.holds_writes;
        if !self.config.lun_reset || !wanted || self.stopping.is_some() {
            return None;
        }
        let fencer = self
            .fencer
            .as_ref()
            .and_then(|fencer| fencer.fencing_since());
        let asks = match self.state {
            State::LoggingIn => true,
            // A comparison may take its time.
            State::Probing => self.probe.is_some(),
            State::Connecting { .. }
            | State::Probation { .. }
            | State::Ready
            | State::Suspect
            | State::Down { .. }
            | State::Disabled { .. }
            | State::Stopped => false,
        };
        let own = asks && !self.admitted;
        let since = fencer.or_else(|| own.then_some(self.since))?;
        let at = since + HELD_UP;
        Some(
            self.freed_at
                .map_or(at, |freed| at.max(freed + RESET_PAUSE)),
        )
    }

    /// Whether that is due. The engine chooses who resets the unit.
    #[must_use]
    pub fn is_held_up(&self, now: Instant) -> bool {
        self.held_up_at().is_some_and(|at| at <= now)
    }

    /// The engine has looked after it: the unit is being reset over another path, or over this one, or there
    /// is none that could.
    pub fn note_freed(&mut self, now: Instant, by: Option<&str>) {
        self.freed_at = Some(now);
        if let Some(by) = by {
            let why = format!("a command hangs at the target; the unit is reset over {by}");
            self.journal
                .note(now, self.incarnation, "fence held up", &why);
        }
    }

    /// Whether its own session is far enough to reset the unit.
    #[must_use]
    pub fn is_logged_in(&mut self) -> bool {
        let session = self.session.as_mut().and_then(Session::full_feature);
        session.is_some() && !self.logging_out
    }

    /// The unit was reset by a path of the volume: what this one had sent is gone without an answer.
    pub fn on_unit_was_reset(&mut self, now: Instant) {
        let lun = self.config.lun;
        if let Some(fencer) = &mut self.fencer {
            fencer.begin_barrier_again(now, lun);
        }
        if matches!(self.state, State::Probing) && !self.admitted && self.probe.is_some() {
            return self.lose(now, "the unit was reset while it was identified");
        }
        // A path that asks for nothing more would not hear of it.
        self.abort_what_a_reset_ended(now);
    }
}
