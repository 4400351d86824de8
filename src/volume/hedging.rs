//! A read that is late is sent on a second path, and the first answer counts.
//!
//! Only reads: a second copy of a write may execute after newer ones. The command has two attempts then, its
//! *rivals*; whatever ends first with an answer that counts ends the command, and the other one is an
//! *orphan*: what comes of it says something of its path and nothing else. While one of them is under way,
//! what the other fails with is no matter.
//!
//! Late reads are looked for when the first of those that are in flight could be late, oldest first. One is
//! sent only where no read is late itself: what is slow everywhere is not asked for twice.

use std::time::{Duration, Instant};

use policies::{Direction, IoView};

use crate::ids::{PathId, TaskId};
use crate::path::message::{Abort, Order, Standing};
use crate::sabotage::{self, Sabotage};
use crate::units::Geometry;

use super::dispatch::io_view;
use super::{Command, CommandOrder, Volume};

/// Late reads are looked for no more often.
const LOOK: Duration = Duration::from_millis(1);

/// A path that is asked for a sign of life is not given longer reads.
const REFRESH_MAX: u32 = 128 << 10;

/// An attempt whose answer nobody waits for is aborted if it is for so many bytes or more: what is shorter
/// has arrived before the target has read of it.
const ABORTED_MIN: u32 = 64 << 10;

/// Late reads that are looked at together; the rest are still late a moment later.
const AT_ONCE: usize = 64;

impl Volume {
    /// A client's read was sent on `path`.
    pub(super) fn after_read(
        &mut self,
        now: Instant,
        order: CommandOrder,
        (task, path): (TaskId, PathId),
        io: &IoView,
        geometry: Geometry,
    ) {
        if !self.gray.hedge.is_on() {
            return;
        }
        self.gray.hedge.on_read();
        if let Some(soonest) = self.gray.hedge.soonest() {
            self.gray.hedge_due.get_or_insert(now + soonest);
        }
        // A policy that learns from answers would otherwise never learn that the path is well again.
        if let Some(stale) = self.gray.stale
            && stale != path
            && io.bytes <= REFRESH_MAX
        {
            self.gray.stale = None;
            let route = self.roster.route(stale);
            let idle = route.rank() == Standing::Ready && route.in_flight == 0;
            if idle && route.slots_free() > 0 && self.gray.hedge.take() {
                self.send_again(now, order, (task, path), stale, geometry);
            }
        }
    }

    /// Sends late reads again, as far as the budget goes.
    pub(super) fn hedge(&mut self, now: Instant) {
        self.gray.hedge_due = None;
        let Some(soonest) = self.gray.hedge.soonest() else {
            return;
        };
        let Some(geometry) = self.unit.as_ref().map(|unit| unit.geometry) else {
            return;
        };
        let mut late: Vec<(Instant, TaskId, PathId)> = Vec::new();
        let mut next: Option<Instant> = None;
        for (path, route) in self.roster.iter() {
            for flight in &route.flying {
                if flight.sent + soonest > now {
                    let due = flight.sent + soonest;
                    next = next.into_iter().chain([due]).min();
                    break;
                }
                let after = flight.class().and_then(|class| self.gray.hedge.late(class));
                let Some(after) = after.filter(|_| !flight.ended && !flight.hedged) else {
                    continue;
                };
                if flight.sent + after > now {
                    next = next.into_iter().chain([flight.sent + after]).min();
                } else if late.len() < AT_ONCE {
                    late.push((flight.sent, flight.task, path));
                }
            }
        }
        late.sort_unstable();
        let mut left = late.len();
        if !self.gray.all_slow() {
            for &(_, task, path) in &late {
                let order = self.attempts[&task].command;
                let Some(to) = self.second_path(now, path) else {
                    continue;
                };
                if !self.gray.hedge.take() {
                    break;
                }
                self.send_again(now, order, (task, path), to, geometry);
                left -= 1;
            }
        }
        // Those that found no path or no budget are looked at again.
        let again = (left > 0).then(|| now + soonest.max(LOOK));
        let next = next.map(|next| next.max(now + LOOK));
        self.gray.hedge_due = next.into_iter().chain(again).min();
    }

    /// Where a read that is late on `path` may go: to a path in use with room and without a late read, and
    /// as little of it shared with `path` as there is.
    fn second_path(&self, now: Instant, path: PathId) -> Option<PathId> {
        let tier = self.tier(path);
        let others = self.roster.iter().filter(|(other, route)| {
            let late = route.oldest().is_some_and(|flight| {
                let after = flight.class().and_then(|class| self.gray.hedge.late(class));
                after.is_some_and(|after| flight.sent + after <= now)
            });
            *other != path
                && route.rank() == Standing::Ready
                && self.tier(*other) <= tier
                && route.slots_free() > 0
                && !late
        });
        let ranked = others.filter_map(|(other, route)| {
            let shared = self.shared_parts(path, other);
            (shared < 2).then_some((shared, route.in_flight, other))
        });
        ranked.min().map(|(.., other)| other)
    }

    /// Portal and NIC that two paths have in common: 0 to 2.
    fn shared_parts(&self, one: PathId, other: PathId) -> u8 {
        let domain = |path: PathId| self.gray.domains[usize::from(path.0)];
        match (domain(one), domain(other)) {
            (Some(one), Some(other)) => {
                u8::from(one.portal == other.portal) + u8::from(one.nic == other.nic)
            }
            _ => 0,
        }
    }

    fn send_again(
        &mut self,
        now: Instant,
        order: CommandOrder,
        (first, path): (TaskId, PathId),
        to: PathId,
        geometry: Geometry,
    ) {
        let second = TaskId(self.next_task);
        let command = self.commands.get_mut(&order);
        let command = command.expect("a command in flight exists");
        command.rivals = Some((first, second));
        let io = io_view(&command.op, command.op.data_len(geometry));
        debug_assert!(io.direction == Direction::Read || sabotage::is(Sabotage::HedgedWrites));
        self.roster.route_mut(path).mark_hedged(first);
        let sent = self.send(now, order, to, io, geometry);
        assert_eq!(sent, second, "task numbers are given in order");
        self.counters.hedges += 1;
    }

    /// The attempt of the command that is still under way after another one of it has ended.
    pub(super) fn rival(&self, order: CommandOrder) -> Option<TaskId> {
        let (first, second) = self.commands.get(&order)?.rivals?;
        let mut rivals = [first, second].into_iter();
        rivals.find(|task| self.attempts.contains_key(task))
    }

    /// The command has ended: an attempt that is still under way is an orphan.
    pub(super) fn settle_rivals(&mut self, command: &Command) {
        let Some((first, second)) = command.rivals else {
            return;
        };
        let loser = if let Some(attempt) = self.attempts.get_mut(&first) {
            attempt.orphan = true;
            self.counters.hedges_won += 1;
            (first, attempt.path, attempt.io.bytes)
        } else if let Some(attempt) = self.attempts.get_mut(&second) {
            attempt.orphan = true;
            self.counters.hedges_wasted += 1;
            (second, attempt.path, attempt.io.bytes)
        } else {
            return;
        };
        let (task, path, bytes) = loser;
        if bytes >= ABORTED_MIN {
            let why = Abort::Beaten;
            self.orders.push_back((path, Order::Abort { task, why }));
        }
    }
}
