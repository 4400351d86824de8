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
}
