//! Exports a volume once its unit is known, where the configuration says at that time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;
use crate::limits;
use crate::nbd::{ExportInfo, ExportTable};
use crate::shell::nbd_bind::BoundListener;
use crate::shell::nbd_listen::{NbdListener, ReadyClient};
use crate::shell::volume_task::{Ask, Found, VolumeHandle};

use super::memory::Memory;

/// Where clients are accepted from now on.
#[derive(Debug)]
pub(super) enum Order {
    /// There too.
    Open(Listen, BoundListener),
    /// Not there any more. Who is connected stays. Answered when the address is free.
    Close(Listen, oneshot::Sender<()>),
}

/// The export as it is now.
struct Table(watch::Receiver<Option<Found>>);

impl ExportTable for Table {
    fn snapshot(&self) -> Arc<Vec<ExportInfo>> {
        let found = self.0.borrow();
        let export = found.as_ref().map(|found| found.export.clone());
        Arc::new(export.into_iter().collect())
    }
}

/// See the module.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) memory: Arc<Memory>,
    pub(super) handle: VolumeHandle,
    pub(super) stop: CancellationToken,
    /// Its tasks and itself.
    pub(super) tasks: TaskTracker,
}

/// What the keeper has to do with.
struct Doors {
    clients: mpsc::Sender<ReadyClient>,
    /// The unit is known, and written down: clients may come.
    exported: bool,
    waiting: BTreeMap<Listen, BoundListener>,
    open: BTreeMap<Listen, (CancellationToken, JoinHandle<()>)>,
}

impl Keeper {
    pub(super) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut online = self.handle.online();
        let (clients, mut ready) = mpsc::channel(limits::NBD_CLIENTS_MAX);
        let mut doors = Doors {
            clients,
            exported: false,
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    self.obey(&mut doors, order).await;
                }
                changed = online.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let found = online.borrow_and_update().clone();
                    if let Some(found) = found {
                        self.on_found(&mut doors, &found);
                    }
                }
                client = ready.recv() => {
                    let Some(client) = client else { return };
                    if !self.handle.ask(Ask::Attach(Box::new(client))).await {
                        return;
                    }
                }
            }
        }
    }

    fn on_found(&self, doors: &mut Doors, found: &Found) {
        match self.memory.remember(found) {
            Ok(()) => {
                doors.exported = true;
                for (listen, bound) in std::mem::take(&mut doors.waiting) {
                    self.open(doors, listen, bound);
                }
            }
            Err(error) if doors.exported => {
                tracing::warn!(volume = self.name, %error, "what was found out about the unit is not kept");
            }
            Err(error) => {
                tracing::error!(volume = self.name, %error, "not exported: the unit's identity cannot be kept");
            }
        }
    }

    async fn obey(&self, doors: &mut Doors, order: Order) {
        match order {
            Order::Open(listen, bound) if doors.exported => self.open(doors, listen, bound),
            Order::Open(listen, bound) => {
                doors.waiting.insert(listen, bound);
            }
            Order::Close(listen, done) => {
                doors.waiting.remove(&listen);
                if let Some((stop, task)) = doors.open.remove(&listen) {
                    stop.cancel();
                    // A task that panicked has ended, too.
                    let _ = task.await;
                }
                // The asker may have gone.
                let _ = done.send(());
            }
        }
    }

    fn open(&self, doors: &mut Doors, listen: Listen, bound: BoundListener) {
        match NbdListener::new(bound) {
            Ok(listener) => {
                let stop = self.stop.child_token();
                let table = Arc::new(Table(self.handle.online()));
                let run = listener.run(table, doors.clients.clone(), stop.clone());
                let task = self.tasks.spawn(run);
                doors.open.insert(listen, (stop, task));
            }
            Err(error) => tracing::error!(volume = self.name, %error, "cannot listen"),
        }
    }
}
