//! The daemon: starts a task for each volume, exports those that are identified, stops in order.
//!
//! Volumes run on threads of their own, each with a runtime; listening, handshakes, control and signals
//! run on the runtime that [`Daemon::start`] is called in.

mod assemble;
mod interfaces;
mod keeper;
mod memory;
mod reload;
mod report;
mod reservation;
mod volume;
mod workers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::config::show::Effective;
use crate::control::Refusal;
use crate::control::reload::ReloadReport;
use crate::engine::TooManyPaths;

use super::clock;
use super::control_task::{ControlError, ControlSocket};
use super::nbd_bind::BindError;
use super::state::{StateDir, StateError};

pub use assemble::{AssembleError, session_config};
use interfaces::InterfaceNews;
use volume::{Prepared, Running};
use workers::Workers;

/// Why the daemon does not start, or a volume.
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
    /// A volume's paths.
    #[error("volume {volume}: {error}")]
    Paths {
        /// The volume.
        volume: String,
        /// What is wrong.
        error: TooManyPaths,
    },
    /// The volume is about to end.
    #[error("volume {volume}: it is being stopped")]
    Ended {
        /// The volume.
        volume: String,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Who is at work: what the state is asked of.
#[derive(Debug)]
struct Board {
    started: Instant,
    /// The configuration's file, if it is read again when the administrator says so.
    file: Option<PathBuf>,
    daemon: config::Daemon,
    /// In the order of the configuration; those that were added later come last.
    volumes: Mutex<Vec<Arc<Running>>>,
    workers: Workers,
    dir: Arc<StateDir>,
    interfaces: InterfaceNews,
    stop: CancellationToken,
    /// What runs. Locked while it is changed.
    current: tokio::sync::Mutex<Effective>,
}

/// All volumes at work. Stop it with [`Daemon::stop`]; dropped, it ends without logging out.
#[derive(Debug)]
pub struct Daemon {
    board: Arc<Board>,
    /// Control, and what it has set going.
    tasks: TaskTracker,
    /// Control goes on for as long as there is something to tell.
    mute: CancellationToken,
}

impl Board {
    fn volumes(&self) -> Vec<Arc<Running>> {
        let volumes = self.volumes.lock();
        volumes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn launch(&self, prepared: Prepared) -> Result<(), StartError> {
        let (running, job) = prepared.launch(&self.stop)?;
        self.workers.start(job)?;
        running.hear(&self.interfaces);
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.push(Arc::new(running));
        Ok(())
    }
}

impl Daemon {
    /// Starts every volume of the configuration. Paths connect in the background, for ever. The `file` is
    /// what [`Daemon::reload`] reads.
    ///
    /// # Errors
    /// Only what concerns this host: the state directory, an address to listen on.
    pub fn start(effective: Effective, file: Option<PathBuf>) -> Result<Self, StartError> {
        let config = &effective.config;
        let dir = Arc::new(StateDir::open(&config.daemon.state_dir)?);
        let control = ControlSocket::bind(&config.daemon.control)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let board = Arc::new(Board {
            started: clock::now(),
            file,
            daemon: config.daemon.clone(),
            volumes: Mutex::new(Vec::new()),
            workers: Workers::new(),
            dir,
            interfaces: InterfaceNews::watch(&stop, &tasks),
            stop,
            current: tokio::sync::Mutex::new(effective.clone()),
        });
        for volume in &config.volumes {
            let prepared = volume::prepare(&config.daemon, volume, &board.dir, |_| true);
            board.launch(prepared.inspect_err(|_| board.stop.cancel())?)?;
        }
        let mute = CancellationToken::new();
        let (source, ended) = (Arc::clone(&board), mute.clone());
        tasks.spawn(async move {
            if let Err(error) = control.serve(source, ended).await {
                tracing::error!(%error, "the control socket is not served");
            }
        });
        Ok(Self { board, tasks, mute })
    }

    /// Reads the configuration's file again and takes it over, and says in the log what came of it.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn reload(&self) -> Result<ReloadReport, Refusal> {
        reload::reload(&self.board, false).await
    }

    /// The same without waiting for it; the log tells what came of it.
    pub fn reload_in_background(&self) {
        let board = Arc::clone(&self.board);
        self.tasks
            .spawn(async move { reload::reload(&board, false).await });
    }

    /// Takes no new clients and requests, answers what was asked, flushes, logs out. `true` if all of
    /// that was done for every volume.
    pub async fn stop(self) -> bool {
        self.board.stop.cancel();
        // A reload that is under way comes to its end first; there is none after it.
        drop(self.board.current.lock().await);
        let volumes = self.board.volumes();
        let stopped = join_all(volumes.iter().map(|volume| volume.stop())).await;
        self.mute.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.board.workers.join().await;
        stopped.into_iter().all(|clean| clean)
    }
}
