//! Persistent reservations (SPC-5 5.14): registrations, and one reservation of the whole unit.
//!
//! Types: write exclusive, exclusive access, and both for registrants only. What is not here:
//! all-registrants types, registration of other nexuses, persistence through a power loss.

use std::collections::BTreeMap;

use super::NexusId;
use super::answer::{Answered, Refusal, Response, sense};
use super::form::{Effect, be16, be32};

const WRITE_EXCLUSIVE: u8 = 1;
const EXCLUSIVE_ACCESS: u8 = 3;
const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 5;
const EXCLUSIVE_ACCESS_REGISTRANTS: u8 = 6;

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
    /// Who holds it, and its type.
    holder: Option<(NexusId, u8)>,
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
    /// Whether a command of this effect may be carried out.
    pub(super) fn check(&self, nexus: NexusId, effect: Effect) -> Result<(), Refusal> {
        let Some((holder, kind)) = self.holder else {
            return Ok(());
        };
        let registered = self.keys.contains_key(&nexus);
        let allowed = match (effect, kind) {
            _ if holder == nexus => true,
            (Effect::Nothing, _) => true,
            (Effect::Reads, WRITE_EXCLUSIVE | WRITE_EXCLUSIVE_REGISTRANTS) => true,
            (_, WRITE_EXCLUSIVE_REGISTRANTS | EXCLUSIVE_ACCESS_REGISTRANTS) => registered,
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::CONFLICT)
        }
    }

    /// An initiator that has no session here reserves the unit, or releases it.
    pub(super) fn set_foreign(&mut self, exclusive: Option<bool>) {
        self.holder = exclusive.map(|exclusive| {
            let kind = if exclusive {
                EXCLUSIVE_ACCESS
            } else {
                WRITE_EXCLUSIVE
            };
            (FOREIGN, kind)
        });
    }

    /// How many nexuses are registered.
    pub(super) fn registrations(&self) -> usize {
        self.keys.len()
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
            // TMV and the types of this module.
            2 => vec![0, 8, 0, 0x80, 0x6a, 0, 0, 0],
            _ => return Err(Refusal::cdb_byte(1)),
        };
        Ok(Response::data(data, be16(cdb, 7).into()))
    }

    fn holder_data(&self) -> Vec<u8> {
        let Some((holder, kind)) = self.holder else {
            return Vec::new();
        };
        let key = self.keys.get(&holder).copied().unwrap_or(0);
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
        if list[16..] != [0; 8] {
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
        ];
        if typed && (scope != 0 || !types.contains(&kind)) {
            return Err(Refusal::cdb_byte(2));
        }
        match action {
            0 | 6 => Ok(self.register(nexus, other)),
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
            Some((holder, kind)) if holder == nexus => self.drop_reservation(nexus, kind),
            _ => Change::default(),
        }
    }

    fn reserve(&mut self, nexus: NexusId, kind: u8) -> Result<Change, Refusal> {
        match self.holder {
            Some(held) if held != (nexus, kind) => Err(Refusal::CONFLICT),
            _ => {
                self.holder = Some((nexus, kind));
                Ok(Change::default())
            }
        }
    }

    fn release(&mut self, nexus: NexusId, kind: u8) -> Result<Change, Refusal> {
        match self.holder {
            Some((holder, held)) if holder == nexus && held != kind => {
                Err(Refusal::sense(sense::ILLEGAL_REQUEST, 0x26, 0x04))
            }
            Some((holder, _)) if holder == nexus => Ok(self.drop_reservation(nexus, kind)),
            _ => Ok(Change::default()),
        }
    }

    /// Registrants hear of the end of a reservation that was for registrants only.
    fn drop_reservation(&mut self, nexus: NexusId, kind: u8) -> Change {
        self.holder = None;
        let told = matches!(
            kind,
            WRITE_EXCLUSIVE_REGISTRANTS | EXCLUSIVE_ACCESS_REGISTRANTS
        );
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
        let victims: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, k)| **k == key)
            .map(|(n, _)| *n)
            .collect();
        if victims.is_empty() {
            return Err(Refusal::CONFLICT);
        }
        self.generation += 1;
        if self
            .holder
            .is_some_and(|(holder, _)| victims.contains(&holder))
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
