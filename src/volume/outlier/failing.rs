//! Commands that fail on the way, and answers that come far too late.
//!
//! An answer that came later than the best peer's by the time that TCP takes to send something again is what
//! a path with packet loss looks like. It is looked at in two ways, each over ten seconds:
//!
//! - *Share.* It counts as a failure, and three failures that are more than one of a hundred commands make a
//!   path gray.
//! - *Stalls.* A lost segment holds up whatever comes after it on its connection, so that a busy path does
//!   not show it by the number of late answers. Windows with a late answer before which the path answered
//!   nothing else for as long are counted as well: three make a path gray, however many answers came in
//!   time. A command that is late while others of its path are answered is that command's matter. Only a
//!   peer that carries a third of what the path carries can say that it is the path: what the target does now
//!   and then would show on the busier one. And only if a peer answered meanwhile what it was asked
//!   meanwhile: where requests come one by one, a target that stands still meets one path, and no other is
//!   there to show it.

use std::time::{Duration, Instant};

use crate::volume::latency::Class;

use super::{FACTOR, Finding, Outlier, PAST_FACTOR, Seen};

/// Later than three times the best peer's time by this, and an answer is far too late: TCP sends a lost
/// segment again after 200 ms at least (`TCP_RTO_MIN` in Linux).
const LOST: Duration = Duration::from_millis(180);

/// Failures, or stalls, within [`MEMORY`] that may make a path gray: three, of which the first counts less by
/// now.
const ENOUGH: f32 = 2.5;

/// One failure is enough for a path that came back a moment ago.
const ENOUGH_RELAPSE: f32 = 0.9;

/// The least share of failures.
const SHARE: f32 = 0.01;

/// A peer carries so much of what the path does if it can be compared with it by stalls.
const EXPOSED: f32 = 1.0 / 3.0;

/// Over so many windows it is counted: ten seconds.
const MEMORY: f32 = 40.0;

/// What is counted of a path; older windows count less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failing {
    answers: f32,
    failures: f32,
    stalls: f32,
    /// Those of them that a peer was witness of.
    witnessed: f32,
    /// In this window an answer came after a long silence, in which a peer was not asked in vain.
    witness: bool,
}

impl Failing {
    /// A command was answered, in time or not; `witnessed`: after a long silence, in which a peer was not
    /// asked in vain.
    pub(super) fn on_answer(&mut self, witnessed: bool) {
        self.answers += 1.0;
        self.witness |= witnessed;
    }

    /// A command failed on the way, for which the unit is not to blame.
    pub(super) fn on_error(&mut self) {
        self.failures += 1.0;
    }

    /// So many answers of the window were far too late.
    fn on_late(&mut self, answers: u32) {
        self.failures += answers as f32;
        let stalled = answers > 0;
        self.stalls += if stalled { 1.0 } else { 0.0 };
        self.witnessed += if stalled && self.witness { 1.0 } else { 0.0 };
    }

    fn share(&self) -> f32 {
        self.failures / (self.failures + self.answers).max(1.0)
    }

    /// The window is over.
    pub(super) fn close(&mut self) {
        self.witness = false;
        let counts = [&mut self.answers, &mut self.failures];
        let stalls = [&mut self.stalls, &mut self.witnessed];
        for count in counts.into_iter().chain(stalls) {
            *count -= *count / MEMORY;
        }
    }
}

/// Whether an answer that took so long may be far too late, and a path that is silent for so long may stand
/// still.
pub(super) fn is_long(took: Duration) -> bool {
    took > LOST
}

impl Outlier {
    /// Whether another path has answered what was sent after that.
    pub(super) fn is_witnessed(&self, path: usize, sent: Instant) -> bool {
        let mut others = self.records.iter().enumerate();
        others.any(|(other, record)| other != path && record.answered > Some(sent))
    }

    /// Counts answers of the window that came far too late, unless the peers were late as well, or
    /// had answers of late that took as long: what was slow as a whole is not slow everywhere at the same
    /// instant, and long answers to what was sent meanwhile come after it.
    pub(super) fn count_late(&mut self, now: Instant, path: usize, seen: &[Seen]) {
        let slow = |peer: usize| {
            let peer = &self.records[peer];
            peer.was_slow || peer.is_slower_than_it_was(PAST_FACTOR)
        };
        if self.all_slow || self.peers(path, seen).all(slow) {
            return;
        }
        let mut late = 0;
        for class in Class::all() {
            let reference = |peer: usize| {
                let (record, oldest) = (&self.records[peer], seen[peer].oldest);
                let usual = record.reference(now, class)? * FACTOR;
                let waits = oldest.map(|(_, sent)| now.saturating_duration_since(sent));
                let longest = record.longest_of_late(now).max(waits);
                let limit = longest.unwrap_or_default().max(usual);
                Some(record.unproven(now).map_or(limit, |long| long.max(limit)))
            };
            if let Some(limit) = self.peers(path, seen).filter_map(reference).min() {
                late += self.records[path].fresh[class.index()].above(limit + LOST);
            }
        }
        self.records[path].failing.on_late(late);
    }

    /// Whether the path fails, or stands still, too often.
    pub(super) fn fails(&self, path: usize, seen: &[Seen]) -> Option<Finding> {
        let errors = self.has_errors(path, seen);
        errors.or_else(|| self.stands_still(path, seen))
    }

    fn has_errors(&self, path: usize, seen: &[Seen]) -> Option<Finding> {
        let failing = &self.records[path].failing;
        let peers = self.peers(path, seen);
        let best = peers
            .map(|peer| self.records[peer].failing.share())
            .reduce(f32::min)?;
        let least = match seen[path].returning {
            true => ENOUGH_RELAPSE,
            false => ENOUGH,
        };
        let share = failing.share();
        let worse = share > SHARE && share > best * FACTOR as f32;
        let gray = worse && failing.failures >= least;
        gray.then_some(Finding::Errors {
            permille: rounded(share * 1000.0),
        })
    }

    fn stands_still(&self, path: usize, seen: &[Seen]) -> Option<Finding> {
        let failing = &self.records[path].failing;
        let exposed = |peer: usize| {
            let peer = &self.records[peer].failing;
            (peer.answers >= failing.answers * EXPOSED).then_some(peer.stalls)
        };
        let best = self
            .peers(path, seen)
            .filter_map(exposed)
            .reduce(f32::min)?;
        let stalls = failing.witnessed;
        let gray = stalls >= ENOUGH && stalls > best * FACTOR as f32;
        gray.then_some(Finding::Stalls {
            times: rounded(stalls.ceil()),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share and a count are not negative, and small"
)]
fn rounded(value: f32) -> u32 {
    value.round() as u32
}
