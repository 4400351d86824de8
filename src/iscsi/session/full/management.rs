//! Task management (RFC 7143 11.5, 11.6): abort of a task, resets.
//!
//! Requests are immediate, so that a full window cannot hold them up. At most
//! [`limits::ABORTS_MAX`] ABORT TASKs are on the wire, for targets bound the immediate commands that
//! they take; further ones wait here. Resets go out at once: they are what is left when aborts hang.
//!
//! A task that is being aborted stays in the table with its tag and its buffers until the request was
//! answered. R2Ts for it are served meanwhile, as RFC 7143 4.2.3.3 asks for by default. Its own answer
//! is held back: if the abort succeeds the task is `Aborted`, else the answer is told after all.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Event, Exchange, FullFeature};
use crate::ids::{Lun, TaskId};
use crate::iscsi::error::{PeerMisbehaved, SessionError};
use crate::iscsi::pdu::{Function, TaskManagementRequest, TaskManagementResponse, TmfResponse};
use crate::iscsi::session::event::{TaskFunction, TmfId};
use crate::iscsi::tags::Itt;
use crate::limits;
use crate::payload::Payload;

#[derive(Debug, Default)]
pub(super) struct Management {
    requests: u64,
    aborts_on_wire: usize,
    waiting: VecDeque<(TmfId, TaskId)>,
}

/// A request on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct ManagementRequest {
    id: TmfId,
    scope: Scope,
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    Task(Itt),
    /// All tasks of the unit, or of the session, that were submitted before the one with this number.
    Tasks {
        lun: Option<Lun>,
        before: u64,
    },
}

impl FullFeature {
    /// Asks for task management. Its answer comes as [`Event::TaskManagement`], after an
    /// [`Event::Aborted`] for each task that it ended. ABORT TASK for a task that is resolved is
    /// answered without asking the target.
    pub fn manage(&mut self, now: Instant, function: TaskFunction) -> TmfId {
        self.note_sent(now);
        let id = TmfId(self.management.requests);
        self.management.requests += 1;
        match function {
            TaskFunction::AbortTask(task) => {
                if let Some(Exchange::Task(task)) = self
                    .tasks
                    .get(&task)
                    .and_then(|itt| self.table.get_mut(*itt))
                {
                    task.aborts += 1;
                }
                self.management.waiting.push_back((id, task));
                self.send_aborts();
            }
            TaskFunction::AbortTaskSet(lun) => self.send_reset(id, Function::AbortTaskSet(lun)),
            TaskFunction::LogicalUnitReset(lun) => {
                self.send_reset(id, Function::LogicalUnitReset(lun));
            }
            TaskFunction::TargetWarmReset => self.send_reset(id, Function::TargetWarmReset),
            TaskFunction::TargetColdReset => self.send_reset(id, Function::TargetColdReset),
        }
        id
    }

    fn send_aborts(&mut self) {
        while self.management.aborts_on_wire < limits::ABORTS_MAX {
            let Some((id, task_id)) = self.management.waiting.pop_front() else {
                return;
            };
            let task = self.tasks.get(&task_id).copied();
            let Some((itt, task)) = task.and_then(|itt| Some((itt, self.task(itt)?))) else {
                self.events.push_back(Event::TaskManagement {
                    id,
                    response: TmfResponse::TaskDoesNotExist,
                });
                continue;
            };
            let function = Function::AbortTask {
                lun: task.lun,
                itt,
                cmd_sn: task.cmd_sn,
            };
            self.management.aborts_on_wire += 1;
            self.send_request(id, Scope::Task(itt), function);
        }
    }

    fn send_reset(&mut self, id: TmfId, function: Function) {
        let scope = Scope::Tasks {
            lun: function.lun(),
            before: self.submitted,
        };
        self.send_request(id, scope, function);
    }

    fn send_request(&mut self, id: TmfId, scope: Scope, function: Function) {
        let request = TaskManagementRequest {
            immediate: true,
            function,
            itt: self
                .table
                .insert(Exchange::Management(ManagementRequest { id, scope })),
            numbers: self.window.immediate(),
        };
        self.outbox.push(request.encode(), &Payload::new());
    }

    pub(super) fn on_management_response(
        &mut self,
        pdu: TaskManagementResponse,
    ) -> Result<(), SessionError> {
        self.window.consume(pdu.numbers.stat_sn);
        match self.find(pdu.itt)? {
            Some(Exchange::Management(_)) => self.end_management(pdu.itt, pdu.response),
            Some(_) => return Err(PeerMisbehaved::Mismatch("Initiator Task Tag").into()),
            None => {}
        }
        Ok(())
    }

    /// A request was answered or rejected.
    pub(super) fn end_management(&mut self, itt: Itt, response: TmfResponse) {
        let Some(Exchange::Management(request)) = self.table.remove(itt) else {
            return;
        };
        match request.scope {
            Scope::Task(task) => {
                self.management.aborts_on_wire -= 1;
                self.end_abort(task, response);
            }
            Scope::Tasks { lun, before } if response == TmfResponse::Complete => {
                self.end_reset(lun, before);
            }
            Scope::Tasks { .. } => {}
        }
        self.events.push_back(Event::TaskManagement {
            id: request.id,
            response,
        });
        self.send_aborts();
    }

    fn end_abort(&mut self, itt: Itt, response: TmfResponse) {
        // A task that does not exist any more does not execute: its answer, had there been one,
        // would have come before on this connection.
        if matches!(
            response,
            TmfResponse::Complete | TmfResponse::TaskDoesNotExist
        ) {
            if let Some(task) = self.release(itt) {
                self.events.push_back(Event::Aborted(task.id));
            }
        } else if let Some(Exchange::Task(task)) = self.table.get_mut(itt) {
            task.aborts -= 1;
            if task.aborts == 0
                && let Some(outcome) = task.answer.take()
            {
                self.resolve(itt, outcome);
            }
        }
    }

    fn end_reset(&mut self, lun: Option<Lun>, before: u64) {
        for itt in self.tasks_before(lun, before) {
            if let Some(task) = self.release(itt) {
                self.events.push_back(Event::Aborted(task.id));
            }
        }
    }
}
