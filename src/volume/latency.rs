//! How long paths took: counts of answers by class and time, cheap to add to, and read at leisure.
//!
//! A *class* is a direction and a size: only what is alike is compared. Times fall into buckets of a quarter
//! of an octave, from 32 µs to half a minute, so that a quantile is right to a fifth.

use std::time::Duration;

use policies::{Direction, IoView};

/// Kinds of I/O that are told apart: two directions, four sizes.
pub(super) const CLASSES: usize = 8;

/// What is faster than this is not told apart, in microseconds; a power of two.
const FLOOR: u32 = 32;

/// Octaves above [`FLOOR`]; what is slower counts as the last.
const OCTAVES: usize = 20;

/// One for what is below the floor, four for each octave.
const BUCKETS: usize = 1 + 4 * OCTAVES;

/// Above so many, older answers count half.
const KEPT: u32 = 512;

/// A direction and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    /// `None` for commands that move no data: they take as long as they take.
    pub(super) fn of(io: &IoView) -> Option<Self> {
        let size = match io.bytes {
            0 => return None,
            1..=0x4000 => 0,
            0x4001..=0x2_0000 => 1,
            0x2_0001..=0x10_0000 => 2,
            _ => 3,
        };
        Some(match io.direction {
            Direction::Read => Self(size),
            Direction::Write => Self(4 + size),
        })
    }

    pub(super) fn is_read(self) -> bool {
        self.0 < 4
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..).take(CLASSES).map(Self)
    }

    /// Its place in an array of [`CLASSES`].
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Counts of answers by the time that they took.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    if micros < FLOOR {
        return 0;
    }
    let octave = micros.ilog2() - FLOOR.ilog2();
    // The two bits below the highest.
    let quarter = (micros >> (micros.ilog2() - 2)) & 3;
    (1 + (octave * 4 + quarter) as usize).min(BUCKETS - 1)
}

/// The longest time that falls into the bucket.
fn ceiling(bucket: usize) -> Duration {
    let above = bucket as u64;
    let (octave, quarter) = (above / 4, above % 4);
    Duration::from_micros((u64::from(FLOOR) << octave) * (4 + quarter) / 4)
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.total += 1;
    }

    /// Answers counted.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// What so many of a thousand answers stay below; `None` without answers.
    pub(super) fn quantile(&self, permille: u32) -> Option<Duration> {
        let rank = (u64::from(self.total) * u64::from(permille)).div_ceil(1000);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if count > 0 && seen >= rank {
                return Some(ceiling(bucket));
            }
        }
        None
    }

    /// Answers that took longer, as far as the buckets tell.
    pub(super) fn above(&self, time: Duration) -> u32 {
        self.counts[bucket(time) + 1..].iter().sum()
    }

    /// Adds what `fresh` counted, and empties that. What is old comes to count less the more comes after.
    pub(super) fn absorb(&mut self, fresh: &mut Self) {
        if fresh.total == 0 {
            return;
        }
        while self.total > KEPT {
            self.halve();
        }
        for (count, more) in self.counts.iter_mut().zip(&fresh.counts) {
            *count += more;
        }
        self.total += fresh.total;
        *fresh = Self::default();
    }

    pub(super) fn halve(&mut self) {
        for count in &mut self.counts {
            *count /= 2;
        }
        self.total = self.counts.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_quantile_is_never_too_short_and_right_to_a_quarter() {
        for took in (0..26).map(|n| micros(33 << (n / 2) << (n % 2)).min(micros(30_000_000))) {
            let mut histogram = Histogram::default();
            histogram.add(took);
            let seen = histogram.quantile(950).unwrap();
            assert!(seen >= took && seen <= took * 5 / 4, "{took:?} as {seen:?}");
        }
    }

    #[test]
    fn quantiles_leave_out_what_is_above_them() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(950), None);
        (0..95).for_each(|_| histogram.add(micros(1_000)));
        (0..5).for_each(|_| histogram.add(micros(300_000)));
        assert!(histogram.quantile(950).unwrap() < micros(1_300));
        assert!(histogram.quantile(960).unwrap() >= micros(300_000));
        assert!(histogram.quantile(500).unwrap() < micros(1_300));
    }

    #[test]
    fn answers_above_a_time_are_counted() {
        let mut histogram = Histogram::default();
        for took in [100, 1_000, 10_000, 100_000_000] {
            histogram.add(micros(took));
        }
        let above = [50, 5_000, 50_000, 1_000_000_000].map(|time| histogram.above(micros(time)));
        assert_eq!(above, [4, 2, 1, 0]);
    }

    #[test]
    fn what_is_old_gives_way_to_what_is_new() {
        let mut recent = Histogram::default();
        let level = |recent: &mut Histogram, took, windows: u32| {
            for _ in 0..windows {
                let mut fresh = Histogram::default();
                (0..100).for_each(|_| fresh.add(micros(took)));
                recent.absorb(&mut fresh);
                assert_eq!(fresh.total(), 0);
            }
            recent.quantile(950).unwrap()
        };
        assert!(level(&mut recent, 1_000, 20) < micros(1_300));
        assert!(level(&mut recent, 50_000, 1) >= micros(50_000), "at once");
        assert!(level(&mut recent, 1_000, 20) < micros(1_300));
        assert!(recent.total() < 4 * KEPT);
    }

    #[test]
    fn the_longest_times_count_as_the_last_bucket() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_secs(100_000));
        assert!(histogram.quantile(500).unwrap() > Duration::from_secs(20));
    }

    #[test]
    fn reads_and_writes_and_sizes_are_told_apart() {
        let class = |direction, bytes| {
            Class::of(&IoView {
                direction,
                bytes,
                lba: 0,
            })
        };
        let mut seen: Vec<Class> = Vec::new();
        for direction in [Direction::Read, Direction::Write] {
            assert_eq!(class(direction, 0), None);
            for bytes in [4096, 64 << 10, 1 << 20, 4 << 20] {
                seen.push(class(direction, bytes).unwrap());
            }
        }
        assert_eq!(seen, Class::all().collect::<Vec<_>>());
    }
}
