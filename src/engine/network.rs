//! What the system knows of the paths' network, and what follows for all of them.

use std::time::Instant;

use crate::ids::PathId;
use crate::path::{Link, NetworkView, Uplink};

use super::{Engine, LinkId};

impl Engine {
    /// The answer to [`super::Action::Observe`].
    pub fn on_network(&mut self, now: Instant, link: LinkId, view: NetworkView) {
        if link.link == Link::Main {
            self.tell_surroundings(link.path);
            self.path_mut(link.path).on_network(now, view);
        }
    }

    /// The state of a path's own end of the network: NIC, address, route. It may be told again.
    pub fn on_uplink(&mut self, now: Instant, path: PathId, uplink: Uplink) {
        self.tell_surroundings(path);
        self.path_mut(path).on_uplink(now, uplink);
    }

    /// What a path decides depends on the others' present state.
    fn tell_surroundings(&mut self, path: PathId) {
        let surroundings = self.surroundings(usize::from(path.0));
        self.path_mut(path).set_surroundings(surroundings);
    }

    /// The last path that carried I/O is gone, or its port carries nothing any more: those that wait for
    /// their next attempt make it now, and all watch their access states closely. Or one is back.
    pub(super) fn heed_starvation(&mut self, now: Instant) {
        let starved = self.volume.is_starved();
        if std::mem::replace(&mut self.starved, starved) == starved {
            return;
        }
        for index in 0..self.paths.len() {
            let surroundings = self.surroundings(index);
            self.paths[index].set_surroundings(surroundings);
            if starved {
                self.paths[index].hurry(now);
            }
        }
    }
}
