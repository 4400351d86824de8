//! What a run was seen to do: what reports are made of, whether its time was virtual or real.

use std::time::Duration;

use crate::report::duration;

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// READ.
    Read,
    /// WRITE, with FUA or without.
    Write,
    /// FLUSH.
    Flush,
    /// TRIM or WRITE_ZEROES.
    Zero,
}

/// The state of a path that the configuration does not have.
pub const REMOVED: &str = "removed";

/// One answered request of an NBD client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// When it was asked, since the beginning.
    pub asked: Duration,
    /// How long its answer took.
    pub took: Duration,
    /// What it was.
    pub kind: Kind,
    /// Its length in bytes; 0 for a flush.
    pub bytes: u32,
    /// Its answer was an error.
    pub failed: bool,
}

/// What a path carried in one interval of [`Recording::interval`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Commands that ended.
    pub commands: u64,
    /// Payload bytes, both ways.
    pub bytes: u64,
}

/// A path as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRecord {
    /// Its name.
    pub name: String,
    /// Its states, from when on and why, oldest first.
    pub states: Vec<(Duration, String, String)>,
    /// What it carried per interval, from the beginning.
    pub carried: Vec<Carried>,
}

impl PathRecord {
    /// It is in that state, if it was not already.
    pub fn enter(&mut self, at: Duration, state: &str, why: &str) {
        let last = self.states.last();
        if last.is_none_or(|(_, known, because)| known != state || because != why) {
            self.states.push((at, state.to_owned(), why.to_owned()));
        }
    }
}

/// What the daemon's journal says of something that happened, as `iibadm why` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it happened first, since the beginning.
    pub at: Duration,
    /// Of which path; `None`: of the volume as a whole.
    pub path: Option<usize>,
    /// What it was, what was seen, concluded and done, and how long it took if it took time.
    pub text: String,
}

impl Told {
    /// The text of an event.
    #[must_use]
    pub fn text(what: &str, why: &str, took: Option<Duration>) -> String {
        let took = took.map(|took| format!(", after {}", duration(took)));
        format!("{what}: {why}{}", took.unwrap_or_default())
    }
}

/// Something that was done to the world: a fault or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, since the beginning.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// One pass criterion and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// What was demanded, e.g. "longest stall <= 2 s".
    pub demand: String,
    /// What was seen, e.g. "870 ms".
    pub seen: String,
    /// Whether that is good enough.
    pub passed: bool,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The scenario's name.
    pub name: String,
    /// What it is about, in a sentence or two.
    pub about: String,
    /// What it can be repeated with.
    pub seed: u64,
    /// Whether time was virtual.
    pub simulated: bool,
    /// How long it lasted.
    pub lasted: Duration,
    /// Width of [`PathRecord::carried`]'s intervals.
    pub interval: Duration,
    /// Every answered request, in the order of the answers.
    pub ios: Vec<Io>,
    /// The paths.
    pub paths: Vec<PathRecord>,
    /// Faults and their ends, oldest first.
    pub marks: Vec<Mark>,
    /// The daemon's journal at the end, oldest first.
    pub journal: Vec<Told>,
    /// The longest time in which requests waited and none was answered, per mark: from it to the next;
    /// the first entry is the time before the first mark.
    pub stalls: Vec<Duration>,
    /// What was demanded.
    pub criteria: Vec<Criterion>,
}
