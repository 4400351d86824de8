//! What breaks, when, and how it is drawn from a seed.

use std::fmt;
use std::time::Duration;

use super::Knobs;
use crate::fault::PathState;
use crate::link::{Direction, End, Held};
use crate::rng::Rng;

/// One change of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// All connections of a path end, on both sides.
    Cut {
        /// The path.
        path: usize,
        /// How.
        end: End,
    },
    /// All that is wrong with a path's network from now on.
    Route {
        /// The path.
        path: usize,
        /// What is wrong; clear: nothing.
        state: Box<PathState>,
    },
    /// The initiator's side of a path's connections is reset; the target is not told.
    HalfOpen {
        /// The path.
        path: usize,
    },
    /// New connections over a path are refused, or not any more.
    Refuse {
        /// The path.
        path: usize,
        /// Whether they are.
        on: bool,
    },
    /// A path swallows everything.
    Hole {
        /// The path.
        path: usize,
        /// Which way.
        direction: Direction,
    },
    /// A path swallows nothing any more.
    Heal {
        /// The path.
        path: usize,
        /// What becomes of what it held.
        held: Held,
    },
    /// A path is so much slower.
    Slow {
        /// The path.
        path: usize,
        /// One way.
        by: Duration,
    },
    /// A portal reads, executes and answers nothing, or goes on.
    Freeze {
        /// The path whose portal it is.
        path: usize,
        /// Whether it is frozen.
        on: bool,
    },
    /// The target crashes, and is away for so long.
    Crash {
        /// How long connections are refused.
        away: Duration,
    },
    /// The target is back.
    Boot,
    /// The daemon is killed and started again; its clients send again what was not answered.
    Kill,
    /// A client dies with all that it had asked for, and another one comes.
    Replace {
        /// Which one.
        client: usize,
    },
    /// The next commands are answered with this status.
    Status {
        /// BUSY or TASK SET FULL.
        status: u8,
        /// How many.
        times: u32,
    },
    /// Every nexus gets a unit attention.
    Attention {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
}

/// A fault and its time since the volume went online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { path, end } => write!(f, "path {path} cut with {end:?}"),
            Self::Route { path, state } => write!(f, "path {path} is {state}"),
            Self::HalfOpen { path } => {
                write!(f, "path {path} half open: only the initiator is told")
            }
            Self::Refuse { path, on: true } => write!(f, "path {path} refuses connections"),
            Self::Refuse { path, on: false } => write!(f, "path {path} accepts connections again"),
            Self::Hole { path, direction } => write!(f, "path {path} black hole {direction:?}"),
            Self::Heal { path, held } => write!(f, "path {path} heals: held bytes {held:?}"),
            Self::Slow { path, by } => write!(f, "path {path} slower by {by:?}"),
            Self::Freeze { path, on: true } => write!(f, "portal of path {path} freezes"),
            Self::Freeze { path, on: false } => write!(f, "portal of path {path} thaws"),
            Self::Crash { away } => write!(f, "target crashes, away for {away:?}"),
            Self::Boot => f.write_str("target is back"),
            Self::Kill => f.write_str("daemon killed, and started again"),
            Self::Replace { client } => write!(f, "client {client} dies, another one comes"),
            Self::Status { status, times } => {
                write!(f, "the next {times} commands get status {status:02x}h")
            }
            Self::Attention { asc, ascq } => write!(f, "unit attention {asc:02x}/{ascq:02x}"),
        }
    }
}

const BUSY: u8 = 0x08;
const TASK_SET_FULL: u8 = 0x28;

/// Unit attentions that change nothing: reset, mode parameters, access states.
const ATTENTIONS: [(u8, u8); 3] = [(0x29, 0x02), (0x2a, 0x01), (0x2a, 0x06)];

/// Episodes of trouble until [`Knobs::trouble`] is over.
pub(super) fn draw(rng: &mut Rng, knobs: &Knobs) -> Vec<Planned> {
    let mut planned = Vec::new();
    let paths = knobs.groups.len();
    for _ in 0..rng.between(1, 12) {
        let at = rng.duration_below(knobs.trouble);
        let left = knobs.trouble - at;
        let end = at + rng.duration_below(left);
        let path = match knobs.spared {
            Some(spared) => (0..paths)
                .filter(|path| *path != spared)
                .nth(rng.index(paths - 1)),
            None => Some(rng.index(paths)),
        };
        let Some(path) = path else { continue };
        let kinds = if knobs.spared.is_some() { 7 } else { 12 };
        if rng.chance(1, 10) {
            let client = rng.index(knobs.load.clients);
            planned.push(Planned {
                at,
                fault: Fault::Replace { client },
            });
        }
        episode(rng, kinds, path, (at, end), &mut planned);
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn episode(
    rng: &mut Rng,
    kinds: u64,
    path: usize,
    (at, end): (Duration, Duration),
    planned: &mut Vec<Planned>,
) {
    let mut plan = |at, fault| planned.push(Planned { at, fault });
    match rng.below(kinds) {
        0 => {
            let end = if rng.chance(1, 2) {
                End::Fin
            } else {
                End::Reset
            };
            plan(at, Fault::Cut { path, end });
        }
        1 => plan(at, Fault::HalfOpen { path }),
        2 => {
            plan(at, Fault::Refuse { path, on: true });
            plan(
                at,
                Fault::Cut {
                    path,
                    end: End::Reset,
                },
            );
            plan(end, Fault::Refuse { path, on: false });
        }
        3 | 4 => {
            let direction = match rng.below(4) {
                0 => Direction::ToTarget,
                1 => Direction::ToInitiator,
                _ => Direction::Both,
            };
            plan(at, Fault::Hole { path, direction });
            let held = if rng.chance(2, 3) {
                Held::Release
            } else {
                Held::Drop
            };
            plan(end, Fault::Heal { path, held });
        }
        5 => {
            let by = rng.duration_below(Duration::from_millis(900));
            plan(at, Fault::Slow { path, by });
            plan(
                end,
                Fault::Slow {
                    path,
                    by: Duration::ZERO,
                },
            );
        }
        6 => {
            plan(at, Fault::Freeze { path, on: true });
            plan(end, Fault::Freeze { path, on: false });
        }
        7 => {
            plan(at, Fault::Crash { away: end - at });
            plan(end, Fault::Boot);
        }
        8 => {
            let status = if rng.chance(1, 2) {
                BUSY
            } else {
                TASK_SET_FULL
            };
            let times = u32::try_from(rng.between(1, 20)).unwrap_or(1);
            plan(at, Fault::Status { status, times });
        }
        9 => plan(at, Fault::Kill),
        _ => {
            let (asc, ascq) = ATTENTIONS[rng.index(ATTENTIONS.len())];
            plan(at, Fault::Attention { asc, ascq });
        }
    }
}
