//! What a fault is: the words of `what`.

use std::fmt;
use std::str::FromStr;

use crate::fault::{Fault, FaultError};
use crate::link::{End, Held};

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The network of a path changes, in the words of `netsim fault`.
    Network(Fault),
    /// All connections of a path end; new ones are accepted at once.
    Ends(End),
    /// The initiator's side of a path's connections is reset, the target is not told.
    HalfOpen,
    /// A portal reads, executes and answers nothing.
    Freeze,
    /// The target dies, and with it all sessions; it is away as long as the fault lasts.
    Crash,
    /// The daemon is killed and started again.
    KillDaemon,
    /// A client dies with all that it had asked for, and another one comes.
    ReplaceClient(usize),
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

/// Why words are no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The first word is not known.
    #[error(
        "\"{0}\" is no fault; on a path: cut, cut-fin, blackhole [both|to-target|to-initiator], large-hole SIZE, \
         latency TIME, jitter TIME, bandwidth SIZE-PER-SECOND, corrupt ONE-IN, loss ONE-IN, reset, close, half-open, freeze; \
         on the target: crash, busy COUNT, task-set-full COUNT, attention ASC/ASCQ; on the daemon and its \
         clients: kill-daemon, replace-client NUMBER"
    )]
    Unknown(String),
    /// A word's value is not understood.
    #[error("\"{order}\" needs {what}")]
    Value {
        /// The order.
        order: &'static str,
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
        matches!(
            self,
            Self::Network(_) | Self::Ends(_) | Self::HalfOpen | Self::Freeze
        )
    }

    /// It is over at once: it has no end of its own.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        !matches!(self, Self::Network(_) | Self::Freeze | Self::Crash)
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        let value = words.next();
        let count = |order| {
            let number = value.and_then(|value| value.parse().ok());
            number.ok_or(OrderError::Value {
                order,
                what: "a number of commands",
            })
        };
        let order = match first {
            "reset" => Self::Ends(End::Reset),
            "close" => Self::Ends(End::Fin),
            "half-open" => Self::HalfOpen,
            "freeze" => Self::Freeze,
            "crash" => Self::Crash,
            "kill-daemon" => Self::KillDaemon,
            "replace-client" => {
                let number = value.and_then(|value| value.parse().ok());
                Self::ReplaceClient(number.ok_or(OrderError::Value {
                    order: "replace-client",
                    what: "the client's number, from 0",
                })?)
            }
            "busy" => Self::Status {
                status: BUSY,
                times: count("busy")?,
            },
            "task-set-full" => Self::Status {
                status: TASK_SET_FULL,
                times: count("task-set-full")?,
            },
            "attention" => attention(value)?,
            "heal" => return Err(OrderError::Unknown(first.to_owned())),
            _ => return network(text, first),
        };
        let takes_value = matches!(
            order,
            Self::ReplaceClient(_) | Self::Status { .. } | Self::Attention { .. }
        );
        if words.next().is_some() || (value.is_some() && !takes_value) {
            return Err(OrderError::Extra(text.to_owned()));
        }
        Ok(order)
    }
}

fn network(text: &str, first: &str) -> Result<Order, OrderError> {
    match text.parse() {
        Ok(fault) => Ok(Order::Network(fault)),
        Err(FaultError::Unknown(_)) => Err(OrderError::Unknown(first.to_owned())),
        Err(error) => Err(OrderError::Network(error)),
    }
}

fn attention(value: Option<&str>) -> Result<Order, OrderError> {
    let codes = value.and_then(|value| value.split_once('/'));
    let hex = |text| u8::from_str_radix(text, 16).ok();
    codes
        .and_then(|(asc, ascq)| {
            Some(Order::Attention {
                asc: hex(asc)?,
                ascq: hex(ascq)?,
            })
        })
        .ok_or(OrderError::Value {
            order: "attention",
            what: "two hexadecimal codes, e.g. 29/00",
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
            Self::Freeze => f.write_str("freeze"),
            Self::Crash => f.write_str("crash"),
            Self::KillDaemon => f.write_str("kill-daemon"),
            Self::ReplaceClient(client) => write!(f, "replace-client {client}"),
            Self::Status {
                status: BUSY,
                times,
            } => write!(f, "busy {times}"),
            Self::Status { times, .. } => write!(f, "task-set-full {times}"),
            Self::Attention { asc, ascq } => write!(f, "attention {asc:02x}/{ascq:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_read_back_from_its_own_text() {
        for text in [
            "cut",
            "blackhole to-target",
            "reset",
            "close",
            "half-open",
            "freeze",
            "crash",
            "kill-daemon",
            "replace-client 1",
            "busy 5",
            "task-set-full 7",
            "attention 29/00",
        ] {
            let order: Order = text.parse().unwrap();
            assert_eq!(order.to_string(), text);
        }
    }

    #[test]
    fn words_that_are_not_understood_are_named() {
        let message = |text: &str| text.parse::<Order>().unwrap_err().to_string();
        assert!(message("explode").contains("kill-daemon"));
        assert!(message("busy").contains("a number of commands"));
        assert!(message("attention 29").contains("29/00"));
        assert!(message("freeze now").contains("no further word"));
        assert!(message("latency 5").contains("ms"));
        assert!(
            message("heal").contains("no fault"),
            "a fault's end is its own"
        );
    }
}
