//! The path's own end of the network: its NIC's carrier, its address, its route.
//!
//! The system says at once when one of them is gone, which is proof where silence is suspicion: the path is
//! lost at the same moment, if another one may carry I/O. The last path waits `detect.network` first: a
//! carrier that comes back within that time costs nothing, and there is nothing better meanwhile.
//!
//! When all is well again the path connects at once, whatever its backoff says; one that goes down again and
//! again waits a moment longer each time, unless everything waits for it. A connection attempt whose packets
//! went nowhere is begun anew: TCP would repeat its SYN only after a second, and later.

use crate::sabotage::{self, Feature};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;

use super::{FLAP_WINDOW, Path, State};

/// A path whose own end of the network went down twice within [`FLAP_WINDOW`] is connected so long after it
/// came back; doubles each time.
const HOLD: Duration = Duration::from_millis(250);

/// No longer than this.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// What the system says of a path's own end of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// Nothing is in the way.
    Up,
    /// Nothing can pass, for this reason.
    Down(&'static str),
}

/// What is down.
#[derive(Clone, Copy, Debug)]
struct Down {
    since: Instant,
    why: &'static str,
}

/// Whether the path's own end of the network is there, and how often it was not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UplinkClock {
    down: Option<Down>,
    last: Option<Instant>,
    /// Times in a row that it went down within [`FLAP_WINDOW`] of the time before.
    flaps: u32,
}

impl UplinkClock {
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    fn go_down(&mut self, now: Instant, why: &'static str) {
        if let Some(down) = &mut self.down {
            down.why = why;
            return;
        }
        let again = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < FLAP_WINDOW);
        self.flaps = if again {
            self.flaps.saturating_add(1)
        } else {
            0
        };
        (self.down, self.last) = (Some(Down { since: now, why }), Some(now));
    }

    /// How long to hold a path back that is back.
    fn hold(&self) -> Duration {
        match self.flaps {
            0 => Duration::ZERO,
            n => HOLD.saturating_mul(1 << (n - 1).min(8)).min(HOLD_MAX),
        }
    }
}

impl Path {
    /// The state of the path's own end of the network; the same state may be told again.
    pub fn on_uplink(&mut self, now: Instant, uplink: Uplink) {
        if sabotage::is_without(Feature::Uplink) {
            return;
        }
        match (uplink, self.uplink.down) {
            (Uplink::Up, None) => {}
            (Uplink::Down(why), Some(down)) if down.why == why => {}
            (Uplink::Down(why), _) => {
                self.journal.note(now, self.incarnation, "uplink", why);
                tracing::info!(path = %self.config.name, why, "the path's own end of the network is down");
                self.uplink.go_down(now, why);
                self.check_uplink(now);
            }
            (Uplink::Up, Some(down)) => {
                let lasted = now.saturating_duration_since(down.since);
                self.uplink.down = None;
                self.on_uplink_back(now, lasted);
            }
        }
    }

    fn on_uplink_back(&mut self, now: Instant, lasted: Duration) {
        let what = format!("back after {} ms", lasted.as_millis());
        self.journal.note(now, self.incarnation, "uplink", &what);
        tracing::info!(path = %self.config.name, ?lasted, "the path's own end of the network is back");
        if matches!(self.state, State::Connecting { .. } | State::LoggingIn) {
            self.lose_quietly(now, "the network is back: connecting anew");
        }
        let hold = match self.surroundings.peers.any {
            true => self.uplink.hold(),
            false => Duration::ZERO,
        };
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = now + hold;
        }
    }

    /// Gives the path up if its own end of the network is down, and there is another path or none came back.
    pub(super) fn check_uplink(&mut self, now: Instant) {
        let Some(down) = self.uplink.down else {
            return;
        };
        match self.state {
            State::Ready | State::Suspect | State::Probation { .. } | State::Probing => {
                let waited = now.saturating_duration_since(down.since);
                let last_path = self.admitted && !self.surroundings.peers.any;
                if !last_path || waited >= self.config.detect.network {
                    self.lose(now, down.why);
                } else if matches!(self.state, State::Ready) {
                    self.enter(now, State::Suspect, down.why);
                }
            }
            // An attempt has a limit of its own, and shows what the system has to say.
            State::Connecting { .. }
            | State::LoggingIn
            | State::Down { .. }
            | State::Disabled { .. }
            | State::Stopped => {}
        }
    }

    pub(super) fn uplink_deadline(&self) -> Option<Deadline> {
        let down = self.uplink.down?;
        let at = down.since + self.config.detect.network;
        let waits = matches!(
            self.state,
            State::Ready | State::Suspect | State::Probation { .. } | State::Probing
        );
        waits.then(|| Deadline::new(at, "the path's own end of the network"))
    }

    /// No path carries I/O any more: this one is tried at once, and then more often than beside others.
    pub fn hurry(&mut self, now: Instant) {
        if sabotage::is_without(Feature::Hurry) {
            return;
        }
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = (*retry_at).min(now);
        }
    }
}
