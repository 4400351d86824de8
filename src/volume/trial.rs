//! May a path that was out of use come back? Shown by reads beside a path in use.
//!
//! [`PROBES`] reads of mixed sizes, all over the unit, one after the other, [`INTERVAL`] apart, each sent on
//! the path on trial and at the same time on a peer that is in use. The trial is passed if no read took more
//! than twice as long as the longest of the same size did on the peer, and a millisecond. A read that fails,
//! or takes far longer, begins it again, after a pause that doubles up to [`PAUSE_MAX`].
//!
//! What an idle path answers quickly says little of it under load: the slow start comes after.

use std::time::{Duration, Instant};

/// Reads that must be answered in time, one after the other.
pub(super) const PROBES: u32 = 16;

/// Between two of them.
const INTERVAL: Duration = Duration::from_millis(100);

/// The longest pause after a failed one.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// So many times the peer's time, ...
const FACTOR: u32 = 2;

/// ... and so much more, is in time.
const SLACK: Duration = Duration::from_millis(1);

/// Beyond this, again with the slack, the trial need not go on.
const HOPELESS: u32 = 6;

/// Sizes of the reads, in bytes; the last one is the longest that is asked for at a time, or this if longer
/// ones are allowed: more would only stand in the way of clients.
pub(super) const SIZES: [u32; 3] = [4 << 10, 64 << 10, 1 << 20];

/// The pace of a trial whose pauses are what they are, in permille of them.
pub(super) const WHOLE_PAUSE: u32 = 1000;

/// What is to be read, on both paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes.
    pub(super) bytes: u32,
    /// Where in the unit: a fraction of 2^32.
    pub(super) place: u32,
    /// Its number.
    pub(super) number: u32,
}

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Open,
    /// It begins again.
    Failed,
    Passed,
}

/// One read, and how long it took where it was answered.
#[derive(Clone, Copy, Debug)]
struct Probe {
    kind: usize,
    mine: Option<Duration>,
    peers: Option<Duration>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Trial {
    /// Reads answered in a row.
    answered: u32,
    /// Reads made at all: they are all over the unit.
    made: u32,
    next: Instant,
    pause: Duration,
    /// Its pauses are so long, in permille.
    pace: u32,
    under_way: Option<Probe>,
    /// The longest time for each size.
    mine: [Duration; SIZES.len()],
    peers: [Duration; SIZES.len()],
}

impl Trial {
    /// A trial that begins at `from`, with pauses of so many permille.
    pub(super) fn new(from: Instant, pace: u32) -> Self {
        Self {
            pace,
            answered: 0,
            made: 0,
            next: from,
            pause: INTERVAL,
            under_way: None,
            mine: Default::default(),
            peers: Default::default(),
        }
    }

    fn paced(&self, pause: Duration) -> Duration {
        pause * self.pace / WHOLE_PAUSE
    }

    /// Reads that were answered in time so far.
    pub(super) fn answered(&self) -> u32 {
        self.answered
    }

    /// When the next read is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.under_way.is_none().then_some(self.next)
    }

    /// The read that is due.
    pub(super) fn read(&mut self) -> Read {
        let kind = match self.answered % 8 {
            7 => 2,
            n => (n % 2) as usize,
        };
        self.made = self.made.wrapping_add(1);
        self.under_way = Some(Probe {
            kind,
            mine: None,
            peers: None,
        });
        Read {
            bytes: SIZES[kind],
            // The golden ratio spreads any number of places evenly (Fibonacci hashing).
            place: self.made.wrapping_mul(0x9e37_79b9),
            number: self.made,
        }
    }

    /// Whether the answer to that read is waited for.
    pub(super) fn asks(&self, number: u32) -> bool {
        self.under_way.is_some() && self.made == number
    }

    /// There is no room for the read that is due: it is made later.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.next = now + INTERVAL;
    }

    /// The path on trial answered.
    pub(super) fn on_own_answer(&mut self, now: Instant, took: Duration) -> Progress {
        if let Some(probe) = &mut self.under_way {
            probe.mine = Some(took);
        }
        self.judge(now)
    }

    /// The peer answered.
    pub(super) fn on_peer_answer(&mut self, now: Instant, took: Duration) -> Progress {
        if let Some(probe) = &mut self.under_way {
            probe.peers = Some(took);
        }
        self.judge(now)
    }

    /// The read failed on the path on trial, which begins it again; or on the peer, whatever for: nothing is
    /// shown, and the read is made again.
    pub(super) fn on_failure(&mut self, now: Instant, own: bool) -> Progress {
        self.under_way = None;
        if own {
            return self.begin_again(now);
        }
        self.next = now + INTERVAL;
        Progress::Open
    }

    fn begin_again(&mut self, now: Instant) -> Progress {
        *self = Self {
            made: self.made,
            pause: (self.pause * 2).min(PAUSE_MAX),
            ..Self::new(now + self.paced(self.pause), self.pace)
        };
        Progress::Failed
    }

    fn judge(&mut self, now: Instant) -> Progress {
        let Some(Probe {
            kind,
            mine: Some(mine),
            peers: Some(peers),
        }) = self.under_way
        else {
            return Progress::Open;
        };
        self.under_way = None;
        self.next = now.max(self.next + self.paced(INTERVAL));
        self.mine[kind] = self.mine[kind].max(mine);
        self.peers[kind] = self.peers[kind].max(peers);
        self.answered += 1;
        if mine > (self.peers[kind] + SLACK) * HOPELESS {
            return self.begin_again(now);
        }
        if self.answered < PROBES {
            return Progress::Open;
        }
        let late = |kind: usize| self.mine[kind] > self.peers[kind] * FACTOR + SLACK;
        if (0..SIZES.len()).any(late) {
            return self.begin_again(now);
        }
        Progress::Passed
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

    /// Plays one; the path takes `mine` for its nth read, the peer a millisecond.
    fn play(mine: impl Fn(u32) -> Duration) -> (Progress, Duration) {
        let t0 = Instant::now();
        let mut trial = Trial::new(t0, WHOLE_PAUSE);
        let mut now = t0;
        for n in 0..PROBES {
            now = trial.due().unwrap().max(now);
            trial.read();
            assert_eq!(trial.due(), None, "one at a time");
            trial.on_peer_answer(now, ms(1));
            let progress = trial.on_own_answer(now + mine(n), mine(n));
            now += mine(n);
            if progress != Progress::Open {
                return (progress, now - t0);
            }
        }
        unreachable!("sixteen reads decide");
    }

    #[test]
    fn a_path_as_fast_as_its_peer_passes_after_sixteen_reads() {
        let (progress, after) = play(|_| ms(1));
        assert_eq!(progress, Progress::Passed);
        assert!(after > ms(1_500) && after < ms(1_700), "{after:?}");
    }

    #[test]
    fn one_late_answer_fails_the_trial_at_its_end() {
        assert_eq!(play(|n| ms(if n == 6 { 3 } else { 1 })).0, Progress::Passed);
        let (progress, after) = play(|n| ms(if n == 6 { 4 } else { 1 }));
        assert_eq!(progress, Progress::Failed);
        assert!(after > ms(1_500));
    }

    #[test]
    fn a_path_that_is_much_slower_fails_with_the_first_read() {
        let (progress, after) = play(|_| ms(20));
        assert_eq!((progress, after), (Progress::Failed, ms(20)));
    }

    #[test]
    fn a_path_that_is_slow_with_long_reads_only_fails() {
        let mut trial = Trial::new(Instant::now(), WHOLE_PAUSE);
        for _ in 0..PROBES {
            let now = trial.due().unwrap();
            let read = trial.read();
            let took = ms(u64::from(read.bytes >> 14));
            trial.on_own_answer(now, took);
            if trial.on_peer_answer(now, ms(1)) == Progress::Failed {
                return;
            }
        }
        panic!("64 KiB take 4 ms, a megabyte 64 ms");
    }

    #[test]
    fn a_failing_trial_goes_on_for_ever_at_a_bounded_rate() {
        let t0 = Instant::now();
        let mut trial = Trial::new(t0, WHOLE_PAUSE);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let now = trial.due().unwrap();
            trial.read();
            assert_eq!(trial.on_failure(now, true), Progress::Failed);
            pauses.push(trial.due().unwrap() - now);
        }
        assert_eq!(pauses[..4], [ms(100), ms(200), ms(400), ms(800)]);
        assert!(pauses[4..].iter().all(|&pause| pause == PAUSE_MAX));
    }

    #[test]
    fn what_the_peer_fails_is_asked_again_and_counts_for_nothing() {
        let mut trial = Trial::new(Instant::now(), WHOLE_PAUSE);
        let now = trial.due().unwrap();
        trial.read();
        trial.on_own_answer(now, ms(1));
        assert_eq!(trial.on_failure(now, false), Progress::Open);
        assert_eq!((trial.answered(), trial.due()), (0, Some(now + INTERVAL)));
    }

    #[test]
    fn reads_are_of_all_sizes_and_all_over_the_unit() {
        let mut trial = Trial::new(Instant::now(), WHOLE_PAUSE);
        let mut sizes = [0; SIZES.len()];
        let mut places = Vec::new();
        for _ in 0..PROBES {
            let now = trial.due().unwrap();
            let read = trial.read();
            sizes[SIZES.iter().position(|&size| size == read.bytes).unwrap()] += 1;
            places.push(read.place);
            trial.on_peer_answer(now, ms(1));
            trial.on_own_answer(now, ms(1));
        }
        assert_eq!(sizes, [8, 6, 2]);
        places.sort_unstable();
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max().unwrap() < u32::MAX / 8, "{places:?}");
    }
}
