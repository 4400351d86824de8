//! The figures of a recording, computed once for every form of the report.

use std::time::Duration;

use crate::recording::{Io, Kind, Recording};

/// How long answers took; an error's time counts, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
    pub(super) max: Duration,
}

impl Latency {
    /// Nearest rank: a value that was really seen. `None` without values.
    fn of(mut values: Vec<Duration>) -> Option<Self> {
        values.sort_unstable();
        let max = *values.last()?;
        let rank = |per_mille: usize| {
            let rank = (values.len() * per_mille).div_ceil(1000);
            values.get(rank.saturating_sub(1)).copied().unwrap_or(max)
        };
        Some(Self {
            p50: rank(500),
            p99: rank(990),
            p999: rank(999),
            max,
        })
    }
}

/// A number of requests, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answered, errors included.
    pub(super) ios: u64,
    /// Read and written without error.
    pub(super) bytes: u64,
    pub(super) errors: u64,
    pub(super) latency: Option<Latency>,
}

impl Tally {
    pub(super) fn of<'a>(ios: impl IntoIterator<Item = &'a Io>) -> Self {
        let mut tally = Self::default();
        let mut values = Vec::new();
        for io in ios {
            tally.ios += 1;
            if io.failed {
                tally.errors += 1;
            } else {
                tally.bytes += u64::from(io.bytes);
            }
            values.push(io.took);
        }
        tally.latency = Latency::of(values);
        tally
    }

    /// Bytes per second over `time`.
    pub(super) fn rate(&self, time: Duration) -> Option<f64> {
        (!time.is_zero()).then(|| self.bytes as f64 / time.as_secs_f64())
    }
}

/// What happened between two marks. A request belongs to the phase in which it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase<'a> {
    /// The mark that began it; `None` before the first.
    pub(super) mark: Option<&'a str>,
    pub(super) begins: Duration,
    pub(super) ends: Duration,
    pub(super) stall: Duration,
    pub(super) tally: Tally,
}

impl Phase<'_> {
    pub(super) fn what(&self) -> &str {
        self.mark.unwrap_or("start")
    }

    pub(super) fn lasts(&self) -> Duration {
        self.ends.saturating_sub(self.begins)
    }
}

pub(super) fn phases(run: &Recording) -> Vec<Phase<'_>> {
    let begins: Vec<Duration> = std::iter::once(Duration::ZERO)
        .chain(run.marks.iter().map(|mark| mark.at))
        .collect();
    let tallies = split(&run.ios, begins.len(), |io| {
        let answered = io.asked + io.took;
        begins
            .partition_point(|begin| *begin <= answered)
            .saturating_sub(1)
    });
    let labels = std::iter::once(None).chain(run.marks.iter().map(|m| Some(m.what.as_str())));
    let ends = begins.iter().skip(1).copied().chain([run.lasted]);
    let stalls = run
        .stalls
        .iter()
        .copied()
        .chain(std::iter::repeat(Duration::ZERO));
    let bounds = begins.iter().zip(ends).zip(stalls);
    let phases = labels.zip(bounds).zip(tallies);
    phases
        .map(|((mark, ((begins, ends), stall)), tally)| Phase {
            mark,
            begins: *begins,
            ends,
            stall,
            tally,
        })
        .filter(|phase| phase.mark.is_some() || !phase.lasts().is_zero())
        .collect()
}

/// A stretch of time, with the requests *asked* in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) begins: Duration,
    pub(super) tally: Tally,
}

/// The run in `count` stretches of equal width; the width comes with them.
pub(super) fn bins(run: &Recording, count: u32) -> (Duration, Vec<Bin>) {
    let width = (run.lasted / count.max(1)).max(Duration::from_nanos(1));
    let last = usize::try_from(count.max(1) - 1).unwrap_or(usize::MAX);
    let tallies = split(&run.ios, last + 1, |io| {
        let index = io.asked.as_nanos() / width.as_nanos();
        usize::try_from(index).unwrap_or(usize::MAX).min(last)
    });
    let bins = (0..).zip(tallies).map(|(index, tally)| Bin {
        begins: width * index,
        tally,
    });
    (width, bins.collect())
}

/// Each kind of request that occurred.
pub(super) fn kinds(run: &Recording) -> Vec<(Kind, Tally)> {
    [Kind::Read, Kind::Write, Kind::Flush, Kind::Zero]
        .into_iter()
        .map(|kind| (kind, Tally::of(run.ios.iter().filter(|io| io.kind == kind))))
        .filter(|(_, tally)| tally.ios > 0)
        .collect()
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Flush => "flush",
        Kind::Zero => "zero",
    }
}

/// The longest stall of the run.
pub(super) fn longest_stall(run: &Recording) -> Duration {
    run.stalls.iter().copied().max().unwrap_or_default()
}

/// Whether every criterion is met; `None` without criteria.
pub(super) fn verdict(run: &Recording) -> Option<bool> {
    (!run.criteria.is_empty()).then(|| run.criteria.iter().all(|c| c.passed))
}

/// The stretches of at least `least` in which requests waited and none was answered, by what the
/// answered requests tell.
pub(super) fn silences(run: &Recording, least: Duration) -> Vec<(Duration, Duration)> {
    // At one moment, answers come first: two requests that only touch are not one.
    let mut events: Vec<(Duration, i64)> = run
        .ios
        .iter()
        .flat_map(|io| [(io.asked, 1), (io.asked + io.took, -1)])
        .collect();
    events.sort_unstable();
    let mut silences = Vec::new();
    let (mut waiting, mut moved) = (0, Duration::ZERO);
    for (at, change) in events {
        if change < 0 {
            if waiting > 0 && at.saturating_sub(moved) >= least {
                silences.push((moved, at));
            }
            moved = at;
        } else if waiting == 0 {
            moved = at;
        }
        waiting += change;
    }
    silences
}

fn split(ios: &[Io], parts: usize, index_of: impl Fn(&Io) -> usize) -> Vec<Tally> {
    let mut groups: Vec<Vec<&Io>> = vec![Vec::new(); parts];
    for io in ios {
        if let Some(group) = groups.get_mut(index_of(io)) {
            group.push(io);
        }
    }
    groups.into_iter().map(Tally::of).collect()
}
