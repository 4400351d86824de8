//! What can be broken, and how it is called.

use std::fmt;
use std::time::Duration;

use iiblockdaemon::volume::ReservationAsk;

use super::Reload;
use crate::fault::PathState;
use crate::link::{Direction, End, Held};
use crate::target::lun::Access;
use crate::target::{Misdeed, Pace};

/// An asynchronous message of the target (RFC 7143 11.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Log out within so long (event 1).
    Logout {
        /// Whole seconds count.
        within: Duration,
    },
    /// The connection is dropped (event 2), and it is; come back after so long.
    DropConnection {
        /// Whole seconds count.
        wait: Duration,
    },
    /// The session is dropped with all its connections (event 3), and it is; come back after so long.
    DropSession {
        /// Whole seconds count.
        wait: Duration,
    },
    /// A SCSI asynchronous event with a unit attention as its sense data (event 0).
    Scsi {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
}

/// One change of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    // ---- the network
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
    /// One side of a path's connections gets a FIN; the other side hears nothing of it from the network.
    HalfClose {
        /// The path.
        path: usize,
        /// The direction of the stream that ends: [`Direction::ToInitiator`] tells the initiator.
        direction: Direction,
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
    /// A path swallows large pieces, and what follows them: its MTU shrank and nobody is told.
    LargeHole {
        /// The path.
        path: usize,
        /// Which way.
        direction: Direction,
        /// Pieces longer than so many bytes.
        larger_than: usize,
    },
    /// A path's NIC has no carrier, or has it again: nothing passes, and the daemon is told.
    Carrier {
        /// The path.
        path: usize,
        /// Whether it is lost.
        lost: bool,
    },
    /// A path swallows nothing any more, and is as fast and as faithful as at the beginning.
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
    /// A path carries only so much, each way: a slow drip if it is very little.
    Bandwidth {
        /// The path.
        path: usize,
        /// 0: no limit any more.
        bytes_per_second: u64,
    },
    /// A path flips a bit in one of so many pieces, both ways. Without both digests data is damaged, and
    /// nothing finds out.
    Corrupt {
        /// The path.
        path: usize,
        /// 0: not any more.
        one_in: u64,
    },
    /// A path is cut and refuses connections for a while, and then accepts them for a while, again and again.
    Flap {
        /// The path.
        path: usize,
        /// For so long.
        down: Duration,
        /// And then for so long.
        up: Duration,
        /// So often.
        times: u32,
    },

    // ---- the target
    /// A portal reads, executes and answers nothing, or goes on.
    Freeze {
        /// The path whose portal it is.
        path: usize,
        /// Whether it is frozen.
        on: bool,
    },
    /// Whatever a portal sends comes so much later; its kernel acknowledges as before.
    Late {
        /// The path whose portal it is.
        path: usize,
        /// Zero: not any more.
        by: Duration,
    },
    /// The target crashes, and is away for so long. Its unit's volatile cache, if it has one, is lost.
    Crash {
        /// How long connections are refused.
        away: Duration,
    },
    /// The unit has more blocks from now on, and says so to everybody.
    Grow {
        /// So many in all.
        blocks: u64,
    },
    /// The target is back.
    Boot,
    /// Commands that come in through a portal are so fast from now on.
    Pace {
        /// The path whose portal it is.
        path: usize,
        /// How fast.
        pace: Pace,
    },
    /// The next commands that come in through a portal are never carried out and never answered.
    Hang {
        /// The path whose portal it is.
        path: usize,
        /// How many.
        times: u32,
    },
    /// The next writes that come in through a portal are stuck in the backing store, and whatever waits for
    /// them waits, until a reset of the unit or the end of all jams.
    Jam {
        /// The path whose portal it is.
        path: usize,
        /// How many.
        times: u32,
    },
    /// What is stuck executes.
    EndJams,
    /// A portal's command windows do not move on, or do again.
    Window {
        /// The path whose portal it is.
        path: usize,
        /// Whether they are closed.
        closed: bool,
    },
    /// The sessions of a portal get an asynchronous message.
    Notice {
        /// The path whose portal it is.
        path: usize,
        /// Which.
        notice: Notice,
    },
    /// A portal sends logins to another one, or not any more.
    Redirect {
        /// The path whose portal it is.
        path: usize,
        /// The path whose portal is meant instead.
        to: Option<usize>,
        /// "Moved permanently".
        permanent: bool,
    },
    /// A portal breaks the protocol, once, with the next answer that it can be done with.
    Misbehave {
        /// The path whose portal it is.
        path: usize,
        /// How.
        how: Misdeed,
    },

    // ---- the logical unit
    /// The next commands are answered with this status.
    Status {
        /// BUSY or TASK SET FULL.
        status: u8,
        /// How many.
        times: u32,
    },
    /// Another initiator resets the unit: what was asked for is gone without an answer.
    Reset,
    /// Every nexus gets a unit attention.
    Attention {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
    /// Another initiator reserves the unit, or releases it: I/O may fail meanwhile.
    Reserve {
        /// Reads are refused as well.
        exclusive: bool,
        /// Whether it holds it.
        on: bool,
    },
    /// Another initiator removes our registrations, and takes the reservation over if there is one: I/O may
    /// fail from then on.
    Preempted,
    /// The administrator asks something of the daemon's reservations.
    Ask(ReservationAsk),
    /// A portal's access state to the unit changes (ALUA). All nexuses are told.
    Access {
        /// The path whose portal it is.
        path: usize,
        /// What holds from now on.
        access: Access,
    },
    /// Behind a portal there is another unit of the same size, for sessions that begin from now on; or the
    /// right one again. It is another machine that took over the address: it shares no sessions.
    Impostor {
        /// The path whose portal it is.
        path: usize,
        /// Whether it is the wrong one.
        on: bool,
    },
    /// The unit tells another size through a portal, or the true one; its nexus is told of a change.
    Capacity {
        /// The path whose portal it is.
        path: usize,
        /// Logical blocks; `None`: as it is.
        blocks: Option<u64>,
    },
    /// The unit is not there through a portal (05/25/00), or is there again.
    Vanish {
        /// The path whose portal it is.
        path: usize,
        /// Whether it is gone.
        on: bool,
    },

    // ---- the daemon and its clients
    /// The daemon is killed and started again; its clients send again what was not answered.
    Kill,
    /// The daemon's configuration is changed, and taken over.
    Reload(Reload),
    /// A client dies with all that it had asked for, and another one comes.
    Replace {
        /// Which one.
        client: usize,
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
    #[expect(clippy::too_many_lines, reason = "a table: one row per fault")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { path, end } => write!(f, "path {path} cut with {end:?}"),
            Self::Route { path, state } => write!(f, "path {path} is {state}"),
            Self::HalfOpen { path } => {
                write!(f, "path {path} half open: only the initiator is told")
            }
            Self::HalfClose { path, direction } => {
                write!(f, "path {path} half closed: FIN {direction:?}")
            }
            Self::Refuse { path, on: true } => write!(f, "path {path} refuses connections"),
            Self::Refuse { path, on: false } => write!(f, "path {path} accepts connections again"),
            Self::Hole { path, direction } => write!(f, "path {path} black hole {direction:?}"),
            Self::LargeHole {
                path,
                direction,
                larger_than,
            } => write!(
                f,
                "path {path} swallows what is larger than {larger_than} bytes, {direction:?}"
            ),
            Self::Carrier { path, lost: true } => write!(f, "NIC of path {path} loses its carrier"),
            Self::Carrier { path, lost: false } => {
                write!(f, "NIC of path {path} has its carrier again")
            }
            Self::Heal { path, held } => write!(f, "path {path} heals: held bytes {held:?}"),
            Self::Slow { path, by } => write!(f, "path {path} slower by {by:?}"),
            Self::Bandwidth {
                path,
                bytes_per_second: 0,
            } => write!(f, "path {path} carries what it can"),
            Self::Bandwidth {
                path,
                bytes_per_second,
            } => write!(f, "path {path} carries {bytes_per_second} bytes a second"),
            Self::Corrupt { path, one_in: 0 } => write!(f, "path {path} flips no bits any more"),
            Self::Corrupt { path, one_in } => {
                write!(f, "path {path} flips a bit in one of {one_in} pieces")
            }
            Self::Flap {
                path,
                down,
                up,
                times,
            } => write!(
                f,
                "path {path} flaps {times} times: down for {down:?}, up for {up:?}"
            ),
            Self::Freeze { path, on: true } => write!(f, "portal of path {path} freezes"),
            Self::Freeze { path, on: false } => write!(f, "portal of path {path} thaws"),
            Self::Late { path, by } => write!(f, "portal of path {path} answers {by:?} late"),
            Self::Crash { away } => write!(f, "target crashes, away for {away:?}"),
            Self::Grow { blocks } => write!(f, "the unit grows to {blocks} blocks"),
            Self::Boot => f.write_str("target is back"),
            Self::Pace { path, pace } => write!(f, "portal of path {path} is {pace}"),
            Self::Hang { path, times } => {
                write!(
                    f,
                    "portal of path {path} never answers the next {times} commands"
                )
            }
            Self::Jam { path, times } => {
                write!(f, "the next {times} writes through path {path} are stuck")
            }
            Self::EndJams => f.write_str("what is stuck executes"),
            Self::Window { path, closed: true } => {
                write!(f, "portal of path {path} closes its command windows")
            }
            Self::Window {
                path,
                closed: false,
            } => {
                write!(f, "portal of path {path} opens its command windows")
            }
            Self::Notice { path, notice } => write!(f, "portal of path {path} says {notice:?}"),
            Self::Redirect {
                path,
                to: Some(to),
                permanent,
            } => {
                let how = if *permanent { "for good" } else { "for now" };
                write!(
                    f,
                    "portal of path {path} redirects to that of path {to} {how}"
                )
            }
            Self::Redirect { path, to: None, .. } => {
                write!(f, "portal of path {path} takes logins again")
            }
            Self::Misbehave { path, how } => write!(f, "portal of path {path} misbehaves: {how:?}"),
            Self::Status { status, times } => {
                write!(f, "the next {times} commands get status {status:02x}h")
            }
            Self::Reset => f.write_str("another initiator resets the unit"),
            Self::Attention { asc, ascq } => write!(f, "unit attention {asc:02x}/{ascq:02x}"),
            Self::Reserve {
                exclusive,
                on: true,
            } => {
                let what = if *exclusive { "all I/O" } else { "writes" };
                write!(f, "another initiator reserves the unit against {what}")
            }
            Self::Reserve { on: false, .. } => f.write_str("the reservation is released"),
            Self::Preempted => f.write_str("another initiator preempts our registrations"),
            Self::Ask(ask) => write!(f, "the administrator asks: {ask:?}"),
            Self::Access { path, access } => {
                write!(f, "portal of path {path} is now {access:?}")
            }
            Self::Impostor { path, on: true } => {
                write!(f, "behind the portal of path {path} is another unit")
            }
            Self::Impostor { path, on: false } => {
                write!(f, "behind the portal of path {path} is the right unit")
            }
            Self::Capacity {
                path,
                blocks: Some(blocks),
            } => write!(f, "through path {path} the unit has {blocks} blocks"),
            Self::Capacity { path, blocks: None } => {
                write!(f, "through path {path} the unit has its true size")
            }
            Self::Vanish { path, on: true } => write!(f, "the unit vanishes from path {path}"),
            Self::Vanish { path, on: false } => write!(f, "the unit is back on path {path}"),
            Self::Reload(reload) => write!(f, "{reload}"),
            Self::Kill => f.write_str("daemon killed, and started again"),
            Self::Replace { client } => write!(f, "client {client} dies, another one comes"),
        }
    }
}
