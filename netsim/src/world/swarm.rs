//! Many seeds, one after the other.

use std::time::{Duration, Instant};

use super::{Detail, Knobs, Outcome, run};
use crate::clock;

/// Which seeds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Swarm {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Stop after so long, whatever is left.
    pub time: Option<Duration>,
}

/// What a swarm met.
#[derive(Clone, Debug, Default)]
pub struct SwarmReport {
    /// Scenarios played.
    pub played: u64,
    /// Real time that they took.
    pub took: Duration,
    /// Virtual time that passed in them.
    pub virtual_time: Duration,
    /// Requests answered.
    pub ios: u64,
    /// Late executions of commands of dead sessions.
    pub orphans_executed: u64,
    /// The slowest recovery, with its seed.
    pub slowest_recovery: (Duration, u64),
    /// Seeds that broke a rule.
    pub failed: Vec<(u64, String)>,
}

impl Swarm {
    /// Plays all seeds, as long as `meet`, which is told of each, says so.
    pub fn play(&self, mut meet: impl FnMut(u64, &Outcome) -> bool) -> SwarmReport {
        let began = clock::now();
        let over = |now: Instant| {
            self.time
                .is_some_and(|time| now.duration_since(began) >= time)
        };
        let mut report = SwarmReport::default();
        for seed in self.from..self.from.saturating_add(self.seeds) {
            if over(clock::now()) {
                break;
            }
            let outcome = run(&Knobs::draw(seed), Detail::Nothing);
            let summary = outcome.summary;
            report.played += 1;
            report.virtual_time += summary.elapsed;
            report.ios += summary.ios;
            report.orphans_executed += summary.orphans_executed;
            report.slowest_recovery = report.slowest_recovery.max((summary.recovery, seed));
            if let Some(violation) = &outcome.violation {
                report.failed.push((seed, violation.to_string()));
            }
            if !meet(seed, &outcome) {
                break;
            }
        }
        report.took = clock::now().duration_since(began);
        report
    }
}

impl SwarmReport {
    /// Scenarios in a minute of real time.
    #[must_use]
    pub fn per_minute(&self) -> f64 {
        let minutes = self.took.as_secs_f64() / 60.0;
        if minutes > 0.0 {
            f64::from(u32::try_from(self.played).unwrap_or(u32::MAX)) / minutes
        } else {
            0.0
        }
    }
}
