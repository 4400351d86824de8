//! How fast the commands of one portal are: all of them so many times slower, or a few of them late; and how
//! many it takes at a time.

use std::fmt;
use std::time::{Duration, Instant};

use crate::rng::Rng;

use super::Target;
use super::connection::{Connection, Phase};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Each command takes so many times as long.
    pub times: u32,
    /// One command in so many takes so much longer, or up to twice that; the others are not held up.
    pub stragglers: Option<(u64, Duration)>,
    /// So many commands are under way at a time; one more is answered with TASK SET FULL. `None`: as many as
    /// the sessions' windows allow.
    pub room: Option<usize>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            times: 1,
            stragglers: None,
            room: None,
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("as fast as it was");
        }
        let slower = (self.times != 1).then(|| format!("{} times slower", self.times));
        let late = |(one_in, by)| format!("late by {by:?} with one command in {one_in}");
        let late = self.stragglers.map(late);
        let full = |room| format!("full with {room} commands");
        let full = self.room.map(full);
        let all: Vec<String> = [slower, late, full].into_iter().flatten().collect();
        f.write_str(&all.join(", and "))
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

    /// Whether the portal has no room for a command that came in over this connection, which is not in the
    /// table now.
    pub(super) fn is_full(&self, connection: &Connection) -> bool {
        let portal = connection.portal;
        let under_way = |connection: &Connection| match &connection.phase {
            Phase::Full(session) => session.ready.len(),
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => 0,
        };
        let others = self.connections.values().filter(|c| c.portal == portal);
        let taken = under_way(connection) + others.map(under_way).sum::<usize>();
        let room = self.trouble[portal].pace.room;
        room.is_some_and(|room| taken >= room)
    }

    pub(super) fn pace_of(&mut self, portal: usize) -> Taken {
        let Pace {
            times, stragglers, ..
        } = self.trouble[portal].pace;
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
