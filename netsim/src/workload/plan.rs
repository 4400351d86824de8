//! What a workload asks for: its configuration, and the seeded choice of each request.

use std::fmt;
use std::time::Duration;

use crate::recording::Kind;
use crate::rng::{Rng, mix};

/// What a workload does.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// Seed of all choices.
    pub seed: u64,
    /// The run's number on the blocks: a device that another run wrote to needs another number.
    pub run: u64,
    /// Number of the volume on the blocks.
    pub volume: u32,
    /// Bytes per self-describing block: the device's logical block, as nothing larger is atomic.
    pub block_size: u32,
    /// First block used.
    pub first_lba: u64,
    /// Blocks used.
    pub blocks: u64,
    /// Blocks of the hot range, at the beginning.
    pub hot_blocks: u64,
    /// Requests out of 100 that go to the hot range.
    pub hot_percent: u64,
    /// Requests outstanding.
    pub workers: u32,
    /// Largest request, in blocks.
    pub blocks_per_io_max: u64,
    /// Reads out of 100 reads and writes.
    pub read_percent: u64,
    /// One request in so many is a flush; 0: none.
    pub flush_one_in: u64,
    /// One write in so many has FUA; 0: none.
    pub fua_one_in: u64,
    /// Pause of each worker between two requests.
    pub pause: Duration,
    /// Keep every answer for the report, 40 bytes each.
    pub record: bool,
}

impl WorkloadConfig {
    /// A mixed workload over the first `bytes` of a device with blocks of `block_size` bytes.
    #[must_use]
    pub fn mixed(seed: u64, block_size: u32, bytes: u64) -> Self {
        let blocks = bytes / u64::from(block_size);
        Self {
            seed,
            run: mix(seed),
            volume: 1,
            block_size,
            first_lba: 0,
            blocks,
            hot_blocks: blocks.min(256),
            hot_percent: 30,
            workers: 16,
            blocks_per_io_max: (64 << 10) / u64::from(block_size),
            read_percent: 50,
            flush_one_in: 200,
            fua_one_in: 20,
            pause: Duration::ZERO,
            record: false,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read so many blocks.
    Read {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u64,
    },
    /// Write so many blocks.
    Write {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u64,
        /// Durable at its acknowledgement.
        fua: bool,
    },
    /// Make everything acknowledged durable.
    Flush,
}

impl Op {
    /// What it is in a recording.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Read,
            Self::Write { .. } => Kind::Write,
            Self::Flush => Kind::Flush,
        }
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self, block_size: u32) -> u32 {
        let (Self::Read { blocks, .. } | Self::Write { blocks, .. }) = self else {
            return 0;
        };
        u32::try_from(blocks * u64::from(block_size)).unwrap_or(u32::MAX)
    }
}

/// Draws one worker's requests.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    config: WorkloadConfig,
    sequential: u64,
    next_lba: u64,
}

impl Generator {
    /// The generator of worker `worker`.
    #[must_use]
    pub fn new(config: &WorkloadConfig, worker: u32) -> Self {
        Self {
            rng: Rng::new(config.seed).stream_indexed("worker", u64::from(worker)),
            config: config.clone(),
            sequential: 0,
            next_lba: config.first_lba,
        }
    }

    /// The next request.
    pub fn next_op(&mut self) -> Op {
        let one_in = |rng: &mut Rng, n: u64| n > 0 && rng.chance(1, n);
        if one_in(&mut self.rng, self.config.flush_one_in) {
            return Op::Flush;
        }
        let (lba, blocks) = self.next_range();
        if self.rng.chance(self.config.read_percent, 100) {
            Op::Read { lba, blocks }
        } else {
            let fua = one_in(&mut self.rng, self.config.fua_one_in);
            Op::Write { lba, blocks, fua }
        }
    }

    fn next_range(&mut self) -> (u64, u64) {
        let end = self.config.first_lba + self.config.blocks;
        if self.sequential == 0 && self.rng.chance(1, 50) {
            self.sequential = self.rng.between(4, 32);
        }
        let hot = self.rng.chance(self.config.hot_percent, 100);
        let lba = if self.sequential > 0 && self.next_lba < end {
            self.sequential -= 1;
            self.next_lba
        } else if hot {
            self.config.first_lba + self.rng.below(self.config.hot_blocks.max(1))
        } else {
            self.config.first_lba + self.rng.below(self.config.blocks)
        };
        // Small requests are the usual ones: the square of a uniform draw.
        let max = self.config.blocks_per_io_max.max(1);
        let draw = self.rng.between(1, max);
        let blocks = (draw * draw / max).clamp(1, end - lba);
        self.next_lba = lba + blocks;
        (lba, blocks)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { lba, blocks } => write!(f, "read of {blocks} blocks from {lba}"),
            Self::Write { lba, blocks, fua } => {
                let fua = if *fua { " with FUA" } else { "" };
                write!(f, "write of {blocks} blocks from {lba}{fua}")
            }
            Self::Flush => f.write_str("flush"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_requests_every_time_and_all_lie_within_the_device() {
        let config = WorkloadConfig {
            first_lba: 100,
            ..WorkloadConfig::mixed(3, 512, 1 << 20)
        };
        let mut a = Generator::new(&config, 1);
        let mut b = Generator::new(&config, 1);
        let (mut reads, mut writes, mut flushes) = (0, 0, 0);
        for _ in 0..5000 {
            let op = a.next_op();
            assert_eq!(op, b.next_op());
            match op {
                Op::Read { lba, blocks } | Op::Write { lba, blocks, .. } => {
                    assert!(lba >= 100 && blocks >= 1 && lba + blocks <= 2148);
                    assert!(blocks <= 128);
                    if matches!(op, Op::Read { .. }) {
                        reads += 1;
                    } else {
                        writes += 1;
                    }
                }
                Op::Flush => flushes += 1,
            }
        }
        assert!(reads > 2000 && writes > 2000 && flushes > 5);
    }
}
