//! What the initiator's kernel knows of a connection: which bytes the target's kernel acknowledged.
//!
//! Bytes are acknowledged when they arrive in the target's receive buffer, whether or not its process
//! reads them, a way back later. A hole in that way swallows acknowledgements: at its end the retransmission
//! of what was not acknowledged brings them all. A receiver that is not read closes its window, and what
//! does not fit is not under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iiblockdaemon::engine::LinkId;
use iiblockdaemon::path::NetworkView;

use super::net::{Net, Wire};
use crate::link::RETRANSMISSION;

/// See the module.
#[derive(Debug)]
pub(super) struct Receipts {
    /// Acknowledgements on their way: when they arrive, and up to which byte they go.
    under_way: VecDeque<(Instant, u64)>,
    acked: u64,
    acked_at: Instant,
    /// Of the way there and back, when something was acknowledged last.
    round_trip: Duration,
    /// What the target sends comes so much later than its acknowledgements.
    late: Duration,
}

impl Receipts {
    pub(super) fn new(now: Instant, late: Duration) -> Self {
        Self {
            late,
            under_way: VecDeque::new(),
            acked: 0,
            acked_at: now,
            round_trip: Duration::ZERO,
        }
    }

    pub(super) fn set_late(&mut self, late: Duration) {
        self.late = late;
    }
}

impl Wire {
    /// The target's kernel has what was delivered so far.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let upto = self.pipes.to_target().counters().delivered;
        let there = self.pipes.to_target().conditions().latency;
        let back = self.pipes.to_initiator().conditions().latency;
        let back = back.saturating_sub(self.receipts.late);
        self.receipts.round_trip = there + back;
        // Acknowledgements do not overtake each other.
        let last = self.receipts.under_way.back().map(|(at, _)| *at);
        let at = last.map_or(now + back, |last| last.max(now + back));
        self.receipts.under_way.push_back((at, upto));
    }

    fn view(&mut self, now: Instant) -> NetworkView {
        if !self.pipes.to_initiator().is_holed() {
            while let Some((at, upto)) = self.receipts.under_way.pop_front_if(|(at, _)| *at <= now)
            {
                (self.receipts.acked, self.receipts.acked_at) = (upto, at);
            }
        }
        let counters = self.pipes.to_target().counters();
        let unacked = counters.pushed - self.receipts.acked;
        let closed = !self.target_has_room();
        let since_ack = now.saturating_duration_since(self.receipts.acked_at);
        let swallowed = self.pipes.to_target().swallows_head();
        // Bytes stand in for segments; pauses between retransmissions double.
        let bytes = u32::try_from(unacked).unwrap_or(u32::MAX);
        let in_flight = if closed { 0 } else { bytes };
        let pauses = since_ack.as_millis() / RETRANSMISSION.as_millis() + 1;
        let timeouts = if in_flight > 0 { pauses.ilog2() } else { 0 };
        NetworkView {
            in_flight,
            sacked: u32::from(swallowed),
            acked: self.receipts.acked,
            since_ack,
            timeouts,
            probes: 0,
            retransmissions: 0,
            round_trip: (self.receipts.round_trip, Duration::ZERO),
        }
    }
}

impl Net {
    /// What the initiator's kernel knows of the connection that a link is.
    pub(super) fn view(&mut self, now: Instant, link: LinkId) -> Option<NetworkView> {
        let wire = self
            .wires
            .values_mut()
            .find(|wire| wire.link == Some(link) && wire.dial.is_none())?;
        Some(wire.view(now))
    }
}
