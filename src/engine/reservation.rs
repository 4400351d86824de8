//! What an administrator asks of the unit's reservations, and what is to be remembered of them.

use std::time::Instant;

use crate::ids::PathId;
use crate::volume::{RememberedKey, ReservationAsk, ReservationStatus};

use super::{Action, Engine, path_id};

impl Engine {
    /// An administrator asks; [`Engine::poll_reservation`] answers with the number.
    pub fn ask_reservation(&mut self, now: Instant, number: u64, ask: ReservationAsk) {
        self.volume.ask_reservation(now, number, ask);
    }

    /// The next answer, with the number of its question: how things stand, or why nothing was done.
    pub fn poll_reservation(&mut self) -> Option<(u64, Result<ReservationStatus, String>)> {
        self.volume.poll_reservation()
    }

    /// The volume's reservation key, to be remembered for the next run.
    #[must_use]
    pub fn remembered_key(&self) -> Option<RememberedKey> {
        self.volume.remembered_key()
    }

    /// What a path is called.
    #[must_use]
    pub fn path_name(&self, path: PathId) -> &str {
        &self.path(path).config().name
    }

    /// Whether the configuration has the path, or has had it and it is not gone yet.
    #[must_use]
    pub fn is_present(&self, path: PathId) -> bool {
        self.present().contains(&path)
    }

    /// Fences lost paths by their keys, where nothing better can; whether that was begun.
    pub(super) fn preempt_lost(&mut self, now: Instant) -> bool {
        let mut any = false;
        for index in 0..self.paths.len() {
            let path = path_id(index);
            if self.volume.may_preempt(path) {
                let reinstatable =
                    self.volume.wants_fence(path) && self.surroundings(index).fence_route.is_some();
                any |= self.volume.preempt_if_due(now, path, reinstatable);
            }
        }
        any
    }

    /// Tells the driver of a key that is another one, or in another state.
    pub(super) fn tell_of_key(&mut self) {
        if self.volume.take_key_changed() {
            self.actions.push_back(Action::KeyChanged);
        }
    }
}
