//! When to connect again: at once after a loss, then with pauses that grow by half up to a cap, for ever.
//! Each pause is drawn between half of that and all of it, so that after a short loss a path is back within
//! two thirds of the time that it was away for. An attempt that got through to the target counts twice: a
//! login is work for it.

use std::time::{Duration, Instant};

/// The first wait after a failed attempt.
const FIRST: Duration = Duration::from_millis(50);

/// No wait is longer, so that a path is back at most this long after its portal.
const CAP: Duration = Duration::from_secs(5);

/// The same while no path of the volume carries I/O: everything waits for the first that is back.
const CAP_ALONE: Duration = Duration::from_secs(1);

/// So long in use, and the next loss starts from the beginning.
const HEALTHY: Duration = Duration::from_secs(30);

/// Seeded, so that a run can be repeated and many paths do not march in step.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    up_since: Option<Instant>,
    state: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            failures: 0,
            up_since: None,
            state: seed,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The path went into use.
    pub(super) fn on_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// An attempt failed, or a session was lost: how long to wait; `alone` if no other path carries I/O,
    /// `reached` if there was a connection.
    pub(super) fn on_down(&mut self, now: Instant, alone: bool, reached: bool) -> Duration {
        let was_healthy = self
            .up_since
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) >= HEALTHY);
        if was_healthy {
            self.failures = 0;
        }
        let exponent = self.failures;
        let weight = if reached && exponent > 0 { 2 } else { 1 };
        self.failures = self.failures.saturating_add(weight);
        if exponent == 0 {
            return Duration::ZERO;
        }
        let cap = if alone { CAP_ALONE } else { CAP };
        let ceiling = (1..exponent).try_fold(FIRST, |pause, _| {
            let longer = pause + pause / 2;
            (longer < cap).then_some(longer)
        });
        let ceiling = ceiling.unwrap_or(cap);
        let millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis / 2 + self.random() % (millis / 2 + 1))
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
    fn pauses_grow_up_to_the_cap_and_never_end() {
        let mut backoff = Backoff::new(7);
        let now = Instant::now();
        assert_eq!(backoff.on_down(now, false, false), Duration::ZERO);
        let mut last_ceiling = FIRST;
        for _ in 0..100 {
            let wait = backoff.on_down(now, false, false);
            assert!(
                wait >= last_ceiling / 2 && wait <= last_ceiling,
                "{wait:?} of {last_ceiling:?}"
            );
            last_ceiling = (last_ceiling + last_ceiling / 2).min(CAP);
        }
        assert_eq!(last_ceiling, CAP);
    }

    #[test]
    fn where_everything_waits_for_it_a_path_is_tried_every_second() {
        let mut backoff = Backoff::new(7);
        let now = Instant::now();
        for _ in 0..100 {
            assert!(backoff.on_down(now, true, false) <= CAP_ALONE);
        }
        assert!(backoff.on_down(now, false, false) > CAP_ALONE);
    }

    #[test]
    fn only_a_long_time_in_use_starts_from_the_beginning() {
        let mut backoff = Backoff::new(7);
        let now = Instant::now();
        for _ in 0..5 {
            backoff.on_down(now, false, false);
        }
        backoff.on_up(now);
        assert!(
            backoff.on_down(now + HEALTHY / 2, false, false) > Duration::ZERO,
            "a flapping path waits"
        );
        backoff.on_up(now);
        assert_eq!(backoff.on_down(now + HEALTHY, false, false), Duration::ZERO);
    }

    #[test]
    fn logins_that_fail_make_pauses_grow_faster() {
        let (mut refused, mut admitted) = (Backoff::new(7), Backoff::new(7));
        let now = Instant::now();
        let mut waits = |_| {
            let refused = refused.on_down(now, false, false);
            (refused, admitted.on_down(now, false, true))
        };
        let waits: Vec<_> = (0..8).map(&mut waits).collect();
        assert_eq!(waits[0], (Duration::ZERO, Duration::ZERO), "at once");
        assert!(waits[7].1 > waits[7].0 * 3, "{waits:?}");
    }

    #[test]
    fn two_seeds_do_not_march_in_step() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            let now = Instant::now();
            (0..20)
                .map(|_| backoff.on_down(now, false, false))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
