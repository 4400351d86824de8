//! Many seeds: one world each.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::clock;
use crate::world::{Detail, Knobs, Outcome, run};

/// Which seeds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Swarm {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Stop after so long, whatever is left.
    pub time: Option<Duration>,
    /// Threads that play; each scenario stays on one.
    pub jobs: usize,
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
    pub executed_late: u64,
    /// The slowest recovery, with its seed.
    pub slowest_recovery: (Duration, u64),
    /// Seeds that broke a rule.
    pub failed: Vec<(u64, String)>,
}

impl Swarm {
    /// Plays all seeds, as long as `meet`, which is told of each, says so. With several jobs they end in any
    /// order.
    pub fn play(&self, mut meet: impl FnMut(u64, &Outcome) -> bool) -> SwarmReport {
        let began = clock::now();
        let end = self.from.saturating_add(self.seeds);
        let (next, over) = (AtomicU64::new(self.from), AtomicBool::new(false));
        let (told, played) = mpsc::sync_channel(64);
        let work = |told: mpsc::SyncSender<(u64, Outcome)>| {
            let in_time = || self.time.is_none_or(|time| clock::now() - began < time);
            while !over.load(Ordering::Relaxed) && in_time() {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let wanted = seed < end;
                if !wanted
                    || told
                        .send((seed, run(&Knobs::draw(seed), Detail::Nothing)))
                        .is_err()
                {
                    break;
                }
            }
        };
        let mut report = SwarmReport::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let told = told.clone();
                scope.spawn(move || work(told));
            }
            drop(told);
            for (seed, outcome) in played {
                report.add(seed, &outcome);
                if !meet(seed, &outcome) {
                    over.store(true, Ordering::Relaxed);
                }
            }
        });
        report.failed.sort_unstable();
        report.took = clock::now().duration_since(began);
        report
    }
}

impl SwarmReport {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        let summary = outcome.summary;
        self.played += 1;
        self.virtual_time += summary.elapsed;
        self.ios += summary.ios;
        self.executed_late += summary.executed_late;
        self.slowest_recovery = self.slowest_recovery.max((summary.recovery, seed));
        if let Some(violation) = &outcome.violation {
            self.failed.push((seed, violation.to_string()));
        }
    }

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
