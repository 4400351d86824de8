//! A budget for reads that are sent twice, and when a read is late.
//!
//! A read is late after three times what 99 of 100 of its class take on the path that is best at it, and no
//! sooner than a millisecond. The budget is a share of the reads that clients ask for, saved up for
//! [`BURST`] of them: what is spent on one bad moment is earned again by good ones only, so that a target
//! that is slow as a whole is never asked for everything twice.

use std::time::Duration;

use crate::sabotage::{self, Sabotage};

use super::latency::{CLASSES, Class};
use super::outlier::Outlier;

/// So many times what 99 of 100 reads take ...
const FACTOR: u32 = 3;

/// ... and at least this is late.
const LATE_MIN: Duration = Duration::from_millis(1);

/// So many answers of a class tell what 99 of 100 take.
const ANSWERS_MIN: u32 = 64;

/// Reads that may be sent twice one after the other.
const BURST: u32 = 64;

/// The price of one, in shares of [`Budget::share`].
const PRICE: u32 = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Hedge {
    /// Of ten thousand reads so many may be sent twice; 0: none.
    share: u32,
    saved: u32,
    late: [Option<Duration>; CLASSES],
    soonest: Option<Duration>,
}

impl Hedge {
    pub(super) fn new(share: u32) -> Self {
        Self {
            share,
            saved: BURST * PRICE,
            late: [None; CLASSES],
            soonest: None,
        }
    }

    /// Another share from now on; what is late is known already.
    pub(super) fn set(&mut self, share: u32) {
        self.share = share;
        if !self.is_on() {
            (self.late, self.soonest) = ([None; CLASSES], None);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.share > 0
    }

    /// A client's read was sent.
    pub(super) fn on_read(&mut self) {
        self.saved = (self.saved + self.share).min(BURST * PRICE);
    }

    /// Whether one more may be sent twice; it is paid for then.
    pub(super) fn take(&mut self) -> bool {
        let paid = self.saved.checked_sub(PRICE);
        self.saved = paid.unwrap_or(self.saved);
        paid.is_some() && self.is_on()
    }

    /// Learns what late means from what was seen.
    pub(super) fn learn(&mut self, outlier: &Outlier) {
        if !self.is_on() {
            return;
        }
        for class in Class::all() {
            let p99 = outlier
                .p99(class, ANSWERS_MIN)
                .filter(|_| class.is_read() || sabotage::is(Sabotage::HedgedWrites));
            self.late[class.index()] = p99.map(|p99| (p99 * FACTOR).max(LATE_MIN));
        }
        self.soonest = self.late.iter().flatten().min().copied();
    }

    /// After so long a read of that class is late; `None` if that is not known.
    pub(super) fn late(&self, class: Class) -> Option<Duration> {
        self.late[class.index()]
    }

    /// No read is late any sooner.
    pub(super) fn soonest(&self) -> Option<Duration> {
        self.soonest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_share_of_the_reads_and_a_burst() {
        let mut hedge = Hedge::new(100);
        let mut taken = |reads: u32| {
            (0..reads).for_each(|_| hedge.on_read());
            std::iter::from_fn(|| hedge.take().then_some(())).count()
        };
        assert_eq!(taken(0), 64);
        assert_eq!(taken(99), 0);
        assert_eq!(taken(1), 1);
        assert_eq!(taken(1_000), 10);
        assert_eq!(taken(1_000_000), 64);
    }

    #[test]
    fn without_a_budget_nothing_is_sent_twice() {
        let mut hedge = Hedge::new(0);
        (0..100_000).for_each(|_| hedge.on_read());
        assert!(!hedge.take());
        assert_eq!(hedge.soonest(), None);
    }
}
