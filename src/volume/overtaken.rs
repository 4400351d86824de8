//! A command that hangs while later ones of its kind are answered: it is aborted long before its deadline,
//! and asked for again.
//!
//! What is slow as a whole must not be taken for that, nor what waits its turn: a disk that spins up, a long
//! queue with an unfair scheduler, a target that answers everything ten seconds late. A command hangs if
//! all of this holds:
//!
//! - it has been out for [`FLOOR`], and for [`FACTOR`] times what 99 of 100 of its class (direction and size)
//!   take in this session;
//! - of those that were sent after it in the same session, and are of its class, 32 at least were answered
//!   with GOOD, in eight different quarters of a second at least; the last one just now, unless all of them
//!   are answered: whatever else there is to do may wait for this one;
//! - no more than [`TOGETHER`] of the session's commands are that old: more, and it is not one command;
//! - it made no progress in the second half of that time (R2T, Data-In, bytes taken by the socket), which the
//!   path knows.
//!
//! Those that overtake it are counted in what 99 of 100 take, and there are more of them than the one: if
//! they were slow as well, so is what 99 of 100 take, and nothing hangs.
//!
//! A command is aborted for that once, and its next attempt, on another path if there is one, has the time of
//! `detect.command`: if that hangs too, it is not the path. [`BURST`] in a row, then one every [`EARNED`]:
//! what hangs by the dozen is better left to its deadline.
//!
//! Flushes are a class of their own. There are few of them, so five later ones are enough, in five windows:
//! what a cache has to write first, it has to write for them as well, and answers in five windows do not all
//! come late. Now and then one takes long, so 9 of 10 say what is usual. Other commands that move no data
//! (trims, writes of zeroes) take as long as they take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use policies::IoView;

use crate::ids::{PathId, TaskId};
use crate::path::message::{Abort, Order};

use super::Volume;
use super::command::Op;
use super::latency::{CLASSES, Class, Histogram};
use super::outlier::WINDOW;
use super::roster::Route;

/// Nothing hangs that is younger.
const FLOOR: Duration = Duration::from_secs(2);

/// So many times what 99 of 100 take.
const FACTOR: u32 = 20;

/// How many answers mean something.
struct Evidence {
    /// What so many of a thousand take is usual.
    usual: u32,
    /// So many tell what is usual.
    least: u32,
    /// Above so many, older ones count half.
    kept: u32,
    /// Later commands that were answered before it, ...
    overtakers: u32,
    /// ... in so many different windows.
    windows: usize,
}

const DATA: Evidence = Evidence {
    usual: 990,
    least: 64,
    kept: 1024,
    overtakers: 32,
    windows: 8,
};

const FLUSHES: Evidence = Evidence {
    usual: 900,
    least: 16,
    kept: 256,
    overtakers: 5,
    windows: 5,
};

const _: () = assert!(
    DATA.overtakers > DATA.kept / 100 * 2,
    "they tell in what 99 of 100 take"
);

/// Windows with an answer that are remembered.
const WINDOWS_KEPT: usize = 16;

/// The last of them is no older, or nothing younger than what hangs is out: the rest flows now.
const RECENT: Duration = Duration::from_secs(1);

/// What is old is looked at again after so long.
const LOOK: Duration = WINDOW;

/// More commands that old, and it is not one that hangs.
const TOGETHER: usize = 4;

/// Aborts in a row.
const BURST: u32 = 4;

/// One more after so long.
const EARNED: Duration = Duration::from_secs(10);

/// Answers of a quarter of a second.
#[derive(Clone, Copy, Debug)]
struct Answers {
    began: Instant,
    count: u32,
    /// When the first one of those that were answered was sent, and the last one.
    earliest: Instant,
    latest: Instant,
}

impl Answers {
    /// How many of them were sent after that: one at least if there were any.
    fn sent_after(&self, sent: Instant) -> u32 {
        if self.earliest > sent {
            self.count
        } else {
            u32::from(self.latest > sent)
        }
    }
}

#[derive(Debug, Default)]
struct SortFlow {
    took: Histogram,
    windows: VecDeque<Answers>,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Data(Class),
    Flush,
}

impl Sort {
    /// `None` for what takes as long as it takes.
    pub(super) fn of(op: &Op, io: &IoView) -> Option<Self> {
        match op {
            Op::Sync => Some(Self::Flush),
            Op::Read(_) | Op::Write { .. } | Op::Unmap(_) | Op::WriteSame { .. } => {
                Class::of(io).map(Self::Data)
            }
        }
    }

    /// The class of what moves data.
    pub(super) fn class(self) -> Option<Class> {
        match self {
            Self::Data(class) => Some(class),
            Self::Flush => None,
        }
    }

    fn index(self) -> usize {
        self.class().map_or(CLASSES, Class::index)
    }

    fn evidence(self) -> &'static Evidence {
        match self {
            Self::Data(_) => &DATA,
            Self::Flush => &FLUSHES,
        }
    }
}

/// How the commands of one session are answered, by sort.
#[derive(Debug, Default)]
pub(super) struct Flow {
    sorts: Option<Box<[SortFlow; CLASSES + 1]>>,
    /// A barrier of ours held up what was sent before.
    held_until: Option<Instant>,
}

impl Flow {
    /// A command was answered with GOOD.
    pub(super) fn on_good(&mut self, now: Instant, sort: Option<Sort>, sent: Instant) {
        let Some(sort) = sort.filter(|_| self.held_until <= Some(sent)) else {
            return;
        };
        let flow = &mut self.sorts.get_or_insert_default()[sort.index()];
        flow.took.add(now.saturating_duration_since(sent));
        if flow.took.total() > sort.evidence().kept {
            flow.took.halve();
        }
        match flow.windows.back_mut() {
            Some(last) if now < last.began + WINDOW => {
                last.count += 1;
                last.earliest = last.earliest.min(sent);
                last.latest = last.latest.max(sent);
            }
            Some(_) | None => {
                if flow.windows.len() == WINDOWS_KEPT {
                    flow.windows.pop_front();
                }
                flow.windows.push_back(Answers {
                    began: now,
                    count: 1,
                    earliest: sent,
                    latest: sent,
                });
            }
        }
    }

    /// A barrier of ours has passed: how long took what waited for it says nothing.
    pub(super) fn on_drained(&mut self, now: Instant) {
        self.held_until = Some(now);
    }

    /// The session is gone: another one may be with another machine.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A command that was sent at `sent` hangs: for how long it must have made no progress. That is half of
    /// what it has been out for: it took a moment to be written. `idle`: no younger one is out.
    fn hangs(&self, now: Instant, sort: Sort, sent: Instant, idle: bool) -> Option<Duration> {
        let (flow, evidence) = (&self.sorts.as_ref()?[sort.index()], sort.evidence());
        let usual = flow.took.quantile(evidence.usual);
        let usual = usual.filter(|_| flow.took.total() >= evidence.least)?;
        let limit = FLOOR.max(usual.saturating_mul(FACTOR));
        let after = flow.windows.iter().map(|window| window.sent_after(sent));
        let overtakers: u32 = after.clone().sum();
        let windows = after.filter(|count| *count > 0).count();
        let last = flow.windows.back();
        let flows = idle || last.is_some_and(|last| now <= last.began + RECENT);
        let hangs = sent + limit <= now
            && overtakers >= evidence.overtakers
            && windows >= evidence.windows
            && flows;
        hangs.then_some(limit / 2)
    }
}

/// When commands are looked at, and how many may be aborted.
#[derive(Debug)]
pub(super) struct Overtaken {
    due: Option<Instant>,
    saved: u32,
    earned_at: Instant,
}

impl Overtaken {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: None,
            saved: BURST,
            earned_at: now,
        }
    }

    /// When [`Volume::find_overtaken`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A command is sent.
    pub(super) fn on_dispatch(&mut self, now: Instant) {
        self.due.get_or_insert(now + FLOOR);
    }

    /// Whether one more may be aborted; it is paid for then.
    fn take(&mut self, now: Instant) -> bool {
        while self.saved < BURST && self.earned_at + EARNED <= now {
            self.saved += 1;
            self.earned_at += EARNED;
        }
        if self.saved == BURST {
            self.earned_at = now;
        }
        let paid = self.saved.checked_sub(1);
        self.saved = paid.unwrap_or(0);
        paid.is_some()
    }
}

impl Route {
    /// Commands that hang, and for how long each must have made no progress; and when to look again.
    fn hanging(&self, now: Instant) -> (Vec<(TaskId, Duration)>, Option<Instant>) {
        let mut old = Vec::new();
        for flight in self.flying.iter().filter(|flight| !flight.ended) {
            if flight.sent + FLOOR > now {
                let next = flight.sent + FLOOR;
                let next = if old.is_empty() {
                    next
                } else {
                    next.min(now + LOOK)
                };
                return (self.judge(now, &old, false), Some(next));
            }
            old.push((flight.task, flight.sort, flight.sent));
        }
        let next = (!old.is_empty()).then(|| now + LOOK);
        (self.judge(now, &old, true), next)
    }

    fn judge(
        &self,
        now: Instant,
        old: &[(TaskId, Option<Sort>, Instant)],
        idle: bool,
    ) -> Vec<(TaskId, Duration)> {
        if old.len() > TOGETHER {
            return Vec::new();
        }
        let judged = old.iter().filter_map(|&(task, sort, sent)| {
            let still = self.flow.hangs(now, sort?, sent, idle)?;
            Some((task, still))
        });
        judged.collect()
    }
}

impl Volume {
    /// Has commands aborted that hang while later ones are answered.
    pub(super) fn find_overtaken(&mut self, now: Instant) {
        if self.overtaken.due.is_none_or(|at| at > now) {
            return;
        }
        let mut found: Vec<(PathId, TaskId, Duration)> = Vec::new();
        let mut next: Option<Instant> = None;
        for (path, route) in self.roster.iter() {
            let (hanging, again) = route.hanging(now);
            next = next.into_iter().chain(again).min();
            found.extend(hanging.into_iter().map(|(task, idle)| (path, task, idle)));
        }
        self.overtaken.due = next;
        if self.gray.all_slow() {
            return;
        }
        for (path, task, idle) in found {
            let attempt = &self.attempts[&task];
            // Its command may have ended without it: nobody waits.
            let command = self.commands.get_mut(&attempt.command);
            let fresh = command.filter(|command| !attempt.orphan && !command.overtaken);
            if let Some(command) = fresh
                && self.overtaken.take(now)
            {
                command.overtaken = true;
                self.have_aborted(now, path, task, idle);
            }
        }
    }

    fn have_aborted(&mut self, now: Instant, path: PathId, task: TaskId, idle: Duration) {
        self.counters.overtaken += 1;
        let age = now.saturating_duration_since(self.attempts[&task].sent);
        tracing::warn!(
            path = %self.names.of(path), ?task, ?age,
            "a command hangs while later ones are answered: ABORT TASK"
        );
        let why = format!(
            "a command was not answered for {:.1}s, and later ones like it were all the time",
            age.as_secs_f32()
        );
        let what = "abort";
        self.orders.push_back((path, Order::Note { what, why }));
        let why = Abort::Overtaken { idle };
        self.orders.push_back((path, Order::Abort { task, why }));
    }
}
