//! A simulated disk: a SCSI logical unit that answers descriptor blocks, sans-IO.
//!
//! It shares no code with the initiator's `scsi` module and reads every descriptor block by the letter: a
//! reserved bit that is set, a length that contradicts another or a range beyond the end is refused, so
//! that a mistake in a builder shows here.
//!
//! A command is answered in this order: an injected answer, a pending unit attention of its nexus
//! (INQUIRY and REQUEST SENSE pass it), an unknown or ill-formed descriptor block, the access state of the
//! port that it came through, reservations, and at last the command itself. REPORT LUNS is not here: the
//! target around the units answers it.

mod answer;
mod backing;
mod config;
mod form;
mod media;
mod pages;
mod reservation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use iiblockdaemon::payload::Payload;

pub use answer::{Refusal, Response, sense};
pub use backing::Backing;
pub use config::{Access, LunConfig, PortGroup, WriteCache};

use answer::Answered;
use form::{Form, op};
use media::Media;
use reservation::Reservations;

/// An I_T nexus: one initiator port (name and ISID) at one target port. It stays the same over the
/// sessions that realise it, since registrations of persistent reservations do, unless the target has it
/// otherwise ([`super::Nexuses`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NexusId(pub u64);

/// The target port that a nexus came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its relative target port identifier.
    pub relative: u16,
    /// Its target port group.
    pub group: u16,
}

/// The port of nexuses that were never attached.
const FIRST_PORT: Port = Port {
    relative: 1,
    group: 1,
};

/// An answer to be given instead of the true one.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Only to this nexus.
    pub nexus: Option<NexusId>,
    /// Only to this operation code.
    pub opcode: Option<u8>,
    /// To so many commands.
    pub times: u32,
    /// The answer.
    pub refusal: Refusal,
    /// The command is carried out all the same, and answered so afterwards.
    pub carried_out: bool,
}

/// What a logical unit remembers of a nexus.
#[derive(Debug)]
struct Nexus {
    port: Port,
    /// Unit attentions to be reported, oldest first.
    attentions: VecDeque<(u8, u8)>,
}

/// What a logical unit is like through one port, where that is not the truth.
#[derive(Clone, Copy, Debug, Default)]
struct Face {
    /// It is not there.
    vanished: bool,
    /// It tells this size.
    blocks: Option<u64>,
}

/// A simulated logical unit.
#[derive(Debug)]
pub struct Lun {
    config: LunConfig,
    media: Media,
    reservations: Reservations,
    nexuses: BTreeMap<NexusId, Nexus>,
    /// By relative target port identifier.
    faces: BTreeMap<u16, Face>,
    injections: Vec<Injection>,
    executed: BTreeMap<u8, u64>,
    injected: u64,
    /// It was without power at some time.
    power_cycled: bool,
}

impl Lun {
    /// A unit over its data.
    ///
    /// # Panics
    /// If the block size is no power of two from 512 to 65536, or there is no block.
    #[must_use]
    pub fn new(config: LunConfig, backing: Backing) -> Self {
        let size = config.block_size;
        assert!(
            size.is_power_of_two() && (512..=65536).contains(&size),
            "block size"
        );
        assert!(config.blocks > 0, "a unit has blocks");
        let volatile = config.cache == WriteCache::Volatile;
        let persistent = config.persistent;
        Self {
            media: Media::new(backing, size, volatile),
            config,
            reservations: Reservations::new(persistent),
            nexuses: BTreeMap::new(),
            faces: BTreeMap::new(),
            injections: Vec::new(),
            executed: BTreeMap::new(),
            injected: 0,
            power_cycled: false,
        }
    }

    /// What it was made with, and what became of that.
    #[must_use]
    pub fn config(&self) -> &LunConfig {
        &self.config
    }

    /// Another identity, other limits: nobody is told. Follow with [`Lun::attention`] to tell.
    pub fn config_mut(&mut self) -> &mut LunConfig {
        &mut self.config
    }

    /// How many bytes of data the initiator has to send with a command; 0 for unknown ones too.
    #[must_use]
    pub fn data_out_len(&self, cdb: &[u8; 16]) -> usize {
        form::data_out_len(cdb, self.config.block_size)
    }

    /// Answers one command.
    pub fn execute(&mut self, nexus: NexusId, cdb: &[u8; 16], data_out: &Payload) -> Response {
        self.greet(nexus);
        let face = self.face(nexus);
        if face.vanished {
            return super::report::no_such_unit(cdb);
        }
        if let Some(injection) = self.take_injection(nexus, cdb[0]) {
            if injection.carried_out {
                let _overridden = self.carry_out(nexus, cdb, data_out);
            }
            return injection.refusal.into();
        }
        match self.answer(nexus, cdb, data_out) {
            Ok(response) => response,
            Err(refusal) => refusal.into(),
        }
    }

    /// Carries out a command that was past its checks when its session died: attentions that came up since
    /// do not stop it.
    pub fn execute_orphan(
        &mut self,
        nexus: NexusId,
        cdb: &[u8; 16],
        data_out: &Payload,
    ) -> Response {
        self.greet(nexus);
        self.carry_out(nexus, cdb, data_out)
            .unwrap_or_else(Response::from)
    }

    fn answer(&mut self, nexus: NexusId, cdb: &[u8; 16], data_out: &Payload) -> Answered {
        if !matches!(cdb[0], op::INQUIRY | op::REQUEST_SENSE)
            && let Some((asc, ascq)) = self.pop_attention(nexus)
        {
            return Err(Refusal::sense(sense::UNIT_ATTENTION, asc, ascq));
        }
        self.carry_out(nexus, cdb, data_out)
    }

    fn carry_out(&mut self, nexus: NexusId, cdb: &[u8; 16], data_out: &Payload) -> Answered {
        let form = Form::of(cdb)
            .filter(|form| !self.refuses(form))
            .ok_or(Refusal::UNKNOWN)?;
        form.check(cdb)?;
        self.check_access(nexus, cdb[0])?;
        self.reservations.check(nexus, form.effect)?;
        let needed = self.data_out_len(cdb);
        if data_out.len() < needed {
            return Err(Refusal::FIELD_IN_CDB);
        }
        *self.executed.entry(cdb[0]).or_default() += 1;
        let data = data_out.slice(0, needed);
        match cdb[0] {
            op::TEST_UNIT_READY => Ok(Response::good()),
            op::REQUEST_SENSE => Ok(self.request_sense(nexus, cdb)),
            op::INQUIRY => pages::inquiry(&self.config, self.port_of(nexus), cdb),
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => pages::mode_sense(&self.config, cdb),
            op::READ_CAPACITY_10 => Ok(pages::read_capacity_10(&self.seen_by(nexus))),
            op::SERVICE_ACTION_IN_16 => Ok(pages::read_capacity_16(&self.seen_by(nexus), cdb)),
            op::MAINTENANCE_IN => self.maintenance_in(cdb),
            op::MAINTENANCE_OUT => self.set_port_groups(&data.to_bytes()),
            op::PERSISTENT_RESERVE_IN => self.reservations.report(cdb),
            op::PERSISTENT_RESERVE_OUT => self.reserve_out(nexus, cdb, &data.to_bytes()),
            _ => media::execute(&mut self.media, &self.config, cdb, &data),
        }
    }

    /// A command that this unit was told not to know: by configuration, or because it is not thin.
    fn refuses(&self, form: &Form) -> bool {
        self.config.refuses.contains(&form.opcode)
            || (form.opcode == op::UNMAP && !self.config.thin)
            || (form.opcode == op::MAINTENANCE_OUT && !self.config.explicit)
    }

    fn maintenance_in(&self, cdb: &[u8; 16]) -> Answered {
        match cdb[1] & 0x1f {
            form::REPORT_TARGET_PORT_GROUPS => pages::port_groups(&self.config, cdb),
            _ => pages::supported_operation(cdb, |form| self.refuses(form)),
        }
    }

    /// SPC-5 6.45, as a pair of controllers does it: the groups that are asked to be active/optimized are, and
    /// those that were are not any more.
    fn set_port_groups(&mut self, list: &[u8]) -> Answered {
        let descriptors = list.get(4..).unwrap_or_default();
        if descriptors.is_empty() || !descriptors.len().is_multiple_of(4) {
            return Err(Refusal::FIELD_IN_LIST);
        }
        let mut wanted = Vec::new();
        for descriptor in descriptors.chunks_exact(4) {
            let group = u16::from_be_bytes([descriptor[2], descriptor[3]]);
            let known = self.config.groups.iter().any(|known| known.id == group);
            if !known || descriptor[0] & 0x0f != Access::Optimized as u8 {
                return Err(Refusal::FIELD_IN_LIST);
            }
            wanted.push(group);
        }
        for group in &mut self.config.groups {
            if wanted.contains(&group.id) {
                group.access = Access::Optimized;
            } else if group.access == Access::Optimized {
                group.access = Access::NonOptimized;
            }
        }
        self.attention(None, 0x2a, 0x06);
        Ok(Response::good())
    }

    fn reserve_out(&mut self, nexus: NexusId, cdb: &[u8; 16], list: &Bytes) -> Answered {
        let change = self.reservations.change(nexus, cdb, list)?;
        for (nexus, ascq) in change.attentions {
            self.attention(Some(nexus), 0x2a, ascq);
        }
        Ok(Response {
            aborts: change.aborts,
            ..Response::good()
        })
    }

    /// REQUEST SENSE reports what waits, and is itself always answered with GOOD.
    fn request_sense(&mut self, nexus: NexusId, cdb: &[u8; 16]) -> Response {
        let sense = match self.pop_attention(nexus) {
            Some((asc, ascq)) => answer::fixed(sense::UNIT_ATTENTION, asc, ascq, None),
            None => answer::fixed(sense::NO_SENSE, 0, 0, None),
        };
        Response::data(sense, cdb[4].into())
    }

    /// Ports in standby, unavailable or in transition answer questions only (SPC-5 5.18.2.4).
    fn check_access(&self, nexus: NexusId, opcode: u8) -> Result<(), Refusal> {
        let group = self.port_of(nexus).group;
        let groups = &self.config.groups;
        let Some(group) = groups.iter().find(|g| g.id == group) else {
            return Ok(());
        };
        let question = matches!(opcode, op::INQUIRY | op::REQUEST_SENSE | op::MAINTENANCE_IN);
        let size = matches!(opcode, op::READ_CAPACITY_10 | op::SERVICE_ACTION_IN_16);
        let passive = matches!(
            opcode,
            op::MODE_SENSE_6
                | op::MODE_SENSE_10
                | op::PERSISTENT_RESERVE_IN
                | op::PERSISTENT_RESERVE_OUT
        );
        let not_ready = |ascq| Err(Refusal::sense(sense::NOT_READY, 0x04, ascq));
        match group.access {
            Access::Optimized | Access::NonOptimized => Ok(()),
            _ if question => Ok(()),
            Access::Standby if passive => Ok(()),
            Access::Standby if size && self.config.standby_tells_size => Ok(()),
            Access::Standby | Access::Unavailable if opcode == op::MAINTENANCE_OUT => Ok(()),
            Access::Standby => not_ready(0x0b),
            Access::Unavailable | Access::Offline => not_ready(0x0c),
            Access::Transitioning => not_ready(0x0a),
        }
    }

    // ---- nexuses and unit attentions

    /// A session of this nexus begins, through this port.
    pub fn attach(&mut self, nexus: NexusId, port: Port) {
        self.greet(nexus).port = port;
    }

    /// The nexus's next command arrives through this port: more than one session may make up a nexus where a
    /// target does not honour reinstatement.
    pub fn arrive(&mut self, nexus: NexusId, port: Port) {
        if let Some(nexus) = self.nexuses.get_mut(&nexus) {
            nexus.port = port;
        }
    }

    /// The nexus's session ended: its next one is told (29/07). Its registration stays.
    pub fn nexus_lost(&mut self, nexus: NexusId) {
        self.attention(Some(nexus), 0x29, 0x07);
    }

    fn greet(&mut self, nexus: NexusId) -> &mut Nexus {
        // After a power-on it tells everybody of it, strangers too.
        let first = match (self.power_cycled, self.config.power_on_attention) {
            (true, _) => Some((0x29, 0x01)),
            (false, tell) => tell.then_some((0x29, 0x00)),
        };
        self.nexuses.entry(nexus).or_insert_with(|| Nexus {
            port: FIRST_PORT,
            attentions: first.into_iter().collect(),
        })
    }

    fn port_of(&self, nexus: NexusId) -> Port {
        self.nexuses
            .get(&nexus)
            .map_or(FIRST_PORT, |nexus| nexus.port)
    }

    fn face(&self, nexus: NexusId) -> Face {
        let port = self.port_of(nexus).relative;
        self.faces.get(&port).copied().unwrap_or_default()
    }

    /// Its configuration, as it tells it through the port of this nexus.
    fn seen_by(&self, nexus: NexusId) -> LunConfig {
        let blocks = self.face(nexus).blocks.unwrap_or(self.config.blocks);
        LunConfig {
            blocks,
            ..self.config.clone()
        }
    }

    fn pop_attention(&mut self, nexus: NexusId) -> Option<(u8, u8)> {
        self.nexuses.get_mut(&nexus)?.attentions.pop_front()
    }

    /// A unit attention for one nexus, or for all that are known; each is told once.
    pub fn attention(&mut self, nexus: Option<NexusId>, asc: u8, ascq: u8) {
        for (id, state) in &mut self.nexuses {
            let wanted = nexus.is_none_or(|nexus| nexus == *id);
            if wanted && !state.attentions.contains(&(asc, ascq)) {
                state.attentions.push_back((asc, ascq));
            }
        }
    }

    // ---- what tests do to a unit

    /// Answers to be given instead of the true ones; earlier injections go first.
    pub fn inject(&mut self, injection: Injection) {
        self.injections.push(injection);
    }

    /// How many commands got an injected answer: the proof that a fault happened.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.injected
    }

    /// How many commands with this operation code were carried out.
    #[must_use]
    pub fn executed(&self, opcode: u8) -> u64 {
        self.executed.get(&opcode).copied().unwrap_or(0)
    }

    fn take_injection(&mut self, nexus: NexusId, opcode: u8) -> Option<Injection> {
        self.injections.retain(|injection| injection.times > 0);
        let fits = |injection: &&mut Injection| {
            injection.nexus.is_none_or(|wanted| wanted == nexus)
                && injection.opcode.is_none_or(|wanted| wanted == opcode)
        };
        let injection = self.injections.iter_mut().find(fits)?;
        injection.times -= 1;
        self.injected += 1;
        Some(injection.clone())
    }

    /// Another size; all nexuses are told (2A/09). Data beyond a smaller size is kept.
    pub fn resize(&mut self, blocks: u64) {
        assert!(blocks > 0, "a unit has blocks");
        self.config.blocks = blocks;
        self.attention(None, 0x2a, 0x09);
    }

    /// Another access state of a port group; all nexuses are told (2A/06).
    pub fn set_access(&mut self, group: u16, access: Access) {
        let groups = self.config.groups.iter_mut().filter(|g| g.id == group);
        groups.for_each(|group| group.access = access);
        self.attention(None, 0x2a, 0x06);
    }

    /// Through the port with this relative identifier the unit is not there, or is there again: the nexuses
    /// of that port are told then (3F/0E).
    pub fn vanish(&mut self, port: u16, gone: bool) {
        self.faces.entry(port).or_default().vanished = gone;
        self.attention_at(port, 0x3f, 0x0e);
    }

    /// Through the port with this relative identifier the unit tells this size, or the true one: the nexuses
    /// of that port are told of a change (2A/09).
    pub fn pretend_size(&mut self, port: u16, blocks: Option<u64>) {
        self.faces.entry(port).or_default().blocks = blocks;
        self.attention_at(port, 0x2a, 0x09);
    }

    /// Through this port the unit is as it is in truth.
    pub fn mend(&mut self, port: u16) {
        match self.faces.remove(&port) {
            Some(face) if face.vanished => self.attention_at(port, 0x3f, 0x0e),
            Some(face) if face.blocks.is_some() => self.attention_at(port, 0x2a, 0x09),
            Some(_) | None => {}
        }
    }

    /// The access state of a port group.
    #[must_use]
    pub fn access(&self, group: u16) -> Option<Access> {
        let groups = &self.config.groups;
        Some(groups.iter().find(|g| g.id == group)?.access)
    }

    fn attention_at(&mut self, port: u16, asc: u8, ascq: u8) {
        let there = self.nexuses.iter().filter(|(_, n)| n.port.relative == port);
        let there: Vec<_> = there.map(|(id, _)| *id).collect();
        for nexus in there {
            self.attention(Some(nexus), asc, ascq);
        }
    }

    /// Another initiator reserves the unit: `Some(true)` against all, `Some(false)` against writes, `None`
    /// not any more. Who holds a reservation keeps it.
    pub fn reserve_elsewhere(&mut self, exclusive: Option<bool>) {
        self.reservations.set_foreign(exclusive);
        if exclusive.is_none() {
            self.attention(None, 0x2a, 0x04);
        }
    }

    /// Another initiator removes all registrations but its own, and takes the reservation over, if there is one.
    pub fn preempt_elsewhere(&mut self) {
        for nexus in self.reservations.preempt_all() {
            self.attention(Some(nexus), 0x2a, 0x05);
        }
    }

    /// Whether a key is registered over this nexus.
    #[must_use]
    pub fn is_registered(&self, nexus: NexusId) -> bool {
        self.reservations.is_registered(nexus)
    }

    /// Registrations of nexuses that have, or had, sessions here.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.reservations.registrations()
    }

    /// Power fails and comes back: registrations are gone unless they were made to outlive it, and so is every block in the volatile cache for
    /// which `survives` says no. All nexuses are told (29/01). Returns how many blocks were lost.
    pub fn power_cycle(&mut self, survives: impl FnMut(u64) -> bool) -> usize {
        self.reservations.power_cycle();
        self.power_cycled = true;
        self.attention(None, 0x29, 0x01);
        self.media.lose_cache(survives)
    }

    /// Makes a block unreadable until it is written.
    pub fn damage(&mut self, lba: u64) {
        self.media.damage(lba);
    }

    /// What the unit holds, behind the initiator's back.
    ///
    /// # Errors
    /// Of the file behind it.
    pub fn peek(&self, lba: u64, blocks: u32) -> std::io::Result<Bytes> {
        self.media.peek(lba, blocks)
    }
}
