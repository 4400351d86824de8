//! What happened to a path, for `iibadm why`: bounded, oldest dropped first.
//!
//! An attempt that fails as the one before it did is counted, not written again: a path that is away for a
//! day must not push out how it went away.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::Incarnation;
use crate::limits::PATH_EVENTS_MAX;
use crate::sabotage::{self, Feature};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEvent {
    /// How long ago it happened first.
    pub ago: Duration,
    /// How long ago last, if it happened more than once.
    pub last_ago: Duration,
    /// How often in a row, other attempts at the same left aside.
    pub times: u32,
    /// The session, or the attempt at one.
    pub incarnation: Incarnation,
    /// What: a state that was entered, or a deed.
    pub what: String,
    /// What was seen and concluded.
    pub why: String,
}

#[derive(Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    times: u32,
    incarnation: Incarnation,
    what: &'static str,
    why: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Entry>);

impl Journal {
    /// Writes it down.
    pub(super) fn note(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        what: &'static str,
        why: &str,
    ) {
        if sabotage::is_without(Feature::Journal) {
            return;
        }
        if self.0.len() == PATH_EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            first: now,
            last: now,
            times: 1,
            incarnation,
            what,
            why: why.to_owned(),
        });
    }

    /// Counts it, if it happened before and nothing but such repetitions since.
    pub(super) fn repeat(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        what: &'static str,
        why: &str,
    ) {
        // The reasons of failing attempts may alternate, over two addresses of one name for instance.
        let known = self
            .0
            .iter_mut()
            .rev()
            .take_while(|entry| entry.what == what);
        for entry in known.take(4) {
            if entry.why == why {
                entry.times = entry.times.saturating_add(1);
                (entry.last, entry.incarnation) = (now, incarnation);
                return;
            }
        }
        self.note(now, incarnation, what, why);
    }

    /// All of it, oldest first.
    pub(super) fn events(&self, now: Instant) -> Vec<PathEvent> {
        let event = |entry: &Entry| PathEvent {
            ago: now.saturating_duration_since(entry.first),
            last_ago: now.saturating_duration_since(entry.last),
            times: entry.times,
            incarnation: entry.incarnation,
            what: entry.what.to_ascii_lowercase(),
            why: entry.why.clone(),
        };
        self.0.iter().map(event).collect()
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_alike_are_counted_and_push_nothing_out() {
        let t0 = Instant::now();
        let mut journal = Journal::default();
        journal.note(t0, Incarnation(1), "down", "reset");
        for n in 2..1000 {
            let now = t0 + Duration::from_secs(u64::from(n));
            let why = if n % 2 == 0 { "refused" } else { "no route" };
            journal.repeat(now, Incarnation(n), "down", why);
        }
        let events = journal.events(t0 + Duration::from_secs(1000));
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.why.as_str(), event.times))
            .collect();
        assert_eq!(seen, [("reset", 1), ("refused", 499), ("no route", 499)]);
        assert_eq!(events[2].last_ago, Duration::from_secs(1));
    }

    #[test]
    fn the_journal_is_bounded() {
        let t0 = Instant::now();
        let mut journal = Journal::default();
        for n in 0..10_000 {
            journal.note(t0, Incarnation(n), "ready", "identified");
        }
        let events = journal.events(t0);
        assert_eq!(events.len(), PATH_EVENTS_MAX);
        assert_eq!(events[PATH_EVENTS_MAX - 1].incarnation, Incarnation(9_999));
    }
}
