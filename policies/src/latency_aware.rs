//! `latency-aware`: the path that is expected to answer soonest, and that has not fallen silent.
//!
//! The cost of a path is
//!
//! ```text
//! max(latency, age of its oldest command beyond its grace) × (1 + in flight ÷ slots) ÷ weight
//! ```
//!
//! and the cheapest one of the best tier carries the I/O.
//!
//! - *latency*: of commands of this direction and size class (up to 16 KiB, 128 KiB, 1 MiB, more) on this
//!   path, as a peak-EWMA: a longer one counts at once, a shorter one as time passes (time constant
//!   [`DECAY`]). One slow answer makes a path expensive, and some time without one cheap again. Where a
//!   class was not seen yet, the nearest one that was stands in; where none was, the path is tried at once
//!   with one command.
//! - *age*: a command that has been out for more than four times the path's latency and 5 ms makes the
//!   path as expensive as the command is old: a silent path loses its share long before a timer fires.
//! - A path from which nothing was heard for [`STALE`] and that has nothing in flight gets one I/O, so
//!   that its estimate is not believed for ever.
//!
//! The latency includes the queue in front of the path, so paths of unequal bandwidth are filled until
//! they answer equally late, in proportion to their bandwidth. There is no separate bandwidth term: it could
//! only be measured while a path is saturated, and a path that is given little would look slow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::least::Least;
use crate::tier::{Rank, Tier};
use crate::{Candidates, Direction, IoView, PathView, Pick, Policy, Preference};

/// Time constant with which shorter latencies come to count.
pub const DECAY: Duration = Duration::from_secs(1);

/// After so long without an answer an idle path's estimate counts for nothing.
pub const STALE: Duration = Duration::from_secs(2);

/// A command may be out for so many times the latency before its age counts.
const GRACE_FACTOR: f64 = 4.0;

/// And for this, in seconds.
const GRACE: f64 = 0.005;

const CLASSES: usize = 4;

fn class(bytes: u32) -> usize {
    match bytes {
        0..=0x4000 => 0,
        0x4001..=0x2_0000 => 1,
        0x2_0001..=0x10_0000 => 2,
        _ => 3,
    }
}

/// A running peak, in seconds.
#[derive(Clone, Copy, Debug)]
struct Peak {
    value: f64,
    at: Instant,
}

impl Peak {
    fn after(self, now: Instant, sample: f64) -> Self {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let kept = (-passed / DECAY.as_secs_f64()).exp();
        let decayed = sample + (self.value - sample) * kept;
        Self {
            value: decayed.max(sample),
            at: now,
        }
    }
}

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
struct Known {
    reads: [Option<Peak>; CLASSES],
    writes: [Option<Peak>; CLASSES],
    last_answer: Instant,
}

impl Known {
    /// Expected latency in seconds.
    fn latency(&self, io: &IoView) -> f64 {
        let (same, other) = match io.direction {
            Direction::Read => (&self.reads, &self.writes),
            Direction::Write => (&self.writes, &self.reads),
        };
        let near = class(io.bytes);
        let nearest = |peaks: &[Option<Peak>; CLASSES]| {
            let known = (0..CLASSES).filter_map(|class| peaks[class].map(|peak| (class, peak)));
            known.min_by_key(|(class, _)| class.abs_diff(near))
        };
        let found = nearest(same).or_else(|| nearest(other));
        found.map_or(0.0, |(_, peak)| peak.value)
    }

    /// The longest of all estimates.
    fn longest(&self) -> f64 {
        let peaks = self.reads.iter().chain(&self.writes).flatten();
        peaks.map(|peak| peak.value).fold(0.0, f64::max)
    }
}

/// See the module.
#[derive(Debug)]
pub struct LatencyAware {
    tier: Tier,
    least: Least,
    known: BTreeMap<u16, Known>,
}

impl LatencyAware {
    /// No path was seen yet.
    #[must_use]
    pub fn new(preference: impl Into<Preference>) -> Self {
        Self {
            tier: Tier::new(preference.into()),
            least: Least::default(),
            known: BTreeMap::new(),
        }
    }
}

fn cost(now: Instant, view: &PathView, io: &IoView, known: Option<&Known>) -> f64 {
    let known = known.filter(|known| {
        view.in_flight > 0 || now.saturating_duration_since(known.last_answer) < STALE
    });
    let Some(known) = known else {
        return if view.in_flight == 0 { 0.0 } else { f64::MAX };
    };
    let age = view.oldest.map_or(0.0, |sent| {
        now.saturating_duration_since(sent).as_secs_f64()
    });
    let overdue = age > known.longest() * GRACE_FACTOR + GRACE;
    let latency = known.latency(io).max(if overdue { age } else { 0.0 });
    let slots = f64::from(view.in_flight) + f64::from(view.slots_free.max(1));
    latency * (1.0 + f64::from(view.in_flight) / slots) / f64::from(view.weight.max(1))
}

impl Policy for LatencyAware {
    fn choose(&mut self, now: Instant, io: &IoView, candidates: Candidates<'_>) -> Pick {
        let tier = self.tier.choose(now, candidates);
        let known = &self.known;
        self.least.choose(candidates, tier, |view| {
            cost(now, view, io, known.get(&view.path))
        })
    }

    fn on_dispatch(&mut self, _now: Instant, path: u16, _io: &IoView) {
        self.least.on_dispatch(path);
    }

    fn on_complete(&mut self, now: Instant, path: u16, io: &IoView, sent: Instant) {
        let fresh = Known {
            reads: [None; CLASSES],
            writes: [None; CLASSES],
            last_answer: now,
        };
        let known = self.known.entry(path).or_insert(fresh);
        // What was believed before a long silence counts for nothing.
        if now.saturating_duration_since(known.last_answer) >= STALE {
            *known = fresh;
        }
        known.last_answer = now;
        // A flush takes as long as the cache is full; it says nothing about the path.
        if io.bytes == 0 {
            return;
        }
        let sample = now.saturating_duration_since(sent).as_secs_f64();
        let peaks = match io.direction {
            Direction::Read => &mut known.reads,
            Direction::Write => &mut known.writes,
        };
        let peak = &mut peaks[class(io.bytes)];
        *peak = Some(match *peak {
            Some(peak) => peak.after(now, sample),
            None => Peak {
                value: sample,
                at: now,
            },
        });
    }

    fn on_roster(&mut self, now: Instant, paths: &[PathView]) {
        self.tier.update(now, paths);
        self.least.update(paths);
        self.known
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
mod tests;
