//! Writes that are stuck in the backing store: neither they are answered nor an ABORT TASK for them, and what
//! waits for them waits: a login that reinstates their session, an ORDERED command. A LOGICAL UNIT RESET ends
//! them, or the end of the jam, when they execute after all.

use std::time::{Duration, Instant};

use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::pdu::TmfResponse;
use iiblockdaemon::iscsi::tags::Itt;

use super::config::Resets;
use super::connection::{Connection, Phase};
use super::execute::last_orphan;
use super::lun::NexusId;
use super::reinstate::Orphan;
use super::session::Session;
use super::{ConnectionId, Target};

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is due so much later is stuck.
const STUCK: Duration = Duration::from_secs(100 * 24 * 3600);

/// An ABORT TASK whose command is stuck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Withheld {
    pub(super) connection: ConnectionId,
    /// Of the request.
    pub(super) itt: Itt,
    pub(super) task: Itt,
}

impl Target {
    /// The next writes that come in at this portal are stuck.
    pub fn jam(&mut self, portal: usize, writes: u32) {
        self.trouble[portal].jams += writes;
    }

    /// Whether a command that came in at this portal, with so much data, is stuck.
    pub(super) fn takes_jam(&mut self, portal: usize, bytes: usize) -> bool {
        let jams = &mut self.trouble[portal].jams;
        let jam = *jams > 0 && bytes > 0;
        *jams -= u32::from(jam);
        self.statistics.jammed += u64::from(jam);
        jam
    }

    pub(super) fn stuck_until(now: Instant) -> Instant {
        now + NEVER
    }

    pub(super) fn is_stuck(now: Instant, due: Instant) -> bool {
        due > now + STUCK
    }

    /// Answers ABORT TASKs of this connection, which is not in the table, whose command has ended.
    pub(super) fn answer_withheld(&mut self, id: ConnectionId, connection: &mut Connection) {
        let Phase::Full(session) = &mut connection.phase else {
            self.withheld.retain(|withheld| withheld.connection != id);
            return;
        };
        let over = |withheld: &Withheld| {
            withheld.connection == id && !session.tasks.contains_key(&withheld.task)
        };
        let (answered, kept): (Vec<_>, Vec<_>) = self.withheld.drain(..).partition(over);
        self.withheld = kept;
        for withheld in answered {
            let complete = TmfResponse::Complete;
            session.answer_management(withheld.itt, complete, &mut connection.out);
            self.woken.insert(id);
        }
    }

    fn answer_all_withheld(&mut self) {
        let ids: Vec<_> = self.withheld.iter().map(|w| w.connection).collect();
        for id in ids {
            match self.connections.remove(&id) {
                Some(mut connection) => {
                    self.answer_withheld(id, &mut connection);
                    self.connections.insert(id, connection);
                }
                None => self.withheld.retain(|withheld| withheld.connection != id),
            }
        }
    }

    /// Everything that is stuck executes now, and what waited for it goes on.
    pub fn end_jams(&mut self, now: Instant) {
        for trouble in &mut self.trouble {
            trouble.jams = 0;
        }
        let mut stuck = Vec::new();
        for connection in self.connections.values_mut() {
            let Phase::Full(session) = &mut connection.phase else {
                continue;
            };
            let (nexus, process) = (session.nexus, session.name.process);
            for (order, itt) in stuck_tasks(session, now, true) {
                if let Some(task) = session.remove(itt) {
                    stuck.push((order, Orphan::of(nexus, process, &task)));
                }
            }
        }
        let orphans = self.orphans.keys().copied();
        let late: Vec<_> = orphans.filter(|(at, _)| Self::is_stuck(now, *at)).collect();
        for key in late {
            if let Some(orphan) = self.orphans.remove(&key) {
                stuck.push((key.1, orphan));
            }
        }
        for (order, orphan) in stuck {
            self.orphans.insert((now, order), orphan);
        }
        self.run_orphans(now);
        self.release_waiting(now);
        self.answer_all_withheld();
    }

    /// What waited for what was stuck now waits for what else is still to execute.
    fn release_waiting(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            let Phase::Full(session) = &mut connection.phase else {
                continue;
            };
            let process = session.name.process;
            let own = session.ready.keys().map(|(at, _)| *at);
            let own = own.filter(|at| !Self::is_stuck(now, *at)).max();
            for (order, itt) in stuck_tasks(session, now, false) {
                let lun = session.tasks.get(&itt).map(|task| task.lun);
                let dead = lun.and_then(|lun| last_orphan(&self.orphans, process, lun));
                let due = own.into_iter().chain(dead).fold(now, Instant::max);
                session.schedule(itt, due, order);
            }
            let stuck = |at: &Instant| Self::is_stuck(now, *at);
            if session.in_order.is_some_and(|at| stuck(&at)) {
                session.in_order = session.ready.keys().map(|(at, _)| *at).max().or(Some(now));
            }
        }
    }

    /// A reset of the units: what becomes of the commands of a session, which is over with them.
    pub(super) fn reset_session(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        (lun, process): (Option<LunAddress>, Option<u16>),
    ) {
        let Phase::Full(session) = &mut connection.phase else {
            return;
        };
        let (nexus, of) = (session.nexus, session.name.process);
        if process.is_some_and(|process| process != of) {
            return;
        }
        for itt in session.tasks_on(lun) {
            let Some(task) = session.remove(itt) else {
                continue;
            };
            let reached = task.ready.filter(|_| !task.data_out().is_empty());
            match (self.behaviour.resets, reached) {
                (Resets::Early(longer), Some((due, order))) => {
                    let stuck = Self::is_stuck(now, due);
                    let due = if stuck { now + longer } else { due.max(now) };
                    let orphan = Orphan::of(nexus, of, &task);
                    self.orphans.insert((due, order), orphan);
                }
                _ => self.statistics.terminated += 1,
            }
        }
        session.in_order = None;
    }

    /// The same for what dead sessions have left behind: only what is stuck is ended by a reset.
    pub(super) fn reset_orphans(
        &mut self,
        now: Instant,
        (lun, process): (Option<LunAddress>, Option<u16>),
    ) {
        let concerns = |orphan: &Orphan| {
            lun.is_none_or(|lun| lun == orphan.lun)
                && process.is_none_or(|process| process == orphan.process)
        };
        let stuck = self.orphans.iter();
        let stuck = stuck.filter(|((at, _), orphan)| Self::is_stuck(now, *at) && concerns(orphan));
        let stuck: Vec<_> = stuck.map(|(key, _)| *key).collect();
        for key in stuck {
            let orphan = self.orphans.remove(&key);
            match (self.behaviour.resets, orphan) {
                (Resets::Early(longer), Some(orphan)) => {
                    self.orphans.insert((now + longer, key.1), orphan);
                }
                _ => self.statistics.terminated += 1,
            }
        }
    }

    /// The nexuses of a process, or all.
    pub(super) fn nexuses_in(&self, process: Option<u16>) -> Vec<NexusId> {
        let of = self.nexuses.iter();
        let of = of.filter(|(name, _)| process.is_none_or(|process| process == name.process));
        of.map(|(_, nexus)| *nexus).collect()
    }
}

/// Takes what is stuck itself (`jammed`), or what waits for that, off a session's schedule.
fn stuck_tasks(session: &mut Session, now: Instant, jammed: bool) -> Vec<(u64, Itt)> {
    let ready = session.ready.iter();
    let stuck = ready.filter(|((at, _), itt)| {
        let itself = session.tasks.get(itt).is_some_and(|task| task.jammed);
        Target::is_stuck(now, *at) && itself == jammed
    });
    let stuck: Vec<_> = stuck.map(|(key, itt)| (*key, *itt)).collect();
    if !jammed {
        for (key, _) in &stuck {
            session.ready.remove(key);
        }
    }
    stuck
        .into_iter()
        .map(|((_, order), itt)| (order, itt))
        .collect()
}
