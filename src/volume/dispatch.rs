//! Waiting commands go to paths with free slots, oldest first.

use std::time::Instant;

use policies::{Candidates, Direction, IoView};

use crate::ids::{Incarnation, Lun, PathId, TaskId};
use crate::task::{Task, TaskAttribute};

use super::command::Op;
use super::{Attempt, Volume};

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

    /// Sends waiting commands on paths with free slots.
    pub fn dispatch(&mut self, now: Instant) {
        let Some(unit) = self.unit.clone() else {
            return;
        };
        self.paced = false;
        while let Some(&order) = self.ready.first() {
            let command = &self.commands[&order];
            self.roster.candidates(command.avoid, &mut self.views);
            let Some(candidates) = Candidates::new(&self.views) else {
                break;
            };
            if !self.pace.allows(now) {
                self.paced = true;
                break;
            }
            let bytes = command.op.data_len(unit.geometry);
            let io = io_view(&command.op, bytes);
            let pick = self.config.policy.choose(now, &io, candidates);
            let path = PathId(pick.path());
            if self.roster.route(path).slots_free() == 0 {
                break;
            }
            self.pace.on_dispatch(now);
            self.config.policy.on_dispatch(now, pick.path(), &io);
            let (cdb, data) = command.op.build(unit.geometry);
            let id = TaskId(self.next_task);
            self.next_task += 1;
            let route = self.roster.route_mut(path);
            route.on_dispatch(now, id, bytes);
            let incarnation = route.incarnation;
            self.ready.remove(&order);
            self.attempts.insert(
                id,
                Attempt {
                    command: order,
                    path,
                    incarnation,
                    sent: now,
                    bytes,
                },
            );
            let lun = Lun::from_wire([0; 8]);
            let task = Task {
                id,
                lun,
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
        if self.ready.is_empty() {
            self.pace.on_drained();
        }
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
