//! How fast what waited for a path goes out when there is one again.
//!
//! A target that comes back, often with cold caches and busy with itself, is not met by all that has gathered
//! meanwhile at once: until that is drained, commands go out at most half as fast again as they did before
//! the last path was lost. What "before" was is counted in slots of time: an average over the last few of
//! them, of which the highest is kept for some minutes, for a target may fall silent long before its paths
//! are lost.

use crate::sabotage::{self, Feature};
use std::time::{Duration, Instant};

/// Commands are counted in slots of so long.
const SLOT: Duration = Duration::from_millis(250);

/// Slots per second.
const SLOTS: u64 = 4;

/// Averages are kept in parts of a command.
const PARTS: u64 = 1024;

/// Commands per second that no target is overrun by: as many go out whatever the rate was.
const LEAST: u64 = 256;

/// Commands that go out at once, besides what the rate gives in 10 ms.
const BURST: u64 = 4;

/// A drain is no longer held back after this: the target has shown what it can do.
const LONGEST: Duration = Duration::from_secs(10);

const NANOS: u128 = 1_000_000_000;

#[derive(Debug)]
struct Drain {
    until: Instant,
    /// Commands per second.
    rate: u64,
    /// When as many commands as may go out at once could go out, counted on by one command's time each.
    level: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    slot: Instant,
    /// Commands of this slot.
    count: u64,
    /// Of the last slots, in parts of a command per slot.
    average: u64,
    /// The highest average of the last minutes.
    usual: u64,
    drain: Option<Drain>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            slot: now,
            count: 0,
            average: 0,
            usual: 0,
            drain: None,
        }
    }

    /// Closes the slots that are over.
    fn count_up_to(&mut self, now: Instant) {
        let mut left = 0;
        while self.slot + SLOT <= now {
            self.slot += SLOT;
            let count = std::mem::take(&mut self.count) * PARTS;
            self.average = (self.average * 7 + count) / 8;
            self.usual = (self.usual - self.usual / 1024).max(self.average);
            left += 1;
            if left > 8192 {
                // Long idle: all of it has decayed.
                (self.slot, self.average, self.usual) = (now, 0, 0);
            }
        }
    }

    /// The last path is lost.
    pub(super) fn on_last_lost(&mut self, now: Instant) {
        self.count_up_to(now);
        self.drain = None;
    }

    /// There is a path again. The time without one does not count.
    pub(super) fn on_back(&mut self, now: Instant) {
        if sabotage::is_without(Feature::PacedDrain) {
            return;
        }
        (self.slot, self.count) = (now, 0);
        let usual = self.usual * SLOTS / PARTS;
        self.drain = Some(Drain {
            until: now + LONGEST,
            rate: (usual + usual / 2).max(LEAST),
            level: now,
        });
    }

    /// Nothing waits any more.
    pub(super) fn on_drained(&mut self) {
        self.drain = None;
    }

    /// Whether a command may go out now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.next_at().is_none_or(|at| at <= now)
    }

    /// A command goes out.
    pub(super) fn on_dispatch(&mut self, now: Instant) {
        if self.drain.as_ref().is_some_and(|drain| drain.until <= now) {
            self.drain = None;
        }
        if let Some(drain) = &mut self.drain {
            drain.level = drain.level.max(now) + drain.step();
        }
        self.count_up_to(now);
        self.count += 1;
    }

    /// When the next command may go out, if commands are held back.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let drain = self.drain.as_ref()?;
        Some(drain.next_at().min(drain.until))
    }
}

impl Drain {
    /// From one command to the next.
    fn step(&self) -> Duration {
        let nanos = NANOS / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn next_at(&self) -> Instant {
        let at_once = u32::try_from(BURST + self.rate / 100).unwrap_or(u32::MAX);
        // The origin of time is no bound: the level is never before the drain began.
        let lead = self.step().saturating_mul(at_once);
        self.level.checked_sub(lead).unwrap_or(self.level)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]
mod tests {
    use super::*;

    fn take(pace: &mut Pace, now: Instant) -> bool {
        let allowed = pace.allows(now);
        if allowed {
            pace.on_dispatch(now);
        }
        allowed
    }

    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Commands that go out in so long, if as many wait as like.
    fn sent(pace: &mut Pace, from: Instant, time: Duration) -> u32 {
        let (mut now, mut sent) = (from, 0);
        while now < from + time {
            while take(pace, now) {
                sent += 1;
                assert!(sent < 1_000_000, "there is no pace");
            }
            let next = pace.next_at().expect("held back");
            assert!(next > now, "a deadline in the past");
            now = next;
        }
        sent
    }

    fn steady(rate: u32) -> (Pace, Instant) {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..rate * 30 {
            now += SECOND / rate;
            assert!(take(&mut pace, now), "nothing is held back before");
        }
        (pace, now)
    }

    #[test]
    fn what_has_waited_goes_out_half_as_fast_again_as_before() {
        for silent in [Duration::ZERO, 30 * SECOND] {
            let (mut pace, now) = steady(2000);
            pace.on_last_lost(now + silent);
            let back = now + silent + 600 * SECOND;
            pace.on_back(back);
            let second = sent(&mut pace, back, SECOND);
            assert!((2600..=3060).contains(&second), "{second}");
            let tenth = sent(&mut pace, back + SECOND, MILLI * 100);
            assert!((260..=310).contains(&tenth), "{tenth}");
        }
    }

    #[test]
    fn a_quiet_volume_is_not_held_back_for_long() {
        let (mut pace, now) = steady(3);
        pace.on_last_lost(now);
        pace.on_back(now);
        let second = sent(&mut pace, now, SECOND);
        assert!((250..=270).contains(&second), "{second}");
    }

    #[test]
    fn the_pace_ends_with_the_backlog_or_after_a_while() {
        let (mut pace, now) = steady(10);
        pace.on_last_lost(now);
        pace.on_back(now);
        pace.on_drained();
        assert!((0..10_000).all(|_| take(&mut pace, now)));
        pace.on_back(now);
        assert!(!(0..10_000).all(|_| take(&mut pace, now)));
        assert!((0..10_000).all(|_| take(&mut pace, now + LONGEST)));
    }
}
