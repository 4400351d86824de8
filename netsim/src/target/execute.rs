//! The target's clockwork: what a session asks for, executions when they are due, pings.

use std::collections::BTreeMap;
use std::time::Instant;

use iiblockdaemon::deadline::Deadline;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::tags::Itt;
use iiblockdaemon::payload::Payload;

use super::breach::Breach;
use super::connection::{Connection, Phase};
use super::lun::{NexusId, Response};
use super::pace;
use super::reinstate::Orphan;
use super::session::Action;
use super::trouble::Misdeed;
use super::{ConnectionId, LOGIN_TIMEOUT, Target, report};

/// MODE SENSE(6) and (10). What our initiator asks last before it takes a unit for what it looks for.
const MODE_SENSE: [u8; 2] = [0x1a, 0x5a];

const TASK_SET_FULL: u8 = 0x28;

impl Target {
    pub(super) fn act(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        action: Action,
    ) -> Result<(), Breach> {
        match action {
            Action::Execute(itt) => {
                // Whatever is younger than an ordered one would have to wait for it.
                let ordered = matches!(
                    &connection.phase,
                    Phase::Full(session) if session.tasks.get(&itt).is_some_and(|task| task.ordered)
                );
                if !ordered && self.takes_hang(connection.portal) {
                    return Ok(());
                }
                if self.jams(now, connection, itt) {
                    return Ok(());
                }
                if self.is_full(connection) {
                    self.refuse(connection, itt);
                    return Ok(());
                }
                let taken = self.pace_of(connection.portal);
                let order = self.next_serial();
                if let Phase::Full(session) = &mut connection.phase {
                    let barrier = session.tasks.get(&itt).filter(|task| task.ordered);
                    let last = session.ready.keys().next_back().map(|(due, _)| *due);
                    let last = last.filter(|_| barrier.is_some());
                    let process = session.name.process;
                    let older =
                        barrier.and_then(|task| last_orphan(&self.orphans, process, task.lun));
                    let ordered = barrier.is_some();
                    let due = pace::due(now, taken, &mut session.in_order);
                    let due = due.max(last.unwrap_or(now)).max(older.unwrap_or(now));
                    if ordered {
                        session.in_order = Some(due);
                    }
                    session.schedule(itt, due, order);
                    if due <= now && older.is_none() {
                        self.execute(now, connection, itt);
                    }
                }
            }
            Action::Manage(request) => self.manage(now, id, connection, request),
            Action::SendTargets(itt, wanted) => {
                let text = self.send_targets(&wanted);
                if let Phase::Full(session) = &mut connection.phase {
                    session.answer_text(itt, text.into(), &mut connection.out);
                }
            }
            Action::LoggedOut => {
                if let Some(mut session) = connection.close() {
                    session.settled = true;
                    self.end_session(now, *session);
                }
            }
        }
        Ok(())
    }

    /// There is no room for a task.
    fn refuse(&mut self, connection: &mut Connection, itt: Itt) {
        let Phase::Full(session) = &mut connection.phase else {
            return;
        };
        if let Some(task) = session.remove(itt) {
            let full = Response {
                status: TASK_SET_FULL,
                ..Response::default()
            };
            session.respond(&task, full, &mut connection.out);
            self.statistics.refused += 1;
        }
    }

    /// Whether a task is stuck in the backing store from now on.
    fn jams(&mut self, now: Instant, connection: &mut Connection, itt: Itt) -> bool {
        let portal = connection.portal;
        if self.trouble[portal].jams == 0 {
            return false;
        }
        let order = self.next_serial();
        let Phase::Full(session) = &mut connection.phase else {
            return false;
        };
        let Some(task) = session.tasks.get_mut(&itt) else {
            return false;
        };
        let jammed = self.takes_jam(portal, task.data_out().len());
        task.jammed = jammed;
        if jammed {
            session.schedule(itt, Self::stuck_until(now), order);
        }
        jammed
    }

    /// Executes a task of a living session and answers it.
    fn execute(&mut self, now: Instant, connection: &mut Connection, itt: Itt) {
        let Phase::Full(session) = &mut connection.phase else {
            return;
        };
        let Some(mut task) = session.remove(itt) else {
            return;
        };
        session.settled |= MODE_SENSE.contains(&task.cdb[0]);
        let nexus = session.nexus;
        let misdeed = self.take_misdeed(connection.portal, &task);
        if misdeed == Some(Misdeed::Reject) {
            let nothing = Response::default();
            return Self::answer_badly(connection, &mut task, nothing, Misdeed::Reject);
        }
        self.statistics.executed += 1;
        // A read or a TEST UNIT READY harms nobody, however late.
        let late = connection.forsaken && !task.data_out().is_empty();
        self.statistics.executed_late += u64::from(late);
        let port = self.port(connection.portal);
        if let Some(unit) = self.units.get_mut(&task.lun) {
            unit.arrive(nexus, port);
        }
        let response = self.carry_out(nexus, task.lun, &task.cdb, &task.data_out());
        let aborts = response.aborts.clone();
        match (misdeed, &mut connection.phase) {
            (Some(how), _) => Self::answer_badly(connection, &mut task, response, how),
            (None, Phase::Full(session)) => session.respond(&task, response, &mut connection.out),
            (None, _) => {}
        }
        for nexus in aborts {
            self.abort_nexus(now, nexus, connection);
        }
    }

    fn carry_out(
        &mut self,
        nexus: NexusId,
        lun: LunAddress,
        cdb: &[u8; 16],
        data: &Payload,
    ) -> Response {
        if cdb[0] == report::REPORT_LUNS {
            return report::report_luns(self.units.keys().copied(), cdb);
        }
        match self.units.get_mut(&lun) {
            Some(unit) => unit.execute(nexus, cdb, data),
            None => report::no_such_unit(cdb),
        }
    }

    /// What is due: executions, logins that take too long, pings.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.run_orphans(now);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(mut connection) = self.connections.remove(&id) else {
                continue;
            };
            if !self.portals[connection.portal].frozen {
                self.run_connection(now, id, &mut connection);
            }
            self.connections.insert(id, connection);
        }
    }

    fn run_connection(&mut self, now: Instant, id: ConnectionId, connection: &mut Connection) {
        while let Some(itt) = next_due(connection, now) {
            self.execute(now, connection, itt);
            self.woken.insert(id);
        }
        let (late, ping) = match &connection.phase {
            Phase::Login(login) => (now >= login.began + LOGIN_TIMEOUT, false),
            Phase::Full(session) => match self.behaviour.ping_interval {
                Some(interval) if now >= session.heard + interval => match session.pinged {
                    Some(pinged) => (now >= pinged + interval, false),
                    None => (false, true),
                },
                _ => (false, false),
            },
            Phase::Waiting(_) | Phase::Closing => (false, false),
        };
        if late {
            self.drop_connection(now, connection);
            self.woken.insert(id);
        }
        if ping && let Phase::Full(session) = &mut connection.phase {
            session.ping(now, &mut connection.out);
            self.woken.insert(id);
        }
    }

    /// When [`Target::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let orphan = self.orphans.keys().next();
        let mut next = orphan.map(|(due, _)| Deadline::new(*due, "a command of a dead session"));
        for connection in self.connections.values() {
            if self.portals[connection.portal].frozen {
                continue;
            }
            let due = match &connection.phase {
                Phase::Login(login) => Some(Deadline::new(login.began + LOGIN_TIMEOUT, "login")),
                Phase::Full(session) => {
                    let ready = session.ready.keys().next();
                    let execute = ready.map(|(due, _)| Deadline::new(*due, "service time"));
                    let ping = self.behaviour.ping_interval.map(|interval| {
                        let since = session.pinged.unwrap_or(session.heard);
                        Deadline::new(since.max(session.heard) + interval, "ping")
                    });
                    Deadline::earlier(execute, ping)
                }
                Phase::Waiting(_) | Phase::Closing => None,
            };
            next = Deadline::earlier(next, due);
        }
        next
    }
}

/// When the last command of a process's dead sessions on this unit executes.
pub(super) fn last_orphan(
    orphans: &BTreeMap<(Instant, u64), Orphan>,
    process: u16,
    lun: LunAddress,
) -> Option<Instant> {
    let mut there = orphans.iter().rev();
    there
        .find(|(_, orphan)| orphan.process == process && orphan.lun == lun)
        .map(|((due, _), _)| *due)
}

fn next_due(connection: &Connection, now: Instant) -> Option<Itt> {
    let Phase::Full(session) = &connection.phase else {
        return None;
    };
    let ((due, _), itt) = session.ready.first_key_value()?;
    (*due <= now).then_some(*itt)
}
