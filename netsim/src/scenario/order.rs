//! What a fault is: the words of `what`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use iiblockdaemon::scsi::reservation::ReservationType;

use crate::fault::{Fault, FaultError};
use crate::link::{Direction, End, Held};
use crate::quantity::{parse_duration, parse_size};
use crate::target::lun::Access;
use crate::target::{Misdeed, Pace};
use crate::world::Notice;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The network of a path changes, in the words of `netsim fault`.
    Network(Fault),
    /// All connections of a path end; new ones are accepted at once.
    Ends(End),
    /// The initiator's side of a path's connections is reset, the target is not told.
    HalfOpen,
    /// One side of a path's connections gets a FIN, the other hears nothing.
    HalfClose(Direction),
    /// A path's NIC has no carrier, and the daemon is told.
    NoCarrier,
    /// Whatever a portal sends comes so much later.
    Late(Duration),
    /// A portal reads, executes and answers nothing.
    Freeze,
    /// A portal's commands are slow, or some of them late.
    Pace(Pace),
    /// The next commands that come in through a portal are never carried out and never answered.
    Hang(u32),
    /// The next writes that come in through a portal are stuck in the backing store.
    Jam(u32),
    /// A portal's command windows do not move on.
    ClosedWindow,
    /// A portal's sessions get an asynchronous message.
    Notice(Notice),
    /// A portal sends logins to that of this path.
    Redirect(String),
    /// A portal breaks the protocol, once.
    Misbehave(Misdeed),
    /// A portal's access state to the unit (ALUA).
    Access(Access),
    /// Behind a portal there is another unit, for sessions that begin from now on.
    Impostor,
    /// Through a portal the unit has this size in bytes.
    Capacity(u64),
    /// The unit has this size in bytes from now on.
    Grow(u64),
    /// Through a portal the unit is not there.
    Vanish,
    /// Another initiator reserves the unit.
    Reserve {
        /// Reads are refused as well.
        exclusive: bool,
    },
    /// Another initiator removes our registrations, and takes the reservation over.
    Preempted,
    /// The administrator reserves the unit through the daemon.
    OwnReserve(ReservationType),
    /// The administrator releases that.
    OwnRelease,
    /// The target dies, and with it all sessions; it is away as long as the fault lasts.
    Crash,
    /// The daemon is killed and started again.
    KillDaemon,
    /// The daemon's configuration loses a path, and has it again when the fault is over.
    Remove,
    /// The daemon's configuration has a path from now on.
    Add,
    /// The daemon's configuration has other settings from now on.
    Reload,
    /// A client dies with all that it had asked for, and another one comes.
    ReplaceClient(usize),
    /// The next commands are answered with this status.
    Status {
        /// BUSY or TASK SET FULL.
        status: u8,
        /// How many.
        times: u32,
    },
    /// Another initiator resets the unit.
    ResetUnit,
    /// Every nexus gets a unit attention.
    Attention {
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
}

/// Why words are no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The first word is not known.
    #[error(
        "\"{0}\" is no fault; on a path: cut, cut-fin, blackhole [both|to-target|to-initiator], large-hole SIZE, \
         latency TIME, jitter TIME, bandwidth SIZE-PER-SECOND, corrupt ONE-IN, loss ONE-IN, reset, close, half-open, \
         half-close [to-initiator|to-target], no-carrier; on a path's portal: freeze, late TIME, slow TIMES, \
         stragglers ONE-IN/TIME, shallow COUNT, hang COUNT, jam COUNT, closed-window, ask-logout TIME, \
         drop-connection TIME, drop-session TIME, redirect PATH, misbehave HOW, access STATE, impostor, \
         capacity SIZE, vanish; on the target: crash, grow SIZE, busy COUNT, task-set-full COUNT, reset-unit, \
         attention ASC/ASCQ, reserve writes|all, preempted; on the daemon and its clients: kill-daemon, remove, add, \
         reload, own-reserve TYPE, own-release, replace-client NUMBER"
    )]
    Unknown(String),
    /// A word's value is not understood.
    #[error("\"{order}\" needs {what}")]
    Value {
        /// The order.
        order: String,
        /// What it needs.
        what: &'static str,
    },
    /// There are more words than that.
    #[error("\"{0}\" takes no further word")]
    Extra(String),
    /// One of the network's words is not understood.
    #[error(transparent)]
    Network(FaultError),
}

const BUSY: u8 = 0x08;
const TASK_SET_FULL: u8 = 0x28;

impl Order {
    /// It is done to a path.
    #[must_use]
    pub fn takes_path(&self) -> bool {
        match self {
            Self::Network(_)
            | Self::Ends(_)
            | Self::HalfOpen
            | Self::HalfClose(_)
            | Self::NoCarrier
            | Self::Late(_)
            | Self::Freeze
            | Self::Hang(_)
            | Self::Jam(_)
            | Self::Pace(_)
            | Self::ClosedWindow
            | Self::Notice(_)
            | Self::Redirect(_)
            | Self::Misbehave(_)
            | Self::Access(_)
            | Self::Impostor
            | Self::Capacity(_)
            | Self::Remove
            | Self::Add
            | Self::Vanish => true,
            Self::Crash
            | Self::Grow(_)
            | Self::KillDaemon
            | Self::Reload
            | Self::ReplaceClient(_)
            | Self::Status { .. }
            | Self::ResetUnit
            | Self::Attention { .. }
            | Self::Preempted
            | Self::OwnReserve(_)
            | Self::OwnRelease
            | Self::Reserve { .. } => false,
        }
    }

    /// It is over at once: it has no end of its own.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        match self {
            Self::Ends(_)
            | Self::HalfOpen
            | Self::HalfClose(_)
            | Self::Hang(_)
            | Self::Notice(_)
            | Self::Misbehave(_)
            | Self::KillDaemon
            | Self::Grow(_)
            | Self::Add
            | Self::Reload
            | Self::ReplaceClient(_)
            | Self::Status { .. }
            | Self::ResetUnit
            | Self::Preempted
            | Self::OwnReserve(_)
            | Self::OwnRelease
            | Self::Attention { .. } => true,
            Self::Network(_)
            | Self::NoCarrier
            | Self::Late(_)
            | Self::Freeze
            | Self::Jam(_)
            | Self::Pace(_)
            | Self::ClosedWindow
            | Self::Redirect(_)
            | Self::Access(_)
            | Self::Impostor
            | Self::Capacity(_)
            | Self::Vanish
            | Self::Remove
            | Self::Crash
            | Self::Reserve { .. } => false,
        }
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        let value = words.next();
        let order = match first {
            "reset" => Self::Ends(End::Reset),
            "close" => Self::Ends(End::Fin),
            "half-open" => Self::HalfOpen,
            "no-carrier" => Self::NoCarrier,
            "freeze" => Self::Freeze,
            "closed-window" => Self::ClosedWindow,
            "impostor" => Self::Impostor,
            "vanish" => Self::Vanish,
            "crash" => Self::Crash,
            "reset-unit" => Self::ResetUnit,
            "kill-daemon" => Self::KillDaemon,
            "preempted" => Self::Preempted,
            "own-release" => Self::OwnRelease,
            "remove" => Self::Remove,
            "add" => Self::Add,
            "reload" => Self::Reload,
            _ => {
                return match with_value(first, value) {
                    Some(order) if words.next().is_none() => order,
                    Some(_) => Err(OrderError::Extra(text.to_owned())),
                    None => network(text, first),
                };
            }
        };
        match value {
            Some(_) => Err(OrderError::Extra(text.to_owned())),
            None => Ok(order),
        }
    }
}

/// An order with a value; `None` if there is none of that name.
fn with_value(first: &str, value: Option<&str>) -> Option<Result<Order, OrderError>> {
    let commands = "a number of commands";
    let time = |notice: fn(Duration) -> Notice| {
        let time = value.and_then(|value| parse_duration(value).ok());
        need(
            time.map(|time| Order::Notice(notice(time))),
            "a time in whole seconds, e.g. 3s",
        )
    };
    let status = |status| move |times| Order::Status { status, times };
    let order = match first {
        "hang" => need(number(value).map(Order::Hang), commands),
        "jam" => need(number(value).map(Order::Jam), "a number of writes"),
        "late" => {
            let time = value.and_then(|value| parse_duration(value).ok());
            need(time.map(Order::Late), "a time, e.g. 3s")
        }
        "slow" | "shallow" | "stragglers" => pace(first, value),
        "busy" => need(number(value).map(status(BUSY)), commands),
        "task-set-full" => need(number(value).map(status(TASK_SET_FULL)), commands),
        "replace-client" => {
            let client = value.and_then(|value| value.parse().ok());
            need(
                client.map(Order::ReplaceClient),
                "the client's number, from 0",
            )
        }
        "attention" => need(attention(value), "two hexadecimal codes, e.g. 29/00"),
        "half-close" => {
            let direction = match value {
                Some("to-initiator") => Some(Direction::ToInitiator),
                Some("to-target") => Some(Direction::ToTarget),
                _ => None,
            };
            need(direction.map(Order::HalfClose), "to-initiator or to-target")
        }
        "ask-logout" => time(|within| Notice::Logout { within }),
        "drop-connection" => time(|wait| Notice::DropConnection { wait }),
        "drop-session" => time(|wait| Notice::DropSession { wait }),
        "redirect" => need(
            value.map(|path| Order::Redirect(path.to_owned())),
            "a path's name",
        ),
        "misbehave" => need(find(&misdeeds(), value).map(Order::Misbehave), MISDEEDS),
        "access" => need(find(&ACCESS, value).map(Order::Access), ACCESS_STATES),
        "capacity" => need(size(value).map(Order::Capacity), "a size, e.g. 32KiB"),
        "grow" => need(size(value).map(Order::Grow), "a size, e.g. 128KiB"),
        "own-reserve" => need(own_reserve(value), RESERVATION_TYPE),
        "reserve" => {
            let exclusive = match value {
                Some("writes") => Some(false),
                Some("all") => Some(true),
                _ => None,
            };
            need(
                exclusive.map(|exclusive| Order::Reserve { exclusive }),
                "writes or all",
            )
        }
        _ => return None,
    };
    Some(order.map_err(|what| OrderError::Value {
        order: first.to_owned(),
        what,
    }))
}

fn pace(first: &str, value: Option<&str>) -> Result<Order, &'static str> {
    let positive = || number(value).filter(|number| *number > 0);
    match first {
        "slow" => need(positive().map(slow), "how many times as long commands take"),
        "shallow" => need(
            positive().map(shallow),
            "how many commands it takes at a time",
        ),
        _ => need(stragglers(value), "one in how many, and how late: 50/200ms"),
    }
}

fn own_reserve(value: Option<&str>) -> Option<Order> {
    value
        .and_then(ReservationType::from_name)
        .map(Order::OwnReserve)
}

fn need<T>(value: Option<T>, what: &'static str) -> Result<T, &'static str> {
    value.ok_or(what)
}

fn size(value: Option<&str>) -> Option<u64> {
    parse_size(value?).ok()
}

fn number(value: Option<&str>) -> Option<u32> {
    value?.parse().ok()
}

fn find<T: Copy>(names: &[(&str, T)], name: Option<&str>) -> Option<T> {
    let found = names.iter().find(|(known, _)| Some(*known) == name);
    found.map(|(_, value)| *value)
}

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, known)| *known == value);
    found.map_or("?", |(name, _)| *name)
}

pub(super) const ACCESS: [(&str, Access); 6] = [
    ("optimized", Access::Optimized),
    ("non-optimized", Access::NonOptimized),
    ("standby", Access::Standby),
    ("unavailable", Access::Unavailable),
    ("offline", Access::Offline),
    ("transitioning", Access::Transitioning),
];

const ACCESS_STATES: &str =
    "a state: optimized, non-optimized, standby, unavailable, offline or transitioning";

const RESERVATION_TYPE: &str = "a type of reservation, e.g. write-exclusive-registrants-only";

const MISDEEDS: &str = "how: stat-sn, unknown-tag, residual, oversize, data-sn, short, opcode, target-failure, r2t, \
                        reject or twice";

/// In the order of [`Misdeed::ALL`].
fn misdeeds() -> [(&'static str, Misdeed); 11] {
    [
        ("stat-sn", Misdeed::StatSn),
        ("unknown-tag", Misdeed::UnknownTag),
        ("residual", Misdeed::Residual),
        ("oversize", Misdeed::Oversize),
        ("data-sn", Misdeed::DataSn),
        ("short", Misdeed::Short),
        ("opcode", Misdeed::Opcode),
        ("target-failure", Misdeed::TargetFailure),
        ("r2t", Misdeed::R2t),
        ("reject", Misdeed::Reject),
        ("twice", Misdeed::Twice),
    ]
}

fn network(text: &str, first: &str) -> Result<Order, OrderError> {
    match text.parse() {
        // The end of a fault is its own.
        Ok(Fault::Heal(_)) | Err(FaultError::Unknown(_)) => {
            Err(OrderError::Unknown(first.to_owned()))
        }
        Ok(fault) => Ok(Order::Network(fault)),
        Err(error) => Err(OrderError::Network(error)),
    }
}

fn slow(times: u32) -> Order {
    Order::Pace(Pace {
        times,
        ..Pace::default()
    })
}

fn shallow(room: u32) -> Order {
    Order::Pace(Pace {
        room: usize::try_from(room).ok(),
        ..Pace::default()
    })
}

fn stragglers(value: Option<&str>) -> Option<Order> {
    let (one_in, by) = value?.split_once('/')?;
    let one_in = one_in.parse().ok().filter(|one_in| *one_in > 0)?;
    let by = parse_duration(by).ok()?;
    Some(Order::Pace(Pace {
        stragglers: Some((one_in, by)),
        ..Pace::default()
    }))
}

fn attention(value: Option<&str>) -> Option<Order> {
    let (asc, ascq) = value?.split_once('/')?;
    Some(Order::Attention {
        asc: u8::from_str_radix(asc, 16).ok()?,
        ascq: u8::from_str_radix(ascq, 16).ok()?,
    })
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(Fault::Heal(Held::Release)) => f.write_str("heal"),
            Self::Network(fault) => fault.fmt(f),
            Self::Ends(End::Reset) => f.write_str("reset"),
            Self::Ends(End::Fin) => f.write_str("close"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::HalfClose(Direction::ToTarget) => f.write_str("half-close to-target"),
            Self::HalfClose(_) => f.write_str("half-close to-initiator"),
            Self::Hang(times) => write!(f, "hang {times}"),
            Self::Jam(times) => write!(f, "jam {times}"),
            Self::Pace(Pace {
                stragglers: Some((one_in, by)),
                ..
            }) => write!(f, "stragglers {one_in}/{}ms", by.as_millis()),
            Self::Pace(Pace {
                room: Some(room), ..
            }) => write!(f, "shallow {room}"),
            Self::Pace(pace) => write!(f, "slow {}", pace.times),
            Self::ClosedWindow => f.write_str("closed-window"),
            Self::Notice(notice) => match notice {
                Notice::Logout { within } => write!(f, "ask-logout {}s", within.as_secs()),
                Notice::DropConnection { wait } => write!(f, "drop-connection {}s", wait.as_secs()),
                Notice::DropSession { wait } => write!(f, "drop-session {}s", wait.as_secs()),
                Notice::Scsi { asc, ascq } => write!(f, "scsi event {asc:02x}/{ascq:02x}"),
            },
            Self::Redirect(path) => write!(f, "redirect {path}"),
            Self::Misbehave(how) => write!(f, "misbehave {}", name_of(&misdeeds(), *how)),
            Self::Access(access) => write!(f, "access {}", name_of(&ACCESS, *access)),
            Self::Impostor => f.write_str("impostor"),
            Self::Capacity(bytes) => write!(f, "capacity {bytes}B"),
            Self::Grow(bytes) => write!(f, "grow {bytes}B"),
            Self::Vanish => f.write_str("vanish"),
            Self::Reserve { exclusive: true } => f.write_str("reserve all"),
            Self::Reserve { exclusive: false } => f.write_str("reserve writes"),
            Self::Preempted => f.write_str("preempted"),
            Self::OwnReserve(kind) => write!(f, "own-reserve {kind}"),
            Self::OwnRelease => f.write_str("own-release"),
            Self::NoCarrier => f.write_str("no-carrier"),
            Self::Late(by) => write!(f, "late {}ms", by.as_millis()),
            Self::Freeze => f.write_str("freeze"),
            Self::Crash => f.write_str("crash"),
            Self::KillDaemon => f.write_str("kill-daemon"),
            Self::Remove => f.write_str("remove"),
            Self::Add => f.write_str("add"),
            Self::Reload => f.write_str("reload"),
            Self::ReplaceClient(client) => write!(f, "replace-client {client}"),
            Self::Status {
                status: BUSY,
                times,
            } => write!(f, "busy {times}"),
            Self::Status { times, .. } => write!(f, "task-set-full {times}"),
            Self::ResetUnit => f.write_str("reset-unit"),
            Self::Attention { asc, ascq } => write!(f, "attention {asc:02x}/{ascq:02x}"),
        }
    }
}

#[cfg(test)]
mod tests;
