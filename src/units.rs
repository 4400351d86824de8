//! Quantities of a block device: sizes, addresses, ranges, geometry.

use std::fmt;

/// The shape of a logical unit: block size in bytes (a power of two, 512 or more) and number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    block_size: u32,
    blocks: u64,
}

impl Geometry {
    /// The least that there is.
    pub const ONE_BLOCK: Self = Self {
        block_size: 512,
        blocks: 1,
    };

    /// `None` unless `block_size` is a power of two between 512 and 65536, there is at least one
    /// block, and the size in bytes fits an `i64` (the limit of NBD clients).
    #[must_use]
    pub fn new(block_size: u32, blocks: u64) -> Option<Self> {
        let sane = block_size.is_power_of_two() && (512..=65536).contains(&block_size);
        let bytes = blocks.checked_mul(u64::from(block_size))?;
        (sane && blocks > 0 && bytes <= i64::MAX.unsigned_abs())
            .then_some(Self { block_size, blocks })
    }

    /// Logical block size in bytes.
    #[must_use]
    pub fn block_size(self) -> u32 {
        self.block_size
    }

    /// Number of logical blocks.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.blocks
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// The block range of `len` bytes from byte `offset`, or why there is none.
    ///
    /// # Errors
    /// Names what is wrong: not a multiple of the block size, empty, or beyond the end.
    pub fn range(self, offset: u64, len: u64) -> Result<BlockRange, RangeError> {
        let size = u64::from(self.block_size);
        if !offset.is_multiple_of(size) || !len.is_multiple_of(size) {
            return Err(RangeError::Unaligned);
        }
        if len == 0 {
            return Err(RangeError::Empty);
        }
        let end = offset.checked_add(len).ok_or(RangeError::BeyondEnd)?;
        if end > self.bytes() {
            return Err(RangeError::BeyondEnd);
        }
        Ok(BlockRange {
            lba: offset / size,
            blocks: len / size,
        })
    }

    /// The range that covers the whole unit.
    #[must_use]
    pub fn whole(self) -> BlockRange {
        BlockRange {
            lba: 0,
            blocks: self.blocks,
        }
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks of {} bytes", self.blocks, self.block_size)
    }
}

/// Why a byte range is no [`BlockRange`] of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Offset or length is no multiple of the logical block size.
    #[error("offset or length is not a multiple of the logical block size")]
    Unaligned,
    /// The length is zero.
    #[error("length is zero")]
    Empty,
    /// The range ends beyond the last block.
    #[error("range ends beyond the last block")]
    BeyondEnd,
}

/// A non-empty range of logical blocks inside its unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRange {
    lba: u64,
    blocks: u64,
}

impl BlockRange {
    /// Every block that any unit may have.
    pub const EVERYTHING: Self = Self {
        lba: 0,
        blocks: u64::MAX,
    };

    /// First logical block address.
    #[must_use]
    pub fn lba(self) -> u64 {
        self.lba
    }

    /// Number of blocks, at least 1.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.blocks
    }

    /// First address after the range.
    #[must_use]
    pub fn end(self) -> u64 {
        self.lba + self.blocks
    }

    /// Whether both ranges share a block.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.lba < other.end() && other.lba < self.end()
    }

    /// The part of `count` blocks from block `skip` of this range on, cut at its end; `None` if nothing
    /// is left.
    #[must_use]
    pub fn part(self, skip: u64, count: u64) -> Option<Self> {
        let left = self.blocks.checked_sub(skip)?;
        let blocks = left.min(count);
        (blocks > 0).then(|| Self {
            lba: self.lba + skip,
            blocks,
        })
    }
}

impl fmt::Debug for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.lba, self.blocks)
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
