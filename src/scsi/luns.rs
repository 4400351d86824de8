//! REPORT LUNS parameter data (SPC-5 6.33).

use super::wire::{BadData, array, at_least, u32_or_0, up_to};
use crate::ids::Lun;

/// The logical units of a target, as far as the answer reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunList {
    /// In the order of the answer.
    pub luns: Vec<Lun>,
    /// Allocation length in bytes that holds the whole list, saturated.
    pub needed: u32,
    /// Whether more units exist than came.
    pub truncated: bool,
}

impl LunList {
    /// Reads it.
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("REPORT LUNS data", data, 8)?;
        let len = u32_or_0(data, 0);
        let body = data.get(8..).unwrap_or_default();
        let body = up_to(body, usize::try_from(len).unwrap_or(usize::MAX));
        let luns = body
            .chunks_exact(8)
            .filter_map(|lun| array(lun, 0))
            .map(Lun::from_wire);
        let luns: Vec<_> = luns.collect();
        let truncated = luns.len() < usize::try_from(len / 8).unwrap_or(usize::MAX);
        Ok(Self {
            luns,
            needed: len.saturating_add(8),
            truncated,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn peripheral_flat_and_long_numbers_are_read() {
        let mut data = vec![0, 0, 0, 24, 0, 0, 0, 0];
        data.extend([0, 5, 0, 0, 0, 0, 0, 0]);
        data.extend([0x41, 0x2c, 0, 0, 0, 0, 0, 0]);
        data.extend([0xc1, 1, 0, 0, 0, 0, 0, 9]);
        let list = LunList::parse(&data).unwrap();
        let numbers: Vec<_> = list.luns.iter().map(|lun| lun.number()).collect();
        assert_eq!(numbers, [Some(5), Some(300), None]);
        assert_eq!((list.needed, list.truncated), (32, false));
    }

    #[test]
    fn a_cut_list_says_how_much_to_ask_for() {
        let data = [0, 0, 0, 64, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let list = LunList::parse(&data).unwrap();
        assert_eq!(
            (list.luns.len(), list.needed, list.truncated),
            (1, 72, true)
        );
    }

    proptest! {
        #[test]
        fn no_list_is_longer_than_its_data(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            match LunList::parse(&data) {
                Ok(list) => prop_assert!(list.luns.len() * 8 + 8 <= data.len()),
                Err(_) => prop_assert!(data.len() < 8),
            }
        }
    }
}
