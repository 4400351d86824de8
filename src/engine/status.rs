//! An engine's state for the administrator.

use std::time::Instant;

use crate::path::{Path, PathEvent, PathStatus};
use crate::volume::VolumeStatus;

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
    /// Its paths, in the order of [`VolumeStatus::routes`].
    pub paths: Vec<PathStatus>,
    /// For each path, whether another path of its session group could fence it.
    pub siblings: Vec<bool>,
    /// NBD clients.
    pub clients: usize,
    /// No new requests are taken.
    pub stopping: bool,
}

impl Engine {
    /// What happened to each path, oldest first.
    #[must_use]
    pub fn events(&self, now: Instant) -> Vec<Vec<PathEvent>> {
        self.paths.iter().map(|path| path.events(now)).collect()
    }

    /// Its state at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> EngineStatus {
        let ids = || (0u16..).map(crate::ids::PathId).take(self.paths.len());
        EngineStatus {
            name: self.export.name.clone(),
            wwid: self.unit().map(|unit| unit.identity.wwid()),
            size: self
                .unit()
                .map(|unit| (unit.geometry.bytes(), unit.geometry.block_size())),
            volume: self.volume.status(now),
            paths: self
                .paths
                .iter()
                .map(|path: &Path| path.status(now))
                .collect(),
            siblings: ids()
                .map(|own| ids().any(|other| other != own && self.groups.same(own, other)))
                .collect(),
            clients: self.clients.len(),
            stopping: self.stopping,
        }
    }
}
