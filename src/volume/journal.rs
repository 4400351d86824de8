//! What happened to a volume, for `iibadm why`: bounded, oldest dropped first.
//!
//! What happens again before anything else does is counted, not written again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::VOLUME_EVENTS_MAX;
use crate::sabotage::{self, Feature};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeEvent {
    /// How long ago it happened first.
    pub ago: Duration,
    /// How long ago last, if it happened more than once.
    pub last_ago: Duration,
    /// How often in a row.
    pub times: u32,
    /// How long it took, if it took time: the last of several.
    pub took: Option<Duration>,
    /// What it was.
    pub what: String,
    /// What was seen, concluded and done.
    pub why: String,
}

#[derive(Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    times: u32,
    took: Option<Duration>,
    what: &'static str,
    why: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Entry>);

impl Journal {
    /// Writes down what happened at `now`.
    pub(super) fn note(&mut self, now: Instant, what: &'static str, why: &str) {
        self.add(now, None, what, why);
    }

    /// Writes down what ended at `now` and began at `since`.
    pub(super) fn lasted(&mut self, since: Instant, now: Instant, what: &'static str, why: &str) {
        let took = now.saturating_duration_since(since);
        self.add(now, Some(took), what, why);
    }

    fn add(&mut self, now: Instant, took: Option<Duration>, what: &'static str, why: &str) {
        if sabotage::is_without(Feature::Journal) {
            return;
        }
        if let Some(last) = self.0.back_mut()
            && (last.what, last.why.as_str()) == (what, why)
        {
            last.times = last.times.saturating_add(1);
            (last.last, last.took) = (now, took);
            return;
        }
        if self.0.len() == VOLUME_EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            first: now,
            last: now,
            times: 1,
            took,
            what,
            why: why.to_owned(),
        });
    }

    /// All of it, oldest first.
    pub(super) fn events(&self, now: Instant) -> Vec<VolumeEvent> {
        let event = |entry: &Entry| VolumeEvent {
            ago: now.saturating_duration_since(entry.first),
            last_ago: now.saturating_duration_since(entry.last),
            times: entry.times,
            took: entry.took,
            what: entry.what.to_owned(),
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

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_happens_again_is_counted_and_keeps_how_long_it_took_last() {
        let t0 = Instant::now();
        let mut journal = Journal::default();
        journal.note(t0, "no path", "the last one was lost");
        journal.lasted(t0, t0 + 3 * SECOND, "path back", "A");
        journal.lasted(t0 + 9 * SECOND, t0 + 10 * SECOND, "path back", "A");
        let events = journal.events(t0 + 11 * SECOND);
        assert_eq!(events.len(), 2);
        assert_eq!((events[1].times, events[1].took), (2, Some(SECOND)));
        assert_eq!((events[1].ago, events[1].last_ago), (8 * SECOND, SECOND));
    }

    #[test]
    fn the_journal_is_bounded() {
        let t0 = Instant::now();
        let mut journal = Journal::default();
        for n in 0..10_000 {
            journal.note(t0, "fenced", &n.to_string());
        }
        let events = journal.events(t0);
        assert_eq!(events.len(), VOLUME_EVENTS_MAX);
        assert_eq!(events[VOLUME_EVENTS_MAX - 1].why, "9999");
    }
}
