//! Persistent reservations (SPC-5 5.14): keys to prove that two paths reach one unit, and to fence.

use super::cdb::RESERVE_OUT_LEN;
use super::wire::{BadData, array, at_least, u32_or_0, up_to};

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
