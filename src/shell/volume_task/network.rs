//! What the host knows of the paths' network, told to the engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::engine::LinkId;
use crate::ids::PathId;
use crate::path::Link;

use super::super::stream::Stream;
use super::super::sys;
use super::super::uplink::{Interfaces, Way};
use super::{Connection, VolumeTask};

/// Bytes on their way for so long, and for four round trips, without an acknowledgement of anything.
const DOUBT: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Network {
    interfaces: Option<Arc<Interfaces>>,
    /// The ends of each path's last connection, here and at the portal.
    ways: BTreeMap<PathId, (SocketAddr, SocketAddr)>,
}

impl VolumeTask {
    /// A connection was made: remembers where it leaves.
    pub(super) fn note_way(&mut self, link: LinkId, stream: &TcpStream) {
        if link.link == Link::Main
            && let (Ok(local), Ok(portal)) = (stream.local_addr(), stream.peer_addr())
        {
            self.network.ways.insert(link.path, (local, portal));
        }
    }

    pub(super) fn on_interfaces(&mut self, now: Instant, interfaces: Arc<Interfaces>) {
        self.network.interfaces = Some(interfaces);
        for path in self.sources.keys().copied().collect::<Vec<_>>() {
            self.judge_uplink(now, path);
        }
    }

    /// The path is gone; its number may be given to another one.
    pub(super) fn forget_way(&mut self, path: PathId) {
        self.network.ways.remove(&path);
    }

    /// Tells the engine whether anything is in the way of a path's packets on this host.
    pub(super) fn judge_uplink(&mut self, now: Instant, path: PathId) {
        let Some(interfaces) = &self.network.interfaces else {
            return;
        };
        let source = self.source(path);
        let way = self.network.ways.get(&path);
        let configured = source.address.map(|address| SocketAddr::new(address, 0));
        let uplink = interfaces.judge(Way {
            nic: source.nic.as_deref(),
            local: way.map(|(local, _)| *local).or(configured),
            portal: way.map(|(_, portal)| *portal),
        });
        self.engine.on_uplink(now, path, uplink);
    }

    /// Asks the kernel about a connection.
    pub(super) fn observe(&mut self, now: Instant, link: LinkId) {
        let view = match self.links.get(&link) {
            Some((
                _,
                Connection::Open {
                    stream: Stream::Tcp(stream),
                    ..
                },
            )) => sys::network_view(stream),
            Some(_) | None => None,
        };
        if let Some(view) = view {
            if view.in_flight > 0
                && view.since_ack > DOUBT.max(view.round_trip.0 * 4)
                && let Some(interfaces) = &self.network.interfaces
            {
                interfaces.doubt();
            }
            self.engine.on_network(now, link, view);
        }
    }
}
