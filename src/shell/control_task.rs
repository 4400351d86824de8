//! The daemon's side of the control socket.
//!
//! Nothing here can hold the data path up: requests are answered from a [`StatusSource`], with a bound on
//! connections, on bytes and on time.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Group, chown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::nbd_bind::{BindError, BoundListener, ListenAddress};
use crate::config::Control;
use crate::control::events::EventsReport;
use crate::control::reload::ReloadReport;
use crate::control::reservation::{ReservationDeed, ReservationReport};
use crate::control::{Answer, Ask, Refusal, StatusReport, wire};
use crate::limits::{CONTROL_CLIENTS_MAX, CONTROL_REQUEST_MAX, CONTROL_TIMEOUT};

/// How long accepting rests after the system refused, typically for want of file descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Who knows the state of the daemon.
pub trait StatusSource: Send + Sync + 'static {
    /// The state of everything now; asked for at most [`CONTROL_CLIENTS_MAX`] times at once.
    fn status(&self) -> impl Future<Output = Result<StatusReport, Refusal>> + Send;

    /// What happened to the paths of a volume.
    fn events(&self, volume: &str) -> impl Future<Output = Result<EventsReport, Refusal>> + Send;

    /// Uses the preferred paths of a volume again.
    fn fail_back(&self, volume: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Reads or changes the reservations of a volume's LUN.
    fn reservation(
        &self,
        volume: &str,
        deed: ReservationDeed,
    ) -> impl Future<Output = Result<ReservationReport, Refusal>> + Send;

    /// Takes a changed configuration over, or tells what would change. It goes on if nobody waits any more.
    fn reload(
        self: Arc<Self>,
        dry_run: bool,
    ) -> impl Future<Output = Result<ReloadReport, Refusal>> + Send;
}

/// Why the control socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// `daemon.control.group` is not there.
    #[error("daemon.control.group: there is no group \"{0}\" on this machine (see: getent group)")]
    NoGroup(String),
    /// The socket cannot be given to the group.
    #[error("cannot give {} to group \"{group}\": {error}", socket.display())]
    Group {
        /// The socket.
        socket: PathBuf,
        /// The group.
        group: String,
        /// The system's error.
        error: io::Error,
    },
}

/// The control socket, not yet served. Its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    bound: BoundListener,
}

impl ControlSocket {
    /// Binds the socket: for us alone, or for us and the configured group. Its directory is made if only
    /// that one is missing.
    ///
    /// # Errors
    /// Names what stands in the way; that another daemon is running, for one.
    pub fn bind(control: &Control) -> Result<Self, ControlError> {
        let path = &control.socket;
        make_directory(path);
        let address = ListenAddress::Unix {
            path: path.clone(),
            mode: 0o600,
        };
        let bound = BoundListener::bind(&address)?;
        if let Some(name) = &control.group {
            let found = Group::from_name(name).ok().flatten();
            let group = found.ok_or_else(|| ControlError::NoGroup(name.clone()))?;
            let given = chown(path, None, Some(group.gid)).map_err(io::Error::from);
            // In this order no other group ever has it.
            given
                .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o660)))
                .map_err(|error| ControlError::Group {
                    socket: path.clone(),
                    group: name.clone(),
                    error,
                })?;
        }
        Ok(Self { bound })
    }

    /// Answers until `stop`; at the end nobody but the caller has `source` any more.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub async fn serve(
        self,
        source: Arc<impl StatusSource>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let BoundListener {
            address,
            file,
            socket,
        } = self.bound;
        let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
        info!(%address, "listening for iibadm");
        let places = Arc::new(Semaphore::new(CONTROL_CLIENTS_MAX));
        let clients = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a control client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                warn!("too many control clients at once; one was turned away");
                continue;
            };
            let source = Arc::clone(&source);
            let task = async move {
                if let Err(error) = serve_client(stream, &source).await {
                    debug!(%error, "a control client was lost");
                }
                drop(place);
            };
            clients.spawn(stop.clone().run_until_cancelled_owned(task));
        }
        drop(file);
        clients.close();
        clients.wait().await;
        Ok(())
    }
}

/// Errors show when the socket is bound.
fn make_directory(socket: &Path) {
    if let Some(directory) = socket.parent() {
        let made = fs::DirBuilder::new().mode(0o755).create(directory);
        if made.is_ok() {
            info!(directory = %directory.display(), "made the directory of the control socket");
        }
    }
}

async fn serve_client(mut stream: UnixStream, source: &Arc<impl StatusSource>) -> io::Result<()> {
    let too_slow = |_| io::Error::from(io::ErrorKind::TimedOut);
    let line = timeout(CONTROL_TIMEOUT, read_line(&mut stream))
        .await
        .map_err(too_slow)??;
    let answer = answer(&line, source).await;
    let line = wire::encode_answer(answer);
    let write = async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    timeout(CONTROL_TIMEOUT, write).await.map_err(too_slow)?
}

/// The first line with its newline, or what there is of it.
async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(512);
    while !line.contains(&b'\n') && line.len() <= CONTROL_REQUEST_MAX {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        line.truncate(end + 1);
    }
    Ok(line)
}

async fn answer(line: &[u8], source: &Arc<impl StatusSource>) -> Answer {
    let request = match wire::decode_request(line) {
        Ok(request) => request,
        Err(error) => return Answer::Refused(error.refusal()),
    };
    let limit = request.ask.limit();
    match timeout(limit, act(request.ask, source)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Refused(Refusal::Busy),
    }
}

async fn act(ask: Ask, source: &Arc<impl StatusSource>) -> Answer {
    match ask {
        Ask::Status { volume } => match source.status().await {
            Ok(report) => only(report, volume),
            Err(refusal) => Answer::Refused(refusal),
        },
        Ask::Reload { dry_run } => match Arc::clone(source).reload(dry_run).await {
            Ok(report) => Answer::Reloaded(report),
            Err(refusal) => Answer::Refused(refusal),
        },
        Ask::Reservation { volume, deed } => match source.reservation(&volume, deed).await {
            Ok(report) => Answer::Reservation(report),
            Err(refusal) => Answer::Refused(refusal),
        },
        Ask::Events { volume } => match source.events(&volume).await {
            Ok(report) => Answer::Events(report),
            Err(refusal) => Answer::Refused(refusal),
        },
        Ask::Failback { volume } => match source.fail_back(&volume).await {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal),
        },
    }
}

/// The report with the volume that was asked for.
fn only(mut report: StatusReport, volume: Option<String>) -> Answer {
    let Some(name) = volume else {
        return Answer::Status(report);
    };
    if report.volumes.iter().all(|volume| volume.name != name) {
        let known = report
            .volumes
            .into_iter()
            .map(|volume| volume.name)
            .collect();
        return Answer::Refused(Refusal::NoSuchVolume { name, known });
    }
    report.volumes.retain(|volume| volume.name == name);
    Answer::Status(report)
}

#[cfg(test)]
mod tests;
