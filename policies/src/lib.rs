//! The policy engine: which usable path carries this I/O.
//!
//! Pure and synchronous: no clock, no I/O, no hidden randomness. A policy ranks; it never judges
//! health, never retries and never sees a path that it may not use.
//!
//! A policy is made of parts: which tier competes ([`Tiers`], best first; [`tier`]), who wins inside it
//! (the selector: one file each, [`failover`], [`round_robin`], [`queue_length`], [`service_time`],
//! [`historical`], [`latency_aware`]), and when a better path that came back is taken again ([`Failback`],
//! kept by [`roster`]).
//! To add a selector: a file with its rule as prose and its `impl Policy`, a variant of
//! [`PolicyKind`], an arm in [`build`]; the shared contract in `tests/contract.rs` then runs on it.

pub mod failover;
pub mod historical;
pub mod kind;
pub mod latency_aware;
pub mod least;
pub mod queue_length;
pub mod roster;
pub mod round_robin;
pub mod service_time;
pub mod tier;
pub mod view;

pub use kind::{Balance, Failback, Hedge, ParseError, PolicyKind, PolicySpec, Preference, Tiers};
pub use view::{Access, Candidates, Direction, IoView, PathView, Pick};

use std::fmt;
use std::time::Instant;

use tier::Rank;

/// Chooses paths for I/O.
///
/// # Contract
///
/// What the volume promises:
/// - `on_roster` is called with *all* paths that are up, in ascending order, whenever one came, went, or
///   changed its access state, weight or tier; a path that left it is taken as failed. Only here are paths
///   that carry nothing now ([`Access::Resting`]): they are up, and not usable;
/// - `choose` gets all usable paths, those without a free slot too (`slots_free == 0`);
/// - if the pick has a free slot, the I/O is sent there at once. If it has none, the I/O *waits*:
///   the volume keeps it in its queue and asks again when a slot became free. So a policy can keep
///   I/O off a standby path while the active one is merely busy;
/// - time never goes backwards.
///
/// What a policy promises: it picks one of the candidates; equal calls give equal answers for equal
/// seeds; a pick of a full path changes nothing in it; no sequence of calls makes it panic.
pub trait Policy: Send + fmt::Debug {
    /// The path for `io`, out of the candidates.
    fn choose(&mut self, now: Instant, io: &IoView, paths: Candidates<'_>) -> Pick;

    /// `io` was sent on the path with number `path`.
    fn on_dispatch(&mut self, _now: Instant, _path: u16, _io: &IoView) {}

    /// An I/O that was sent on `path` at `sent` ended.
    fn on_complete(&mut self, _now: Instant, _path: u16, _io: &IoView, _sent: Instant) {}

    /// The set of usable paths changed: forget what no longer exists.
    fn on_roster(&mut self, _now: Instant, _paths: &[PathView]) {}

    /// The tier that a path is in.
    fn tier(&self, path: &PathView) -> Rank;

    /// Whether a path that is not used for a while should be asked for something now and then: the policy
    /// chooses by what it learned from answers.
    fn refreshes(&self) -> bool {
        false
    }

    /// The number of a path that left the roster for good: who has it next is another path, which has
    /// never failed.
    fn forget(&mut self, _path: u16) {}

    /// The operator asks for the preferred paths, whatever the failback rule says.
    fn fail_back(&mut self) {}
}

/// Builds the policy that `spec` describes. `seed` is for selectors that draw; none does so far.
#[must_use]
pub fn build(spec: PolicySpec, _seed: u64) -> Box<dyn Policy> {
    let preference = spec.preference();
    match spec.selector {
        PolicyKind::Failover => Box::new(failover::Failover::new(preference)),
        PolicyKind::RoundRobin => Box::new(round_robin::RoundRobin::new(spec.balance, preference)),
        PolicyKind::QueueLength => Box::new(queue_length::QueueLength::new(preference)),
        PolicyKind::ServiceTime => Box::new(service_time::ServiceTime::new(preference)),
        PolicyKind::HistoricalServiceTime => {
            Box::new(historical::HistoricalServiceTime::new(preference))
        }
        PolicyKind::LatencyAware => Box::new(latency_aware::LatencyAware::new(preference)),
    }
}
