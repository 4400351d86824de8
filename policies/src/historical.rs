//! `historical-service-time`: the path that is expected to have served the I/O first.
//!
//! dm-multipath's idea (dm-historical-service-time): a path's *service time* is how long it was busy with
//! one command, that is, from the later of the command's sending and the answer before it to its answer. Its
//! running mean (each answer counts an eighth) times the commands that would be in flight, divided by the
//! weight, is the cost; the cheapest path of the best tier carries the I/O.
//!
//! A mean says nothing once the path is no longer used: a path of which nothing was heard for
//! [`STALE`] and that has nothing in flight gets one I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::least::Least;
use crate::tier::{Rank, Tier};
use crate::{Candidates, IoView, PathView, Pick, Policy, Preference};

/// After so long without an answer a mean counts for nothing.
pub const STALE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct History {
    /// Seconds per command.
    mean: f64,
    last_answer: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct HistoricalServiceTime {
    tier: Tier,
    least: Least,
    histories: BTreeMap<u16, History>,
}

impl HistoricalServiceTime {
    /// No path was seen yet.
    #[must_use]
    pub fn new(preference: impl Into<Preference>) -> Self {
        Self {
            tier: Tier::new(preference.into()),
            least: Least::default(),
            histories: BTreeMap::new(),
        }
    }
}

fn cost(now: Instant, view: &PathView, history: Option<&History>) -> f64 {
    let known = history.filter(|history| {
        view.in_flight > 0 || now.saturating_duration_since(history.last_answer) < STALE
    });
    // Nothing known: tried at once, but with one command only.
    let mean = known.map_or(0.0, |history| history.mean);
    let unknown_and_busy = known.is_none() && view.in_flight > 0;
    if unknown_and_busy {
        return f64::MAX;
    }
    mean * (f64::from(view.in_flight) + 1.0) / f64::from(view.weight.max(1))
}

impl Policy for HistoricalServiceTime {
    fn choose(&mut self, now: Instant, _io: &IoView, candidates: Candidates<'_>) -> Pick {
        let tier = self.tier.choose(now, candidates);
        let histories = &self.histories;
        self.least.choose(candidates, tier, |view| {
            cost(now, view, histories.get(&view.path))
        })
    }

    fn on_dispatch(&mut self, _now: Instant, path: u16, _io: &IoView) {
        self.least.on_dispatch(path);
    }

    fn on_complete(&mut self, now: Instant, path: u16, _io: &IoView, sent: Instant) {
        let known = self.histories.get(&path);
        let since = known.map_or(sent, |history| history.last_answer.max(sent));
        let sample = now.saturating_duration_since(since).as_secs_f64();
        let fresh =
            known.filter(|history| now.saturating_duration_since(history.last_answer) < STALE);
        let mean = fresh.map_or(sample, |history| {
            history.mean + (sample - history.mean) / 8.0
        });
        self.histories.insert(
            path,
            History {
                mean,
                last_answer: now,
            },
        );
    }

    fn on_roster(&mut self, now: Instant, paths: &[PathView]) {
        self.tier.update(now, paths);
        self.least.update(paths);
        self.histories
            .retain(|path, _| paths.iter().any(|view| view.path == *path));
    }

    fn tier(&self, path: &PathView) -> Rank {
        self.tier.of(path)
    }

    fn refreshes(&self) -> bool {
        true
    }

    fn forget(&mut self, path: u16) {
        self.tier.forget(path);
    }

    fn fail_back(&mut self) {
        self.tier.forgive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Direction;
    use crate::Failback;
    use crate::view::tests::{path, start};

    const READ: IoView = IoView {
        direction: Direction::Read,
        bytes: 4096,
        lba: 0,
    };

    #[test]
    fn the_path_with_the_shorter_service_time_gets_more_and_the_other_is_not_forgotten() {
        let mut now = start();
        let mut policy = HistoricalServiceTime::new(Failback::Immediate);
        let mut views = [path(0), path(1)];
        policy.on_roster(now, &views);
        let mut served = [0_u32; 2];
        // One at a time: 1 ms over path 0, 10 ms over path 1.
        for _ in 0..6_000 {
            let pick = policy.choose(now, &READ, Candidates::new(&views).unwrap());
            let index = usize::from(pick.path());
            policy.on_dispatch(now, pick.path(), &READ);
            views[index].in_flight = 1;
            let sent = now;
            now += Duration::from_millis([1, 10][index]);
            policy.on_complete(now, pick.path(), &READ, sent);
            views[index].in_flight = 0;
            served[index] += 1;
        }
        assert!(served[1] >= 2 && served[1] < 10, "{served:?}");
    }

    #[test]
    fn commands_that_overlap_share_their_time() {
        let t0 = start();
        let mut policy = HistoricalServiceTime::new(Failback::Immediate);
        for n in 1..=20 {
            policy.on_complete(t0 + Duration::from_millis(n), 0, &READ, t0);
        }
        let mean = policy.histories[&0].mean;
        assert!((mean - 0.001).abs() < 1e-9, "one per millisecond: {mean}");
    }
}
