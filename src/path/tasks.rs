//! The session in use: its events.

use std::time::{Duration, Instant};

use crate::ids::TaskId;
use crate::iscsi::session::{AsyncEvent, Event, Session, TaskFailure};
use crate::limits;
use crate::task::Completion;

use super::fencer::unit_attention;
use super::fencing::Power;
use super::message::{Fate, Message};
use super::probe;
use super::{Path, State};
use crate::scsi::verdict::shows_no_attention_is_left;

/// No target keeps a path away for longer: Time2Wait may be up to 18 hours.
const TIME2WAIT_MAX: Duration = Duration::from_secs(30);

impl Path {
    /// Acts on the session's events.
    pub(super) fn drain_session(&mut self, now: Instant) {
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            self.on_event(now, event);
        }
        self.send_unsent(now);
        self.try_drain(now);
        self.check_draining(now);
        self.trust_again(now);
        self.watch_network(now);
    }

    /// A suspect path was heard since, and what it is sent arrives.
    pub(super) fn trust_again(&mut self, now: Instant) {
        let leaving = self.logging_out || self.draining.is_some();
        let heard = self.heard().is_some_and(|heard| heard >= self.since);
        if matches!(self.state, State::Suspect) && !leaving && heard && self.is_reached(now) {
            self.enter(now, State::Ready, "answers again");
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        let incarnation = self.incarnation;
        match event {
            Event::LoggedIn(_) => self.on_logged_in(now),
            Event::Redirected { to, permanent } => {
                self.redirects += 1;
                if self.redirects > limits::REDIRECTS_MAX {
                    self.redirects = 0;
                    return self.lose(now, "too many login redirects in a row");
                }
                tracing::info!(path = %self.config.name, %to, permanent, "the portal redirects the login");
                self.lose_quietly(now, &format!("redirected to {to}"));
                self.redirect = Some(to);
                if let State::Down { retry_at } = &mut self.state {
                    *retry_at = now;
                }
            }
            Event::Completed(task, completion) if probe::is_ours(task) => {
                self.on_own_end(now, task, Some(completion));
            }
            Event::Completed(task, completion) => {
                self.escalation.on_end(now, task);
                if unit_attention(&completion).is_some_and(|sense| sense.says_reset()) {
                    self.abort_what_a_reset_ended(now);
                }
                self.messages.push_back(Message::Completed {
                    incarnation,
                    task,
                    completion,
                });
            }
            Event::Failed(task, failure) if probe::is_ours(task) => {
                tracing::debug!(path = %self.config.name, ?failure, "a probe failed");
                self.power = self.power.or_missed();
                self.on_own_end(now, task, None);
            }
            Event::Failed(task, failure) => {
                tracing::info!(path = %self.config.name, ?failure, "a command failed without a SCSI status");
                self.escalation.on_end(now, task);
                self.messages.push_back(Message::Failed {
                    incarnation,
                    task,
                    fate: fate(&failure),
                });
            }
            Event::Aborted(task) if probe::is_ours(task) => self.on_own_end(now, task, None),
            Event::Aborted(task) => {
                self.escalation.on_end(now, task);
                self.messages.push_back(Message::Failed {
                    incarnation,
                    task,
                    fate: Fate::Aborted,
                });
            }
            Event::TaskManagement { id, response } => self.on_management(now, id, response),
            Event::PingAnswered { rtt } => {
                self.large_pings.answered();
                self.on_pong(now, rtt);
            }
            Event::Async(event) => self.on_async(now, event),
            Event::LoggedOut { time2wait } => {
                self.not_before = Some(now + time2wait.min(TIME2WAIT_MAX));
                self.lose(now, "logged out");
            }
            Event::Targets(_) | Event::TargetsRefused(_) => {}
        }
    }

    /// A command of the path itself has ended; of interest if it is the one whose answer is due.
    fn on_own_end(&mut self, now: Instant, task: TaskId, completion: Option<Completion>) {
        self.escalation.on_end(now, task);
        let sense = completion.as_ref().and_then(unit_attention);
        let lost = sense.is_some_and(|sense| sense.says_power_was_lost());
        let nothing_left = completion.as_ref().is_some_and(shows_no_attention_is_left);
        self.power = match self.power {
            _ if lost && self.admitted => {
                self.report_power_lost(Some(now));
                Power::Told
            }
            _ if lost => Power::Lost,
            Power::Untold if nothing_left => Power::Told,
            power @ (Power::Untold | Power::Lost | Power::Missed | Power::Told) => power,
        };
        if sense.is_some_and(|sense| sense.says_reset()) {
            self.abort_what_a_reset_ended(now);
        }
        if sense.is_some_and(|sense| sense.says_access_changed()) {
            self.access.on_news();
        }
        if sense.is_some_and(|sense| sense.says_reservations_changed()) && self.admitted {
            self.messages.push_back(Message::ReservationsChanged);
        }
        if self.own.take_if(|own| *own == task).is_some() {
            self.on_own_answer(now, completion);
        } else if let Some(ticket) = self.courier.take_asked(task) {
            self.on_errand_answer(now, ticket, completion);
        } else if let Some(asked) = self.access.take_asked(task) {
            self.on_access_answer(now, asked, completion.as_ref());
        } else if let Some(asked) = self.drain.take_asked(task) {
            self.on_drain_answer(now, asked, completion.as_ref());
        } else {
            self.on_compared(now, task, completion.as_ref());
        }
    }

    fn on_own_answer(&mut self, now: Instant, completion: Option<Completion>) {
        if self.probe.is_some() {
            self.drive_probe(now, Some(completion));
        } else if matches!(self.state, State::Probation { .. }) {
            self.on_probation_answer(now, completion.as_ref());
        } else {
            self.on_late_barrier(now, completion.as_ref());
        }
    }

    fn on_async(&mut self, now: Instant, event: AsyncEvent) {
        tracing::info!(path = %self.config.name, ?event, "async message from the target");
        self.journal.note(
            now,
            self.incarnation,
            "async message",
            &format!("{event:?}"),
        );
        match event {
            AsyncEvent::Scsi { .. } => self.recheck(now, "the target reported an event"),
            AsyncEvent::LogoutRequested { within } | AsyncEvent::Renegotiate { within } => {
                self.draining = Some(now + within);
                if matches!(self.state, State::Ready) {
                    self.enter(now, State::Suspect, "the target asks for a logout");
                }
                self.check_draining(now);
            }
            AsyncEvent::ConnectionDropped { time2wait, .. }
            | AsyncEvent::SessionDropped { time2wait, .. } => {
                self.not_before = Some(now + time2wait.min(TIME2WAIT_MAX));
                self.ended_by_target();
                self.lose(now, "the target announced that it drops the session");
                self.judge_proof(now);
            }
            AsyncEvent::TasksTerminated { .. } | AsyncEvent::Other { .. } => {}
        }
    }

    /// The target asked for a logout: when everything in flight has ended, or at its deadline.
    pub(super) fn check_draining(&mut self, now: Instant) {
        let Some(deadline) = self.draining else {
            return;
        };
        let Some(session) = self.session.as_mut().and_then(Session::full_feature) else {
            return;
        };
        if session.outstanding() == 0 || deadline <= now {
            self.draining = None;
            session.logout(now);
            self.logging_out = true;
        }
    }
}

/// What a task's failure says of its execution.
pub(super) fn fate(failure: &TaskFailure) -> Fate {
    if failure.at_large() {
        Fate::AtLarge
    } else {
        Fate::Over
    }
}
