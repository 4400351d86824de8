//! How the rest of the program speaks to a volume.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Change, EngineEvents, EngineStatus};
use crate::ids::PathId;
use crate::iscsi::isid::Isid;
use crate::nbd::ExportInfo;
use crate::units::Geometry;

use super::super::dial::Source;
use super::super::nbd_listen::ReadyClient;
use super::super::uplink::Interfaces;
use super::{Changed, Told};
use crate::volume::{RememberedKey, ReservationAsk};

/// Messages to a volume task that may wait.
const ASKS_MAX: usize = 64;

/// What a volume task is asked.
#[derive(Debug)]
pub enum Ask {
    /// Serve this client.
    Attach(Box<ReadyClient>),
    /// Tell the state.
    Status(oneshot::Sender<EngineStatus>),
    /// Tell what happened to each path.
    Events(oneshot::Sender<EngineEvents>),
    /// Use the preferred paths again, whatever the failback rule says; told when it is done.
    Failback(oneshot::Sender<()>),
    /// Read or change the unit's reservations.
    Reservation {
        /// What is asked for.
        ask: ReservationAsk,
        /// The answer.
        done: oneshot::Sender<Told>,
    },
    /// The host's network interfaces are these now.
    Interfaces(Arc<Interfaces>),
    /// Take other settings over.
    Reconfigure {
        /// The settings.
        change: Box<Change>,
        /// Where the paths of the change connect from, in its order.
        sources: Vec<Source>,
        /// The answer.
        done: oneshot::Sender<Changed>,
    },
    /// Take no new requests, drain, flush, log out; tell whether all of that was done in time.
    Stop {
        /// For all of it.
        limit: Duration,
        /// The answer.
        done: oneshot::Sender<Stopped>,
    },
}

/// How a volume stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Everything was answered and logged out, and no ghost is left.
    pub clean: bool,
    /// Nothing that was acknowledged can be in a volatile cache of the target only.
    pub flushed: bool,
    /// Requests that were not answered.
    pub unanswered: usize,
}

/// How the rest of the program speaks to a volume.
#[derive(Clone, Debug)]
pub struct VolumeHandle {
    asks: mpsc::Sender<Ask>,
    online: watch::Receiver<Option<Found>>,
}

/// What an identified volume is.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its export.
    pub export: ExportInfo,
    /// Its unit's canonical identifier.
    pub wwid: String,
    /// Its size.
    pub geometry: Geometry,
    /// The paths that it was used through in this run, so far.
    pub paths: Vec<PathId>,
    /// Those that led to another unit with the same identifiers when they were last compared.
    pub distrusted: Vec<PathId>,
    /// The ISIDs of the paths that are there, those that are about to go too.
    pub isids: Vec<Isid>,
    /// Its reservation key, with what became of it.
    pub key: Option<RememberedKey>,
}

/// A volume task's end of what its [`VolumeHandle`] holds.
#[derive(Debug)]
pub struct Inbox {
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) online: watch::Sender<Option<Found>>,
}

impl VolumeHandle {
    /// Asks; `false` if the volume has ended.
    pub async fn ask(&self, ask: Ask) -> bool {
        self.asks.send(ask).await.is_ok()
    }

    /// Has it take other settings over; `None` if the volume has ended, or is about to.
    pub async fn reconfigure(&self, change: Change, sources: Vec<Source>) -> Option<Changed> {
        let (done, changed) = oneshot::channel();
        let change = Box::new(change);
        self.ask(Ask::Reconfigure {
            change,
            sources,
            done,
        })
        .await;
        changed.await.ok()
    }

    /// The volume's state; `None` if it has ended.
    pub async fn status(&self) -> Option<EngineStatus> {
        let (answer, status) = oneshot::channel();
        self.ask(Ask::Status(answer)).await;
        status.await.ok()
    }

    /// What happened, oldest first; `None` if the volume has ended.
    pub async fn events(&self) -> Option<EngineEvents> {
        let (answer, events) = oneshot::channel();
        self.ask(Ask::Events(answer)).await;
        events.await.ok()
    }

    /// Uses the preferred paths again; `None` if the volume has ended.
    pub async fn fail_back(&self) -> Option<()> {
        let (answer, done) = oneshot::channel();
        self.ask(Ask::Failback(answer)).await;
        done.await.ok()
    }

    /// Reads or changes the unit's reservations; `None` if the volume has ended.
    pub async fn reservation(&self, ask: ReservationAsk) -> Option<Told> {
        let (done, told) = oneshot::channel();
        self.ask(Ask::Reservation { ask, done }).await;
        told.await.ok()
    }

    /// The export, which is known once the unit was identified.
    #[must_use]
    pub fn online(&self) -> watch::Receiver<Option<Found>> {
        self.online.clone()
    }
}

/// Both ends of what a volume task and the rest of the program say to each other.
#[must_use]
pub fn channel() -> (VolumeHandle, Inbox) {
    let (ask, asks) = mpsc::channel(ASKS_MAX);
    let (online, online_seen) = watch::channel(None);
    (
        VolumeHandle {
            asks: ask,
            online: online_seen,
        },
        Inbox { asks, online },
    )
}
