//! READ CAPACITY parameter data (SBC-4 5.20, 5.21): how large the unit is.

use super::wire::{BadData, at_least, u8_or_0, u16_or_0, u32_or_0, u64_or_0};
use crate::units::Geometry;

/// The answer to READ CAPACITY(10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortCapacity {
    /// The whole answer.
    Fits(Geometry),
    /// The unit is too large for it: ask READ CAPACITY(16).
    TooLarge,
}

impl ShortCapacity {
    /// Reads it.
    ///
    /// # Errors
    /// If it is cut, or no geometry that can be served.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("READ CAPACITY(10) data", data, 8)?;
        match u32_or_0(data, 0) {
            u32::MAX => Ok(Self::TooLarge),
            last => geometry(last.into(), u32_or_0(data, 4)).map(Self::Fits),
        }
    }
}

/// The answer to READ CAPACITY(16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Size.
    pub geometry: Geometry,
    /// Logical blocks per physical block, as a power of two; 0 is one, or not said.
    pub physical_exponent: u8,
    /// First logical block that begins a physical block.
    pub lowest_aligned: u16,
    /// Blocks can be deallocated (LBPME): see page B2h.
    pub thin: bool,
    /// Deallocated blocks read as zeroes (LBPRZ).
    pub reads_zeroes: bool,
    /// Protection type 1, 2 or 3 if the unit is formatted with one. Type 2 refuses our plain READ and WRITE.
    pub protection: Option<u8>,
}

impl Capacity {
    /// Reads it; flags that a short answer leaves out are zero.
    ///
    /// # Errors
    /// If it ends before the block length, or is no geometry that can be served.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("READ CAPACITY(16) data", data, 12)?;
        let (protection, provisioning) = (u8_or_0(data, 12), u16_or_0(data, 14));
        Ok(Self {
            geometry: geometry(u64_or_0(data, 0), u32_or_0(data, 8))?,
            physical_exponent: u8_or_0(data, 13) & 0x0f,
            lowest_aligned: provisioning & 0x3fff,
            thin: provisioning & 0x8000 != 0,
            reads_zeroes: provisioning & 0x4000 != 0,
            protection: (protection & 1 != 0).then_some((protection >> 1 & 7) + 1),
        })
    }

    /// Size in bytes of a physical block.
    #[must_use]
    pub fn physical_block_size(&self) -> u64 {
        u64::from(self.geometry.block_size()) << self.physical_exponent
    }
}

/// From READ CAPACITY(10) alone: what an old target without READ CAPACITY(16) has.
impl From<Geometry> for Capacity {
    fn from(geometry: Geometry) -> Self {
        Self {
            geometry,
            physical_exponent: 0,
            lowest_aligned: 0,
            thin: false,
            reads_zeroes: false,
            protection: None,
        }
    }
}

fn geometry(last: u64, block_size: u32) -> Result<Geometry, BadData> {
    let refused = BadData::Geometry {
        block_size,
        blocks: last.saturating_add(1),
    };
    let blocks = last.checked_add(1).ok_or(refused)?;
    Geometry::new(block_size, blocks).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_unit_fits_the_short_answer() {
        let answer = ShortCapacity::parse(&[0, 0, 0x07, 0xff, 0, 0, 0x10, 0]);
        assert_eq!(
            answer,
            Ok(ShortCapacity::Fits(Geometry::new(4096, 2048).unwrap()))
        );
        let answer = ShortCapacity::parse(&[0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
        assert_eq!(answer, Ok(ShortCapacity::TooLarge));
    }

    #[test]
    fn the_long_answer_is_read_by_its_layout() {
        let mut data = [0; 32];
        data[..8].copy_from_slice(&0x1_0000_0000u64.to_be_bytes());
        data[8..12].copy_from_slice(&512u32.to_be_bytes());
        data[12..16].copy_from_slice(&[0x05, 0x03, 0xc0, 0x07]);
        let capacity = Capacity::parse(&data).unwrap();
        assert_eq!(
            capacity.geometry,
            Geometry::new(512, 0x1_0000_0001).unwrap()
        );
        assert_eq!(capacity.physical_block_size(), 4096);
        assert_eq!(capacity.lowest_aligned, 7);
        assert!(capacity.thin && capacity.reads_zeroes);
        assert_eq!(capacity.protection, Some(3));
    }

    #[test]
    fn sizes_that_no_disk_has_are_refused() {
        let of = |last: u64, block: u32| {
            Capacity::parse(&[&last.to_be_bytes()[..], &block.to_be_bytes()].concat())
        };
        assert!(of(99, 512).is_ok());
        for (last, block) in [
            (99, 0),
            (99, 520),
            (99, 256),
            (u64::MAX, 512),
            (1 << 60, 4096),
        ] {
            let blocks = last.saturating_add(1);
            assert_eq!(
                of(last, block),
                Err(BadData::Geometry {
                    block_size: block,
                    blocks
                })
            );
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_read(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(data.len() >= 8 || ShortCapacity::parse(&data).is_err());
            prop_assert!(data.len() >= 12 || Capacity::parse(&data).is_err());
        }

        #[test]
        fn both_answers_agree(last in 0..u32::MAX, exponent in 9..17u32) {
            let size = 1u32 << exponent;
            let short = [last.to_be_bytes(), size.to_be_bytes()].concat();
            let long = [&u64::from(last).to_be_bytes()[..], &size.to_be_bytes()].concat();
            let expected = Geometry::new(size, u64::from(last) + 1).unwrap();
            prop_assert_eq!(ShortCapacity::parse(&short), Ok(ShortCapacity::Fits(expected)));
            prop_assert_eq!(Capacity::parse(&long), Ok(Capacity::from(expected)));
        }
    }
}
