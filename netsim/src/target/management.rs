//! Task management functions at the target (RFC 7143 11.5), and aborts that a reservation causes.

use std::time::Instant;

use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::pdu::{Function, TaskManagementRequest, TmfResponse};
use iiblockdaemon::iscsi::tags::Itt;

use super::config::{Aborts, Resets};
use super::connection::{Connection, Phase};
use super::jam::Withheld;
use super::lun::NexusId;
use super::reinstate::Orphan;
use super::session::Session;
use super::{ConnectionId, Target};

/// A reset that is answered once no orphan can execute on its unit any more.
#[derive(Debug)]
pub(super) struct DeferredReset {
    connection: ConnectionId,
    itt: Itt,
    lun: Option<LunAddress>,
    process: Option<u16>,
}

impl Target {
    pub(super) fn manage(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        request: TaskManagementRequest,
    ) {
        let impostor = match &connection.phase {
            Phase::Full(session) => session.impostor,
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
        };
        let function = request.function;
        let unknown = function
            .lun()
            .is_some_and(|lun| !self.units.contains_key(&lun));
        let response = match function {
            _ if unknown => TmfResponse::LunDoesNotExist,
            Function::AbortTask { itt, .. } => match self.abort_task(now, connection, itt) {
                Some(response) => response,
                None => {
                    self.withheld.push(Withheld {
                        connection: id,
                        itt: request.itt,
                        task: itt,
                    });
                    return;
                }
            },
            Function::AbortTaskSet(lun) => {
                self.abort_tasks(connection, |session| session.tasks_on(Some(lun)));
                TmfResponse::Complete
            }
            Function::ClearAca(_) => TmfResponse::NotSupported,
            Function::ClearTaskSet(lun) => {
                self.clear(Some(lun), connection);
                TmfResponse::Complete
            }
            Function::LogicalUnitReset(lun) => {
                let here = lun == LunAddress::from_wire([0; 8]);
                let lun = impostor.filter(|_| here).unwrap_or(lun);
                self.statistics.unit_resets += 1;
                return self.reset(now, id, connection, request.itt, Some(lun));
            }
            Function::TargetWarmReset => return self.reset(now, id, connection, request.itt, None),
            Function::TargetColdReset => {
                self.reset(now, id, connection, request.itt, None);
                return self.end_everything(now, connection);
            }
        };
        if let Phase::Full(session) = &mut connection.phase {
            session.answer_management(request.itt, response, &mut connection.out);
        }
    }

    /// ABORT TASK; `None`: it is answered once the command has ended.
    fn abort_task(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        itt: Itt,
    ) -> Option<TmfResponse> {
        self.statistics.aborts += 1;
        let Phase::Full(session) = &mut connection.phase else {
            return Some(TmfResponse::Rejected);
        };
        if self.behaviour.aborts == Aborts::Refused {
            return Some(TmfResponse::NotSupported);
        }
        if session.tasks.get(&itt).is_some_and(|task| task.jammed) {
            return None;
        }
        let (nexus, process) = (session.nexus, session.name.process);
        let Some(task) = session.remove(itt) else {
            return Some(TmfResponse::TaskDoesNotExist);
        };
        self.statistics.terminated += 1;
        let complete = task.is_complete() && !task.data_out().is_empty();
        if let Aborts::RunOn(longer) = self.behaviour.aborts
            && complete
        {
            let order = self.next_serial();
            let key = task.ready.unwrap_or((now + longer, order));
            self.orphans.insert(key, Orphan::of(nexus, process, &task));
        }
        Some(TmfResponse::Complete)
    }

    /// Takes tasks out of one session; they are never answered.
    fn abort_tasks(&mut self, connection: &mut Connection, which: impl Fn(&Session) -> Vec<Itt>) {
        let Phase::Full(session) = &mut connection.phase else {
            return;
        };
        for itt in which(session) {
            session.remove(itt);
            self.statistics.terminated += 1;
        }
    }

    /// Takes all tasks on a unit out of all sessions.
    fn clear(&mut self, lun: Option<LunAddress>, connection: &mut Connection) {
        self.abort_tasks(connection, |session| session.tasks_on(lun));
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(mut other) = self.connections.remove(&id) {
                self.abort_tasks(&mut other, |session| session.tasks_on(lun));
                self.connections.insert(id, other);
            }
        }
    }

    /// What another process serves is not reached, whatever it calls its unit.
    fn reset(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        itt: Itt,
        lun: Option<LunAddress>,
    ) {
        let Phase::Full(session) = &connection.phase else {
            return;
        };
        let scope = (lun, Some(session.name.process));
        self.reset_session(now, connection, scope);
        self.answer_withheld(id, connection);
        self.end_commands(now, scope);
        let waits = self.behaviour.resets == Resets::Wait && self.has_orphans(scope);
        if waits {
            let (connection, process) = (id, scope.1);
            self.resets.push(DeferredReset {
                connection,
                itt,
                lun,
                process,
            });
        } else if let Phase::Full(session) = &mut connection.phase {
            session.answer_management(itt, TmfResponse::Complete, &mut connection.out);
        }
    }

    /// Ends the commands that a reset reaches in all other sessions, and tells all nexuses there.
    fn end_commands(&mut self, now: Instant, scope: (Option<LunAddress>, Option<u16>)) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(mut connection) = self.connections.remove(&id) {
                self.reset_session(now, &mut connection, scope);
                self.answer_withheld(id, &mut connection);
                self.connections.insert(id, connection);
            }
        }
        self.reset_orphans(now, scope);
        let nexuses = self.nexuses_in(scope.1);
        for (address, unit) in &mut self.units {
            if scope.0.is_none_or(|lun| lun == *address) {
                for nexus in &nexuses {
                    unit.attention(Some(*nexus), 0x29, 0x03);
                }
            }
        }
        self.after_orphans(now);
    }

    /// Another initiator resets the units: what sessions had asked for is gone without an answer, and each of
    /// them is told with its next command.
    pub fn reset_units(&mut self, now: Instant) {
        self.end_commands(now, (None, None));
    }

    fn has_orphans(&self, (lun, process): (Option<LunAddress>, Option<u16>)) -> bool {
        let on = |orphan: &Orphan| {
            lun.is_none_or(|lun| orphan.lun == lun)
                && process.is_none_or(|process| orphan.process == process)
        };
        self.orphans.values().any(on)
    }

    /// Answers resets that waited for orphans which are gone now.
    pub(super) fn finish_resets(&mut self) {
        let resets = std::mem::take(&mut self.resets);
        for reset in resets {
            if self.has_orphans((reset.lun, reset.process)) {
                self.resets.push(reset);
                continue;
            }
            if let Some(connection) = self.connections.get_mut(&reset.connection)
                && let Phase::Full(session) = &mut connection.phase
            {
                let done = TmfResponse::Complete;
                session.answer_management(reset.itt, done, &mut connection.out);
                self.woken.insert(reset.connection);
            }
        }
    }

    fn end_everything(&mut self, now: Instant, connection: &mut Connection) {
        if let Some(session) = connection.close() {
            self.end_session(now, *session);
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(session) = self.connections.get_mut(&id).and_then(Connection::abort) {
                self.end_session(now, *session);
            }
            self.woken.insert(id);
        }
    }

    /// PREEMPT AND ABORT: the nexus's commands never execute. `current` is not in the table now.
    pub(super) fn abort_nexus(&mut self, now: Instant, nexus: NexusId, current: &mut Connection) {
        let of_nexus = |session: &Session| {
            if session.nexus == nexus {
                session.tasks_on(None)
            } else {
                Vec::new()
            }
        };
        self.abort_tasks(current, of_nexus);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(mut other) = self.connections.remove(&id) {
                self.abort_tasks(&mut other, of_nexus);
                self.connections.insert(id, other);
            }
        }
        self.orphans.retain(|_, orphan| orphan.nexus != nexus);
        self.after_orphans(now);
    }

    /// Power fails and comes back: connections and orphans are gone, and of each unit's volatile cache
    /// every block for which `survives` says no. Returns how many blocks were lost.
    pub fn power_cycle(&mut self, now: Instant, mut survives: impl FnMut(u64) -> bool) -> usize {
        let behaviour = std::mem::take(&mut self.behaviour);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.disconnect(now, id);
            self.woken.insert(id);
        }
        self.behaviour = behaviour;
        self.statistics.terminated += self.orphans.len() as u64;
        self.orphans.clear();
        self.resets.clear();
        self.withheld.clear();
        let units = self.units.values_mut();
        units.map(|unit| unit.power_cycle(&mut survives)).sum()
    }

    /// Asks all initiators to log out within `seconds` (asynchronous event 1, RFC 7143 11.9.1).
    pub fn request_logout(&mut self, seconds: u16) {
        for (id, connection) in &mut self.connections {
            if let Phase::Full(session) = &mut connection.phase {
                session.send_async(1, [0, 0, seconds], &[], &mut connection.out);
                self.woken.insert(*id);
            }
        }
    }
}
