//! Measuring a volume as a user would see it: through its NBD export, and over each path alone.
//!
//! - [`over_export`]: an NBD client asks the daemon. With `write`, it overwrites the volume.
//! - [`over_path`]: a session beside the daemon's, with an ISID of its own, reads over one path. It only
//!   reads: a write would bypass the daemon's order of overlapping writes and its fences.
//! - `places`: where the next request goes; `tally`: what came of it; `render`: as text and JSON.

mod export;
mod path;
mod places;
mod render;
mod tally;

use std::time::Duration;

use crate::iscsi::name::PortalAddr;
use crate::iscsi::session::config::SessionConfig;

use super::dial::Source;
use super::nbd_client::{ConnectError, IoError};
use super::talk::TalkError;

pub use export::over_export;
pub use path::over_path;
pub use render::{json, text};
pub use tally::{Latency, Report, Row, Tally};

/// What is asked, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Bytes per request.
    pub block: u32,
    /// Requests in flight.
    pub depth: usize,
    /// Places in order instead of at random.
    pub sequential: bool,
    /// Writes instead of reads.
    pub write: bool,
    /// How long.
    pub time: Duration,
}

/// Where one path leads, and as whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// As status names it.
    pub name: String,
    /// Where to.
    pub portal: PortalAddr,
    /// Where from.
    pub source: Source,
    /// As the daemon's, but with another ISID.
    pub session: SessionConfig,
    /// Of the unit.
    pub lun: crate::ids::Lun,
    /// The identity that the unit must have.
    pub wwid: Option<String>,
}

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_millis(200);

/// Why there is no measurement, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The export.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A host name.
    #[error("{host}: cannot resolve: {error}")]
    Resolve {
        /// Of the export.
        host: String,
        /// The resolver's error.
        error: std::io::Error,
    },
    /// The workload does not fit the device.
    #[error(
        "--block-size: {found} bytes; this device takes multiples of {unit}, from {unit} to {most} bytes"
    )]
    BlockSize {
        /// What was asked for.
        found: u32,
        /// Its own block size.
        unit: u32,
        /// The largest request.
        most: u64,
    },
    /// Writes are refused.
    #[error("the export is read-only")]
    ReadOnly,
    /// A request over NBD failed.
    #[error("byte {offset}: {error}")]
    Request {
        /// Where.
        offset: u64,
        /// Why.
        error: IoError,
    },
    /// The session.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// Not a disk, or not there.
    #[error("{0}: there is no disk with this LUN")]
    NoUnit(String),
    /// Another unit than configured.
    #[error("{path}: its unit is {found}, not {wanted}; nothing was measured")]
    WrongUnit {
        /// The path.
        path: String,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A command failed.
    #[error("{path}: block {lba}: {answer}")]
    Command {
        /// The path.
        path: String,
        /// Where.
        lba: u64,
        /// Status and sense.
        answer: String,
    },
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// So many random bits.
fn seed() -> Result<u64, BenchError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(BenchError::Random)?;
    Ok(u64::from_ne_bytes(seed))
}

/// Whether requests of this size are possible on a device with blocks of `unit` bytes.
fn check_block(workload: &Workload, unit: u32, most: u64) -> Result<(), BenchError> {
    let found = workload.block;
    if found == 0 || !found.is_multiple_of(unit.max(1)) || u64::from(found) > most {
        return Err(BenchError::BlockSize { found, unit, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
