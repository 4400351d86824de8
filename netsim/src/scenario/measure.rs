//! What is read out of a recording.

use std::time::Duration;

use crate::recording::{Io, Mark, PathRecord, REMOVED, Recording, Told};

/// The states of a path, as files and status name them.
pub(super) const STATES: [&str; 12] = [
    "ready",
    "ejected",
    "held-down",
    "on-trial",
    "suspect",
    "down",
    "connecting",
    "logging-in",
    "probing",
    "probation",
    "disabled",
    REMOVED,
];

/// A span of a recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Window {
    fn has(&self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// A path in this state has no session: it is lost, or was never there.
fn without_session(state: &str) -> bool {
    matches!(
        state,
        "down" | "connecting" | "logging-in" | "disabled" | "stopped"
    )
}

/// The times in which requests waited and none was answered: from the answer before, or from the first
/// request after an idle time, to the next answer.
fn gaps(ios: &[Io]) -> Vec<(Duration, Duration)> {
    let ends = ios.iter().map(|io| (io.asked + io.took, false));
    let begins = ios.iter().map(|io| (io.asked, true));
    let mut events: Vec<(Duration, bool)> = ends.chain(begins).collect();
    events.sort_unstable();
    let (mut outstanding, mut moved) = (0_usize, Duration::ZERO);
    let mut gaps = Vec::new();
    for (at, begins) in events {
        if begins {
            if outstanding == 0 {
                moved = at;
            }
            outstanding += 1;
        } else {
            // One that took no time at all ends before it begins.
            outstanding = outstanding.saturating_sub(1);
            gaps.push((moved, at));
            moved = at;
        }
    }
    gaps
}

/// The longest stall that touches the window; of one that goes on, the part up to its end.
fn longest(gaps: &[(Duration, Duration)], window: Window) -> Duration {
    let touching = gaps
        .iter()
        .filter(|(from, to)| *to > window.from && *from < window.to);
    touching
        .map(|(from, to)| window.to.min(*to).saturating_sub(*from))
        .max()
        .unwrap_or_default()
}

/// The longest stall of the window.
pub(crate) fn stall(ios: &[Io], window: Window) -> Duration {
    longest(&gaps(ios), window)
}

/// The longest stall before the first mark, and from each mark to the next.
pub(super) fn stalls(ios: &[Io], marks: &[Mark]) -> Vec<Duration> {
    let gaps = gaps(ios);
    let begins = [Duration::ZERO]
        .into_iter()
        .chain(marks.iter().map(|mark| mark.at));
    let ends = marks.iter().map(|mark| mark.at).chain([Duration::MAX]);
    begins
        .zip(ends)
        .map(|(from, to)| longest(&gaps, Window { from, to }))
        .collect()
}

/// The longest request that was asked in the window.
pub(super) fn slowest(ios: &[Io], window: Window) -> Duration {
    let ios = ios.iter().filter(|io| window.has(io.asked));
    ios.map(|io| io.took).max().unwrap_or_default()
}

/// What so many of 1000 requests of the window stay below.
pub(crate) fn quantile(ios: &[Io], window: Window, permille: usize) -> Duration {
    let mut took: Vec<Duration> = ios
        .iter()
        .filter(|io| window.has(io.asked))
        .map(|io| io.took)
        .collect();
    took.sort_unstable();
    let at = (took.len() * permille).div_ceil(1000).saturating_sub(1);
    took.get(at).copied().unwrap_or_default()
}

/// Bytes per second that were answered in the window.
pub(crate) fn throughput(ios: &[Io], window: Window) -> u64 {
    let ios = ios.iter().filter(|io| !io.failed);
    let bytes: u64 = ios
        .filter(|io| window.has(io.asked + io.took))
        .map(|io| u64::from(io.bytes))
        .sum();
    let millis = window.to.saturating_sub(window.from).as_millis();
    let rate = u128::from(bytes) * 1000 / millis.max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The most commands of any two intervals in a row, and how many there are on average.
pub(super) fn commands(recording: &Recording, window: Window) -> (u64, u64) {
    let interval = recording.interval.as_millis().max(1);
    let index = |at: Duration| usize::try_from(at.as_millis() / interval).unwrap_or(usize::MAX);
    let (first, last) = (index(window.from) + 1, index(window.to));
    let in_interval = |at: usize| -> u64 {
        let paths = recording.paths.iter();
        let carried = paths.filter_map(|path| path.carried.get(at));
        carried.map(|carried| carried.commands).sum()
    };
    let ends = recording.paths.iter().map(|path| path.carried.len()).max();
    let all: Vec<u64> = (first..last.min(ends.unwrap_or(0)))
        .map(in_interval)
        .collect();
    let peak = all.windows(2).map(|two| two.iter().sum()).max();
    let pairs = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
    (peak.unwrap_or(0), all.iter().sum::<u64>() * 2 / pairs)
}

/// Percent of the window's commands that these paths carried; `None`: there were none.
pub(super) fn share(recording: &Recording, paths: &[usize], window: Window) -> Option<u64> {
    let interval = recording.interval.as_millis().max(1);
    let index = |at: Duration| usize::try_from(at.as_millis() / interval).unwrap_or(usize::MAX);
    // Whole intervals only.
    let (first, last) = (index(window.from) + 1, index(window.to));
    let carried = |path: &PathRecord| -> u64 {
        let last = last.min(path.carried.len());
        let inside = path.carried.get(first.min(last)..last);
        let carried = inside.unwrap_or_default().iter();
        carried.map(|carried| carried.commands).sum()
    };
    let all: u64 = recording.paths.iter().map(carried).sum();
    let ours = paths.iter().filter_map(|path| recording.paths.get(*path));
    (all > 0).then(|| ours.map(carried).sum::<u64>() * 100 / all)
}

/// Every time that a path in use was lost, and why.
pub(super) fn losses(path: &PathRecord) -> Vec<(Duration, &str)> {
    let mut used = false;
    let mut losses = Vec::new();
    for (at, state, why) in &path.states {
        if without_session(state) {
            if used {
                losses.push((*at, why.as_str()));
            }
            used = false;
        }
        used |= state == "ready";
        // A path that was removed in order is not lost.
        used &= state != REMOVED;
    }
    losses
}

/// When a path has this state for the first time from `from` on, and why.
pub(super) fn reaches<'r>(
    path: &'r PathRecord,
    state: &str,
    from: Duration,
) -> Option<(Duration, &'r str)> {
    let ends = path.states.iter().skip(1).map(|(at, ..)| *at);
    let spans = path.states.iter().zip(ends.chain([Duration::MAX]));
    let mut spans = spans.filter(|((_, known, _), end)| known == state && *end > from);
    let ((at, _, why), _) = spans.next()?;
    Some(((*at).max(from), why))
}

/// Whether a path is ready at the end, in use or not.
pub(super) fn ready_at_end(path: &PathRecord) -> bool {
    let ready = |state: &str| matches!(state, "ready" | "ejected" | "held-down" | "on-trial");
    path.states.last().is_some_and(|(_, state, _)| ready(state))
}

/// The first of these texts that the journal of the volume and of this path does not have, one after another,
/// from `from` on.
pub(super) fn untold<'t>(
    recording: &Recording,
    path: Option<usize>,
    from: Duration,
    texts: &'t [String],
) -> Option<&'t str> {
    let ours = |told: &&Told| told.at >= from && (told.path.is_none() || told.path == path);
    let mut journal = recording.journal.iter().filter(ours);
    let mut texts = texts.iter().map(String::as_str);
    texts.find(|text| !journal.any(|told| told.text.contains(text)))
}

/// When the first request failed, in the window.
pub(super) fn first_error(ios: &[Io], window: Window) -> Option<Duration> {
    let failed = ios.iter().filter(|io| io.failed);
    failed
        .map(|io| io.asked + io.took)
        .filter(|at| window.has(*at))
        .min()
}
