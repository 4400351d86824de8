//! The policy engine: which usable path carries this I/O.
//!
//! Pure and synchronous: no clock, no I/O, no hidden randomness. A policy ranks; it never judges
//! health, never retries and never sees a path that it may not use.

pub mod view;

pub use view::{Access, Candidates, Direction, IoView, PathView, Pick};

use std::time::Instant;

/// Chooses paths for I/O.
pub trait Policy: Send {
    /// The path for `io`, out of the candidates.
    fn choose(&mut self, now: Instant, io: &IoView, paths: Candidates<'_>) -> Pick;

    /// `io` was sent on the path in slot `path`.
    fn on_dispatch(&mut self, _now: Instant, _path: u16, _io: &IoView) {}

    /// An I/O that was sent on `path` at `sent` ended.
    fn on_complete(&mut self, _now: Instant, _path: u16, _io: &IoView, _sent: Instant) {}

    /// The set of paths changed: forget what no longer exists.
    fn on_roster(&mut self, _paths: &[PathView]) {}
}
