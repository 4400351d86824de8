//! Every interleaving of a small world: the volume's real core against a target that may do anything.
//!
//! Two paths, two blocks, three writes. At any moment the client may ask for its next write; a command
//! in a session may be executed; an executed one may be answered; a session may be lost, each of its
//! commands having reached the target or not; what reached it may be executed any time later (*delay*)
//! or never (*drop*); a path may come back; a lost session may be fenced once nothing of it is left.
//! Which path carries a command is a choice like the others. [`explore`] tries all of it, depth first.
//!
//! What the volume does is asked of the volume itself, once in each of its states (`machine`); the target
//! is a model of a few sets (`target`); the world is the two together, and each of its states is entered
//! once (`search`). Two states are one if they differ only in numbers of tasks and sessions, or in which
//! path is which.
//!
//! What must hold, always: no block goes back to an older write; a write is acknowledged only once it was
//! executed, and with `shared` only once nothing of it can be executed again; and whatever happens, in
//! the end every write is acknowledged, and each block holds the last one.

mod chooser;
mod host;
mod known;
mod machine;
mod search;
mod step;
mod target;

pub use search::{Explored, Violation, explore};

const PATHS: usize = 2;
const BLOCKS: usize = 2;

/// Most writes of a small world.
pub const WRITES_MAX: usize = 3;
/// Most losses of sessions in a small world.
pub const LOSSES_MAX: u8 = 4;

/// The blocks of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocks {
    /// The first alone.
    First,
    /// The second alone.
    Second,
    /// Both.
    Both,
}

impl Blocks {
    /// All.
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Both];

    /// First block and count.
    fn extent(self) -> (u64, u64) {
        match self {
            Self::First => (0, 1),
            Self::Second => (1, 1),
            Self::Both => (0, 2),
        }
    }

    fn covers(self, block: usize) -> bool {
        let (first, count) = self.extent();
        (first..first + count).contains(&(block as u64))
    }

    fn mirrored(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Both => Self::Both,
        }
    }
}

/// What a small world is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallWorld {
    /// The writes, in the order in which they are asked for; at most [`WRITES_MAX`].
    pub writes: Vec<Blocks>,
    /// Sessions that may be lost; at most [`LOSSES_MAX`].
    pub losses: u8,
    /// The volume is shared with other hosts: it acknowledges nothing that a ghost may do again.
    pub shared: bool,
    /// A run before this one left a write at the target on each path.
    pub unclean: bool,
}

impl SmallWorld {
    /// Every choice of blocks for so many writes; of two that differ only by which block is which, one.
    #[must_use]
    pub fn layouts(writes: usize) -> Vec<Vec<Blocks>> {
        let mut layouts = vec![Vec::new()];
        for _ in 0..writes.min(WRITES_MAX) {
            let longer = layouts.iter().flat_map(|layout| {
                Blocks::ALL.map(|blocks| {
                    let mut layout: Vec<Blocks> = layout.clone();
                    layout.push(blocks);
                    layout
                })
            });
            layouts = longer.collect();
        }
        layouts.retain(|layout| {
            let mirrored: Vec<Blocks> = layout.iter().map(|blocks| blocks.mirrored()).collect();
            *layout <= mirrored
        });
        layouts
    }
}
