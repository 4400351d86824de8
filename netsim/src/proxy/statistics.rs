//! Counters of a proxy: what it carried, and the proof of what it broke.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::link::Counters;

/// What happened in one direction, over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionStatistics {
    /// Bytes read from the sender.
    pub received: u64,
    /// Bytes that left for the receiver.
    pub forwarded: u64,
    /// Bytes that a hole held for some time.
    pub held: u64,
    /// Bytes that were lost.
    pub dropped: u64,
    /// Pieces with a flipped bit.
    pub corrupted: u64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections accepted.
    pub opened: u64,
    /// Connections that ended by FIN from both sides.
    pub closed: u64,
    /// Connections that one side reset, or whose far side could not be reached.
    pub reset: u64,
    /// Connections that a cut ended.
    pub cut: u64,
    /// What the initiator sent.
    pub to_target: DirectionStatistics,
    /// What the target sent.
    pub to_initiator: DirectionStatistics,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "connections: {} opened, {} closed, {} reset, {} cut",
            self.opened, self.closed, self.reset, self.cut
        )?;
        for (name, d) in [
            ("to target", self.to_target),
            ("to initiator", self.to_initiator),
        ] {
            writeln!(
                f,
                "{name}: {} bytes received, {} forwarded, {} held, {} dropped, {} pieces corrupted",
                d.received, d.forwarded, d.held, d.dropped, d.corrupted
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct SharedDirection {
    received: AtomicU64,
    forwarded: AtomicU64,
    held: AtomicU64,
    dropped: AtomicU64,
    corrupted: AtomicU64,
}

impl SharedDirection {
    /// Adds what happened in a pipe since `before`.
    pub(super) fn add(&self, before: Counters, after: Counters) {
        let add = |to: &AtomicU64, before: u64, after: u64| {
            if after != before {
                to.fetch_add(after - before, Relaxed);
            }
        };
        add(&self.received, before.pushed, after.pushed);
        add(&self.forwarded, before.delivered, after.delivered);
        add(&self.held, before.held, after.held);
        add(&self.dropped, before.dropped, after.dropped);
        add(&self.corrupted, before.corrupted, after.corrupted);
    }

    /// Bytes that were on their way to the socket when a hole opened.
    pub(super) fn add_held(&self, bytes: usize) {
        self.held.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that were counted as forwarded and were lost.
    pub(super) fn take_back(&self, bytes: usize) {
        self.forwarded.fetch_sub(bytes as u64, Relaxed);
        self.dropped.fetch_add(bytes as u64, Relaxed);
    }

    fn snapshot(&self) -> DirectionStatistics {
        DirectionStatistics {
            received: self.received.load(Relaxed),
            forwarded: self.forwarded.load(Relaxed),
            held: self.held.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            corrupted: self.corrupted.load(Relaxed),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    opened: AtomicU64,
    closed: AtomicU64,
    reset: AtomicU64,
    cut: AtomicU64,
    pub(super) to_target: SharedDirection,
    pub(super) to_initiator: SharedDirection,
}

impl Shared {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(super) fn reset(&self) {
        self.reset.fetch_add(1, Relaxed);
    }

    pub(super) fn cut(&self) {
        self.cut.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> Statistics {
        Statistics {
            opened: self.opened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            reset: self.reset.load(Relaxed),
            cut: self.cut.load(Relaxed),
            to_target: self.to_target.snapshot(),
            to_initiator: self.to_initiator.snapshot(),
        }
    }
}
