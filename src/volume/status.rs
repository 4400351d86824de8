//! A volume's state for the administrator.

use std::time::{Duration, Instant};

use crate::ids::{Incarnation, PathId};
use crate::path::message::{PathAccess, Standing};

use super::duty::DutyStatus;
use super::request::Request;
use super::reservation::KeyStatus;
use super::roster::RouteCounters;
use super::{Volume, VolumeEvent};

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeCounters {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Flush requests.
    pub flushes: u64,
    /// Trim and write-zeroes requests.
    pub trims: u64,
    /// Blocks asked to be read.
    pub read_blocks: u64,
    /// Blocks asked to be written.
    pub written_blocks: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Fences that laid ghosts.
    pub fenced: u64,
    /// Lost sessions whose ghosts were let go by time alone.
    pub quiesced: u64,
    /// Sessions that ended before the unit could tell them of a loss of power, with no news since.
    pub doubts: u64,
    /// The longest time from a request to its answer.
    pub slowest: Duration,
    /// Reads that were sent on a second path.
    pub hedges: u64,
    /// Those whose second attempt was answered first.
    pub hedges_won: u64,
    /// Those whose first attempt was.
    pub hedges_wasted: u64,
    /// Bytes that arrived for reads which another path had answered.
    pub wasted_bytes: u64,
    /// Commands that were aborted for hanging while later ones were answered.
    pub overtaken: u64,
    /// Commands that were issued again after paths failed them that there are no more.
    pub retries_removed: u64,
}

impl VolumeCounters {
    pub(super) fn on_request(&mut self, request: &Request) {
        match request {
            Request::Read { range } => {
                self.reads += 1;
                self.read_blocks += range.blocks();
            }
            Request::Write { range, .. } => {
                self.writes += 1;
                self.written_blocks += range.blocks();
            }
            Request::Flush => self.flushes += 1,
            Request::Trim { .. } | Request::WriteZeroes { .. } => self.trims += 1,
        }
    }

    pub(super) fn on_reply(&mut self, latency: Duration, failed: bool) {
        self.answered += 1;
        self.errors += u64::from(failed);
        self.slowest = self.slowest.max(latency);
    }
}

/// One path as its volume sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteStatus {
    /// The path.
    pub path: PathId,
    /// Its session.
    pub incarnation: Incarnation,
    /// May it be used?
    pub standing: Standing,
    /// Its access state, if the target tells one.
    pub access: Option<PathAccess>,
    /// Its tier under the policy, the smallest first; `None` while its port carries nothing.
    pub tier: Option<u16>,
    /// Is it in use?
    pub duty: DutyStatus,
    /// Commands in flight.
    pub in_flight: u32,
    /// Counters.
    pub counters: RouteCounters,
}

/// A volume's state.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    /// Counters.
    pub counters: VolumeCounters,
    /// Its paths.
    pub routes: Vec<RouteStatus>,
    /// Requests not yet answered.
    pub ios: usize,
    /// Commands that wait for a path.
    pub queued: usize,
    /// Writes that wait for an overlapping one or for a fence.
    pub waiting: usize,
    /// Writes of lost sessions that the target may still execute.
    pub ghosts: usize,
    /// For how long there has been no path.
    pub no_path: Option<Duration>,
    /// I/O fails, since the `no_path` limit is over.
    pub failing: bool,
    /// For how long all paths have been slower than they were.
    pub slow: Option<Duration>,
    /// Reads of its own that are under way.
    pub errands: usize,
    /// Its reservation key, if it has one.
    pub key: Option<KeyStatus>,
}

impl Volume {
    /// Whether a client ever changed the unit's blocks.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.counters.writes + self.counters.trims > 0
    }

    /// What happened to it, oldest first.
    #[must_use]
    pub fn events(&self, now: Instant) -> Vec<VolumeEvent> {
        self.journal.events(now)
    }

    /// Its state at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> VolumeStatus {
        VolumeStatus {
            counters: self.counters,
            routes: self
                .roster
                .iter()
                .map(|(path, route)| RouteStatus {
                    path,
                    incarnation: route.incarnation,
                    standing: route.standing,
                    access: route.alua.known(),
                    tier: self.config.policy.tier(&route.view(path)).number(),
                    duty: self.gray.duty(path).status(now),
                    in_flight: route.in_flight,
                    counters: route.counters,
                })
                .collect(),
            ios: self.ios.len() + self.unacknowledged.len(),
            queued: self.ready.len() + self.delayed.len(),
            waiting: self.ranges.waiting_count(),
            ghosts: self.ledger.count(),
            no_path: self
                .no_path_since
                .map(|since| now.saturating_duration_since(since)),
            failing: self.no_path_expired && !self.roster.any_alive(),
            errands: self.gray.errands() + self.rumours.questions(),
            key: self.key_status(),
            slow: self
                .gray
                .slow_since
                .map(|since| now.saturating_duration_since(since)),
        }
    }
}
