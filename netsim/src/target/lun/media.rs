//! The commands that touch blocks, and the cache that may lose them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Bytes, BytesMut};
use iiblockdaemon::payload::Payload;

use super::answer::{Answered, Refusal, Response};
use super::backing::Backing;
use super::config::{LunConfig, WriteCache};
use super::form::{be16, be32, op};

/// Longest READ or WRITE in bytes of a unit that reports no limit: its answer has to fit memory.
const TRANSFER_BYTES_MAX: u64 = 64 << 20;

/// The blocks of a unit.
#[derive(Debug)]
pub(super) struct Media {
    backing: Backing,
    block_size: u32,
    /// What the durable medium holds under blocks that are newer in the cache; `None` if nothing is lost.
    before: Option<BTreeMap<u64, Bytes>>,
    /// Blocks that cannot be read.
    bad: BTreeSet<u64>,
}

/// Blocks that a descriptor block names, checked against the size of the unit.
#[derive(Clone, Copy)]
struct Range {
    lba: u64,
    blocks: u64,
}

impl Media {
    pub(super) fn new(backing: Backing, block_size: u32, volatile: bool) -> Self {
        let before = volatile.then(BTreeMap::new);
        Self {
            backing,
            block_size,
            before,
            bad: BTreeSet::new(),
        }
    }

    pub(super) fn damage(&mut self, lba: u64) {
        self.bad.insert(lba);
    }

    pub(super) fn peek(&self, lba: u64, blocks: u32) -> io::Result<Bytes> {
        self.read(Range {
            lba,
            blocks: blocks.into(),
        })
    }

    /// Undoes what was not synchronised, as far as it does not survive; says how many blocks that were.
    pub(super) fn lose_cache(&mut self, mut survives: impl FnMut(u64) -> bool) -> usize {
        let before = self.before.as_mut().map(std::mem::take).unwrap_or_default();
        let lost: Vec<_> = before
            .into_iter()
            .filter(|(lba, _)| !survives(*lba))
            .collect();
        for (lba, data) in &lost {
            let at = lba * u64::from(self.block_size);
            self.backing
                .write(at, data)
                .expect("the medium took this block before");
        }
        lost.len()
    }

    fn read(&self, range: Range) -> io::Result<Bytes> {
        let len = range.blocks * u64::from(self.block_size);
        let mut data = BytesMut::zeroed(usize::try_from(len).map_err(io::Error::other)?);
        self.backing
            .read(range.lba * u64::from(self.block_size), &mut data)?;
        Ok(data.freeze())
    }

    /// Called before blocks change: keeps what is durable of them, once.
    fn remember(&mut self, range: Range) -> io::Result<()> {
        self.bad = self
            .bad
            .iter()
            .copied()
            .filter(|lba| !range.contains(*lba))
            .collect();
        let Some(mut before) = self.before.take() else {
            return Ok(());
        };
        for lba in range.lba..range.lba + range.blocks {
            if let std::collections::btree_map::Entry::Vacant(vacant) = before.entry(lba) {
                vacant.insert(self.read(Range { lba, blocks: 1 })?);
            }
        }
        self.before = Some(before);
        Ok(())
    }

    fn write(&mut self, range: Range, data: &Payload) -> io::Result<()> {
        self.remember(range)?;
        let mut at = range.lba * u64::from(self.block_size);
        for chunk in data.chunks() {
            self.backing.write(at, chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn zero(&mut self, range: Range) -> io::Result<()> {
        self.remember(range)?;
        let size = u64::from(self.block_size);
        self.backing.zero(range.lba * size, range.blocks * size)
    }

    /// What these blocks hold is durable from now on.
    fn synchronise(&mut self, range: Range) -> io::Result<()> {
        if let Some(before) = &mut self.before {
            let mut newer = before.split_off(&range.lba);
            before.append(&mut newer.split_off(&(range.lba + range.blocks)));
        }
        self.backing.sync()
    }
}

impl Range {
    fn contains(self, lba: u64) -> bool {
        (self.lba..self.lba + self.blocks).contains(&lba)
    }

    fn checked(config: &LunConfig, lba: u64, blocks: u64) -> Result<Self, Refusal> {
        match lba.checked_add(blocks) {
            Some(end) if end <= config.blocks => Ok(Self { lba, blocks }),
            _ => Err(Refusal::BEYOND_END),
        }
    }

    /// Zero blocks mean "to the end".
    fn checked_or_rest(config: &LunConfig, lba: u64, blocks: u64) -> Result<Self, Refusal> {
        let rest = config.blocks.saturating_sub(lba);
        Self::checked(config, lba, if blocks == 0 { rest } else { blocks })
    }
}

/// Address and length of a descriptor block of 10 or of 16 bytes.
fn extent(cdb: &[u8; 16]) -> (u64, u64) {
    match cdb[0] & 0xe0 {
        0x80 => (
            u64::from(be32(cdb, 2)) << 32 | u64::from(be32(cdb, 6)),
            be32(cdb, 10).into(),
        ),
        _ => (be32(cdb, 2).into(), be16(cdb, 7).into()),
    }
}

pub(super) fn execute(
    media: &mut Media,
    config: &LunConfig,
    cdb: &[u8; 16],
    data: &Payload,
) -> Answered {
    match cdb[0] {
        op::READ_10 | op::READ_16 => read(media, config, cdb),
        op::SYNCHRONIZE_CACHE_10 | op::SYNCHRONIZE_CACHE_16 => {
            let (lba, blocks) = extent(cdb);
            media.synchronise(Range::checked_or_rest(config, lba, blocks)?)?;
            Ok(Response::good())
        }
        _ if config.write_protected => Err(Refusal::WRITE_PROTECTED),
        op::WRITE_10 | op::WRITE_16 => write(media, config, cdb, data),
        op::WRITE_SAME_10 | op::WRITE_SAME_16 => write_same(media, config, cdb, data),
        op::UNMAP => unmap(media, config, &data.to_bytes()),
        _ => Err(Refusal::UNKNOWN),
    }
}

/// The range of a READ or WRITE: inside the unit, inside MAXIMUM TRANSFER LENGTH, FUA only if known.
fn transfer(config: &LunConfig, cdb: &[u8; 16]) -> Result<Range, Refusal> {
    let (lba, blocks) = extent(cdb);
    let max = match config.max_transfer_blocks {
        0 => TRANSFER_BYTES_MAX / u64::from(config.block_size),
        max => max.into(),
    };
    if blocks > max {
        return Err(Refusal::FIELD_IN_CDB);
    }
    if cdb[1] & 0x18 != 0 && !config.fua {
        return Err(Refusal::cdb_byte(1));
    }
    Range::checked(config, lba, blocks)
}

fn read(media: &mut Media, config: &LunConfig, cdb: &[u8; 16]) -> Answered {
    let range = transfer(config, cdb)?;
    if let Some(bad) = media.bad.range(range.lba..range.lba + range.blocks).next() {
        return Err(Refusal::unreadable(*bad));
    }
    if cdb[1] & 0x08 != 0 {
        // SBC-4: a FUA read first writes what is newer in the cache.
        media.synchronise(range)?;
    }
    let data = media.read(range)?;
    let len = data.len();
    Ok(Response::data(data, len))
}

fn write(media: &mut Media, config: &LunConfig, cdb: &[u8; 16], data: &Payload) -> Answered {
    let range = transfer(config, cdb)?;
    media.write(range, data)?;
    if cdb[1] & 0x08 != 0 || config.cache == WriteCache::Off {
        media.synchronise(range)?;
    }
    Ok(Response::good())
}

fn write_same(media: &mut Media, config: &LunConfig, cdb: &[u8; 16], data: &Payload) -> Answered {
    let (unmap, no_data) = (cdb[1] & 0x08 != 0, cdb[1] & 0x01 != 0);
    let (lba, blocks) = extent(cdb);
    let max = config.max_write_same_blocks;
    if unmap && !config.thin {
        return Err(Refusal::cdb_byte(1));
    }
    // Page B0h has WSNZ set: no blocks are not "to the end" here.
    if blocks == 0 || (max != 0 && blocks > max) {
        return Err(Refusal::FIELD_IN_CDB);
    }
    let range = Range::checked(config, lba, blocks)?;
    let block = data.to_bytes();
    if no_data || block.iter().all(|&byte| byte == 0) {
        media.zero(range)?;
    } else {
        let copies = (0..range.blocks).map(|_| block.clone());
        let mut all = Payload::new();
        copies.for_each(|copy| all.push(copy));
        media.write(range, &all)?;
    }
    if config.cache == WriteCache::Off {
        media.synchronise(range)?;
    }
    Ok(Response::good())
}

/// Every descriptor is checked before the first is carried out.
fn unmap(media: &mut Media, config: &LunConfig, list: &[u8]) -> Answered {
    let ranges = unmap_list(config, list)?;
    for range in &ranges {
        media.zero(*range)?;
        if config.cache == WriteCache::Off {
            media.synchronise(*range)?;
        }
    }
    Ok(Response::good())
}

fn unmap_list(config: &LunConfig, list: &[u8]) -> Result<Vec<Range>, Refusal> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let (header, body) = list.split_at_checked(8).ok_or(Refusal::LIST_LENGTH)?;
    let field = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let exact = field(0) + 2 == list.len() && field(2) == body.len() && body.len() % 16 == 0;
    if !exact || header[4..] != [0; 4] {
        return Err(Refusal::FIELD_IN_LIST);
    }
    let mut ranges = Vec::new();
    for descriptor in body.chunks_exact(16) {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b));
        if descriptor[12..] != [0; 4] {
            return Err(Refusal::FIELD_IN_LIST);
        }
        ranges.push(Range::checked(
            config,
            number(&descriptor[..8]),
            number(&descriptor[8..12]),
        )?);
    }
    let blocks: u64 = ranges.iter().map(|range| range.blocks).sum();
    let most = usize::try_from(config.max_unmap_descriptors).unwrap_or(usize::MAX);
    match blocks <= config.max_unmap_blocks.into() && ranges.len() <= most {
        true => Ok(ranges),
        false => Err(Refusal::FIELD_IN_LIST),
    }
}
