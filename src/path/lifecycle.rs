//! A path's life: connecting, losing, disabling, fencing, proving.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::{Incarnation, TaskId};
use crate::iscsi::error::SessionError;
use crate::iscsi::session::{Event, Session};
use crate::sabotage::{self, Feature, Sabotage};

use super::advice::advice;
use super::fencer::{Fencer, FencerEvent, Purpose, may_have_told};
use super::fencing::{Drain, Power};
use super::message::{Fate, Message};
use super::probe::{self, Probe};
use super::tasks::fate;
use super::{
    Action, CONNECT_TIMEOUT, DISABLED_RETRY, DISABLED_RETRY_MAX, FLAP_WINDOW, Link, Path, State,
    Surroundings,
};

/// After a fence through a sibling failed, the next one comes no sooner.
const FENCE_RETRY: Duration = Duration::from_secs(1);

impl Path {
    /// Starts the next attempt after a loss: by turns a fence through a sibling, if one is wanted and
    /// there is a sibling, and a connection of its own.
    pub(super) fn connect(&mut self, now: Instant) {
        if !self.may_connect() {
            return;
        }
        if let Some(via) = self.surroundings.fence_route
            && self.fences_first(now)
        {
            self.fenced_last = true;
            if self.fence_after.is_none() {
                tracing::info!(path = %self.config.name, through = %self.names.of(via), "fencing the lost sessions through a sibling path");
            }
            let why = format!("a login through {}", self.names.of(via));
            self.journal.repeat(now, self.incarnation, "fencing", &why);
            return self.start_fencer(now, via, Purpose::Fence);
        }
        if let Some(at) = self.not_before.take_if(|at| *at > now) {
            return self.enter(
                now,
                State::Down { retry_at: at },
                "the target asked for a pause",
            );
        }
        self.fenced_last = false;
        if !self.surroundings.wants_fence {
            self.groups.clear();
        }
        self.incarnation = self.incarnation.next();
        self.attempted = now;
        let to = self.redirect.take();
        self.redirected = to.clone().filter(|to| *to != self.config.portal);
        self.enter(
            now,
            State::Connecting {
                deadline: now + CONNECT_TIMEOUT,
            },
            &self.why.clone(),
        );
        self.actions.push_back(Action::Dial {
            link: Link::Main,
            via: self.id,
            to,
        });
    }

    /// An own attempt that takes long gives way to a fence through a sibling, if writes may wait for one.
    fn prefer_fence(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.attempted);
        let due = waited >= self.patience.before_fence();
        if due && self.fences_first(now) {
            self.lose(now, "the login takes long: fencing first");
        }
    }

    /// Starts a fence through a sibling at once, whatever the backoff says, if one is wanted and there
    /// is a sibling.
    pub fn fence_early(&mut self, now: Instant, surroundings: Surroundings) {
        self.surroundings = surroundings;
        if matches!(self.state, State::Down { .. }) && self.fences_first(now) {
            self.connect(now);
        }
    }

    /// From when on a fence through a sibling comes first, if one is wanted and there is a sibling.
    pub(super) fn would_rather_fence(&self) -> Option<Instant> {
        let Surroundings {
            wants_fence,
            fence_route,
            ..
        } = self.surroundings;
        let may = wants_fence
            && fence_route.is_some()
            && !self.fenced_last
            && self.fencer.is_none()
            && self.stopping.is_none();
        may.then(|| self.fence_after.unwrap_or(self.attempted))
    }

    fn fences_first(&self, now: Instant) -> bool {
        self.would_rather_fence().is_some_and(|at| at <= now)
    }

    pub(super) fn start_fencer(&mut self, now: Instant, via: crate::ids::PathId, purpose: Purpose) {
        self.fencer = Some(Fencer::new(now, via, purpose, self.patience.fencer_step()));
        self.actions.push_back(Action::Dial {
            link: Link::Fencer,
            via,
            to: None,
        });
    }

    /// The session, or the attempt at one, is over.
    pub(super) fn lose(&mut self, now: Instant, why: &str) {
        let wait = self.resolve(now);
        if self.stopping.is_some() {
            return self.stopped(now, why);
        }
        self.enter(
            now,
            State::Down {
                retry_at: now + wait,
            },
            why,
        );
    }

    /// The same, for what is no trouble.
    pub(super) fn lose_quietly(&mut self, now: Instant, why: &str) {
        let trouble = self.trouble.take();
        self.quiet = true;
        self.lose(now, why);
        self.quiet = false;
        self.trouble = trouble;
    }

    /// Ends the session and resolves its tasks; how long to wait before the next.
    fn resolve(&mut self, now: Instant) -> Duration {
        let reached = !matches!(self.state, State::Connecting { .. });
        self.actions.push_back(Action::Hangup { link: Link::Main });
        self.probe = None;
        self.passed_barrier = false;
        self.end_access();
        self.end_errands();
        self.end_sameness(now);
        self.large_pings.on_lost();
        // A login hears the target, but takes no unit attention off it.
        if self.admitted {
            self.heard_before = self.heard();
        }
        (self.own, self.unsent) = (None, None);
        self.probation_left = None;
        self.held_up = false;
        self.on_main_lost();
        self.escalation.end_session();
        self.drain = Drain::default();
        self.draining = None;
        self.logging_out = false;
        self.keep_results();
        let tasks = self
            .session
            .take()
            .map(Session::into_lost)
            .unwrap_or_default();
        match std::mem::take(&mut self.power) {
            _ if self.admitted => {}
            Power::Untold if !may_have_told(&tasks) => {}
            Power::Untold | Power::Missed | Power::Lost => self.report_power_doubted(),
            Power::Told => {}
        }
        if std::mem::take(&mut self.admitted) {
            if self
                .last_loss
                .is_some_and(|at| now.saturating_duration_since(at) < FLAP_WINDOW)
            {
                self.flaps = self.flaps.saturating_add(1);
            } else {
                self.flaps = 0;
            }
            self.last_loss = Some(now);
            self.fence_after = None;
            let tasks = tasks
                .into_iter()
                .filter(|(task, _)| !probe::is_ours(*task))
                .collect();
            self.messages.push_back(Message::Lost {
                incarnation: self.incarnation,
                tasks,
            });
        }
        let alone = !self.surroundings.peers.any;
        self.backoff.on_down(now, alone, reached)
    }

    /// Hands on what the session has reported of the volume's tasks: those are no longer its to lose.
    fn keep_results(&mut self) {
        let incarnation = self.incarnation;
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            let message = match event {
                Event::Completed(task, completion) if !probe::is_ours(task) => Message::Completed {
                    incarnation,
                    task,
                    completion,
                },
                Event::Failed(task, failure) if !probe::is_ours(task) => Message::Failed {
                    incarnation,
                    task,
                    fate: fate(&failure),
                },
                Event::Aborted(task) if !probe::is_ours(task) => Message::Failed {
                    incarnation,
                    task,
                    fate: Fate::Aborted,
                },
                Event::Completed(..)
                | Event::Failed(..)
                | Event::Aborted(_)
                | Event::LoggedIn(_)
                | Event::Redirected { .. }
                | Event::TaskManagement { .. }
                | Event::PingAnswered { .. }
                | Event::Async(_)
                | Event::Targets(_)
                | Event::TargetsRefused(_)
                | Event::LoggedOut { .. } => continue,
            };
            self.messages.push_back(message);
        }
    }

    pub(super) fn stopped(&mut self, now: Instant, why: &str) {
        self.enter(now, State::Stopped, why);
    }

    pub(super) fn disable(&mut self, now: Instant, why: &str) {
        let _ = self.resolve(now);
        if self.stopping.is_some() {
            return self.stopped(now, why);
        }
        let wait = DISABLED_RETRY
            .saturating_mul(1 << self.disabled.min(16))
            .min(DISABLED_RETRY_MAX);
        self.disabled = self.disabled.saturating_add(1);
        self.enter(
            now,
            State::Disabled {
                retry_at: now + wait,
            },
            why,
        );
    }

    pub(super) fn on_session_error(&mut self, now: Instant, error: &SessionError) {
        let why = match advice(error) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        if error.retry_with_md5_only()
            && let Some(plainer) = self.config.session.with_md5_only()
        {
            tracing::info!(
                path = %self.config.name,
                "CHAP with SHA-256 offered first was refused, as some targets do whatever the secret: offering MD5 alone"
            );
            self.config.session = Arc::new(plainer);
            return self.lose_quietly(now, "offering CHAP with MD5 alone");
        }
        if error.needs_operator() {
            self.give_up(now, &why);
        } else {
            self.lose(now, &why);
        }
    }

    /// Nothing but an administrator can mend it, says the target. From one where the path was in use
    /// before that may only mean that it is starting: tgt and LIO refuse logins, or show no units, until
    /// their configuration is loaded.
    pub(super) fn give_up(&mut self, now: Instant, why: &str) {
        if self.geometry.is_some() {
            self.lose(now, why);
        } else {
            self.disable(now, why);
        }
    }

    /// Full feature phase: what is there?
    pub(super) fn on_logged_in(&mut self, now: Instant) {
        self.redirects = 0;
        self.patience.on_login();
        self.fence_owed = true;
        self.enter(now, State::Probing, "logged in");
        self.on_main_in(now);
        if sabotage::is(Sabotage::FenceAtLogin) {
            let (before, group) = (Incarnation(self.incarnation.0 - 1), self.place());
            self.fenced(now, before, group);
        }
        self.probe = Some(Probe::new(now, self.config.alua));
        self.drive_probe(now, None);
    }

    /// The unit may have changed: no new commands until it was identified again.
    pub(super) fn recheck(&mut self, now: Instant, why: &str) {
        if sabotage::is_without(Feature::Recheck) {
            return;
        }
        match (&self.state, &mut self.probe) {
            // What it has found so far may be old already.
            (State::Probing, Some(probe)) => return probe.ask_again(),
            // The volume has not answered yet, or a proof is under way: what it was shown may be old.
            (State::Probing, None) => {}
            (State::Probation { left, .. }, _) => self.probation_left = Some(*left),
            (State::Ready | State::Suspect, _) => {}
            _ => return,
        }
        self.held_up = false;
        self.courier.joining = false;
        self.end_comparison();
        self.enter(now, State::Probing, why);
        self.probe = Some(Probe::again(now, self.config.alua));
        self.drive_probe(now, None);
    }

    pub(super) fn end_fencer(&mut self) {
        if let Some(mut fencer) = self.fencer.take() {
            if fencer.leave_doubt() {
                self.report_power_doubted();
            }
            self.actions
                .push_back(Action::Hangup { link: Link::Fencer });
        }
        self.proof = None;
    }

    /// Acts on what the fencer met.
    pub(super) fn after_fencer(&mut self, now: Instant) {
        while let Some(event) = self.fencer.as_mut().and_then(Fencer::poll_event) {
            let purpose = self.fencer.as_ref().map(|fencer| fencer.purpose);
            match event {
                FencerEvent::LoggedIn => {
                    if sabotage::is(Sabotage::FenceAtLogin) && purpose == Some(Purpose::Fence) {
                        let group = self.fencer.as_mut().and_then(Fencer::portal_group);
                        self.fenced(now, self.incarnation, (group, None));
                    }
                    self.on_fencer_in(now);
                }
                FencerEvent::PowerDoubted => self.report_power_doubted(),
                FencerEvent::PowerLost => self.report_power_lost(self.heard_before),
                FencerEvent::Passed { group } => {
                    self.fence_after = None;
                    self.patience.on_fencer(true);
                    if purpose == Some(Purpose::Fence) {
                        self.fenced(now, self.incarnation, (group, None));
                    }
                }
                FencerEvent::Ended | FencerEvent::Failed(_) => self.on_fencer_ended(now, &event),
            }
        }
        self.judge_proof(now);
    }

    fn on_fencer_ended(&mut self, now: Instant, event: &FencerEvent) {
        let Some(mut fencer) = self.fencer.take() else {
            return;
        };
        if fencer.leave_doubt() {
            self.report_power_doubted();
        }
        self.actions
            .push_back(Action::Hangup { link: Link::Fencer });
        if let FencerEvent::Failed(why) = event {
            self.patience.on_fencer(false);
            self.journal
                .repeat(now, self.incarnation, "fencing failed", why);
            if self.fence_after.replace(now + FENCE_RETRY).is_none() {
                tracing::info!(path = %self.config.name, through = %self.names.of(fencer.via), why, "fencing login failed; it is tried again");
            }
        }
        self.on_fencer_gone(now);
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = (*retry_at).min(now);
        }
    }

    fn check_fencer(&mut self, now: Instant) {
        if let Some(fencer) = &mut self.fencer {
            fencer.handle_timeout(now);
        }
        if self.surroundings.fencer_stranded {
            let why = "the path that it went through is lost".to_owned();
            self.on_fencer_ended(now, &FencerEvent::Failed(why));
            self.give_up_proof_through_lost_sibling(now);
        }
        self.after_fencer(now);
        self.give_proof_up(now);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self
            .stopping
            .is_some_and(|at| at + self.config.session.logout_timeout <= now)
        {
            self.end_fencer();
            if !matches!(self.state, State::Stopped) {
                self.lose(now, "no answer to the logout");
            }
            return;
        }
        self.check_fencer(now);
        if let Some(session) = &mut self.session
            && let Err(error) = session.handle_timeout(now)
        {
            return self.on_session_error(now, &error);
        }
        match self.state {
            State::Down { retry_at } | State::Disabled { retry_at } if retry_at <= now => {
                self.connect(now);
            }
            State::Connecting { deadline } if deadline <= now => {
                self.lose(now, "no answer to the TCP connect");
            }
            State::Connecting { .. } => self.prefer_fence(now),
            State::LoggingIn => {
                self.prefer_fence(now);
                self.check_login(now);
            }
            State::Probation {
                asked: Some(asked), ..
            } if self.probe_is_lost(now, asked) => {
                self.lose(now, "a probe of the probation was not answered in time");
            }
            State::Probation { .. } => self.drive_probation(now),
            State::Down { .. }
            | State::Disabled { .. }
            | State::Probing
            | State::Ready
            | State::Suspect
            | State::Stopped => {}
        }
        self.repeat_step(now);
        if self
            .probe
            .as_ref()
            .is_some_and(|probe| probe.deadline() <= now)
        {
            return self.lose(now, "a probe was not answered in time");
        }
        if self.barrier_due().is_some_and(|at| at <= now) {
            self.try_barrier(now);
        }
        if self.access_due().is_some_and(|at| at <= now) {
            self.watch_access(now);
        }
        self.check_sameness(now);
        self.check_health(now);
        self.check_uplink(now);
        self.check_network(now);
        self.check_commands(now);
        self.try_drain(now);
        self.check_draining(now);
        self.watch_network(now);
    }

    /// A new task id for a command of the path itself.
    pub(super) fn own_task(&mut self) -> TaskId {
        self.next_probe_task += 1;
        probe::own_task(self.next_probe_task)
    }
}
