//! Asking the daemon over its control socket. Blocking: it serves a command line tool.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::events::EventsReport;
use crate::control::reload::ReloadReport;
use crate::control::reservation::{ReservationDeed, ReservationReport};
use crate::control::{Answer, Ask, Refusal, Request, StatusReport, WireError, wire};
use crate::limits::{CONTROL_LINE_MAX, CONTROL_TIMEOUT};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {}: is iiblockdaemon running? If it has another socket, name it with \
         --socket",
        socket.display()
    )]
    NoDaemon {
        /// Where we looked.
        socket: PathBuf,
    },
    /// The socket is for others.
    #[error(
        "no permission to use {}: run this as the daemon's user or as a member of the group that \
         daemon.control.group names",
        socket.display()
    )]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// Silence.
    #[error("the daemon at {} does not answer", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// Any other trouble with the socket.
    #[error("{}: {error}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// What came back is no answer.
    #[error("the answer is {0}; use the iibadm that came with the daemon")]
    Wire(#[from] WireError),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The state of the daemon, with one volume or all.
///
/// # Errors
/// The daemon cannot be reached, does not answer in time, or refuses.
pub fn status(socket: &Path, volume: Option<&str>) -> Result<StatusReport, ControlClientError> {
    let volume = volume.map(str::to_owned);
    match ask(socket, Ask::Status { volume })? {
        Answer::Status(report) => Ok(report),
        Answer::Events(_) | Answer::Done | Answer::Reloaded(_) | Answer::Reservation(_) => {
            Err(WireError::BadForm.into())
        }
        Answer::Refused(refusal) => Err(refusal.into()),
    }
}

/// What happened to the paths of a volume.
///
/// # Errors
/// The daemon cannot be reached, does not answer in time, or refuses.
pub fn events(socket: &Path, volume: &str) -> Result<EventsReport, ControlClientError> {
    let volume = volume.to_owned();
    match ask(socket, Ask::Events { volume })? {
        Answer::Events(report) => Ok(report),
        Answer::Status(_) | Answer::Done | Answer::Reloaded(_) | Answer::Reservation(_) => {
            Err(WireError::BadForm.into())
        }
        Answer::Refused(refusal) => Err(refusal.into()),
    }
}

/// Has the daemon take its changed configuration over, or tell what would change.
///
/// # Errors
/// The daemon cannot be reached, does not answer in time, or refuses: then nothing was changed.
pub fn reload(socket: &Path, dry_run: bool) -> Result<ReloadReport, ControlClientError> {
    match ask(socket, Ask::Reload { dry_run })? {
        Answer::Reloaded(report) => Ok(report),
        Answer::Status(_) | Answer::Events(_) | Answer::Done | Answer::Reservation(_) => {
            Err(WireError::BadForm.into())
        }
        Answer::Refused(refusal) => Err(refusal.into()),
    }
}

/// Uses the preferred paths of a volume again.
///
/// # Errors
/// The daemon cannot be reached, does not answer in time, or refuses.
pub fn fail_back(socket: &Path, volume: &str) -> Result<(), ControlClientError> {
    let volume = volume.to_owned();
    match ask(socket, Ask::Failback { volume })? {
        Answer::Done => Ok(()),
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::Status(_) | Answer::Events(_) | Answer::Reloaded(_) | Answer::Reservation(_) => {
            Err(WireError::BadForm.into())
        }
    }
}

/// Reads or changes the reservations of a volume's LUN.
///
/// # Errors
/// The daemon cannot be reached, does not answer in time, or refuses: then it says what was done.
pub fn reservation(
    socket: &Path,
    volume: &str,
    deed: ReservationDeed,
) -> Result<ReservationReport, ControlClientError> {
    let volume = volume.to_owned();
    match ask(socket, Ask::Reservation { volume, deed })? {
        Answer::Reservation(report) => Ok(report),
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::Status(_) | Answer::Events(_) | Answer::Reloaded(_) | Answer::Done => {
            Err(WireError::BadForm.into())
        }
    }
}

/// One question, one answer.
///
/// # Errors
/// The daemon cannot be reached or does not answer in time.
pub fn ask(socket: &Path, ask: Ask) -> Result<Answer, ControlClientError> {
    let limit = ask.limit();
    let line = converse(socket, &wire::encode_request(&Request::new(ask)), limit);
    let line = line.map_err(|error| explain(socket, error))?;
    Ok(wire::decode_answer(&line)?)
}

fn converse(socket: &Path, request: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    // Longer than the daemon allows itself, so that its own refusal arrives.
    let patience = limit + CONTROL_TIMEOUT;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
    let limit = u64::try_from(CONTROL_LINE_MAX + 1).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    stream.take(limit).read_to_end(&mut line)?;
    Ok(line)
}

fn explain(socket: &Path, error: io::Error) -> ControlClientError {
    let socket = socket.to_owned();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused {
        ControlClientError::NoDaemon { socket }
    } else if kind == io::ErrorKind::PermissionDenied {
        ControlClientError::Denied { socket }
    } else if kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::TimedOut {
        ControlClientError::Silent { socket }
    } else {
        ControlClientError::Socket { socket, error }
    }
}
