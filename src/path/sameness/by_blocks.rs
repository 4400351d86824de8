//! The comparison by content, where the target has no persistent reservations.
//!
//! [`PLACES`] places of a few blocks are read over both paths: the first and the last ones, those that the
//! volume wrote last, and others all over the unit. Blocks that are alike show little, and blank ones
//! nothing: a copy is alike until it is written to. Blocks that differ show that there are two units, but for
//! writes meanwhile. So a place that differs is read again by turns: reference, path, reference, path,
//! reference. Only where each gave the same every time, the two are different, and the volume wrote nothing
//! there from the first of these reads to the last, the units are.

use bytes::Bytes;

use crate::scsi::verdict::status;
use crate::task::Completion;
use crate::units::{BlockRange, Geometry};

use super::{Ask, Basis, Finding, Matter, Step};

/// Places that are compared, in units that are large enough.
pub(super) const PLACES: usize = 64;

/// So many of them that are alike and not blank are enough where reading takes long.
const ENOUGH: u32 = 8;

/// Blocks of a place.
const BLOCKS: u64 = 4;

/// Of a place in bytes, if blocks are large.
const BYTES_MAX: u64 = 64 << 10;

/// A place that is being written is read again so often, then left.
const TRIES_MAX: u32 = 3;

/// So many places that cannot be read, and no more are tried.
const UNREADABLE_MAX: u32 = 4;

/// A place that differed: what its reads gave, of the reference and of the path.
#[derive(Debug, Default)]
struct Doubt {
    theirs: Vec<Bytes>,
    mine: Vec<Bytes>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ByBlocks {
    places: Vec<BlockRange>,
    block_size: u32,
    at: usize,
    mine: Option<Bytes>,
    doubt: Option<Doubt>,
    tries: u32,
    alike: u32,
    blank: u32,
    unreadable: u32,
}

impl ByBlocks {
    /// Begins it; `written` is where the volume wrote last, `random` numbers are for the other places.
    pub(super) fn begin(
        geometry: Geometry,
        written: &[BlockRange],
        random: impl FnMut() -> u64,
    ) -> (Self, Step) {
        let new = Self {
            places: places(geometry, written, random),
            block_size: geometry.block_size(),
            at: 0,
            mine: None,
            doubt: None,
            tries: 0,
            alike: 0,
            blank: 0,
            unreadable: 0,
        };
        let step = new.step();
        (new, step)
    }

    fn place(&self) -> Option<BlockRange> {
        self.places.get(self.at).copied()
    }

    /// What is to be read next.
    fn step(&self) -> Step {
        let Some(range) = self.place().filter(|_| self.unreadable < UNREADABLE_MAX) else {
            return Step::Done(self.conclude());
        };
        let own = Step::Own(Ask::Blocks {
            range,
            block_size: self.block_size,
        });
        let reference = |watched| {
            Step::Reference(Matter::Blocks {
                range,
                block_size: self.block_size,
                watched,
            })
        };
        match &self.doubt {
            None if self.mine.is_none() => own,
            None => reference(false),
            Some(doubt) if doubt.theirs.len() > doubt.mine.len() => own,
            Some(doubt) => reference(doubt.theirs.is_empty()),
        }
    }

    fn conclude(&self) -> Finding {
        let (alike, blank) = (self.alike, self.blank);
        match alike {
            0 => Finding::open("no block could be read over both paths".to_owned()),
            _ if alike == blank => Finding::Open {
                why: "all blocks that were compared are blank".to_owned(),
                again: false,
            },
            _ => Finding::Same(Basis::Blocks { alike, blank }),
        }
    }

    /// What the places so far show, if they are enough and none is in doubt.
    pub(super) fn enough(&self) -> Option<Finding> {
        let enough = self.alike >= ENOUGH + self.blank && self.doubt.is_none();
        (enough && self.mine.is_none()).then(|| self.conclude())
    }

    fn next_place(&mut self) -> Step {
        self.at += 1;
        self.tries = 0;
        (self.mine, self.doubt) = (None, None);
        self.step()
    }

    /// The blocks of an answer.
    fn read(&self, answer: &Completion) -> Option<Bytes> {
        let length = self.place()?.blocks() * u64::from(self.block_size);
        let good = answer.status == status::GOOD && answer.data.len() as u64 == length;
        good.then(|| answer.data.to_bytes())
    }

    fn on_unreadable(&mut self) -> Step {
        self.unreadable += 1;
        self.next_place()
    }

    /// The target answered over the path.
    pub(super) fn on_own(&mut self, answer: &Completion) -> Step {
        let Some(blocks) = self.read(answer) else {
            return self.on_unreadable();
        };
        match &mut self.doubt {
            Some(doubt) => doubt.mine.push(blocks),
            None => self.mine = Some(blocks),
        }
        self.step()
    }

    /// The target answered over the reference. `undisturbed`: nothing was written there since the first
    /// question that was to be watched.
    pub(super) fn on_reference(&mut self, answer: &Completion, undisturbed: bool) -> Step {
        let Some(blocks) = self.read(answer) else {
            return self.on_unreadable();
        };
        let Some(doubt) = &mut self.doubt else {
            return match self.mine.take() {
                Some(mine) if mine == blocks => self.on_alike(&blocks),
                Some(_) | None => {
                    self.doubt = Some(Doubt::default());
                    self.step()
                }
            };
        };
        doubt.theirs.push(blocks);
        if doubt.theirs.len() < 3 {
            return self.step();
        }
        let [theirs, mine] = [&doubt.theirs, &doubt.mine];
        let steady = |reads: &[Bytes]| reads.windows(2).all(|pair| pair[0] == pair[1]);
        let (first, other) = (theirs[0].clone(), mine[0].clone());
        let still = steady(theirs) && steady(mine) && undisturbed;
        if still && first == other {
            return self.on_alike(&first);
        }
        if still {
            let range = self.place().map_or(0, BlockRange::lba);
            return Step::Done(Finding::Different(format!(
                "block {range} and those after it do not hold the same over this path as over"
            )));
        }
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            return self.next_place();
        }
        self.doubt = Some(Doubt::default());
        self.step()
    }

    fn on_alike(&mut self, blocks: &Bytes) -> Step {
        self.alike += 1;
        let first = blocks.first().copied();
        self.blank += u32::from(blocks.iter().all(|byte| Some(*byte) == first));
        self.next_place()
    }

    /// Nobody is left to compare with.
    pub(super) fn give_up(why: String) -> Step {
        Step::Done(Finding::open(why))
    }
}

/// Where to look: none twice.
fn places(
    geometry: Geometry,
    written: &[BlockRange],
    mut random: impl FnMut() -> u64,
) -> Vec<BlockRange> {
    let size = u64::from(geometry.block_size());
    let blocks = BLOCKS.min(BYTES_MAX / size).max(1);
    let whole = geometry.whole();
    let slots = geometry.blocks().div_ceil(blocks);
    let wanted = usize::try_from(slots).map_or(PLACES, |slots| slots.min(PLACES));
    let ends = [0, slots - 1];
    let written = written.iter().map(|range| range.lba() / blocks);
    let fixed = ends.into_iter().chain(written).filter(|slot| *slot < slots);
    let drawn = std::iter::repeat_with(|| random() % slots).take(PLACES * 4);
    let all_of_them = 0..slots;
    let mut found: Vec<u64> = Vec::with_capacity(wanted);
    for slot in fixed.chain(drawn).chain(all_of_them) {
        if found.len() == wanted {
            break;
        }
        if !found.contains(&slot) {
            found.push(slot);
        }
    }
    let range = |slot: u64| whole.part(slot * blocks, blocks);
    found.into_iter().filter_map(range).collect()
}
