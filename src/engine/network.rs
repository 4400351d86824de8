//! What the system knows of the paths' network, and what follows for all of them.

use std::time::Instant;

use crate::ids::PathId;
use crate::path::{Link, NetworkView, Path, Uplink};

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

    /// The last path that carried I/O is gone: those that wait for their next attempt make it now.
    pub(super) fn hurry_if_none_serves(&mut self, now: Instant) {
        let serves = |path: &Path| path.is_ready() || path.is_on_probation();
        let served = self.paths.iter().any(serves);
        if std::mem::replace(&mut self.served, served) && !served {
            for path in &mut self.paths {
                path.hurry(now);
            }
        }
    }
}
