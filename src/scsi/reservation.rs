//! Persistent reservations (SPC-5 5.14): keys, types, and what the target tells of them.

use super::cdb::RESERVE_OUT_LEN;
use super::wire::{BadData, array, at_least, u8_or_0, u32_or_0, up_to};

/// A reservation key; 0 is no key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReservationKey(pub u64);

impl std::fmt::Debug for ReservationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl std::fmt::Display for ReservationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Who may do what while a unit is reserved (SPC-5 5.14.7, table 71).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReservationType {
    /// One nexus writes, all read.
    WriteExclusive,
    /// One nexus reads and writes.
    ExclusiveAccess,
    /// Registered nexuses write, all read; one of them holds the reservation.
    WriteExclusiveRegistrantsOnly,
    /// Registered nexuses read and write; one of them holds the reservation.
    ExclusiveAccessRegistrantsOnly,
    /// Registered nexuses write, all read; each of them holds the reservation.
    WriteExclusiveAllRegistrants,
    /// Registered nexuses read and write; each of them holds the reservation.
    ExclusiveAccessAllRegistrants,
}

impl ReservationType {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// The type with this code; `None` for obsolete and reserved ones.
    #[must_use]
    pub fn from_wire(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.wire() == code)
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its code.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Self::WriteExclusive => 1,
            Self::ExclusiveAccess => 3,
            Self::WriteExclusiveRegistrantsOnly => 5,
            Self::ExclusiveAccessRegistrantsOnly => 6,
            Self::WriteExclusiveAllRegistrants => 7,
            Self::ExclusiveAccessAllRegistrants => 8,
        }
    }

    /// Its name on our command line and in our reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WriteExclusive => "write-exclusive",
            Self::ExclusiveAccess => "exclusive-access",
            Self::WriteExclusiveRegistrantsOnly => "write-exclusive-registrants-only",
            Self::ExclusiveAccessRegistrantsOnly => "exclusive-access-registrants-only",
            Self::WriteExclusiveAllRegistrants => "write-exclusive-all-registrants",
            Self::ExclusiveAccessAllRegistrants => "exclusive-access-all-registrants",
        }
    }

    /// Whether one nexus alone has the rights: nothing for a volume with several paths, each of which is a
    /// nexus of its own.
    #[must_use]
    pub fn is_for_one_nexus(self) -> bool {
        matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Whether every registered nexus holds the reservation.
    #[must_use]
    pub fn is_held_by_all(self) -> bool {
        matches!(
            self,
            Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants
        )
    }
}

impl std::fmt::Display for ReservationType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// APTPL: the registration outlives a loss of the target's power.
const ACTIVATE_PERSISTENCE: u8 = 0x01;

/// The parameter list of PERSISTENT RESERVE OUT (SPC-5 6.17.3): for REGISTER `own` is the key that is
/// registered now (0: none) and `action` the new one (0: remove it); for PREEMPT AND ABORT `action` is the
/// key of the nexuses to be cut off.
#[must_use]
pub fn parameter_list(own: ReservationKey, action: ReservationKey) -> [u8; 24] {
    const _: () = assert!(RESERVE_OUT_LEN == 24);
    let mut list = [0; 24];
    list[..8].copy_from_slice(&own.0.to_be_bytes());
    list[8..16].copy_from_slice(&action.0.to_be_bytes());
    list
}

/// The same for a registration that is to outlive a loss of the target's power, where the target can
/// ([`Capabilities::persistent`]).
#[must_use]
pub fn persistent_parameter_list(own: ReservationKey, action: ReservationKey) -> [u8; 24] {
    let mut list = parameter_list(own, action);
    list[20] = ACTIVATE_PERSISTENCE;
    list
}

/// The answer to READ RESERVATION (SPC-5 6.16.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldReservation {
    /// As in [`RegisteredKeys`].
    pub generation: u32,
    /// The holder's key, 0 where all registrants hold it, and the code of the type; `None`: nothing is
    /// reserved.
    pub held: Option<(ReservationKey, u8)>,
}

impl HeldReservation {
    /// Reads it.
    ///
    /// # Errors
    /// If the header is cut, or the reservation that it announces.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("READ RESERVATION data", data, 8)?;
        let generation = u32_or_0(data, 0);
        if u32_or_0(data, 4) == 0 {
            return Ok(Self {
                generation,
                held: None,
            });
        }
        let data = at_least("READ RESERVATION data", data, 24)?;
        let key = array(data, 8).map_or(0, u64::from_be_bytes);
        let kind = u8_or_0(data, 21) & 0x0f;
        Ok(Self {
            generation,
            held: Some((ReservationKey(key), kind)),
        })
    }
}

/// The answer to REPORT CAPABILITIES (SPC-5 6.16.4), as far as we need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Registrations may outlive a loss of power (PTPL_C).
    pub persistent: bool,
}

impl Capabilities {
    /// Reads it.
    ///
    /// # Errors
    /// If it is cut.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("REPORT CAPABILITIES data", data, 8)?;
        Ok(Self {
            persistent: u8_or_0(data, 2) & 0x01 != 0,
        })
    }
}

/// The answer to READ KEYS (SPC-5 6.16.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredKeys {
    /// Grows with every change of registrations.
    pub generation: u32,
    /// One for each registered nexus, so a key may stand there more than once.
    pub keys: Vec<ReservationKey>,
    /// Allocation length in bytes that holds the whole list, saturated.
    pub needed: u32,
}

impl RegisteredKeys {
    /// Reads it.
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("READ KEYS data", data, 8)?;
        let len = u32_or_0(data, 4);
        let body = data.get(8..).unwrap_or_default();
        let body = up_to(body, usize::try_from(len).unwrap_or(usize::MAX));
        let keys = body.chunks_exact(8).filter_map(|key| array(key, 0));
        Ok(Self {
            generation: u32_or_0(data, 0),
            keys: keys
                .map(|key| ReservationKey(u64::from_be_bytes(key)))
                .collect(),
            needed: len.saturating_add(8),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_list_holds_the_own_key_then_the_key_of_the_action() {
        let list = parameter_list(ReservationKey(0x0102), ReservationKey(0x0a0b << 48));
        assert_eq!(list[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(list[8..16], [0x0a, 0x0b, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            list[16..],
            [0; 8],
            "no transport IDs, no all-ports, no power-loss persistence"
        );
    }

    #[test]
    fn a_persistent_registration_sets_aptpl() {
        let list = persistent_parameter_list(ReservationKey(0), ReservationKey(1));
        assert_eq!(list[16..], [0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn types_have_the_codes_and_names_of_the_standard() {
        for (kind, code) in ReservationType::ALL.into_iter().zip([1, 3, 5, 6, 7, 8]) {
            assert_eq!(kind.wire(), code);
            assert_eq!(ReservationType::from_wire(code), Some(kind));
            assert_eq!(ReservationType::from_name(kind.name()), Some(kind));
            assert_eq!(kind.is_for_one_nexus(), code < 5);
            assert_eq!(kind.is_held_by_all(), code > 6);
        }
        assert_eq!(ReservationType::from_wire(2), None, "obsolete");
    }

    #[test]
    fn a_held_reservation_and_none_are_told_apart() {
        let none = HeldReservation::parse(&[0, 0, 0, 3, 0, 0, 0, 0]).unwrap();
        assert_eq!((none.generation, none.held), (3, None));
        let mut data = vec![0, 0, 0, 4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0x12, 0x34];
        data.extend([0, 0, 0, 0, 0, 0x05, 0, 0]);
        let held = HeldReservation::parse(&data).unwrap().held;
        assert_eq!(held, Some((ReservationKey(0x1234), 5)));
        assert!(HeldReservation::parse(&data[..20]).is_err(), "cut");
    }

    #[test]
    fn capabilities_tell_whether_power_may_be_lost() {
        let told = |byte| Capabilities::parse(&[0, 8, byte, 0x80, 0xea, 1, 0, 0]).unwrap();
        assert!(told(0x1d).persistent && !told(0x1c).persistent);
    }

    #[test]
    fn keys_are_read_up_to_the_length_that_the_header_states() {
        let mut data = vec![0, 0, 0, 7, 0, 0, 0, 16];
        data.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        data.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        let parsed = RegisteredKeys::parse(&data).unwrap();
        assert_eq!(
            parsed.keys,
            [ReservationKey(1 << 56), ReservationKey(2 << 56)]
        );
        assert_eq!((parsed.generation, parsed.needed), (7, 24));
    }

    proptest! {
        #[test]
        fn no_list_of_keys_is_too_odd_to_read(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            match RegisteredKeys::parse(&data) {
                Ok(parsed) => prop_assert!(parsed.keys.len() * 8 + 8 <= data.len()),
                Err(_) => prop_assert!(data.len() < 8),
            }
        }
    }
}
