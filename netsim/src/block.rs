//! Self-describing blocks: each block that a workload writes says which write it is from.
//!
//! Layout, little-endian: magic (8), run (8), volume (4), writer (4), LBA (8), sequence (8), filler
//! that depends on sequence and LBA, CRC32C of all before (the last 4 bytes). So an oracle that
//! reads a wrong block can name the write that it came from, and a torn block shows by its CRC.

use bytes::{Buf, BufMut};

use crate::rng::mix;

const MAGIC: u64 = u64::from_le_bytes(*b"netsim01");
const HEAD_LEN: usize = 40;
const CRC_LEN: usize = 4;

/// The smallest block that can describe itself.
pub const BLOCK_SIZE_MIN: usize = HEAD_LEN + CRC_LEN;

/// Which write a block is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run of the workload.
    pub run: u64,
    /// The volume that it was written to.
    pub volume: u32,
    /// The worker that wrote it.
    pub writer: u32,
    /// The block's address.
    pub lba: u64,
    /// The number of the write within its run.
    pub sequence: u64,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What a workload wrote.
    Stamped(Stamp),
    /// A stamp whose block is not whole: torn or damaged.
    Damaged(Stamp),
    /// Zeroes only.
    Zeroes,
    /// Something else, by its hash.
    Other(u64),
}

impl Stamp {
    /// Writes the block.
    ///
    /// # Panics
    /// If `block` is shorter than [`BLOCK_SIZE_MIN`].
    pub fn fill(&self, block: &mut [u8]) {
        assert!(block.len() >= BLOCK_SIZE_MIN, "a block describes itself");
        let (body, mut crc_at) = block.split_at_mut(block.len() - CRC_LEN);
        let (mut head, filler) = body.split_at_mut(HEAD_LEN);
        head.put_u64_le(MAGIC);
        head.put_u64_le(self.run);
        head.put_u32_le(self.volume);
        head.put_u32_le(self.writer);
        head.put_u64_le(self.lba);
        head.put_u64_le(self.sequence);
        let mut word = mix(self.sequence ^ mix(self.lba ^ self.run));
        for chunk in filler.chunks_mut(8) {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
        crc_at.put_u32_le(crc32c::crc32c(body));
    }
}

impl Content {
    /// What `block` holds.
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        if block.iter().all(|byte| *byte == 0) {
            return Self::Zeroes;
        }
        let other = || Self::Other(hash(block));
        if block.len() < BLOCK_SIZE_MIN {
            return other();
        }
        let (body, mut crc) = block.split_at(block.len() - CRC_LEN);
        let mut head = body;
        if head.get_u64_le() != MAGIC {
            return other();
        }
        let stamp = Stamp {
            run: head.get_u64_le(),
            volume: head.get_u32_le(),
            writer: head.get_u32_le(),
            lba: head.get_u64_le(),
            sequence: head.get_u64_le(),
        };
        if crc32c::crc32c(body) == crc.get_u32_le() {
            Self::Stamped(stamp)
        } else {
            Self::Damaged(stamp)
        }
    }
}

fn hash(block: &[u8]) -> u64 {
    block.chunks(8).fold(0, |hash, chunk| {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(chunk)
            .for_each(|(to, from)| *to = *from);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: 1,
        volume: 2,
        writer: 3,
        lba: 4,
        sequence: 5,
    };

    #[test]
    fn a_block_names_its_write() {
        let mut block = [0; 512];
        assert_eq!(Content::of(&block), Content::Zeroes);
        STAMP.fill(&mut block);
        assert_eq!(Content::of(&block), Content::Stamped(STAMP));
    }

    #[test]
    fn a_torn_block_is_damaged_and_still_names_the_write_of_its_head() {
        let (mut old, mut new) = ([0; 512], [0; 512]);
        STAMP.fill(&mut old);
        Stamp {
            sequence: 6,
            ..STAMP
        }
        .fill(&mut new);
        old[256..].copy_from_slice(&new[256..]);
        assert_eq!(Content::of(&old), Content::Damaged(STAMP));
    }

    #[test]
    fn foreign_blocks_are_told_apart_by_their_hash() {
        let (a, b) = (Content::of(&[1; 512]), Content::of(&[2; 512]));
        assert!(matches!(a, Content::Other(_)));
        assert_ne!(a, b);
    }
}
