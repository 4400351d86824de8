//! One volume at work: how it is started, changed and stopped.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Listen};
use crate::shell::clock;
use crate::shell::dial::Source;
use crate::shell::nbd_bind::{BindError, BoundListener, ListenAddress};
use crate::shell::state::StateDir;
use crate::shell::volume_task::{self, Ask, Inbox, Stopped, VolumeHandle, VolumeTask};

use super::StartError;
use super::assemble::{self, Assembled};
use super::interfaces::InterfaceNews;
use super::keeper::{Keeper, Order};
use super::memory::{Memory, session_name};
use super::workers::Job;

/// An NBD socket gives whoever opens it the whole disk: it is its owner's alone.
const SOCKET_MODE: u32 = 0o600;

/// One volume at work.
#[derive(Debug)]
pub(super) struct Running {
    config: Mutex<Arc<config::Volume>>,
    pub(super) handle: VolumeHandle,
    pub(super) memory: Arc<Memory>,
    orders: mpsc::UnboundedSender<Order>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A volume that can be started: everything that may be refused was not.
pub(super) struct Prepared {
    config: config::Volume,
    assembled: Assembled,
    memory: Memory,
    bound: Vec<(Listen, BoundListener)>,
}

/// What is left behind of the last run.
fn tell_of_the_last_run(volume: &str, unclean: bool, orphaned: bool) {
    if unclean {
        tracing::warn!(
            volume,
            "the last run did not end cleanly: reads are served at once, writes when its sessions are fenced"
        );
    }
    if orphaned {
        tracing::warn!(
            volume,
            "the last run had a path that is no longer configured as it was: what it left at the target cannot be \
             fenced, writes wait for `fence.quiesce`, or until the path is put back and the daemon restarted"
        );
    }
}

/// Does what may be refused: reads the state, assembles, and binds the addresses for which `binds` holds.
pub(super) fn prepare(
    daemon: &config::Daemon,
    volume: &config::Volume,
    dir: &Arc<StateDir>,
    binds: impl Fn(&Listen) -> bool,
) -> Result<Prepared, StartError> {
    let known = dir.load(&volume.name)?;
    let unclean = known.as_ref().is_some_and(|state| !state.clean);
    let sessions = volume.paths.iter().map(session_name).collect();
    let (state, orphaned) = known.unwrap_or_default().begin(sessions);
    tell_of_the_last_run(&volume.name, unclean, orphaned);
    let listens = volume.export.nbd.iter().filter(|listen| binds(listen));
    let bound = listens
        .map(|listen| Ok((listen.clone(), bind(&volume.name, listen)?)))
        .collect::<Result<_, StartError>>()?;
    let assembled = assemble::assemble(daemon, volume, &state, unclean, orphaned);
    let assembled = assembled.map_err(|error| StartError::Assemble {
        volume: volume.name.clone(),
        error,
    })?;
    let memory = Memory::new(&volume.name, dir, state, &volume.paths);
    Ok(Prepared {
        config: volume.clone(),
        assembled,
        memory,
        bound,
    })
}

/// Binds one address of a volume.
pub(super) fn bind(volume: &str, listen: &Listen) -> Result<BoundListener, StartError> {
    let address = match listen {
        Listen::Unix(path) => Ok(ListenAddress::Unix {
            path: path.clone(),
            mode: SOCKET_MODE,
        }),
        Listen::Tcp { host, port } => ListenAddress::resolve(host, *port),
    };
    let bound = address.and_then(|address| BoundListener::bind(&address));
    bound.map_err(|error: BindError| StartError::Bind {
        volume: volume.to_owned(),
        error,
    })
}

/// Where each path's connections leave from.
pub(super) fn sources(volume: &config::Volume) -> Vec<Source> {
    let source = |path: &config::Path| Source {
        nic: path.nic.clone(),
        address: path.source,
        patience: Some(volume.detect.command),
    };
    volume.paths.iter().map(source).collect()
}

impl Prepared {
    /// Begins the run: from now on the last one's state is no more. The volume's keeper runs at once; the
    /// job is what its thread does.
    pub(super) fn launch(self, stop: &CancellationToken) -> Result<(Running, Job), StartError> {
        let Self {
            config,
            assembled,
            memory,
            bound,
        } = self;
        memory.store()?;
        let memory = Arc::new(memory);
        let (handle, inbox) = volume_task::channel();
        let (orders, obeyed) = mpsc::unbounded_channel();
        let running = Running {
            handle,
            memory,
            orders,
            stop: stop.child_token(),
            tasks: TaskTracker::new(),
            config: Mutex::new(Arc::new(config)),
        };
        for (listen, bound) in bound {
            running.open(listen, bound);
        }
        running.tasks.spawn(running.keeper().run(obeyed));
        let job = running.job(assembled, inbox);
        Ok((running, job))
    }
}

impl Running {
    pub(super) fn config(&self) -> Arc<config::Volume> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn name(&self) -> String {
        self.config().name.clone()
    }

    fn keeper(&self) -> Keeper {
        Keeper {
            name: self.name(),
            memory: Arc::clone(&self.memory),
            handle: self.handle.clone(),
            stop: self.stop.clone(),
            tasks: self.tasks.clone(),
        }
    }

    fn job(&self, assembled: Assembled, inbox: Inbox) -> Job {
        let config = self.config();
        let span = tracing::info_span!("volume", name = config.name);
        let sources = sources(&config);
        Box::new(move || VolumeTask::new(assembled.engine(clock::now()), sources, inbox, span))
    }

    /// Is told of the host's network interfaces, until it is stopped.
    pub(super) fn hear(&self, news: &InterfaceNews) {
        news.tell(self.handle.clone(), &self.stop, &self.tasks);
    }

    /// Accepts clients there, too, once the unit is known.
    pub(super) fn open(&self, listen: Listen, bound: BoundListener) {
        // A keeper that has ended accepts nobody.
        let _ = self.orders.send(Order::Open(listen, bound));
    }

    /// Accepts no clients there any more; the address is free when this returns.
    pub(super) async fn close(&self, listen: &Listen) {
        let (done, closed) = oneshot::channel();
        let _ = self.orders.send(Order::Close(listen.clone(), done));
        // Nor is it kept by a keeper that has ended.
        let _ = closed.await;
    }

    /// Has the volume take another configuration over, but for where it is exported.
    pub(super) async fn change(
        &self,
        new: &config::Volume,
        assembled: Assembled,
        why: String,
    ) -> Result<(), StartError> {
        let old = self.config();
        self.memory.expect(&new.paths)?;
        let change = assembled.change(old.policy != new.policy, why);
        let sources = sources(new);
        let changed = self.handle.reconfigure(change, sources).await;
        let volume = || new.name.clone();
        let ids = changed
            .ok_or_else(|| StartError::Ended { volume: volume() })?
            .map_err(|error| StartError::Paths {
                volume: volume(),
                error,
            })?;
        self.memory.number(&ids, &new.paths);
        let found = self.handle.online().borrow().clone();
        if let Some(Err(error)) = found.map(|found| self.memory.remember(&found)) {
            tracing::warn!(volume = new.name, %error, "what was found out about the unit is not kept");
        }
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new.clone());
        Ok(())
    }

    /// Takes no new clients and requests, answers what was asked, flushes, logs out; `true` if all of that
    /// was done.
    pub(super) async fn stop(&self) -> bool {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let config = self.config();
        let (volume, limit) = (&config.name, config.stop_timeout);
        let (done, stopped) = oneshot::channel();
        self.handle.ask(Ask::Stop { limit, done }).await;
        let stopped = stopped.await.unwrap_or(Stopped {
            clean: false,
            flushed: false,
            unanswered: 0,
        });
        if !stopped.flushed {
            tracing::warn!(
                volume,
                "the flush at the end was not carried out: if the target loses its cache, the last writes are gone"
            );
        }
        if !stopped.clean {
            let unanswered = stopped.unanswered;
            tracing::warn!(
                volume,
                unanswered,
                "not everything was answered and logged out in time: after the next start, writes wait until this run is fenced"
            );
            return false;
        }
        if let Err(error) = self.memory.end_cleanly() {
            tracing::error!(volume, %error, "cannot note the clean exit");
            return false;
        }
        if stopped.flushed {
            tracing::info!(volume, "stopped cleanly");
        } else {
            tracing::info!(
                volume,
                "stopped: all was answered and logged out, but not flushed"
            );
        }
        stopped.flushed
    }
}
