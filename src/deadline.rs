//! A point in time with its reason.

use std::time::Instant;

/// When a core wants `handle_timeout`, and what for (shown in traces).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The instant.
    pub at: Instant,
    /// The reason, in a few words.
    pub why: &'static str,
}

impl Deadline {
    /// A deadline.
    #[must_use]
    pub fn new(at: Instant, why: &'static str) -> Self {
        Self { at, why }
    }

    /// The earlier of two optional deadlines.
    #[must_use]
    pub fn earlier(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
