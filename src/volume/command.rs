//! From a request to SCSI commands within the logical unit's limits, and to their bytes.

use bytes::Bytes;

use smallvec::{SmallVec, smallvec};

use crate::limits;
use crate::path::message::{Features, TrimMethod};
use crate::payload::Payload;
use crate::scsi::cdb::{Command, Direction, Extent, WriteSameFlags};
use crate::scsi::verdict::CommandKind;
use crate::task::{Cdb, DataTransfer};
use crate::units::{BlockRange, Geometry};

use super::request::Request;

/// What one command does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Read(BlockRange),
    Write {
        range: BlockRange,
        data: Payload,
        fua: bool,
    },
    /// SYNCHRONIZE CACHE of the whole unit.
    Sync,
    Unmap(BlockRange),
    WriteSame {
        range: BlockRange,
        unmap: bool,
    },
}

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// So many zero bytes, all slices of one static page.
pub(super) fn zeroes(len: usize) -> Payload {
    let mut payload = Payload::new();
    let page = Bytes::from_static(&ZEROES);
    while payload.len() < len {
        payload.push(page.slice(..page.len().min(len - payload.len())));
    }
    payload
}

fn pieces(range: BlockRange, blocks_max: u64) -> impl Iterator<Item = (u64, BlockRange)> {
    (0..)
        .map(move |n| n * blocks_max)
        .map_while(move |skip| range.part(skip, blocks_max).map(|part| (skip, part)))
}

/// The commands of one io, which are mostly one.
pub(super) type Ops = SmallVec<[Op; 1]>;

/// The commands for `request`, in ascending order of their blocks; empty if there is nothing to do.
pub(super) fn split(request: &Request, geometry: Geometry, features: &Features) -> Ops {
    let transfer = u64::from(
        features
            .transfer_blocks_max
            .min(limits::TRANSFER_MAX / geometry.block_size())
            .max(1),
    );
    match request {
        Request::Read { range } => pieces(*range, transfer)
            .map(|(_, part)| Op::Read(part))
            .collect(),
        Request::Write { range, data, fua } => {
            let fua = *fua && features.fua;
            pieces(*range, transfer)
                .map(|(skip, part)| Op::Write {
                    range: part,
                    data: data.slice(bytes(skip, geometry), bytes(part.blocks(), geometry)),
                    fua,
                })
                .collect()
        }
        Request::Flush => smallvec![Op::Sync],
        Request::Trim { range, .. } => split_trim(*range, features),
        Request::WriteZeroes {
            range, may_unmap, ..
        } => split_zeroes(*range, *may_unmap, geometry, features, transfer),
    }
}

fn bytes(blocks: u64, geometry: Geometry) -> usize {
    usize::try_from(blocks * u64::from(geometry.block_size())).expect("a request fits memory")
}

fn split_trim(range: BlockRange, features: &Features) -> Ops {
    match features.trim {
        TrimMethod::None => Ops::new(),
        TrimMethod::Unmap {
            blocks_max,
            granularity,
            alignment,
        } => {
            let (grain, offset) = (u64::from(granularity.max(1)), u64::from(alignment));
            let first = align_up(range.lba(), grain, offset);
            let last = align_down(range.end(), grain, offset);
            let Some(inner) = first
                .checked_sub(range.lba())
                .and_then(|skip| range.part(skip, last.saturating_sub(first)))
            else {
                return Ops::new();
            };
            let most = (u64::from(blocks_max) / grain * grain).max(grain);
            pieces(inner, most)
                .map(|(_, part)| Op::Unmap(part))
                .collect()
        }
        TrimMethod::WriteSame => pieces(range, u64::from(features.write_same_blocks_max.max(1)))
            .map(|(_, part)| Op::WriteSame {
                range: part,
                unmap: true,
            })
            .collect(),
    }
}

/// The least `n × grain + offset` (modulo the grain) that is not below `lba`.
fn align_up(lba: u64, grain: u64, offset: u64) -> u64 {
    let shift = offset % grain;
    let below = (lba + grain - shift) % grain;
    if below == 0 {
        lba
    } else {
        lba + (grain - below)
    }
}

/// The greatest `n × grain + offset` (modulo the grain) that is not above `lba`; 0 if there is none.
fn align_down(lba: u64, grain: u64, offset: u64) -> u64 {
    let shift = offset % grain;
    lba.saturating_sub((lba + grain - shift) % grain)
}

fn split_zeroes(
    range: BlockRange,
    may_unmap: bool,
    geometry: Geometry,
    features: &Features,
    transfer: u64,
) -> Ops {
    if features.write_same_blocks_max == 0 {
        return pieces(range, transfer)
            .map(|(_, part)| Op::Write {
                range: part,
                data: zeroes(bytes(part.blocks(), geometry)),
                fua: false,
            })
            .collect();
    }
    let unmap = may_unmap && features.unmapped_reads_zero && features.trim != TrimMethod::None;
    pieces(range, u64::from(features.write_same_blocks_max))
        .map(|(_, part)| Op::WriteSame { range: part, unmap })
        .collect()
}

impl Op {
    /// Its kind in the verdict table.
    pub(super) fn kind(&self) -> CommandKind {
        match self {
            Self::Read(_) => CommandKind::Read,
            Self::Write { .. } => CommandKind::Write,
            Self::Sync => CommandKind::Flush,
            Self::Unmap(_) => CommandKind::Trim,
            Self::WriteSame { .. } => CommandKind::WriteZeroes,
        }
    }

    /// The blocks that it changes, if any.
    pub(super) fn written_range(&self) -> Option<BlockRange> {
        match self {
            Self::Read(_) | Self::Sync => None,
            Self::Write { range, .. } | Self::Unmap(range) | Self::WriteSame { range, .. } => {
                Some(*range)
            }
        }
    }

    /// Whether the block is one of its.
    pub(super) fn covers(&self, lba: u64) -> bool {
        match self {
            Self::Sync => false,
            Self::Read(range)
            | Self::Write { range, .. }
            | Self::Unmap(range)
            | Self::WriteSame { range, .. } => (range.lba()..range.end()).contains(&lba),
        }
    }

    /// First block; 0 for the whole unit.
    pub(super) fn lba(&self) -> u64 {
        match self {
            Self::Sync => 0,
            Self::Read(range)
            | Self::Write { range, .. }
            | Self::Unmap(range)
            | Self::WriteSame { range, .. } => range.lba(),
        }
    }

    /// Bytes that it moves.
    pub(super) fn data_len(&self, geometry: Geometry) -> u32 {
        let len = match self {
            Self::Read(range) => bytes(range.blocks(), geometry),
            Self::Write { data, .. } => data.len(),
            Self::Sync | Self::Unmap(_) | Self::WriteSame { .. } => 0,
        };
        u32::try_from(len).expect("commands are split below TRANSFER_MAX")
    }

    /// The command as it goes to a session.
    pub(super) fn build(&self, geometry: Geometry) -> (Cdb, DataTransfer) {
        match self {
            Self::Read(range) => {
                let command = Command::transfer(Direction::Read, *range, false);
                (command.cdb(), DataTransfer::In(self.data_len(geometry)))
            }
            Self::Write { range, data, fua } => {
                let command = Command::transfer(Direction::Write, *range, *fua);
                (command.cdb(), DataTransfer::Out(data.clone()))
            }
            Self::Sync => (Command::flush().cdb(), DataTransfer::None),
            Self::Unmap(range) => {
                let (command, list) = Command::unmap(&[*range]);
                (command.cdb(), DataTransfer::Out(list.into()))
            }
            Self::WriteSame { range, unmap } => {
                let flags = WriteSameFlags {
                    unmap: *unmap,
                    ..WriteSameFlags::default()
                };
                let command = Command::WriteSame16 {
                    extent: Extent::of(*range),
                    flags,
                };
                (command.cdb(), DataTransfer::Out(zeroes(bytes(1, geometry))))
            }
        }
    }
}
