//! What is asked of a volume, and its answers.

use std::time::Duration;

use crate::errno::IoErrno;
use crate::ids::IoId;
use crate::payload::Payload;
use crate::units::BlockRange;

/// One io.
#[derive(Clone, Debug)]
pub enum Request {
    /// Read these blocks.
    Read {
        /// Which.
        range: BlockRange,
    },
    /// Write these blocks.
    Write {
        /// Which.
        range: BlockRange,
        /// Their content, exactly as long as the range.
        data: Payload,
        /// Answer only when it is on stable storage.
        fua: bool,
    },
    /// Answer when every write answered before is on stable storage.
    Flush,
    /// The content of these blocks is no longer needed.
    Trim {
        /// Which.
        range: BlockRange,
        /// Answer only when it is on stable storage.
        fua: bool,
    },
    /// Make these blocks zero.
    WriteZeroes {
        /// Which.
        range: BlockRange,
        /// They may be unmapped (NBD: `NO_HOLE` not set).
        may_unmap: bool,
        /// Answer only when it is on stable storage.
        fua: bool,
    },
}

impl Request {
    /// The blocks that it changes, if it changes any.
    pub(super) fn written_range(&self) -> Option<BlockRange> {
        match self {
            Self::Read { .. } | Self::Flush => None,
            Self::Write { range, .. }
            | Self::Trim { range, .. }
            | Self::WriteZeroes { range, .. } => Some(*range),
        }
    }

    /// Bytes that it brings or that its answer has.
    pub(super) fn bytes(&self, block_size: u32) -> u64 {
        match self {
            Self::Read { range } | Self::Write { range, .. } => {
                range.blocks() * u64::from(block_size)
            }
            Self::Flush | Self::Trim { .. } | Self::WriteZeroes { .. } => 0,
        }
    }

    /// Whether the answer promises stable storage.
    pub(super) fn fua(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Flush => false,
            Self::Write { fua, .. } | Self::Trim { fua, .. } | Self::WriteZeroes { fua, .. } => {
                *fua
            }
        }
    }
}

/// An io's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError {
    /// What the client is told.
    pub errno: IoErrno,
    /// The block that failed, if the target named it.
    pub lba: Option<u64>,
}

/// An io's answer; exactly one for each request.
#[derive(Debug)]
pub struct Reply {
    /// The io.
    pub io: IoId,
    /// Data for reads, empty otherwise; or the failure.
    pub result: Result<Payload, IoError>,
    /// It is a flush that fails to tell of lost writes.
    pub tells_of_loss: bool,
    /// From its arrival to this answer.
    pub latency: Duration,
}
