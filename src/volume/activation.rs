//! Explicit failover (`alua = "explicit"`): asking the target to make a port group active/optimized.
//!
//! That moves the unit for every host, so it is done only while no usable path is active/optimized and no
//! group is between two states, and not at once: the target may be about to do it by itself ([`PATIENCE`]
//! while nothing carries I/O, [`PATIENCE_SERVED`] while something does). Two hosts that see different halves
//! of an array would play the unit back and forth; so the next attempt comes [`PAUSE`] later at the earliest,
//! and each one within [`MEMORY`] of the one before doubles that, up to [`PAUSE_MAX`].

use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ids::PathId;
use crate::path::message::{Order, PathAccess};
use crate::scsi::alua::AccessState;

use super::Volume;
use super::roster::Route;

const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_SERVED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(600);
const MEMORY: Duration = Duration::from_secs(1800);

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Activation {
    /// Since when no usable path is active/optimized.
    since: Option<Instant>,
    /// When the target was asked last, and how long the next attempt has to wait from there.
    last: Option<(Instant, Duration)>,
}

impl Activation {
    fn due(&self, patience: Duration) -> Option<Instant> {
        let due = self.since? + patience;
        Some(match self.last {
            Some((asked, pause)) => due.max(asked + pause),
            None => due,
        })
    }

    fn on_asked(&mut self, now: Instant) {
        let pause = match self.last {
            Some((asked, pause)) if now.saturating_duration_since(asked) < MEMORY => {
                (pause * 2).min(PAUSE_MAX)
            }
            Some(_) | None => PAUSE,
        };
        self.last = Some((now, pause));
    }
}

/// Of what group it would be the best to ask, best first.
fn place(path: PathId, route: &Route, access: &PathAccess) -> (bool, u8, u8, PathId) {
    let state = match access.state {
        AccessState::NonOptimized => 0,
        AccessState::BlockDependent | AccessState::Other(_) => 1,
        AccessState::Standby => 2,
        AccessState::Unavailable => 3,
        AccessState::Optimized | AccessState::Offline | AccessState::Transitioning => 4,
    };
    (!access.preferred, state, u8::MAX - route.weight, path)
}

impl Volume {
    /// The path whose group should become active, if the target has to be asked. One that waits for its unit
    /// to be identified in full will do: nothing else is sent there before that.
    fn to_activate(&self) -> Option<PathId> {
        let usable = || {
            self.roster
                .iter()
                .filter(|(_, route)| route.standing.is_usable() && !route.retiring)
        };
        let waiting = || {
            self.roster
                .iter()
                .filter(|(_, route)| route.waiting.is_some() && !route.retiring)
        };
        let access = |route: &Route| route.alua.known().or(route.waiting);
        let states = || {
            usable()
                .chain(waiting())
                .filter_map(|(_, route)| access(route))
        };
        let settled =
            |access: PathAccess| access.state == AccessState::Optimized || access.is_changing();
        let symmetric = usable().any(|(_, route)| route.alua.known().is_none());
        if !self.config.activate || symmetric || states().any(settled) {
            return None;
        }
        let can = usable().chain(waiting()).filter_map(|(path, route)| {
            let access = access(route)?;
            let can = access.explicit && access.state != AccessState::Offline;
            can.then(|| place(path, route, &access))
        });
        can.min().map(|(.., path)| path)
    }

    fn patience(&self) -> Duration {
        if self.is_starved() {
            PATIENCE
        } else {
            PATIENCE_SERVED
        }
    }

    pub(super) fn check_activation(&mut self, now: Instant) {
        let Some(path) = self.to_activate() else {
            self.activation.since = None;
            return;
        };
        self.activation.since.get_or_insert(now);
        if self
            .activation
            .due(self.patience())
            .is_some_and(|at| at <= now)
        {
            self.activation.on_asked(now);
            self.orders.push_back((path, Order::Activate));
        }
    }

    pub(super) fn activation_deadline(&self) -> Option<Deadline> {
        let due = self.activation.due(self.patience())?;
        Some(Deadline::new(due, "asking for an active port group"))
    }
}
