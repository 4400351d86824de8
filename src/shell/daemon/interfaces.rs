//! News of the host's network interfaces, for every volume.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shell::uplink::{self, Interfaces};
use crate::shell::volume_task::{Ask, VolumeHandle};

/// Where the news come from.
#[derive(Clone, Debug)]
pub(super) struct InterfaceNews {
    seen: watch::Receiver<Option<Arc<Interfaces>>>,
}

impl InterfaceNews {
    /// Watches them until the daemon stops.
    pub(super) fn watch(stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let (news, seen) = watch::channel(None);
        let stopped = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = uplink::watch(news) => {}
            }
        });
        Self { seen }
    }

    /// Tells a volume until it is stopped. A volume that is slow to listen gets the newest state.
    pub(super) fn tell(&self, volume: VolumeHandle, stop: &CancellationToken, tasks: &TaskTracker) {
        let (seen, stop) = (self.seen.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = forward(seen, volume) => {}
            }
        });
    }
}

async fn forward(mut seen: watch::Receiver<Option<Arc<Interfaces>>>, volume: VolumeHandle) {
    seen.mark_changed();
    while seen.changed().await.is_ok() {
        let interfaces = seen.borrow_and_update().clone();
        if let Some(interfaces) = interfaces
            && !volume.ask(Ask::Interfaces(interfaces)).await
        {
            return;
        }
    }
}
