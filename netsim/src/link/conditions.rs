//! What one direction of a link does to the bytes.

use std::num::NonZeroU64;
use std::time::Duration;

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    Both,
    /// What the initiator sends.
    ToTarget,
    /// What the target sends.
    ToInitiator,
}

impl Direction {
    /// Whether the direction towards the target is meant.
    #[must_use]
    pub fn includes_to_target(self) -> bool {
        matches!(self, Self::Both | Self::ToTarget)
    }

    /// Whether the direction towards the initiator is meant.
    #[must_use]
    pub fn includes_to_initiator(self) -> bool {
        matches!(self, Self::Both | Self::ToInitiator)
    }
}

/// What is swallowed without a sign of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hole {
    /// Nothing.
    #[default]
    None,
    /// Everything.
    All,
    /// Pieces longer than so many bytes, and what follows them in the stream: a path whose MTU
    /// shrank. A piece is what was pushed at once.
    LargerThan(usize),
}

/// What becomes of the bytes that a hole held, when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// They are delivered, late.
    #[default]
    Release,
    /// They are lost, and their streams are reset.
    Drop,
}

/// The conditions of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Time that every byte flies.
    pub latency: Duration,
    /// Up to this much is added to the latency of each piece.
    pub jitter: Duration,
    /// Bytes per second; `None`: no limit. A very small one is a slow drip.
    pub bandwidth: Option<NonZeroU64>,
    /// What is swallowed.
    pub hole: Hole,
    /// One piece in so many is lost and sent again by TCP, [`super::RETRANSMISSION`] later; what follows it
    /// waits.
    pub lose_one_in: Option<NonZeroU64>,
    /// One piece in so many has one bit flipped; `None`: never.
    pub corrupt_one_in: Option<NonZeroU64>,
}

impl Conditions {
    /// Whether bytes simply pass.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        *self == Self::default()
    }
}
