//! A simulated iSCSI target, sans-IO: portals, sessions, disks, and the ways in which they fail.
//!
//! [`Target`] owns everything; connections are named by [`ConnectionId`]. Driver contract: after any
//! `handle_*`, `connect`, `disconnect` or command, take [`Target::poll_woken`] until `None`, and for
//! each connection named write its [`Target::outgoing`], look whether it [`Target::is_over`], and
//! whether it [`Target::wants_input`]; then read [`Target::poll_timeout`]. Time never goes backwards.
//!
//! Commands execute at once, or after the portal's service time; one session's in their order. A
//! session ends with its connection (error recovery level 0), with a logout, or by reinstatement.
//! What its complete commands do then is [`Orphans`]: nothing, or they execute late, as ghosts.
//!
//! - `connection`, `login`, `chap`, `parameters`: up to the full feature phase, with negotiation
//!   rules of its own, so that a mistake in the initiator's does not cancel out;
//! - `session`, `task`: the full feature phase;
//! - [`lun`]: the disk; [`server`]: real sockets.

mod breach;
mod chap;
mod config;
mod connection;
mod execute;
mod jam;
mod login;
pub mod lun;
mod management;
mod pace;
mod parameters;
mod reinstate;
mod report;
pub mod server;
mod session;
mod task;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::error::LoginStatus;
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::pdu::login::LoginRequest;
use iiblockdaemon::iscsi::pdu::{InvalidPdu, Opcode};
use iiblockdaemon::out_queue::OutQueue;
use iiblockdaemon::payload::Payload;

pub use breach::Breach;
pub use config::{
    Aborts, Behaviour, DigestWish, Nexuses, Orphans, PortalBehaviour, PortalConfig, Reinstatement,
    Resets, TargetAuth, TargetConfig, Wishes,
};
pub use login::SessionKind;
pub use pace::Pace;
pub use parameters::Parameters;
pub use session::SessionName;
pub use trouble::Misdeed;

use connection::{Connection, Pdu, Phase};
use jam::Withheld;
use login::Step;
use lun::{Lun, NexusId};
use management::DeferredReset;
use reinstate::Orphan;
use trouble::Trouble;

use crate::rng::Rng;

/// A login that takes longer is dropped.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Breaches that are kept in full.
const BREACHES_MAX: usize = 64;

/// One connection, for as long as the target lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What happened at the target, as proof of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetStatistics {
    /// Logins to normal sessions that succeeded.
    pub logins: u64,
    /// Logins that were refused.
    pub logins_refused: u64,
    /// Sessions that a later login ended.
    pub reinstated: u64,
    /// Sessions that ended before their initiator had asked all that it asks of a new unit: the answers, of which
    /// the first bring the unit attentions, may not have arrived.
    pub cut_short: u64,
    /// Commands executed while their session lived.
    pub executed: u64,
    /// Commands with data for the disk that were executed after their session had ended, or after the initiator had
    /// given it up.
    pub executed_late: u64,
    /// Commands that were terminated before they executed.
    pub terminated: u64,
    /// Commands that were left without an answer.
    pub hung: u64,
    /// Commands that were answered with TASK SET FULL, since the portal had no room.
    pub refused: u64,
    /// Writes that were stuck in the backing store.
    pub jammed: u64,
    /// ABORT TASKs that were asked for.
    pub aborts: u64,
    /// LOGICAL UNIT RESETs that were carried out for an initiator.
    pub unit_resets: u64,
    /// Answers that broke the protocol.
    pub misdeeds: u64,
    /// Blocks of volatile caches that were lost.
    pub blocks_lost: u64,
}

/// A simulated target. See the module's documentation.
#[derive(Debug)]
pub struct Target {
    config: Arc<TargetConfig>,
    behaviour: Behaviour,
    portals: Vec<PortalBehaviour>,
    trouble: Vec<Trouble>,
    units: BTreeMap<LunAddress, Lun>,
    connections: BTreeMap<ConnectionId, Connection>,
    orphans: BTreeMap<(Instant, u64), Orphan>,
    resets: Vec<DeferredReset>,
    /// ABORT TASKs that are answered once their command has ended.
    withheld: Vec<Withheld>,
    /// Of the last session of each name.
    nexuses: BTreeMap<SessionName, NexusId>,
    nexuses_known: u64,
    woken: BTreeSet<ConnectionId>,
    breaches: Vec<Breach>,
    statistics: TargetStatistics,
    rng: Rng,
    /// Of [`Pace`].
    pace_rng: Rng,
    serial: u64,
}

impl Target {
    /// A target with its logical units, by number.
    ///
    /// # Panics
    /// If a number is above 16383.
    #[must_use]
    pub fn new(config: TargetConfig, units: impl IntoIterator<Item = (u16, Lun)>) -> Self {
        let address = |number| LunAddress::from_number(number).expect("a LUN up to 16383");
        let units = units
            .into_iter()
            .map(|(number, unit)| (address(number), unit));
        Self {
            behaviour: Behaviour::default(),
            portals: vec![PortalBehaviour::default(); config.portals.len()],
            trouble: config.portals.iter().map(|_| Trouble::default()).collect(),
            units: units.collect(),
            connections: BTreeMap::new(),
            orphans: BTreeMap::new(),
            resets: Vec::new(),
            withheld: Vec::new(),
            nexuses: BTreeMap::new(),
            nexuses_known: 0,
            woken: BTreeSet::new(),
            breaches: Vec::new(),
            statistics: TargetStatistics::default(),
            rng: Rng::new(config.seed).stream("target"),
            pace_rng: Rng::new(config.seed).stream("pace"),
            serial: 0,
            config: Arc::new(config),
        }
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &TargetConfig {
        &self.config
    }

    /// A logical unit, by number.
    pub fn unit(&mut self, number: u16) -> Option<&mut Lun> {
        self.units.get_mut(&LunAddress::from_number(number)?)
    }

    /// What initiators did that RFC 7143 forbids.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        let living = self
            .connections
            .values()
            .filter_map(|connection| match &connection.phase {
                Phase::Full(session) => session.noted.clone(),
                Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
            });
        self.breaches.iter().cloned().chain(living).collect()
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> TargetStatistics {
        self.statistics
    }

    /// So often an initiator may have missed what a session's first answers told: normal sessions that ended, or
    /// live, whose initiator has not asked yet all that it asks of a new unit, and answers that broke the protocol.
    #[must_use]
    pub fn untold(&self) -> u64 {
        let live = self.connections.values().filter(|connection| {
            matches!(&connection.phase, Phase::Full(session)
                if session.kind == SessionKind::Normal && !session.settled)
        });
        self.statistics.cut_short + self.statistics.misdeeds + live.count() as u64
    }

    /// Names of the normal sessions that live.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionName> {
        let connections = self.connections.values();
        connections.filter_map(|connection| match &connection.phase {
            Phase::Full(session) if session.kind == SessionKind::Normal => Some(&session.name),
            Phase::Full(_) | Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
        })
    }

    /// Registrations with a unit over sessions that live.
    #[must_use]
    pub fn registered(&self, unit: u16) -> usize {
        let unit = LunAddress::from_number(unit).and_then(|unit| self.units.get(&unit));
        let living = self.connections.values().filter_map(|c| match &c.phase {
            Phase::Full(session) => Some(session.nexus),
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
        });
        unit.map_or(0, |unit| living.filter(|n| unit.is_registered(*n)).count())
    }

    /// Commands that were received and not answered, over all sessions.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let tasks = |connection: &Connection| match &connection.phase {
            Phase::Full(session) => session.tasks.len(),
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => 0,
        };
        self.connections.values().map(tasks).sum()
    }

    /// How it behaves from now on.
    pub fn set_behaviour(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
    }

    /// How it behaves.
    #[must_use]
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// How a portal behaves from now on.
    ///
    /// # Panics
    /// If there is no such portal.
    pub fn set_portal(&mut self, portal: usize, behaviour: PortalBehaviour) {
        let there = &mut self.portals[portal];
        *there = behaviour;
        // Whoever was not read or written while it was frozen is looked at again.
        let of_portal = self.connections.iter().filter(|(_, c)| c.portal == portal);
        self.woken.extend(of_portal.map(|(id, _)| *id));
    }

    /// A connection was accepted at a portal.
    ///
    /// # Panics
    /// If there is no such portal.
    pub fn connect(&mut self, now: Instant, portal: usize) -> ConnectionId {
        let id = ConnectionId(self.next_serial());
        let group = self.config.portals[portal].group;
        let rng = self.rng.stream_indexed("connection", id.0);
        let connection = Connection::new(now, &self.config, portal, group, rng);
        self.connections.insert(id, connection);
        id
    }

    /// The initiator has given the connection up, and nothing tells the target: what it executes from now on is
    /// late.
    pub fn forsake(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.forsaken = true;
        }
    }

    /// The connection is gone: closed or reset by the initiator, or over and written out.
    pub fn disconnect(&mut self, now: Instant, id: ConnectionId) {
        if let Some(mut connection) = self.connections.remove(&id)
            && let Some(session) = connection.abort()
        {
            self.end_session(now, *session);
        }
    }

    /// It crashes: sessions, and what they had asked for, are gone. Units tell of a power-on. Its connections
    /// are over at once. Of each unit's volatile cache every block is lost for which `survives` says no.
    pub fn restart(&mut self, now: Instant, mut survives: impl FnMut(u64) -> bool) {
        let orphans = std::mem::replace(&mut self.behaviour.orphans, Orphans::Terminate);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.disconnect(now, id);
            self.woken.insert(id);
        }
        self.behaviour.orphans = orphans;
        self.statistics.terminated += self.orphans.len() as u64;
        self.orphans.clear();
        self.withheld.clear();
        self.finish_resets();
        for unit in self.units.values_mut() {
            let lost = unit.power_cycle(&mut survives);
            self.statistics.blocks_lost += lost as u64;
        }
    }

    /// Commands of dead sessions that will still execute.
    #[must_use]
    pub fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// Whether bytes of this connection may be read now.
    #[must_use]
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            !self.portals[connection.portal].frozen && !matches!(connection.phase, Phase::Closing)
        })
    }

    /// Whether the target has ended the connection: with RST (`Some(true)`) at once, or with FIN
    /// once everything is written.
    #[must_use]
    pub fn is_over(&self, id: ConnectionId) -> Option<bool> {
        let Some(connection) = self.connections.get(&id) else {
            return Some(true);
        };
        let over = connection.aborted || matches!(connection.phase, Phase::Closing);
        over.then_some(connection.aborted)
    }

    /// Whether the connection is past its login.
    #[must_use]
    pub fn is_logged_in(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(|connection| matches!(connection.phase, Phase::Full(_)))
    }

    /// What is to be written to a connection.
    pub fn outgoing(&mut self, id: ConnectionId) -> Option<&mut OutQueue> {
        let connection = self.connections.get_mut(&id)?;
        (!self.portals[connection.portal].frozen).then(|| connection.out.outgoing())
    }

    /// A connection that has something to write, to read again, or that is over.
    #[must_use]
    pub fn poll_woken(&mut self) -> Option<ConnectionId> {
        self.woken.pop_first()
    }

    /// Takes what a connection received; complete PDUs are consumed.
    pub fn handle_bytes(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        let Some(mut connection) = self.connections.remove(&id) else {
            input.clear();
            return;
        };
        while !matches!(connection.phase, Phase::Closing) {
            match connection.next_pdu(input) {
                Ok(Some(pdu)) => self.take_pdu(now, id, &mut connection, pdu),
                Ok(None) => break,
                Err(invalid) => {
                    // What a digest finds is the network's fault.
                    if !matches!(invalid, InvalidPdu::HeaderDigest | InvalidPdu::DataDigest) {
                        self.note(invalid.into());
                    }
                    self.drop_connection(now, &mut connection);
                }
            }
        }
        self.woken.insert(id);
        self.connections.insert(id, connection);
    }

    fn take_pdu(&mut self, now: Instant, id: ConnectionId, connection: &mut Connection, pdu: Pdu) {
        let phase = &mut connection.phase;
        let taken = match phase {
            Phase::Login(_) => self.take_login(now, id, connection, &pdu),
            Phase::Full(session) if pdu.ahs.is_empty() => {
                let units = &self.units;
                let needed = |lun: LunAddress, cdb: &[u8; 16]| {
                    let needed = units.get(&lun).map_or(0, |unit| unit.data_out_len(cdb));
                    u32::try_from(needed).unwrap_or(u32::MAX)
                };
                match session.take(now, &pdu.bhs, pdu.data, needed, &mut connection.out) {
                    Ok(Some(action)) => self.act(now, id, connection, action),
                    Ok(None) => Ok(()),
                    Err(breach) => Err(breach),
                }
            }
            Phase::Full(_) => Err(Breach::Ahs(pdu.ahs.len())),
            Phase::Waiting(_) | Phase::Closing => Err(Breach::WrongPhase(pdu.bhs.opcode_value())),
        };
        if let Err(breach) = taken {
            self.note(breach);
            self.drop_connection(now, connection);
        }
    }

    fn take_login(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connection: &mut Connection,
        pdu: &Pdu,
    ) -> Result<(), Breach> {
        if pdu.bhs.opcode()? != Opcode::LoginRequest {
            return Err(Breach::WrongPhase(pdu.bhs.opcode_value()));
        }
        let verdict = self.login_verdict(connection.portal);
        let Phase::Login(login) = &mut connection.phase else {
            return Ok(());
        };
        let request = LoginRequest::decode(&pdu.bhs)?;
        match login.take(&request, &pdu.data.to_bytes(), verdict) {
            Step::Respond(response, text) => {
                connection.out.push(response.encode(), &segment(&text));
            }
            Step::Refuse(response, text, why) => {
                tracing::info!(status = ?response.status, why, "login refused");
                self.statistics.logins_refused += 1;
                connection.out.push(response.encode(), &segment(&text));
                connection.close();
            }
            Step::Establish(established) => self.establish(now, id, connection, established),
        }
        Ok(())
    }

    /// What every login at this portal is answered with, if so.
    fn login_verdict(&self, portal: usize) -> Option<(LoginStatus, Text)> {
        if let Some((address, permanent)) = &self.portals[portal].redirect {
            let status = if *permanent {
                LoginStatus::MOVED_PERMANENTLY
            } else {
                LoginStatus::MOVED_TEMPORARILY
            };
            return Some((status, Text::new().with("TargetAddress", address)));
        }
        let status = self.behaviour.refuse_logins?;
        Some((status, Text::new()))
    }

    fn drop_connection(&mut self, now: Instant, connection: &mut Connection) {
        if let Some(session) = connection.abort() {
            self.end_session(now, *session);
        }
    }

    fn note(&mut self, breach: Breach) {
        tracing::warn!(%breach, "the initiator broke a rule");
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(breach);
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

fn segment(text: &Text) -> Payload {
    Payload::from(bytes::Bytes::from(text.encode()))
}

#[cfg(test)]
mod tests;
