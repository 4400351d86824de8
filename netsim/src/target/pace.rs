//! How fast the commands of one portal are: all of them so many times slower, or a few of them late.

use std::fmt;
use std::time::{Duration, Instant};

use crate::rng::Rng;

use super::Target;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Each command takes so many times as long.
    pub times: u32,
    /// One command in so many takes so much longer, or up to twice that; the others are not held up.
    pub stragglers: Option<(u64, Duration)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            times: 1,
            stragglers: None,
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.times, self.stragglers) {
            (1, None) => f.write_str("as fast as it was"),
            (times, None) => write!(f, "{times} times slower"),
            (1, Some((one_in, by))) => write!(f, "late by {by:?} with one command in {one_in}"),
            (times, Some((one_in, by))) => {
                write!(
                    f,
                    "{times} times slower, and late by {by:?} with one command in {one_in}"
                )
            }
        }
    }
}

/// What a command of a session takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) service: Duration,
    /// And so much longer, without holding up what comes after it.
    pub(super) late: Duration,
}

impl Target {
    /// Commands that come in at this portal from now on are so fast.
    pub fn set_pace(&mut self, portal: usize, pace: Pace) {
        self.trouble[portal].pace = pace;
    }

    pub(super) fn pace_of(&mut self, portal: usize) -> Taken {
        let Pace { times, stragglers } = self.trouble[portal].pace;
        let straggles = |rng: &mut Rng, (one_in, by): (u64, Duration)| {
            let late = one_in > 0 && rng.chance(1, one_in);
            late.then(|| by + rng.duration_below(by))
        };
        let late = stragglers.and_then(|those| straggles(&mut self.pace_rng, those));
        Taken {
            service: self.portals[portal].service_time * times,
            late: late.unwrap_or_default(),
        }
    }
}

/// When a command may be carried out: behind those of its session before it, unless they are late.
pub(super) fn due(now: Instant, taken: Taken, in_order: &mut Option<Instant>) -> Instant {
    let due = (now + taken.service).max(in_order.unwrap_or(now));
    *in_order = Some(due);
    due + taken.late
}
