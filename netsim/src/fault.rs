//! Faults by name: what an operator, a drill or a scenario does to a path.
//!
//! A [`Fault`] is an order; [`PathState`] is what the orders so far add up to. The text form is one
//! line, the same on the command line, on the control socket and in a scenario:
//! `blackhole to-target`, `latency 20ms`, `bandwidth 1MiB`, `cut`, `heal drop`.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::link::{Conditions, Direction, End, Held, Hole};
use crate::quantity::{QuantityError, parse_duration, parse_size};

/// One order to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reset all connections (RST); new ones are refused.
    Cut,
    /// Close all connections (FIN); new ones are refused.
    CutFin,
    /// Reset the initiator's side of all connections; the target is not told, as by a middlebox that was
    /// restarted. Over at once: new connections are carried.
    HalfOpen,
    /// Swallow everything in a direction; connections stay open, new ones open and carry nothing.
    BlackHole(Direction),
    /// Swallow pieces larger than so many bytes, both ways: a path MTU black hole.
    LargeHole(usize),
    /// Delay everything by so much, each way.
    Latency(Duration),
    /// Add a random delay up to so much, each way.
    Jitter(Duration),
    /// Let through so many bytes per second, each way.
    Bandwidth(NonZeroU64),
    /// Flip a bit in one of so many pieces, each way.
    Corrupt(NonZeroU64),
    /// Lose one of so many pieces, each way, until TCP sends it again.
    Loss(NonZeroU64),
    /// End every fault.
    Heal(Held),
}

/// What the faults so far make of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathState {
    /// Connections are refused; those that existed ended so.
    pub cut: Option<End>,
    /// Conditions of what the initiator sends.
    pub to_target: Conditions,
    /// Conditions of what the target sends.
    pub to_initiator: Conditions,
    /// What becomes of held bytes if a hole is gone.
    pub held: Held,
}

impl PathState {
    /// Carries out one order. Faults add up until a heal.
    pub fn apply(&mut self, fault: &Fault) {
        match *fault {
            Fault::Cut => self.cut = Some(End::Reset),
            Fault::CutFin => self.cut = Some(End::Fin),
            Fault::HalfOpen => {}
            Fault::BlackHole(direction) => {
                if direction.includes_to_target() {
                    self.to_target.hole = Hole::All;
                }
                if direction.includes_to_initiator() {
                    self.to_initiator.hole = Hole::All;
                }
            }
            Fault::LargeHole(limit) => self.both(|c| c.hole = Hole::LargerThan(limit)),
            Fault::Latency(latency) => self.both(|c| c.latency = latency),
            Fault::Jitter(jitter) => self.both(|c| c.jitter = jitter),
            Fault::Bandwidth(rate) => self.both(|c| c.bandwidth = Some(rate)),
            Fault::Corrupt(one_in) => self.both(|c| c.corrupt_one_in = Some(one_in)),
            Fault::Loss(one_in) => self.both(|c| c.lose_one_in = Some(one_in)),
            Fault::Heal(held) => {
                *self = Self {
                    held,
                    ..Self::default()
                };
            }
        }
    }

    /// Whether the path is as good as a wire.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.cut.is_none() && self.to_target.is_clear() && self.to_initiator.is_clear()
    }

    fn both(&mut self, change: impl Fn(&mut Conditions)) {
        change(&mut self.to_target);
        change(&mut self.to_initiator);
    }
}

impl fmt::Display for PathState {
    /// What is wrong with the path, in the words of the faults; `clear` if nothing is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cut {
            Some(End::Reset) => return f.write_str("cut"),
            Some(End::Fin) => return f.write_str("cut-fin"),
            None if self.is_clear() => return f.write_str("clear"),
            None => {}
        }
        let mut between = "";
        for (way, conditions) in [
            ("to-target", &self.to_target),
            ("to-initiator", &self.to_initiator),
        ] {
            for condition in describe(conditions) {
                write!(f, "{between}{way} {condition}")?;
                between = "; ";
            }
        }
        Ok(())
    }
}

fn describe(conditions: &Conditions) -> Vec<String> {
    let mut words = Vec::new();
    match conditions.hole {
        Hole::None => {}
        Hole::All => words.push("blackhole".to_owned()),
        Hole::LargerThan(limit) => words.push(format!("large-hole {limit}")),
    }
    for (name, duration) in [
        ("latency", conditions.latency),
        ("jitter", conditions.jitter),
    ] {
        if !duration.is_zero() {
            words.push(format!("{name} {duration:?}"));
        }
    }
    for (name, number) in [
        ("bandwidth", conditions.bandwidth),
        ("corrupt", conditions.corrupt_one_in),
        ("loss", conditions.lose_one_in),
    ] {
        if let Some(number) = number {
            words.push(format!("{name} {number}"));
        }
    }
    words
}

/// All of them, with their values, for whoever has to write one.
pub const FAULTS: &str = "cut, cut-fin, half-open, blackhole [both|to-target|to-initiator], large-hole SIZE, \
    latency TIME, jitter TIME, bandwidth SIZE-PER-SECOND, corrupt ONE-IN, loss ONE-IN, heal [release|drop]";

/// Why a text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The first word is no fault.
    #[error("{0:?} is no fault; there are: {FAULTS}")]
    Unknown(String),
    /// A fault that needs a value has none.
    #[error("{fault} needs {what}")]
    Missing {
        /// The fault.
        fault: &'static str,
        /// What is needed.
        what: &'static str,
    },
    /// A word that does not belong there.
    #[error("{fault}: {word:?} is not understood, expected {what}")]
    Word {
        /// The fault.
        fault: &'static str,
        /// What was given.
        word: String,
        /// What may be given.
        what: &'static str,
    },
    /// A duration or size is malformed.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
}

const DIRECTIONS: &str = "both, to-target or to-initiator";

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let value = words.next();
        let need = |fault, what| value.ok_or(FaultError::Missing { fault, what });
        let positive = |fault, word: &str, number: u64| {
            NonZeroU64::new(number).ok_or_else(|| FaultError::Word {
                fault,
                word: word.to_owned(),
                what: "a number above 0",
            })
        };
        let fault = match name {
            "cut" => Self::Cut,
            "cut-fin" => Self::CutFin,
            "half-open" => Self::HalfOpen,
            "blackhole" => Self::BlackHole(direction(value)?),
            "large-hole" => {
                let size = parse_size(need("large-hole", "a size")?)?;
                Self::LargeHole(usize::try_from(size).unwrap_or(usize::MAX))
            }
            "latency" => Self::Latency(parse_duration(need("latency", "a duration")?)?),
            "jitter" => Self::Jitter(parse_duration(need("jitter", "a duration")?)?),
            "bandwidth" => {
                let word = need("bandwidth", "bytes per second")?;
                Self::Bandwidth(positive("bandwidth", word, parse_size(word)?)?)
            }
            "corrupt" => {
                let word = need("corrupt", "a number of pieces")?;
                Self::Corrupt(positive("corrupt", word, parse_size(word)?)?)
            }
            "loss" => {
                let word = need("loss", "a number of pieces")?;
                Self::Loss(positive("loss", word, parse_size(word)?)?)
            }
            "heal" => Self::Heal(held(value)?),
            other => return Err(FaultError::Unknown(other.to_owned())),
        };
        match words
            .next()
            .or_else(|| value.filter(|_| fault.takes_no_value()))
        {
            Some(extra) => Err(FaultError::Word {
                fault: "fault",
                word: extra.to_owned(),
                what: "the end of the line",
            }),
            None => Ok(fault),
        }
    }
}

impl Fault {
    fn takes_no_value(&self) -> bool {
        matches!(self, Self::Cut | Self::CutFin | Self::HalfOpen)
    }
}

fn direction(word: Option<&str>) -> Result<Direction, FaultError> {
    match word {
        None | Some("both") => Ok(Direction::Both),
        Some("to-target") => Ok(Direction::ToTarget),
        Some("to-initiator") => Ok(Direction::ToInitiator),
        Some(word) => Err(FaultError::Word {
            fault: "blackhole",
            word: word.to_owned(),
            what: DIRECTIONS,
        }),
    }
}

fn held(word: Option<&str>) -> Result<Held, FaultError> {
    match word {
        None | Some("release") => Ok(Held::Release),
        Some("drop") => Ok(Held::Drop),
        Some(word) => Err(FaultError::Word {
            fault: "heal",
            word: word.to_owned(),
            what: "release or drop",
        }),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("cut"),
            Self::CutFin => f.write_str("cut-fin"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::BlackHole(Direction::Both) => f.write_str("blackhole both"),
            Self::BlackHole(Direction::ToTarget) => f.write_str("blackhole to-target"),
            Self::BlackHole(Direction::ToInitiator) => f.write_str("blackhole to-initiator"),
            Self::LargeHole(limit) => write!(f, "large-hole {limit}"),
            Self::Latency(latency) => write!(f, "latency {}us", latency.as_micros()),
            Self::Jitter(jitter) => write!(f, "jitter {}us", jitter.as_micros()),
            Self::Bandwidth(rate) => write!(f, "bandwidth {rate}"),
            Self::Corrupt(one_in) => write!(f, "corrupt {one_in}"),
            Self::Loss(one_in) => write!(f, "loss {one_in}"),
            Self::Heal(Held::Release) => f.write_str("heal release"),
            Self::Heal(Held::Drop) => f.write_str("heal drop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_from_its_own_text() {
        let one = NonZeroU64::MIN;
        let all = [
            Fault::Cut,
            Fault::CutFin,
            Fault::HalfOpen,
            Fault::BlackHole(Direction::Both),
            Fault::BlackHole(Direction::ToTarget),
            Fault::BlackHole(Direction::ToInitiator),
            Fault::LargeHole(1400),
            Fault::Latency(Duration::from_millis(20)),
            Fault::Jitter(Duration::from_micros(50)),
            Fault::Bandwidth(one),
            Fault::Corrupt(one),
            Fault::Loss(one),
            Fault::Heal(Held::Release),
            Fault::Heal(Held::Drop),
        ];
        for fault in all {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn a_fault_that_is_not_understood_says_what_would_be() {
        let message = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert!(message("explode").contains("blackhole"));
        assert!(message("blackhole left").contains("to-target"));
        assert!(message("latency").contains("a duration"));
        assert!(message("latency 5").contains("ms"));
        assert!(message("bandwidth 0").contains("above 0"));
        assert!(message("cut now").contains("now"));
        assert!(message("heal drop twice").contains("twice"));
    }

    #[test]
    fn faults_add_up_until_the_heal() {
        let mut path = PathState::default();
        path.apply(&Fault::Latency(Duration::from_millis(5)));
        path.apply(&Fault::BlackHole(Direction::ToTarget));
        assert_eq!(path.to_target.hole, Hole::All);
        assert_eq!(path.to_initiator.hole, Hole::None);
        assert_eq!(path.to_initiator.latency, Duration::from_millis(5));
        path.apply(&Fault::Heal(Held::Drop));
        assert!(path.is_clear());
    }

    #[test]
    fn a_path_says_what_is_wrong_with_it() {
        let mut path = PathState::default();
        assert_eq!(path.to_string(), "clear");
        path.apply(&Fault::Latency(Duration::from_millis(5)));
        path.apply(&Fault::BlackHole(Direction::ToTarget));
        let expected = "to-target blackhole; to-target latency 5ms; to-initiator latency 5ms";
        assert_eq!(path.to_string(), expected);
        path.apply(&Fault::CutFin);
        assert_eq!(path.to_string(), "cut-fin");
    }
}
