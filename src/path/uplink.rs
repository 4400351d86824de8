//! The path's own end of the network: its NIC's carrier, its address, its route.
//!
//! The system says at once when one of them is gone, which is proof where silence is suspicion: the path is
//! lost at the same moment, if another one may carry I/O. The last path waits `detect.network` first: a
//! carrier that comes back within that time costs nothing, and there is nothing better meanwhile.
//!
//! When all is well again the path connects at once, whatever its backoff says. A connection attempt whose
//! packets went nowhere is begun anew: TCP would repeat its SYN only after a second, and later.

use std::time::{Duration, Instant};

use crate::deadline::Deadline;

use super::{Path, State};

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
pub(super) struct UplinkDown {
    since: Instant,
    why: &'static str,
}

impl Path {
    /// The state of the path's own end of the network; the same state may be told again.
    pub fn on_uplink(&mut self, now: Instant, uplink: Uplink) {
        match (uplink, self.uplink_down) {
            (Uplink::Up, None) => {}
            (Uplink::Down(why), Some(down)) if down.why == why => {}
            (Uplink::Down(why), before) => {
                self.journal.note(now, self.incarnation, "uplink", why);
                tracing::info!(path = %self.config.name, why, "the path's own end of the network is down");
                let since = before.map_or(now, |before| before.since);
                self.uplink_down = Some(UplinkDown { since, why });
                self.check_uplink(now);
            }
            (Uplink::Up, Some(down)) => {
                let lasted = now.saturating_duration_since(down.since);
                self.uplink_down = None;
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
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = now;
        }
    }

    /// Gives the path up if its own end of the network is down, and there is another path or none came back.
    pub(super) fn check_uplink(&mut self, now: Instant) {
        let Some(down) = self.uplink_down else {
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
        let down = self.uplink_down?;
        let at = down.since + self.config.detect.network;
        let waits = matches!(
            self.state,
            State::Ready | State::Suspect | State::Probation { .. } | State::Probing
        );
        waits.then(|| Deadline::new(at, "the path's own end of the network"))
    }

    /// No path carries I/O any more: this one is tried at once, and then more often than beside others.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = (*retry_at).min(now);
        }
    }
}
