//! The one model of a network link, for the real proxy and for the simulator.
//!
//! A [`Link`] is one connection's way through the network: two [`Pipe`]s, one per direction. A pipe
//! is a byte stream with conditions: bytes wait in a bounded queue for the *line*, which takes them
//! at the bandwidth; then they *fly* for the latency plus a random share of the jitter; then they
//! are due. Order never changes, as in TCP. A *hole* swallows: nothing leaves the pipe while it
//! lasts, and what was pushed meanwhile is held. At the heal, held bytes are released (TCP's
//! retransmission: old bytes arrive late, which is how ghost writes are made) or dropped; a stream
//! that lost bytes can only be reset.
//!
//! Sans-IO: time is an argument, randomness comes from a seed. Driver contract: after any call that
//! changes a pipe, drain [`Pipe::poll_deliver`], then wait for [`Pipe::poll_timeout`]; push only
//! while [`Pipe::room`] is not 0.

mod conditions;
mod pipe;

pub use conditions::{Conditions, Direction, Held, Hole};
pub use pipe::{Counters, Delivery, End, Pipe};

use std::time::{Duration, Instant};

use crate::rng::Rng;

/// TCP's least retransmission timeout in Linux (`TCP_RTO_MIN`).
pub const RETRANSMISSION: Duration = Duration::from_millis(200);

/// One connection's two directions.
#[derive(Debug)]
pub struct Link {
    to_target: Pipe,
    to_initiator: Pipe,
}

impl Link {
    /// A link without conditions; each direction holds up to `capacity` bytes.
    #[must_use]
    pub fn new(rng: &Rng, capacity: usize) -> Self {
        Self {
            to_target: Pipe::new(rng.stream("to target"), capacity),
            to_initiator: Pipe::new(rng.stream("to initiator"), capacity),
        }
    }

    /// What the initiator sends.
    pub fn to_target(&mut self) -> &mut Pipe {
        &mut self.to_target
    }

    /// What the target sends.
    pub fn to_initiator(&mut self) -> &mut Pipe {
        &mut self.to_initiator
    }

    /// Ends both directions now: what is under way is lost.
    pub fn cut(&mut self, now: Instant, end: End) {
        self.to_target.cut(now, end);
        self.to_initiator.cut(now, end);
    }

    /// When a driver must poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (a, b) = (
            self.to_target.poll_timeout(),
            self.to_initiator.poll_timeout(),
        );
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Both directions as separately owned pipes.
    #[must_use]
    pub fn into_pipes(self) -> (Pipe, Pipe) {
        (self.to_target, self.to_initiator)
    }
}

#[cfg(test)]
mod tests;
