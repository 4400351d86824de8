//! How sessions begin and end: reinstatement, and what becomes of the commands of the dead.

use std::time::Instant;

use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::payload::Payload;

use super::config::{Nexuses, Orphans, Reinstatement};
use super::connection::{Connection, Phase};
use super::login::{Established, SessionKind};
use super::lun::{NexusId, Port};
use super::session::{Session, SessionName};
use super::task::Task;
use super::{ConnectionId, Target, segment};

/// Machines that took over the address of a portal are processes from this number on.
const IMPOSTORS: u16 = 1000;

/// A complete command of a session that ended; it will execute all the same.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) nexus: NexusId,
    pub(super) process: u16,
    pub(super) lun: LunAddress,
    cdb: [u8; 16],
    data: Payload,
}

impl Orphan {
    /// What is left of a task whose session is gone, or has nothing to do with it any more.
    pub(super) fn of(nexus: NexusId, process: u16, task: &Task) -> Self {
        Self {
            nexus,
            process,
            lun: task.lun,
            cdb: task.cdb,
            data: task.data_out(),
        }
    }
}

impl Target {
    /// A login is through: the old session of its name ends first, as far as that is honoured.
    pub(super) fn establish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        established: Box<Established>,
    ) {
        let name = self.session_name(connection.portal, &established);
        let honoured = self.behaviour.reinstatement != Reinstatement::Ignored;
        if established.kind == SessionKind::Normal && honoured {
            self.end_namesakes(now, &name);
        }
        connection.phase = Phase::Waiting(established);
        self.try_begin(now, id, connection);
    }

    fn session_name(&self, portal: usize, established: &Established) -> SessionName {
        SessionName {
            initiator: established.initiator.clone(),
            isid: established.isid,
            group: self.config.portals[portal].group,
            process: match self.trouble[portal].impostor {
                Some(_) => IMPOSTORS + u16::try_from(portal).unwrap_or(0),
                None => self.config.processes.get(portal).copied().unwrap_or(0),
            },
        }
    }

    fn end_namesakes(&mut self, now: Instant, name: &SessionName) {
        // One whose login still waits for its predecessor's commands is ended as well.
        let is_old = |connection: &Connection| match &connection.phase {
            Phase::Full(session) => session.kind == SessionKind::Normal && session.name == *name,
            Phase::Waiting(waiting) => {
                waiting.kind == SessionKind::Normal
                    && self.session_name(connection.portal, waiting) == *name
            }
            Phase::Login(_) | Phase::Closing => false,
        };
        let old = self
            .connections
            .iter()
            .filter(|(_, connection)| is_old(connection));
        let old: Vec<_> = old.map(|(id, _)| *id).collect();
        for id in old {
            let session = self.connections.get_mut(&id).and_then(Connection::abort);
            if let Some(session) = session {
                tracing::info!(isid = %name.isid, "session reinstated");
                self.statistics.reinstated += 1;
                self.end_session(now, *session);
            }
            self.woken.insert(id);
        }
    }

    /// Begins a session whose login is through, unless commands of its dead namesake still have to
    /// execute and reinstatement is synchronous.
    fn try_begin(&mut self, now: Instant, id: ConnectionId, connection: &mut Connection) {
        let Phase::Waiting(established) = &connection.phase else {
            return;
        };
        let name = self.session_name(connection.portal, established);
        let known = self.nexuses.get(&name).copied();
        let drains = self
            .orphans
            .values()
            .any(|orphan| Some(orphan.nexus) == known);
        if drains && self.behaviour.reinstatement == Reinstatement::Synchronous {
            return;
        }
        let nexus = match known {
            Some(known) if self.behaviour.nexuses == Nexuses::Remembered => known,
            Some(_) | None => {
                self.nexuses_known += 1;
                NexusId(self.nexuses_known)
            }
        };
        self.nexuses.insert(name.clone(), nexus);
        let mut session = Session::new(
            now,
            established,
            name,
            nexus,
            self.config.queue_depth,
            self.config.status_in_data,
        );
        session.window_closed = self.trouble[connection.portal].window_closed;
        session.impostor = self.trouble[connection.portal].impostor;
        let mut response = established.response;
        response.tsih = u16::try_from(id.0 % 0xffff).unwrap_or(0) + 1;
        connection
            .out
            .push(response.encode(), &segment(&established.text));
        if session.kind == SessionKind::Normal {
            self.statistics.logins += 1;
            let port = self.port(connection.portal);
            for unit in self.units.values_mut() {
                unit.attach(nexus, port);
            }
        }
        tracing::debug!(initiator = %session.name.initiator, kind = ?session.kind, "logged in");
        connection.enter_full_feature(session);
        self.woken.insert(id);
    }

    /// The SCSI port behind a portal.
    pub(super) fn port(&self, portal: usize) -> Port {
        let relative = u16::try_from(portal + 1).unwrap_or(u16::MAX);
        let group = self.config.portals[portal].group;
        let groups = &self.config.access_groups;
        let group = groups.get(portal).copied().unwrap_or(group);
        Port { relative, group }
    }

    /// A session is over. Its complete commands become orphans, or nothing.
    pub(super) fn end_session(&mut self, now: Instant, session: Session) {
        session
            .noted
            .into_iter()
            .for_each(|breach| self.note(breach));
        if session.kind == SessionKind::Normal && !session.settled {
            self.statistics.cut_short += 1;
        }
        let nexus = session.nexus;
        let alive = self
            .connections
            .values()
            .any(|connection| match &connection.phase {
                Phase::Full(other) => other.nexus == nexus,
                Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => false,
            });
        if session.kind == SessionKind::Normal && !alive {
            self.units
                .values_mut()
                .for_each(|unit| unit.nexus_lost(nexus));
        }
        for (_, task) in session.tasks {
            // What brings no data never reached the disk.
            let reached = task.ready.filter(|_| !task.data_out().is_empty());
            let due = match (reached, self.behaviour.orphans) {
                (Some((due, order)), _) if task.jammed => Some((due, order)),
                (Some((due, order)), Orphans::ExecuteAfter(delay)) => {
                    Some((due.max(now + delay), order))
                }
                _ => None,
            };
            match due {
                Some(key) => {
                    let orphan = Orphan::of(nexus, session.name.process, &task);
                    self.orphans.insert(key, orphan);
                }
                None => self.statistics.terminated += 1,
            }
        }
    }

    /// Executes orphans that are due, and goes on with what waited for them.
    pub(super) fn run_orphans(&mut self, now: Instant) {
        let mut any = false;
        while let Some(entry) = self.orphans.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let orphan = entry.remove();
            if let Some(unit) = self.units.get_mut(&orphan.lun) {
                unit.execute_orphan(orphan.nexus, &orphan.cdb, &orphan.data);
                self.statistics.executed_late += 1;
            }
            any = true;
        }
        if any {
            self.after_orphans(now);
        }
    }

    /// Some orphans are gone: logins and resets that waited for them may go on.
    pub(super) fn after_orphans(&mut self, now: Instant) {
        let waiting = |connection: &Connection| matches!(connection.phase, Phase::Waiting(_));
        let ids = self
            .connections
            .iter()
            .filter(|(_, connection)| waiting(connection));
        let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(mut connection) = self.connections.remove(&id) {
                self.try_begin(now, id, &mut connection);
                self.connections.insert(id, connection);
            }
        }
        self.finish_resets();
    }
}
