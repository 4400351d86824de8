//! How many commands a path may have in flight: within what its session has room for, what the target bears.
//!
//! Additive increase, multiplicative decrease, as in TCP: a target that answers BUSY or TASK SET FULL, or a
//! path that has become slower than its peers, loses three tenths of its window; the window wins back one
//! slot at a time, when it was answered once through and no sooner than every [`REGAIN`]. What is refused
//! together counts once: a command that was sent before the last decrease says nothing new.
//!
//! A window as long as the session's own room is none. Latency alone never shrinks it: one path cannot know
//! whether its target would do less with less, and disks do more with more.

use std::time::{Duration, Instant};

use crate::sabotage::{self, Feature};

/// One slot is won back no sooner than this after the last one.
const REGAIN: Duration = Duration::from_millis(100);

/// A path that is slower than its peers keeps so many slots.
const SLOW_MIN: u32 = 4;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window(Option<Narrow>);

#[derive(Clone, Copy, Debug)]
struct Narrow {
    limit: u32,
    cut_at: Instant,
    grown_at: Instant,
    /// Answers since then.
    answered: u32,
}

impl Window {
    /// Commands that may be in flight.
    pub(super) fn limit(&self) -> u32 {
        match sabotage::is_without(Feature::Window) {
            true => u32::MAX,
            false => self.0.map_or(u32::MAX, |narrow| narrow.limit),
        }
    }

    /// The target has no room for a command that was sent at `sent`, while so many others are in flight.
    pub(super) fn on_refused(&mut self, now: Instant, sent: Instant, in_flight: u32) {
        if self.0.is_none_or(|narrow| sent > narrow.cut_at) {
            self.cut(now, in_flight + 1, 1);
        }
    }

    /// The path is slower than its peers, with so many commands in flight.
    pub(super) fn on_slow(&mut self, now: Instant, in_flight: u32) {
        if in_flight.min(self.limit()) > SLOW_MIN {
            self.cut(now, in_flight, SLOW_MIN);
        }
    }

    fn cut(&mut self, now: Instant, in_flight: u32, least: u32) {
        let used = u64::from(in_flight.min(self.limit()));
        let limit = u32::try_from(used * 7 / 10).unwrap_or(u32::MAX);
        self.0 = Some(Narrow {
            limit: limit.max(least),
            cut_at: now,
            grown_at: now,
            answered: 0,
        });
    }

    /// A command was answered; the session has room for so many in all.
    pub(super) fn on_answer(&mut self, now: Instant, depth: u32) {
        let Some(narrow) = &mut self.0 else { return };
        narrow.answered += 1;
        let passed = now.saturating_duration_since(narrow.grown_at);
        if narrow.answered < narrow.limit || passed < REGAIN {
            return;
        }
        // What a quiet second brings at once, a busy one brings step by step.
        let steps = 1 + u32::try_from(passed.as_secs()).unwrap_or(u32::MAX - 1);
        narrow.limit = narrow.limit.saturating_add(steps);
        (narrow.grown_at, narrow.answered) = (now, 0);
        if narrow.limit >= depth {
            self.0 = None;
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of a test's time"
)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_refused_together_counts_once() {
        let t0 = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.limit(), u32::MAX);
        for left in (0..100).rev() {
            window.on_refused(t0 + ms(5), t0, left);
        }
        assert_eq!(window.limit(), 70);
        window.on_refused(t0 + ms(20), t0 + ms(10), 69);
        assert_eq!(window.limit(), 49);
    }

    #[test]
    fn a_window_never_closes() {
        let mut now = Instant::now();
        let mut window = Window::default();
        for _ in 0..100 {
            window.on_refused(now + ms(1), now, 0);
            now += ms(2);
        }
        assert_eq!(window.limit(), 1);
    }

    #[test]
    fn it_grows_by_one_slot_each_tenth_of_a_second_and_only_if_it_is_used() {
        let t0 = Instant::now();
        let mut window = Window::default();
        window.on_refused(t0, t0, 9);
        assert_eq!(window.limit(), 7);
        (0..6).for_each(|_| window.on_answer(t0 + ms(150), 32));
        assert_eq!(window.limit(), 7, "not answered once through");
        window.on_answer(t0 + ms(150), 32);
        assert_eq!(window.limit(), 8);
        (0..100).for_each(|_| window.on_answer(t0 + ms(200), 32));
        assert_eq!(window.limit(), 8, "too soon");
        (0..10).for_each(|n| {
            (0..32).for_each(|_| window.on_answer(t0 + ms(300 + 100 * n), 32));
        });
        assert_eq!(window.limit(), 18);
    }

    #[test]
    fn a_window_as_long_as_the_session_allows_is_none() {
        let t0 = Instant::now();
        let mut window = Window::default();
        window.on_refused(t0, t0, 3);
        assert_eq!(window.limit(), 2);
        (0..2).for_each(|_| window.on_answer(t0 + Duration::from_secs(3600), 32));
        assert_eq!(window.limit(), u32::MAX, "after an idle hour");
    }

    #[test]
    fn a_slow_path_keeps_four_slots() {
        let mut now = Instant::now();
        let mut window = Window::default();
        for _ in 0..20 {
            window.on_slow(now, 64);
            now += ms(250);
        }
        assert_eq!(window.limit(), 4);
        window.on_slow(now, 3);
        assert_eq!(window.limit(), 4);
    }
}
