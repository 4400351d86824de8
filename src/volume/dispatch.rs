//! Waiting commands go to paths with free slots, oldest first.

use std::ops::Bound;
use std::time::Instant;

use policies::{Candidates, Direction, IoView};

use crate::ids::{Incarnation, Lun, PathId, TaskId};
use crate::sabotage::{self, Feature};
use crate::task::{Cdb, DataTransfer, Task, TaskAttribute};
use crate::units::Geometry;

use super::command::Op;
use super::overtaken::Sort;
use super::{Attempt, CommandOrder, Volume};

/// One attempt to be made: hand the task to that path.
#[derive(Debug)]
pub struct Submission {
    /// The path.
    pub path: PathId,
    /// The session that the volume means; the path is in it, or the driver broke its contract.
    pub incarnation: Incarnation,
    /// The task; its `lun` is the path's business and 0 here.
    pub task: Task,
}

impl Volume {
    /// What `path` can take now, beyond what is in flight on it.
    pub fn set_slots(&mut self, path: PathId, slots: u32) {
        self.roster.route_mut(path).set_slots(slots);
    }

    /// Sends waiting commands on paths with free slots; then what the volume asks for itself.
    pub fn dispatch(&mut self, now: Instant) {
        self.ask_witnesses(now);
        self.drain_ghosts(now);
        let Some(unit) = self.unit.clone() else {
            return;
        };
        self.before_dispatch(now);
        self.paced = false;
        let mut next = self.ready.first().copied();
        while let Some(order) = next {
            next = match self.choose(now, order, unit.geometry) {
                Some((path, io)) => {
                    self.ready.remove(&order);
                    self.pace.on_dispatch(now);
                    let task = self.send(now, order, path, io, unit.geometry);
                    if io.direction == Direction::Read {
                        self.after_read(now, order, (task, path), &io, unit.geometry);
                    }
                    self.ready.first().copied()
                }
                // One that must not go where it failed may have to wait while others need not.
                None if self.waits_alone(order) && !self.paced => {
                    let after = (Bound::Excluded(order), Bound::Unbounded);
                    self.ready.range(after).next().copied()
                }
                None => None,
            };
        }
        if self.ready.is_empty() {
            self.pace.on_drained();
        }
        self.after_dispatch(now);
    }

    /// The path that a command goes to now; `None`: it waits.
    fn choose(
        &mut self,
        now: Instant,
        order: CommandOrder,
        geometry: Geometry,
    ) -> Option<(PathId, IoView)> {
        let command = &self.commands[&order];
        self.roster.candidates(command.avoid, &mut self.views);
        if self.gray.any_away() {
            let policy = &self.config.policy;
            self.roster
                .hold_back(&mut self.views, |view| policy.tier(view));
        }
        let bytes = command.op.data_len(geometry);
        let io = io_view(&command.op, bytes);
        let candidates = Candidates::new(&self.views)?;
        if !self.pace.allows(now) {
            self.paced = true;
            return None;
        }
        let path = match sabotage::is_without(Feature::LateBinding) {
            true => self.bind_early(order)?,
            false => PathId(self.config.policy.choose(now, &io, candidates).path()),
        };
        let room = self.roster.route(path).slots_free() > 0;
        room.then_some((path, io))
    }

    /// Whether others may go on while this one has to wait.
    fn waits_alone(&self, order: CommandOrder) -> bool {
        self.commands[&order].avoid.is_some() || sabotage::is_without(Feature::LateBinding)
    }

    /// The path that the command has to wait for whatever happens: they take turns.
    fn bind_early(&self, order: CommandOrder) -> Option<PathId> {
        let turn = order.0.checked_rem(self.views.len() as u64)?;
        let view = self.views.get(usize::try_from(turn).ok()?)?;
        Some(PathId(view.path))
    }

    /// Sends a command on a path that has room for it.
    pub(super) fn send(
        &mut self,
        now: Instant,
        order: CommandOrder,
        path: PathId,
        io: IoView,
        geometry: Geometry,
    ) -> TaskId {
        self.config.policy.on_dispatch(now, path.0, &io);
        self.gray.on_dispatch(now);
        self.overtaken.on_dispatch(now);
        if self.gray.any_away() {
            self.roster.spend(path);
        }
        let command = &self.commands[&order];
        let (cdb, data) = command.op.build(geometry);
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let route = self.roster.route_mut(path);
        let sort = Sort::of(&command.op, &io);
        route.on_dispatch(now, id, (sort, &io), command.rivals.is_some());
        let incarnation = route.incarnation;
        self.attempts.insert(
            id,
            Attempt {
                command: order,
                path,
                incarnation,
                sent: now,
                io,
                orphan: false,
            },
        );
        self.submit(path, incarnation, id, cdb, data);
        id
    }

    /// Hands a task to its path.
    pub(super) fn submit(
        &mut self,
        path: PathId,
        incarnation: Incarnation,
        id: TaskId,
        cdb: Cdb,
        data: DataTransfer,
    ) {
        let task = Task {
            id,
            lun: Lun::from_wire([0; 8]),
            cdb,
            attribute: TaskAttribute::Simple,
            data,
        };
        self.submissions.push_back(Submission {
            path,
            incarnation,
            task,
        });
    }
}

pub(super) fn io_view(op: &Op, bytes: u32) -> IoView {
    let direction = if matches!(op, Op::Read(_)) {
        Direction::Read
    } else {
        Direction::Write
    };
    IoView {
        direction,
        bytes,
        lba: op.lba(),
    }
}
