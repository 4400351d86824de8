//! Other settings for a volume at work.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::{Change, TooManyPaths};
use crate::ids::PathId;

use super::super::dial::Source;
use super::{Found, VolumeTask};

/// Where each path's connections leave from.
pub(super) type Sources = BTreeMap<PathId, Source>;

/// The numbers of the paths that a change has, in its order; or why nothing was changed.
pub type Changed = Result<Vec<PathId>, TooManyPaths>;

impl VolumeTask {
    pub(super) fn on_reconfigure(
        &mut self,
        now: Instant,
        change: Change,
        sources: Vec<Source>,
        done: oneshot::Sender<Changed>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        let changed = self.engine.reconfigure(now, change);
        if let Ok(paths) = &changed {
            self.sources.extend(paths.iter().copied().zip(sources));
            for path in paths {
                self.judge_uplink(now, *path);
            }
            self.publish();
        }
        // The asker may have gone; what was changed stays changed.
        let _ = done.send(changed);
    }

    /// Tells what is known of the volume, once its unit is.
    pub(super) fn publish(&self) {
        let unit = self.engine.export_info().zip(self.engine.unit());
        let found = unit.map(|(export, unit)| Found {
            export,
            wwid: unit.identity.wwid(),
            geometry: unit.geometry,
            paths: self.engine.used_paths(),
            distrusted: self.engine.distrusted_paths(),
            isids: self.engine.isids(),
            key: self.engine.remembered_key(),
        });
        if found.is_some() {
            self.online.send_replace(found);
        }
    }
}
