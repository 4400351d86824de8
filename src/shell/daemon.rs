//! The daemon: starts a task for each volume, exports those that are identified, stops in order.
//!
//! Volumes run on threads of their own, each with a runtime; listening, handshakes, control and signals
//! run on the runtime that [`Daemon::start`] is called in.

mod assemble;
mod interfaces;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config};
use crate::limits;
use crate::nbd::ExportInfo;

use super::clock;
use super::control_task::{ControlError, ControlSocket};
use super::dial::Source;
use super::moderation;
use super::nbd_bind::{BindError, BoundListener, ListenAddress};
use super::nbd_listen::{NbdListener, ReadyClient};
use super::state::{StateDir, StateError, VolumeState};
use super::volume_task::{self, Ask, Found, Stopped, VolumeHandle, VolumeTask};

pub use assemble::{AssembleError, session_config};
use interfaces::InterfaceNews;

/// An NBD socket gives whoever opens it the whole disk: it is its owner's alone.
const SOCKET_MODE: u32 = 0o600;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A volume's settings.
    #[error("volume {volume}: {error}")]
    Assemble {
        /// The volume.
        volume: String,
        /// What is wrong.
        error: AssembleError,
    },
    /// A volume's NBD address.
    #[error("volume {volume}: {error}")]
    Bind {
        /// The volume.
        volume: String,
        /// What is wrong.
        error: BindError,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// One volume at work.
#[derive(Debug)]
struct Running {
    config: config::Volume,
    handle: VolumeHandle,
    state: Arc<Mutex<VolumeState>>,
}

/// Who is at work: what the state is asked of.
#[derive(Debug)]
struct Board {
    started: Instant,
    initiator_name: String,
    volumes: Vec<Running>,
}

/// All volumes at work. Stop it with [`Daemon::stop`]; dropped, it ends without logging out.
#[derive(Debug)]
pub struct Daemon {
    board: Arc<Board>,
    dir: Arc<StateDir>,
    stop: CancellationToken,
    listeners: TaskTracker,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What a volume's thread is given.
type Job = Box<dyn FnOnce() -> VolumeTask + Send>;

impl Daemon {
    /// Starts every volume of the configuration. Paths connect in the background, for ever.
    ///
    /// # Errors
    /// Only what concerns this host: the state directory, an address to listen on.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let dir = Arc::new(StateDir::open(&config.daemon.state_dir)?);
        let control = ControlSocket::bind(&config.daemon.control)?;
        let (stop, listeners) = (CancellationToken::new(), TaskTracker::new());
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(config.volumes.len()).max(1);
        let mut jobs: Vec<Vec<Job>> = (0..threads).map(|_| Vec::new()).collect();
        let mut volumes = Vec::new();
        let interfaces = InterfaceNews::watch(&stop, &listeners);
        for (index, volume) in config.volumes.iter().enumerate() {
            let (running, job) = start_volume(config, volume, &dir, &stop, &listeners)?;
            jobs[index % threads].push(job);
            interfaces.tell(running.handle.clone());
            volumes.push(running);
        }
        let threads = jobs
            .into_iter()
            .enumerate()
            .map(|(index, jobs)| spawn(index, jobs));
        let threads = threads.collect::<Result<_, _>>()?;
        let initiator_name = config.daemon.initiator_name.clone();
        let board = Arc::new(Board {
            started: clock::now(),
            initiator_name,
            volumes,
        });
        let (source, ended) = (Arc::clone(&board), stop.clone());
        listeners.spawn(async move {
            if let Err(error) = control.serve(source, ended).await {
                tracing::error!(%error, "the control socket is not served");
            }
        });
        Ok(Self {
            board,
            dir,
            stop,
            listeners,
            threads,
        })
    }

    /// Takes no new clients and requests, answers what was asked, flushes, logs out. `true` if all of
    /// that was done for every volume.
    pub async fn stop(self) -> bool {
        self.stop.cancel();
        self.listeners.close();
        self.listeners.wait().await;
        let stopped = join_all(
            self.board
                .volumes
                .iter()
                .map(|volume| self.stop_volume(volume)),
        )
        .await;
        for thread in self.threads {
            // A thread ends when its volumes have; joining it elsewhere keeps this runtime free.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        stopped.into_iter().all(|clean| clean)
    }

    async fn stop_volume(&self, volume: &Running) -> bool {
        let (done, stopped) = oneshot::channel();
        let limit = volume.config.stop_timeout;
        volume.handle.ask(Ask::Stop { limit, done }).await;
        let stopped = stopped.await.unwrap_or(Stopped {
            clean: false,
            flushed: false,
            unanswered: 0,
        });
        if !stopped.flushed {
            tracing::warn!(
                volume = volume.config.name,
                "the flush at the end was not carried out: if the target loses its cache, the last writes are gone"
            );
        }
        if stopped.clean {
            let mut state = volume
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            state.clean = true;
            if let Err(error) = self.dir.store(&volume.config.name, &state) {
                tracing::error!(volume = volume.config.name, %error, "cannot note the clean exit");
                return false;
            }
            tracing::info!(volume = volume.config.name, "stopped cleanly");
        } else {
            let unanswered = stopped.unanswered;
            tracing::warn!(
                volume = volume.config.name,
                unanswered,
                "not everything was answered and logged out in time: after the next start, writes wait until this run is fenced"
            );
        }
        stopped.clean && stopped.flushed
    }
}

fn spawn(index: usize, jobs: Vec<Job>) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(moderation::hold)
        .build()?;
    thread::Builder::new()
        .name(format!("volumes-{index}"))
        .spawn(move || {
            moderation::sharpen_timers();
            let local = LocalSet::new();
            let _guard = runtime.enter();
            for job in jobs {
                local.spawn_local(job().run());
            }
            runtime.block_on(local);
        })
}

fn start_volume(
    config: &Config,
    volume: &config::Volume,
    dir: &Arc<StateDir>,
    stop: &CancellationToken,
    listeners: &TaskTracker,
) -> Result<(Running, Job), StartError> {
    let known = dir.load(&volume.name)?;
    let unclean = known.as_ref().is_some_and(|state| !state.clean);
    if unclean {
        tracing::warn!(
            volume = volume.name,
            "the last run did not end cleanly: reads are served at once, writes when its sessions are fenced"
        );
    }
    let sessions = volume.paths.iter().map(session_name).collect();
    let (state, orphaned) = known.unwrap_or_default().begin(sessions);
    if orphaned {
        tracing::warn!(
            volume = volume.name,
            "the last run had a path that is no longer configured as it was: what it left at the target cannot be \
             fenced, writes wait for `fence.quiesce`, or until the path is put back and the daemon restarted"
        );
    }
    let bound = volume
        .export
        .nbd
        .iter()
        .map(bind)
        .collect::<Result<Vec<_>, _>>();
    let bound = bound.map_err(|error| StartError::Bind {
        volume: volume.name.clone(),
        error,
    })?;
    let assembled =
        assemble::assemble(&config.daemon, volume, &state, unclean, orphaned).map_err(|error| {
            StartError::Assemble {
                volume: volume.name.clone(),
                error,
            }
        })?;
    // Last, so that a start that fails leaves the last run's state as it was.
    dir.store(&volume.name, &state)?;
    let sources: Vec<Source> = volume
        .paths
        .iter()
        .map(|path| Source {
            nic: path.nic.clone(),
            address: path.source,
            patience: Some(volume.detect.command),
        })
        .collect();
    let span = tracing::info_span!("volume", name = volume.name);
    let (handle, inbox) = volume_task::channel();
    let job: Job =
        Box::new(move || VolumeTask::new(assembled.engine(clock::now()), sources, inbox, span));
    let state = Arc::new(Mutex::new(state));
    let running = Running {
        config: volume.clone(),
        handle: handle.clone(),
        state: Arc::clone(&state),
    };
    let keeper = Keeper {
        name: volume.name.clone(),
        places: volume.paths.iter().map(assemble::place).collect(),
        handle,
        dir: Arc::clone(dir),
        state,
        stop: stop.clone(),
        listeners: listeners.clone(),
    };
    listeners.spawn(keeper.run(bound));
    Ok((running, job))
}

/// What makes a path's session the same one for the target, over restarts.
fn session_name(path: &config::Path) -> String {
    let isid: String = path.isid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{isid} {} {}", path.target, path.portal)
}

fn bind(listen: &config::Listen) -> Result<BoundListener, BindError> {
    BoundListener::bind(&match listen {
        config::Listen::Unix(path) => ListenAddress::Unix {
            path: path.clone(),
            mode: SOCKET_MODE,
        },
        config::Listen::Tcp { host, port } => ListenAddress::resolve(host, *port)?,
    })
}

/// Exports a volume once its unit is known.
struct Keeper {
    name: String,
    /// Of each path, as it is remembered.
    places: Vec<String>,
    handle: VolumeHandle,
    dir: Arc<StateDir>,
    state: Arc<Mutex<VolumeState>>,
    stop: CancellationToken,
    listeners: TaskTracker,
}

impl Keeper {
    async fn run(self, bound: Vec<BoundListener>) {
        let mut online = self.handle.online();
        let found = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            found = online.wait_for(Option::is_some) => match found {
                Ok(found) => found.clone(),
                Err(_) => return,
            },
        };
        let Some(found) = found else {
            return;
        };
        if let Err(error) = self.remember(&found) {
            tracing::error!(volume = self.name, %error, "not exported: the unit's identity cannot be kept");
            return;
        }
        let exports: Arc<Vec<ExportInfo>> = Arc::new(vec![found.export]);
        let (clients, ready) = mpsc::channel(limits::NBD_CLIENTS_MAX);
        for bound in bound {
            match NbdListener::new(bound) {
                Ok(listener) => {
                    let table = Arc::new(Arc::clone(&exports));
                    self.listeners
                        .spawn(listener.run(table, clients.clone(), self.stop.clone()));
                }
                Err(error) => tracing::error!(volume = self.name, %error, "cannot listen"),
            }
        }
        drop(clients);
        self.attend(ready, online).await;
    }

    /// Pins what the volume is, before anybody can write to it.
    fn remember(&self, found: &Found) -> Result<(), StateError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wwid = &found.wwid;
        if state.wwid.is_none() {
            tracing::info!(volume = self.name, wwid, "logical unit pinned on first use");
        }
        if state.wwid.as_ref() != Some(wwid) {
            state.places.clear();
        }
        state.wwid = Some(wwid.clone());
        (state.block_size, state.blocks) = (found.geometry.block_size(), found.geometry.blocks());
        for path in &found.paths {
            let place = self.places.get(usize::from(path.0));
            if let Some(place) = place.filter(|place| !state.places.contains(place)) {
                state.places.push(place.clone());
            }
        }
        self.dir.store(&self.name, &state)
    }

    /// Hands clients on and keeps what is found out, until the volume has ended.
    async fn attend(
        &self,
        mut ready: mpsc::Receiver<ReadyClient>,
        mut online: watch::Receiver<Option<Found>>,
    ) {
        loop {
            tokio::select! {
                biased;
                client = ready.recv() => {
                    let Some(client) = client else { return };
                    if !self.handle.ask(Ask::Attach(Box::new(client))).await {
                        return;
                    }
                }
                changed = online.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let found = online.borrow_and_update().clone();
                    if let Some(Err(error)) = found.map(|found| self.remember(&found)) {
                        tracing::warn!(volume = self.name, %error, "a path that the unit was used through is not kept");
                    }
                }
            }
        }
    }
}
