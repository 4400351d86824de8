//! An engine's state for the administrator.

use std::time::Instant;

use crate::path::{PathEvent, PathStatus};
use crate::volume::{VolumeEvent, VolumeStatus};

use super::Engine;

/// The state of a volume with its paths and clients.
#[derive(Clone, Debug)]
pub struct EngineStatus {
    /// Export name.
    pub name: String,
    /// Canonical identifier of the unit, once known.
    pub wwid: Option<String>,
    /// Size in bytes and logical block size, once known.
    pub size: Option<(u64, u32)>,
    /// The volume.
    pub volume: VolumeStatus,
    /// Its paths in the order of the configuration, then those that are about to go;
    /// [`VolumeStatus::routes`] has the same order.
    pub paths: Vec<PathStatus>,
    /// For each configured path, whether another path of its session group could fence it.
    pub siblings: Vec<bool>,
    /// NBD clients.
    pub clients: usize,
    /// Those of them that were told of a smaller size than the unit has by now.
    pub clients_behind: usize,
    /// No new requests are taken.
    pub stopping: bool,
}

/// What happened to a volume.
#[derive(Clone, Debug)]
pub struct EngineEvents {
    /// To the volume as a whole.
    pub volume: Vec<VolumeEvent>,
    /// To each path of [`EngineStatus::paths`], with its name.
    pub paths: Vec<(String, Vec<PathEvent>)>,
}

impl Engine {
    fn clients_behind(&self) -> usize {
        let size = self.unit().map_or(0, |unit| unit.geometry.bytes());
        let clients = self.clients.values();
        clients
            .filter(|entry| entry.connection.size() < size)
            .count()
    }

    /// What happened, oldest first.
    #[must_use]
    pub fn events(&self, now: Instant) -> EngineEvents {
        let present = self.present().into_iter();
        let of = |id| {
            let path = self.path(id);
            (path.config().name.clone(), path.events(now))
        };
        EngineEvents {
            volume: self.volume.events(now),
            paths: present.map(of).collect(),
        }
    }

    /// Its state at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> EngineStatus {
        let present = self.present();
        let stays = || self.order.iter().copied();
        let mut volume = self.volume.status(now);
        let gone = self
            .gone
            .iter()
            .map(|path| volume.routes[usize::from(path.0)]);
        let retries: u64 = gone.map(|route| route.counters.retries).sum();
        volume.counters.retries_removed += retries;
        volume.routes = present
            .iter()
            .map(|id| volume.routes[usize::from(id.0)])
            .collect();
        EngineStatus {
            name: self.export.name.clone(),
            wwid: self.unit().map(|unit| unit.identity.wwid()),
            size: self
                .unit()
                .map(|unit| (unit.geometry.bytes(), unit.geometry.block_size())),
            volume,
            paths: present
                .iter()
                .map(|id| self.path(*id).status(now))
                .collect(),
            siblings: stays()
                .map(|own| stays().any(|other| other != own && self.groups.same(own, other)))
                .collect(),
            clients: self.clients.len(),
            clients_behind: self.clients_behind(),
            stopping: self.stopping,
        }
    }
}
