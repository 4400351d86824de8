//! What a workload went through: counts, and stalls per event.
//!
//! A *stall* is the time between two completions while requests are outstanding: how long a client
//! of the volume saw nothing move. Marks cut the run into phases, one per event. A stall belongs to
//! the phase in which it ends; one that a mark falls into counts, with its length so far, for the
//! phase before as well.

use std::time::{Duration, Instant};

/// One phase of a run, from its mark to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The event that began it.
    pub label: String,
    /// When it began.
    pub began: Instant,
    /// When the next began, or the run ended.
    pub ended: Option<Instant>,
    /// Requests answered, errors included.
    pub ios: u64,
    /// Bytes read and written without error.
    pub bytes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Blocks that broke a rule of the oracle.
    pub mismatches: u64,
    /// Longest time without a completion while requests were outstanding.
    pub longest_stall: Duration,
    /// Longest time of one request.
    pub longest_io: Duration,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Bytes moved.
    pub bytes: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Blocks that broke a rule of the oracle.
    pub mismatches: u64,
}

/// Counts one run.
#[derive(Debug)]
pub struct Meter {
    phases: Vec<Phase>,
    outstanding: u64,
    /// The last completion, or the begin of the first request after an idle time.
    moved: Instant,
}

impl Meter {
    /// A run that begins now with the phase `label`.
    #[must_use]
    pub fn new(now: Instant, label: impl Into<String>) -> Self {
        Self {
            phases: vec![Phase::new(now, label.into())],
            outstanding: 0,
            moved: now,
        }
    }

    /// A request was submitted.
    pub fn began(&mut self, now: Instant) {
        if self.outstanding == 0 {
            self.moved = now;
        }
        self.outstanding += 1;
    }

    /// A request that was submitted at `began` was answered.
    pub fn ended(&mut self, now: Instant, began: Instant, how: Ended) {
        self.note_stall(now);
        self.outstanding -= 1;
        self.moved = now;
        let phase = self.phase();
        phase.ios += 1;
        phase.bytes += how.bytes;
        phase.errors += u64::from(how.failed);
        phase.mismatches += how.mismatches;
        phase.longest_io = phase.longest_io.max(now - began);
    }

    /// An event happened: a new phase begins.
    pub fn mark(&mut self, now: Instant, label: impl Into<String>) {
        self.finish(now);
        self.phases.push(Phase::new(now, label.into()));
    }

    /// The run is over.
    pub fn finish(&mut self, now: Instant) {
        self.note_stall(now);
        self.phase().ended = Some(now);
    }

    /// All phases, in order.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// How long nothing has moved by now.
    #[must_use]
    pub fn stalled(&self, now: Instant) -> Duration {
        if self.outstanding == 0 {
            return Duration::ZERO;
        }
        now - self.moved
    }

    fn note_stall(&mut self, now: Instant) {
        let stalled = self.stalled(now);
        let phase = self.phase();
        phase.longest_stall = phase.longest_stall.max(stalled);
    }

    fn phase(&mut self) -> &mut Phase {
        let last = self.phases.len() - 1;
        &mut self.phases[last]
    }
}

impl Phase {
    fn new(began: Instant, label: String) -> Self {
        Self {
            label,
            began,
            ended: None,
            ios: 0,
            bytes: 0,
            errors: 0,
            mismatches: 0,
            longest_stall: Duration::ZERO,
            longest_io: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn good() -> Ended {
        Ended {
            bytes: 10,
            ..Ended::default()
        }
    }

    #[test]
    fn a_stall_is_the_time_without_a_completion_while_requests_wait() {
        let t = crate::clock::now();
        let mut meter = Meter::new(t, "healthy");
        meter.began(t);
        meter.ended(t + 2 * MS, t, good());
        meter.began(t + 100 * MS);
        meter.began(t + 101 * MS);
        meter.ended(t + 103 * MS, t + 100 * MS, good());
        meter.ended(t + 110 * MS, t + 101 * MS, good());
        let phase = &meter.phases()[0];
        assert_eq!(phase.longest_stall, 7 * MS, "idle time is no stall");
        assert_eq!(phase.longest_io, 9 * MS);
        assert_eq!((phase.ios, phase.bytes), (3, 30));
    }

    #[test]
    fn a_stall_across_a_mark_counts_whole_for_the_phase_in_which_it_ends() {
        let t = crate::clock::now();
        let mut meter = Meter::new(t, "healthy");
        meter.began(t);
        meter.mark(t + 10 * MS, "cut");
        let failed = Ended {
            failed: true,
            mismatches: 2,
            ..good()
        };
        meter.ended(t + 500 * MS, t, failed);
        meter.finish(t + 600 * MS);
        let [healthy, cut] = meter.phases() else {
            panic!("two phases")
        };
        assert_eq!(healthy.longest_stall, 10 * MS);
        assert_eq!(cut.longest_stall, 500 * MS);
        assert_eq!((cut.errors, cut.mismatches), (1, 2));
        assert_eq!(cut.ended, Some(t + 600 * MS));
    }
}
