//! Is a path gray: alive, but worse than its peers?
//!
//! Paths are few, so that a deviation from their mean says nothing: each is compared with the best other one
//! of its tier, class by class (`latency.rs`), in windows of [`WINDOW`]. A path is *accused* in a window if
//! its answers of some class took longer than three times those of the best peer and 2 ms; 95 of 100
//! answers decide where there are [`ENOUGH`], half of them where there are fewer. Where there is none, a
//! command that is still out speaks for the path, unless a later one was answered: that is a matter of that
//! command. Accused three windows in a row it is found gray.
//!
//! What fails on the way or comes far too late is counted in `failing.rs`.
//!
//! Two excuses:
//!
//! - *Load.* A path that carries more than twice what that peer does may be slow for that alone. It is
//!   accused only if it has also become slower than it was, without having more to do than it had.
//! - *The target.* If all peers are slow as well, compared with their own past, or all are silent, the
//!   target is what is slow. Nothing is done then.
//!
//! The past is a mean over windows with a time constant of ten minutes of use.

use std::time::{Duration, Instant};

use policies::IoView;
use policies::tier::Rank;

use super::latency::{CLASSES, Class, Histogram};
use failing::Failing;

/// Length of a window.
pub(super) const WINDOW: Duration = Duration::from_millis(250);

/// So many windows in a row make a path gray.
const ROW: u32 = 3;

/// For a path that came back a moment ago one window is enough, with so many answers.
const RELAPSE_MIN: u32 = 8;

/// Windows without an answer or a command that break a row.
const PAUSE: u32 = 8;

/// So many times the best peer's time, ...
const FACTOR: u32 = 3;

/// ... and so much more, is slow.
const SLACK: Duration = Duration::from_millis(2);

/// So many times its own past, and [`SLACK`], is slow for a peer.
const PAST_FACTOR: u32 = 2;

/// So many answers of a window make a quantile of 95 % mean something.
const ENOUGH: u32 = 20;

/// A peer says something with so many answers, ...
const REFERENCE_MIN: u32 = 4;

/// ... the last of them no older than this.
const REFERENCE_AGE: Duration = Duration::from_secs(10);

/// After so long without an answer a path is asked for one.
const STALE: Duration = Duration::from_secs(1);

/// Windows that make a past: a second.
const PAST_MIN: u32 = 4;

/// It does not rise any faster than a mean over so many windows does: half a minute.
const RISE_MIN: u32 = 120;

/// Windows over which a past is a mean: ten minutes.
const PAST_MAX: u32 = 2400;

/// A path at the end of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// It takes new commands, without reserve: only such paths are compared.
    pub(super) competes: bool,
    /// Only paths of one tier are compared.
    pub(super) tier: Rank,
    /// Command that has been out for longest.
    pub(super) oldest: Option<(Class, Instant)>,
    /// It came back a moment ago.
    pub(super) returning: bool,
}

/// Why a path is gray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finding {
    /// It takes so long, and that peer so long.
    Slow {
        took: Duration,
        peer: usize,
        peer_took: Duration,
    },
    /// So many of a thousand commands failed on the way, or took as long as if they had.
    Errors { permille: u32 },
    /// It stood still so often of late, each time for as long as TCP takes to send something again.
    Stalls { times: u32 },
}

/// A running mean of windows, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    mean: f32,
    windows: u32,
}

impl Past {
    fn add(&mut self, value: f32) {
        self.windows = (self.windows + 1).min(PAST_MAX);
        // A past that is short yet must not follow a target at once that has become slow.
        let rises = value > self.mean && self.windows > PAST_MIN;
        let least = if rises { RISE_MIN } else { 1 };
        self.mean += (value - self.mean) / self.windows.max(least) as f32;
    }

    fn get(self) -> Option<f32> {
        (self.windows >= PAST_MIN).then_some(self.mean)
    }

    /// Whether `took` is more than so many times the past, and [`SLACK`].
    fn is_exceeded(self, took: Duration, factor: u32) -> bool {
        let limit = |mean| mean * factor as f32 + micros(SLACK);
        self.get().is_some_and(|mean| micros(took) > limit(mean))
    }
}

fn micros(time: Duration) -> f32 {
    time.as_secs_f32() * 1e6
}

/// What is known of a path.
#[derive(Debug, Default)]
struct Record {
    /// Answers of the window.
    fresh: [Histogram; CLASSES],
    /// The last ones before.
    recent: [Histogram; CLASSES],
    /// When the last window with an answer ended.
    recent_at: [Option<Instant>; CLASSES],
    past: [Past; CLASSES],
    /// Time that the window's commands took, all together: with the window's length, how many were in
    /// flight (Little's law).
    busy: Duration,
    load_past: Past,
    /// What the window's commands moved, in blocks of 4 KiB, a command counting as sixteen of them.
    work: u64,
    last_answer: Option<Instant>,
    /// The longest that an answer took of late, and when it came.
    longest: Option<(Duration, Instant)>,
    /// When the youngest command was sent that is answered; and of those that were before this window.
    answered: Option<Instant>,
    proven: Option<Instant>,
    failing: Failing,
    /// Windows in a row in which it was accused.
    row: u32,
    /// Windows since then that said nothing.
    silent: u32,
    /// Of the window that is being looked at.
    levels: [Option<Duration>; CLASSES],
    accused: bool,
    /// It was slower than it used to be in the window before.
    was_slow: bool,
}

impl Record {
    /// What the window says of that class.
    fn level(
        &self,
        now: Instant,
        class: Class,
        oldest: Option<(Class, Instant)>,
    ) -> Option<Duration> {
        let fresh = &self.fresh[class.index()];
        let waits = oldest
            .filter(|&(of, sent)| of == class && self.last_answer.is_none_or(|last| last < sent))
            .map(|(_, sent)| now.saturating_duration_since(sent));
        match fresh.total() {
            0 => waits,
            1 => fresh.quantile(500).max(waits),
            n if n < ENOUGH => fresh.quantile(500),
            _ => fresh.quantile(950),
        }
    }

    /// What a peer is compared with.
    fn reference(&self, now: Instant, class: Class) -> Option<Duration> {
        let at = class.index();
        let (fresh, recent) = (&self.fresh[at], &self.recent[at]);
        let current = fresh.total() > 0
            || self.recent_at[at]
                .is_some_and(|at| now.saturating_duration_since(at) <= REFERENCE_AGE);
        if !current || fresh.total() + recent.total() < REFERENCE_MIN {
            return None;
        }
        recent.quantile(950).max(self.levels[at])
    }

    fn is_slower_than_it_was(&self, factor: u32) -> bool {
        let pairs = self.levels.iter().zip(&self.past);
        pairs
            .filter_map(|(level, past)| Some(past.is_exceeded((*level)?, factor)))
            .any(|exceeded| exceeded)
    }

    fn note_longest(&mut self, now: Instant, took: Duration) {
        if self
            .longest_of_late(now)
            .is_none_or(|longest| took >= longest)
        {
            self.longest = Some((took, now));
        }
    }

    /// For so long it has shown nothing, if that is long: whatever took less on another path may have taken
    /// as long here.
    fn unproven(&self, now: Instant) -> Option<Duration> {
        let since = self.proven.map(|sent| now.saturating_duration_since(sent));
        since.filter(|long| *long > STALE)
    }

    /// The longest that an answer took of late: it is remembered for twice as long again, and a second.
    fn longest_of_late(&self, now: Instant) -> Option<Duration> {
        let recent = |&(took, at): &(Duration, Instant)| now <= at + took * 2 + STALE;
        self.longest.filter(recent).map(|(took, _)| took)
    }

    /// Commands in flight on average.
    fn load(&self) -> f32 {
        self.busy.as_secs_f32() / WINDOW.as_secs_f32()
    }

    /// More in flight than longer answers to the same demand explain.
    fn is_busier_than_it_was(&self) -> bool {
        let past = self.load_past.get().unwrap_or_default();
        self.load() > past * FACTOR as f32 + 4.0
    }

    /// The window is over.
    fn close(&mut self, now: Instant) {
        let accused = std::mem::take(&mut self.accused);
        self.proven = self.answered;
        self.was_slow = self.is_slower_than_it_was(PAST_FACTOR);
        for at in 0..CLASSES {
            if self.fresh[at].total() > 0 {
                self.recent_at[at] = Some(now);
                let fresh = &mut self.fresh[at];
                self.recent[at].absorb(fresh);
            }
            if let Some(level) = self.levels[at].filter(|_| !accused) {
                self.past[at].add(micros(level));
            }
        }
        if self.work > 0 && !accused {
            self.load_past.add(self.load());
        }
        (self.busy, self.work) = (Duration::ZERO, 0);
        self.failing.close();
        let silent = self.levels.iter().all(Option::is_none);
        self.silent = if silent { self.silent + 1 } else { 0 };
        if accused {
            self.row += 1;
        } else if !silent || self.silent > PAUSE {
            self.row = 0;
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Outlier {
    records: Vec<Record>,
    /// All paths are slow.
    all_slow: bool,
    /// Windows in a row that said otherwise.
    slow_windows: u32,
}

impl Outlier {
    pub(super) fn new(paths: usize) -> Self {
        Self {
            records: std::iter::repeat_with(Record::default)
                .take(paths)
                .collect(),
            slow_windows: 0,
            all_slow: false,
        }
    }

    /// A path of which nothing is known yet, in a new place or one that was another's.
    pub(super) fn put(&mut self, path: usize) {
        if path == self.records.len() {
            self.records.push(Record::default());
        } else {
            self.records[path] = Record::default();
        }
    }

    /// A command was answered.
    pub(super) fn on_answer(&mut self, now: Instant, path: usize, io: &IoView, sent: Instant) {
        let took = now.saturating_duration_since(sent);
        let silent_since = self.records[path].last_answer.max(Some(sent));
        let silent = silent_since.map(|since| now.saturating_duration_since(since));
        let still = silent.is_some_and(failing::is_long);
        let witnessed = still && self.is_witnessed(path, sent);
        let record = &mut self.records[path];
        record.failing.on_answer(witnessed);
        record.last_answer = Some(now);
        record.note_longest(now, took);
        record.answered = record.answered.max(Some(sent));
        let Some(class) = Class::of(io) else { return };
        record.fresh[class.index()].add(took);
        record.busy += took;
        record.work += 16 + u64::from(io.bytes >> 12);
    }

    /// A command failed on the way, for which the unit is not to blame.
    pub(super) fn on_error(&mut self, path: usize) {
        self.records[path].failing.on_error();
    }

    /// The path answered something that is compared with nothing.
    pub(super) fn on_sign_of_life(&mut self, now: Instant, path: usize) {
        self.records[path].last_answer = Some(now);
    }

    /// Whether the path was worse than its peers in the last window.
    pub(super) fn is_accused(&self, path: usize) -> bool {
        self.records[path].row > 0
    }

    /// Whether nothing was heard of the path for long.
    pub(super) fn is_stale(&self, now: Instant, path: usize) -> bool {
        let last = self.records[path].last_answer;
        last.is_none_or(|last| now.saturating_duration_since(last) >= STALE)
    }

    /// The path has a new session, or is back: what was seen before says nothing of it.
    pub(super) fn forget(&mut self, path: usize) {
        let record = &mut self.records[path];
        *record = Record {
            past: record.past,
            load_past: record.load_past,
            ..Record::default()
        };
    }

    /// Whether all paths are slower than they were.
    pub(super) fn all_slow(&self) -> bool {
        self.all_slow
    }

    /// What 99 of 100 answers of that class stay below on the path that is best at it.
    pub(super) fn p99(&self, class: Class, answers_min: u32) -> Option<Duration> {
        let recent = self.records.iter().map(|r| &r.recent[class.index()]);
        let known = recent.filter(|recent| recent.total() >= answers_min);
        known.filter_map(|recent| recent.quantile(990)).min()
    }

    /// The window is over: which paths are gray?
    pub(super) fn close(&mut self, now: Instant, seen: &[Seen]) -> Vec<(usize, Finding)> {
        for (record, seen) in self.records.iter_mut().zip(seen) {
            for class in Class::all() {
                record.levels[class.index()] = record.level(now, class, seen.oldest);
            }
        }
        let mut findings = Vec::new();
        for path in 0..self.records.len() {
            self.count_late(now, path, seen);
        }
        for path in 0..self.records.len() {
            let accused = self.accuse(now, path, seen);
            let record = &self.records[path];
            let enough = |answers: u32| match seen[path].returning && answers >= RELAPSE_MIN {
                true => 1,
                false => ROW,
            };
            let guilty = accused.filter(|(_, answers)| record.row + 1 >= enough(*answers));
            let guilty = guilty.map(|(finding, _)| finding);
            let guilty = guilty.or_else(|| self.fails(path, seen));
            if let Some(finding) = guilty
                && !self.peers_are_slow(path, seen)
            {
                findings.push((path, finding));
            }
            self.records[path].accused = accused.is_some();
        }
        self.watch_target(seen);
        for record in &mut self.records {
            record.close(now);
        }
        findings
    }

    /// Other paths that `path` is compared with.
    fn peers<'a>(&self, path: usize, seen: &'a [Seen]) -> impl Iterator<Item = usize> + use<'a> {
        let own = seen[path];
        let peers = seen.iter().enumerate();
        peers
            .filter(move |(other, peer)| {
                *other != path && own.competes && peer.competes && peer.tier == own.tier
            })
            .map(|(other, _)| other)
    }

    /// What is worst about the path in this window, and how many answers say so.
    fn accuse(&self, now: Instant, path: usize, seen: &[Seen]) -> Option<(Finding, u32)> {
        let record = &self.records[path];
        let mut worst: Option<(u128, Finding, u32)> = None;
        for class in Class::all() {
            let Some(took) = record.levels[class.index()] else {
                continue;
            };
            let reference = |peer: usize| Some((self.records[peer].reference(now, class)?, peer));
            let Some((peer_took, peer)) = self.peers(path, seen).filter_map(reference).min() else {
                continue;
            };
            if took <= peer_took * FACTOR + SLACK || self.is_excused(path, peer) {
                continue;
            }
            let times = took.as_micros() / peer_took.as_micros().max(1);
            if worst.is_none_or(|(most, ..)| times > most) {
                let finding = Finding::Slow {
                    took,
                    peer,
                    peer_took,
                };
                worst = Some((times, finding, record.fresh[class.index()].total()));
            }
        }
        worst.map(|(_, finding, answers)| (finding, answers))
    }

    /// It carries more than that peer, and nothing else speaks against it.
    fn is_excused(&self, path: usize, peer: usize) -> bool {
        let (record, peer) = (&self.records[path], &self.records[peer]);
        let carries_more = record.work > 2 * peer.work + 16;
        carries_more && (record.is_busier_than_it_was() || !record.is_slower_than_it_was(FACTOR))
    }

    /// All peers are slow, compared with their own past.
    fn peers_are_slow(&self, path: usize, seen: &[Seen]) -> bool {
        let mut peers = self.peers(path, seen);
        peers.all(|peer| self.records[peer].is_slower_than_it_was(PAST_FACTOR))
    }

    /// Are all paths slow together?
    fn watch_target(&mut self, seen: &[Seen]) {
        let competing = || {
            let records = self.records.iter().zip(seen);
            records.filter(|(_, seen)| seen.competes)
        };
        let slow = |record: &Record| record.is_slower_than_it_was(PAST_FACTOR);
        let any = competing().next().is_some();
        let silent = !any && seen.iter().any(|seen| seen.oldest.is_some());
        let slow = silent || any && competing().all(|(record, _)| slow(record));
        self.slow_windows = if slow == self.all_slow {
            0
        } else {
            self.slow_windows + 1
        };
        if self.slow_windows >= ROW {
            (self.all_slow, self.slow_windows) = (slow, 0);
        }
    }
}

mod failing;
#[cfg(test)]
mod tests;
