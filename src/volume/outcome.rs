//! What an answer means for its command, and a command's end for its io.

use std::time::{Duration, Instant};

use smallvec::smallvec;

use crate::errno::IoErrno;
use crate::ids::{Incarnation, PathId, TaskId};
use crate::limits;
use crate::path::message::{Fate, Order};
use crate::payload::Payload;
use crate::sabotage::{self, Sabotage};
use crate::scsi::verdict::{
    CommandKind, Judgement, PathTrouble, Recheck, RetryPath, Verdict, judge,
};
use crate::task::{Completion, Residual};

use super::command::{self, Op};
use super::overtaken::Sort;
use super::request::{IoError, Request};
use super::{Attempt, CommandOrder, Volume};

/// The first pause before a command is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How a command may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// So many times.
    Times(u32),
    /// [`limits::UNIT_ATTENTIONS_MAX`] times.
    Attentions,
    /// As long as the trouble may take to pass: [`limits::RETRY_WINDOW`] from the first such answer.
    Window,
}

impl Volume {
    /// Takes an attempt out: it has an answer, or its session was lost.
    pub(super) fn take_attempt(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        task: TaskId,
    ) -> Attempt {
        let attempt = self
            .attempts
            .remove(&task)
            .expect("an attempt is resolved once");
        assert_eq!(
            (attempt.path, attempt.incarnation),
            (path, incarnation),
            "of its own session"
        );
        self.roster.route_mut(path).on_end(task, attempt.io.bytes);
        self.config
            .policy
            .on_complete(now, path.0, &attempt.io, attempt.sent);
        attempt
    }

    /// The target answered.
    pub(super) fn on_completed(&mut self, now: Instant, attempt: &Attempt, completion: Completion) {
        let order = attempt.command;
        if attempt.orphan {
            self.counters.wasted_bytes += completion.data.len() as u64;
            let judgement = judge(&completion, CommandKind::Read);
            self.heed(now, attempt.path, attempt.sent, &judgement);
            return self.heed_refusal(now, attempt.path, &judgement);
        }
        let command = &self.commands[&order];
        let judgement = judge(&completion, command.op.kind());
        let route = self.roster.route_mut(attempt.path);
        route.counters.commands += 1;
        if judgement.verdict == Verdict::Good {
            let whole = match command.op {
                Op::Read(_) => {
                    completion.data.len() == usize::try_from(attempt.io.bytes).unwrap_or(usize::MAX)
                }
                Op::Write { .. } => !matches!(completion.residual, Residual::Underflow(_)),
                Op::Sync | Op::Unmap(_) | Op::WriteSame { .. } => true,
            };
            if whole {
                route.counters.bytes += u64::from(attempt.io.bytes);
                let sort = Sort::of(&command.op, &attempt.io);
                route.flow.on_good(now, sort, attempt.sent);
                if matches!(command.op, Op::Sync) && self.holds_flush(now, order) {
                    return;
                }
                return self.finish(now, order, Ok(completion.data));
            }
            tracing::warn!(
                path = %self.names.of(attempt.path), residual = ?completion.residual,
                got = completion.data.len(),
                wanted = attempt.io.bytes,
                "the target called a short transfer good"
            );
            return self.again(
                now,
                attempt,
                true,
                true,
                Patience::Times(limits::RETRYABLE_MAX),
            );
        }
        tracing::debug!(path = %self.names.of(attempt.path), %judgement, "answer");
        self.heed(now, attempt.path, attempt.sent, &judgement);
        self.on_verdict(now, attempt, &judgement);
        self.heed_refusal(now, attempt.path, &judgement);
    }

    /// What an answer says of its path and of the unit, whatever command it was to.
    pub(super) fn heed(
        &mut self,
        now: Instant,
        path: PathId,
        sent: Instant,
        judgement: &Judgement,
    ) {
        match judgement.verdict {
            Verdict::OtherPath(PathTrouble::Gone)
            | Verdict::Fail {
                recheck: Some(_), ..
            } => self.orders.push_back((path, Order::Recheck)),
            Verdict::OtherPath(PathTrouble::Hardware | PathTrouble::Transport) => {
                self.gray.on_error(path);
            }
            Verdict::Recheck(what) => {
                tracing::info!(path = %self.names.of(path), %judgement, "unit attention");
                if what == Recheck::Reset
                    && judgement
                        .sense
                        .is_some_and(|sense| sense.says_power_was_lost())
                {
                    self.on_power_lost(now, path, Some(now));
                }
                if what == Recheck::Reservations {
                    self.on_reservations_changed(path);
                }
                if what == Recheck::CacheLost {
                    self.durability.lose();
                    tracing::error!(path = %self.names.of(path), %judgement, "the target lost an acknowledged write");
                } else if what == Recheck::Access {
                    self.read_access_of_target(path);
                } else {
                    self.orders.push_back((path, Order::Recheck));
                }
            }
            Verdict::ShrinkQueue => {
                let route = self.roster.route_mut(path);
                route.window.on_refused(now, sent, route.in_flight);
            }
            Verdict::Conflict => self.on_conflict(now, path),
            Verdict::Good
            | Verdict::Retry { .. }
            | Verdict::OtherPath(_)
            | Verdict::Fail { recheck: None, .. }
            | Verdict::Unsupported => {}
        }
    }

    /// What a refusal says of the access state. It may leave no path at all: what becomes of the command
    /// has to be settled before.
    pub(super) fn heed_refusal(&mut self, now: Instant, path: PathId, judgement: &Judgement) {
        if matches!(judgement.verdict, Verdict::OtherPath(_))
            && let Some(access) = self.refused_access(path, judgement)
        {
            tracing::info!(path = %self.names.of(path), %judgement, "its port group carries nothing now");
            self.on_refused_access(now, path, access);
        }
    }

    fn on_verdict(&mut self, now: Instant, attempt: &Attempt, judgement: &Judgement) {
        let order = attempt.command;
        let times = Patience::Times(limits::RETRYABLE_MAX);
        match judgement.verdict {
            Verdict::Good => {}
            Verdict::Retry { path, backoff } => {
                self.again(now, attempt, path == RetryPath::Other, backoff, times);
            }
            Verdict::OtherPath(trouble) => {
                let patience = match trouble {
                    PathTrouble::Hardware => Patience::Times(1),
                    PathTrouble::Transport => times,
                    PathTrouble::Transitioning
                    | PathTrouble::Standby
                    | PathTrouble::Unavailable
                    | PathTrouble::NotReady
                    | PathTrouble::Offline
                    | PathTrouble::Gone => Patience::Window,
                };
                // Where the access state says it, at once; a target that contradicts itself is given time.
                let refused = self.refused_access(attempt.path, judgement).is_some();
                let tried = self.commands[&order].retries as usize >= self.roster.len();
                self.again(now, attempt, true, !refused || tried, patience);
            }
            Verdict::Recheck(Recheck::Access) => {
                self.again(now, attempt, true, false, Patience::Attentions);
            }
            Verdict::Recheck(_) => self.again(now, attempt, false, false, Patience::Attentions),
            Verdict::Fail { errno, .. } => self.fail(now, attempt, judgement, errno),
            Verdict::Unsupported => self.on_unsupported(now, order, attempt, judgement),
            Verdict::Conflict => self.fail(now, attempt, judgement, IoErrno::Io),
            Verdict::ShrinkQueue => self.again(now, attempt, false, true, Patience::Window),
        }
    }

    fn fail(&mut self, now: Instant, attempt: &Attempt, judgement: &Judgement, errno: IoErrno) {
        if self.rival(attempt.command).is_some() {
            return;
        }
        let op = &self.commands[&attempt.command].op;
        tracing::warn!(
            path = %self.names.of(attempt.path), kind = ?op.kind(), lba = op.lba(), %judgement,
            "the logical unit fails a command"
        );
        self.roster.route_mut(attempt.path).counters.errors += 1;
        let lba = judgement.sense.and_then(|sense| sense.information);
        let inside = lba.filter(|&lba| op.covers(lba));
        self.finish(now, attempt.command, Err(IoError { errno, lba: inside }));
    }

    /// A command that the unit does not know is not sent again; what was asked is reached some other way.
    fn on_unsupported(
        &mut self,
        now: Instant,
        order: CommandOrder,
        attempt: &Attempt,
        judgement: &Judgement,
    ) {
        let command = &self.commands[&order];
        let request = &self.ios[&command.io].request;
        match (&command.op, request) {
            (Op::Sync, _) => {
                self.no_sync = true;
                self.finish(now, order, Ok(Payload::new()));
            }
            (Op::Unmap(_) | Op::WriteSame { .. }, Request::Trim { .. }) => {
                self.no_trim = true;
                self.finish(now, order, Ok(Payload::new()));
            }
            (&Op::WriteSame { range, .. }, _) => {
                self.no_write_same = true;
                let (io, request) = (
                    command.io,
                    Request::WriteZeroes {
                        range,
                        may_unmap: false,
                        fua: false,
                    },
                );
                let unit = self.unit.clone().expect("commands come after the unit");
                let mut features = unit.features.clone();
                features.write_same_blocks_max = 0;
                let ops = command::split(&request, unit.geometry, &features);
                self.enqueue(io, ops);
                self.finish(now, order, Ok(Payload::new()));
            }
            (Op::Read(_) | Op::Write { .. } | Op::Unmap(_), _) => {
                self.fail(now, attempt, judgement, IoErrno::Inval);
            }
        }
    }

    /// The attempt ended without a SCSI status. A write that may still be executing is a ghost like that
    /// of a lost session, and only a new session can fence it; if the target says that it has aborted it, a
    /// barrier can (`drain.rs`).
    pub(super) fn on_failed(&mut self, now: Instant, attempt: &Attempt, fate: Fate) {
        if attempt.orphan {
            // Nobody is to blame for what we have ended ourselves; it took that long at least.
            if fate == Fate::Aborted {
                self.took_until(now, attempt);
            } else {
                self.gray.on_error(attempt.path);
            }
            return;
        }
        self.gray.on_error(attempt.path);
        match fate {
            Fate::Over => {}
            Fate::Aborted if sabotage::is(Sabotage::AbortIsAFence) => {}
            Fate::Aborted => {
                self.record_ghost(now, attempt);
            }
            Fate::AtLarge => {
                if self.record_ghost(now, attempt) {
                    self.orders.push_back((attempt.path, Order::GiveUp));
                }
            }
        }
        self.again(
            now,
            attempt,
            true,
            true,
            Patience::Times(limits::RETRYABLE_MAX),
        );
    }

    /// Queues a command for another attempt, in its old place, or gives it up.
    fn again(
        &mut self,
        now: Instant,
        attempt: &Attempt,
        elsewhere: bool,
        pause: bool,
        patience: Patience,
    ) {
        let order = attempt.command;
        if self.rival(order).is_some() {
            return;
        }
        self.roster.route_mut(attempt.path).counters.retries += 1;
        let command = self
            .commands
            .get_mut(&order)
            .expect("an attempt's command exists");
        command.retries += 1;
        command.avoid = elsewhere.then_some(attempt.path);
        let over = match patience {
            Patience::Times(times) => {
                command.counted += 1;
                command.counted > times
            }
            Patience::Attentions => {
                command.attentions += 1;
                command.attentions > limits::UNIT_ATTENTIONS_MAX
            }
            Patience::Window => {
                let since = *command.put_off_since.get_or_insert(now);
                now.saturating_duration_since(since) > limits::RETRY_WINDOW
            }
        };
        let over = over || (self.no_path_expired && !self.roster.any_alive());
        if over {
            tracing::warn!(
                path = %self.names.of(attempt.path),
                retries = command.retries,
                "a command is given up"
            );
            self.roster.route_mut(attempt.path).counters.errors += 1;
            return self.finish(
                now,
                order,
                Err(IoError {
                    errno: IoErrno::Io,
                    lba: None,
                }),
            );
        }
        let first_elsewhere =
            elsewhere && command.retries == 1 && self.roster.has_other(attempt.path);
        // What fails again and again needs time, not haste.
        if (pause || command.counted > 1) && !first_elsewhere {
            let doubled = PAUSE.saturating_mul(1 << command.retries.saturating_sub(1).min(16));
            self.delayed.insert((now + doubled.min(PAUSE_MAX), order));
        } else {
            self.ready.insert(order);
        }
    }

    /// A command's end.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        order: CommandOrder,
        result: Result<Payload, IoError>,
    ) {
        let command = self.commands.remove(&order).expect("a command ends once");
        self.settle_rivals(&command);
        let id = command.io;
        let io = self.ios.get_mut(&id).expect("commands belong to an io");
        let cached = self.unit.as_deref().is_some_and(|u| u.features.caches());
        let lost = matches!(io.request, Request::Flush)
            && self
                .durability
                .on_flushed(io.covers, cached, result.is_ok());
        io.tells_of_loss |= lost;
        let failure = IoError {
            errno: IoErrno::Io,
            lba: None,
        };
        let result = if lost {
            result.and(Err(failure))
        } else {
            result
        };
        io.carried_out |= result.is_ok();
        match result {
            Ok(data) => io.parts[command.part] = data,
            Err(error) => {
                io.error.get_or_insert(error);
            }
        }
        io.commands_left -= 1;
        if io.commands_left > 0 {
            return;
        }
        if std::mem::take(&mut io.redo) && io.error.is_none() {
            io.carried_out = false;
            return self.start(now, id);
        }
        if std::mem::take(&mut io.sync_after) && io.error.is_none() && !self.no_sync {
            return self.enqueue(id, smallvec![Op::Sync]);
        }
        let io = self.take_io(id);
        self.answer(now, id, io);
        self.start_waiting(now);
    }
}
