//! Persistent reservations (SPC-5 5.14): registrations, and one reservation of the whole unit.
//!
//! Types: write exclusive, exclusive access, and both for registrants only, one of which holds them or all.
//! What is not here: registration of other nexuses, of all ports at once, and by moving.

use std::collections::BTreeMap;

use super::NexusId;
use super::answer::{Answered, Refusal, Response, sense};
use super::form::{Effect, be16, be32};

const WRITE_EXCLUSIVE: u8 = 1;
const EXCLUSIVE_ACCESS: u8 = 3;
const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 5;
const EXCLUSIVE_ACCESS_REGISTRANTS: u8 = 6;
const WRITE_EXCLUSIVE_ALL: u8 = 7;
const EXCLUSIVE_ACCESS_ALL: u8 = 8;

/// APTPL in byte 20 of the parameter list.
const PERSISTS: u8 = 0x01;

/// The key of an initiator that has no session here.
const FOREIGN_KEY: u64 = 0x0f0e_1617_0000_0001;

/// Qualifiers of the unit attentions 2A/xx.
const PREEMPTED: u8 = 0x03;
const RELEASED: u8 = 0x04;
const REGISTRATION_PREEMPTED: u8 = 0x05;

/// An initiator elsewhere.
const FOREIGN: NexusId = NexusId(u64::MAX);

/// Registrations and the reservation of a unit.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    generation: u32,
    keys: BTreeMap<NexusId, u64>,
    /// Who holds it, and its type; with the types that all registrants hold, the one that made it.
    holder: Option<(NexusId, u8)>,
    /// Registrations can outlive a loss of power (PTPL_C).
    persistent: bool,
    /// They do: the last one wanted that (APTPL).
    persists: bool,
}

fn is_held_by_all(kind: u8) -> bool {
    matches!(kind, WRITE_EXCLUSIVE_ALL | EXCLUSIVE_ACCESS_ALL)
}

fn is_for_registrants(kind: u8) -> bool {
    is_held_by_all(kind)
        || matches!(
            kind,
            WRITE_EXCLUSIVE_REGISTRANTS | EXCLUSIVE_ACCESS_REGISTRANTS
        )
}

/// What a change means for other nexuses.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Unit attentions 2A/xx.
    pub(super) attentions: Vec<(NexusId, u8)>,
    /// Nexuses whose commands are to be aborted.
    pub(super) aborts: Vec<NexusId>,
}

impl Reservations {
    /// None; whether they can be made to outlive a loss of power.
    pub(super) fn new(persistent: bool) -> Self {
        Self {
            persistent,
            ..Self::default()
        }
    }

    /// Power was lost.
    pub(super) fn power_cycle(&mut self) {
        if !self.persists {
            *self = Self::new(self.persistent);
        }
    }

    /// Whether a key is registered over this nexus.
    pub(super) fn is_registered(&self, nexus: NexusId) -> bool {
        self.keys.contains_key(&nexus)
    }

    /// Registrations of nexuses that have sessions here.
    pub(super) fn registrations(&self) -> usize {
        self.keys.keys().filter(|nexus| **nexus != FOREIGN).count()
    }

    /// An initiator that has no session here preempts everybody else: who hears of it.
    pub(super) fn preempt_all(&mut self) -> Vec<NexusId> {
        self.generation += 2;
        let others = std::mem::take(&mut self.keys);
        self.keys.insert(FOREIGN, FOREIGN_KEY);
        if let Some((holder, _)) = &mut self.holder {
            *holder = FOREIGN;
        }
        others
            .into_keys()
            .filter(|other| *other != FOREIGN)
            .collect()
    }

    /// Whether a command of this effect may be carried out.
    pub(super) fn check(&self, nexus: NexusId, effect: Effect) -> Result<(), Refusal> {
        let Some((holder, kind)) = self.holder else {
            return Ok(());
        };
        let registered = self.keys.contains_key(&nexus);
        let allowed = match (effect, kind) {
            _ if holder == nexus => true,
            (Effect::Nothing, _) => true,
            (
                Effect::Reads,
                WRITE_EXCLUSIVE | WRITE_EXCLUSIVE_REGISTRANTS | WRITE_EXCLUSIVE_ALL,
            ) => true,
            (_, kind) => is_for_registrants(kind) && registered,
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::CONFLICT)
        }
    }

    /// An initiator that has no session here reserves the unit, unless somebody else has, or releases it.
    pub(super) fn set_foreign(&mut self, exclusive: Option<bool>) {
        if self.holder.is_some_and(|(holder, _)| holder != FOREIGN) {
            return;
        }
        self.holder = exclusive.map(|exclusive| {
            let kind = if exclusive {
                EXCLUSIVE_ACCESS
            } else {
                WRITE_EXCLUSIVE
            };
            (FOREIGN, kind)
        });
    }

    /// PERSISTENT RESERVE IN.
    pub(super) fn report(&self, cdb: &[u8; 16]) -> Answered {
        let with_header = |body: Vec<u8>| {
            let len = u32::try_from(body.len()).expect("few nexuses");
            [
                &self.generation.to_be_bytes()[..],
                &len.to_be_bytes(),
                &body,
            ]
            .concat()
        };
        let data = match cdb[1] & 0x1f {
            0 => with_header(
                self.keys
                    .values()
                    .flat_map(|key| key.to_be_bytes())
                    .collect(),
            ),
            1 => with_header(self.holder_data()),
            // PTPL_C; TMV and PTPL_A; the types of this module.
            2 => {
                let (can, does) = (u8::from(self.persistent), u8::from(self.persists));
                vec![0, 8, can, 0x80 | does, 0xea, 0x01, 0, 0]
            }
            _ => return Err(Refusal::cdb_byte(1)),
        };
        Ok(Response::data(data, be16(cdb, 7).into()))
    }

    fn holder_data(&self) -> Vec<u8> {
        let Some((holder, kind)) = self.holder else {
            return Vec::new();
        };
        let key = self.keys.get(&holder).copied();
        let key = key.filter(|_| !is_held_by_all(kind)).unwrap_or(0);
        let mut data = key.to_be_bytes().to_vec();
        data.extend([0, 0, 0, 0, 0, kind, 0, 0]);
        data
    }

    /// PERSISTENT RESERVE OUT.
    pub(super) fn change(
        &mut self,
        nexus: NexusId,
        cdb: &[u8; 16],
        list: &[u8],
    ) -> Result<Change, Refusal> {
        let list: &[u8; 24] = list.try_into().map_err(|_| Refusal::LIST_LENGTH)?;
        debug_assert_eq!(
            be32(cdb, 5),
            24,
            "the list has the length that the command says"
        );
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b));
        let (own, other) = (number(&list[..8]), number(&list[8..16]));
        let persists = list[20] & PERSISTS != 0;
        let reserved = [&list[16..20], &[list[20] & !PERSISTS], &list[21..]].concat();
        if reserved != [0; 8] || persists && !self.persistent {
            return Err(Refusal::FIELD_IN_LIST);
        }
        let (action, scope, kind) = (cdb[1] & 0x1f, cdb[2] >> 4, cdb[2] & 0x0f);
        let registering = matches!(action, 0 | 6);
        let known = self.keys.get(&nexus).copied();
        if action != 6 && known.unwrap_or(0) != own || !registering && known.is_none() {
            return Err(Refusal::CONFLICT);
        }
        let typed = matches!(action, 1 | 2 | 4 | 5);
        let types = [
            WRITE_EXCLUSIVE,
            EXCLUSIVE_ACCESS,
            WRITE_EXCLUSIVE_REGISTRANTS,
            EXCLUSIVE_ACCESS_REGISTRANTS,
            WRITE_EXCLUSIVE_ALL,
            EXCLUSIVE_ACCESS_ALL,
        ];
        if typed && (scope != 0 || !types.contains(&kind)) {
            return Err(Refusal::cdb_byte(2));
        }
        match action {
            0 | 6 => {
                self.persists = persists;
                Ok(self.register(nexus, other))
            }
            1 => self.reserve(nexus, kind),
            2 => self.release(nexus, kind),
            3 => Ok(self.clear(nexus)),
            4 => self.preempt(nexus, other, kind),
            5 => self.preempt(nexus, other, kind).map(|change| Change {
                aborts: change.attentions.iter().map(|(nexus, _)| *nexus).collect(),
                ..change
            }),
            _ => Err(Refusal::cdb_byte(1)),
        }
    }

    fn register(&mut self, nexus: NexusId, key: u64) -> Change {
        self.generation += 1;
        if key != 0 {
            self.keys.insert(nexus, key);
            return Change::default();
        }
        self.keys.remove(&nexus);
        match self.holder {
            Some((_, kind)) if is_held_by_all(kind) && !self.keys.is_empty() => Change::default(),
            Some((holder, kind)) if holder == nexus || is_held_by_all(kind) => {
                self.drop_reservation(nexus, kind)
            }
            _ => Change::default(),
        }
    }

    fn reserve(&mut self, nexus: NexusId, kind: u8) -> Result<Change, Refusal> {
        match self.holder {
            Some((_, held)) if held == kind && is_held_by_all(kind) => Ok(Change::default()),
            Some(held) if held != (nexus, kind) => Err(Refusal::CONFLICT),
            _ => {
                self.holder = Some((nexus, kind));
                Ok(Change::default())
            }
        }
    }

    fn release(&mut self, nexus: NexusId, kind: u8) -> Result<Change, Refusal> {
        match self.holder {
            Some((holder, held)) if holder == nexus || is_held_by_all(held) => {
                if held != kind {
                    return Err(Refusal::sense(sense::ILLEGAL_REQUEST, 0x26, 0x04));
                }
                Ok(self.drop_reservation(nexus, kind))
            }
            _ => Ok(Change::default()),
        }
    }

    /// Registrants hear of the end of a reservation that was for registrants only.
    fn drop_reservation(&mut self, nexus: NexusId, kind: u8) -> Change {
        self.holder = None;
        let told = is_for_registrants(kind);
        let others = self.keys.keys().filter(|other| told && **other != nexus);
        Change {
            attentions: others.map(|other| (*other, RELEASED)).collect(),
            aborts: Vec::new(),
        }
    }

    fn clear(&mut self, nexus: NexusId) -> Change {
        self.generation += 1;
        self.holder = None;
        let others = std::mem::take(&mut self.keys)
            .into_keys()
            .filter(|other| *other != nexus);
        Change {
            attentions: others.map(|other| (other, PREEMPTED)).collect(),
            aborts: Vec::new(),
        }
    }

    fn preempt(&mut self, nexus: NexusId, key: u64, kind: u8) -> Result<Change, Refusal> {
        let by_all = self.holder.is_some_and(|(_, held)| is_held_by_all(held));
        let everybody = by_all && key == 0;
        let victims: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, k)| **k == key || everybody)
            .map(|(n, _)| *n)
            .collect();
        if victims.is_empty() {
            return Err(Refusal::CONFLICT);
        }
        self.generation += 1;
        if self
            .holder
            .is_some_and(|(holder, _)| everybody || !by_all && victims.contains(&holder))
        {
            self.holder = Some((nexus, kind));
        }
        let victims: Vec<_> = victims
            .into_iter()
            .filter(|victim| *victim != nexus)
            .collect();
        self.keys
            .retain(|registered, _| !victims.contains(registered));
        let attentions = victims
            .into_iter()
            .map(|v| (v, REGISTRATION_PREEMPTED))
            .collect();
        Ok(Change {
            attentions,
            aborts: Vec::new(),
        })
    }
}
