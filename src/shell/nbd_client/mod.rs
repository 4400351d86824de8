//! A small NBD client of our own, for `iibadm bench` and netsim: pipelining over one connection, and
//! reconnect.
//!
//! It shares no code with the server: a common error of both would be invisible.
//! It behaves as the kernel's client does: requests that were in flight when the connection broke
//! are sent again on the next one, in their old order, and nobody is told.

mod connection;
mod negotiate;
pub mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use negotiate::Export;
pub use wire::WireError;

use connection::{Job, Kind};

/// Where an export is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addr) => write!(f, "tcp:{addr}"),
        }
    }
}

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where to.
    pub address: Address,
    /// Name of the export; empty for the default one.
    pub export: String,
    /// Whether structured replies are asked for.
    pub structured_replies: bool,
    /// How long a lost connection is tried again before its requests fail; zero: not at all.
    pub reconnect_for: Duration,
}

impl ClientConfig {
    /// The default export at `address`, structured replies, no reconnect.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            export: String::new(),
            structured_replies: true,
            reconnect_for: Duration::ZERO,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket.
    #[error("cannot reach {address}: {source}")]
    Socket {
        /// Where to.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The server is no fixed newstyle NBD server.
    #[error("not a fixed newstyle NBD server")]
    NotNbd,
    /// The server refused an option.
    #[error("option {option} refused with {error:#x}: {message}")]
    Refused {
        /// The option.
        option: u32,
        /// The error type of the reply.
        error: u32,
        /// The server's words.
        message: String,
    },
    /// The export is not usable.
    #[error("the server's answers make no sense: {0}")]
    Nonsense(&'static str),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// The server answered with an NBD errno.
    #[error("NBD error {0}")]
    Errno(u32),
    /// The connection was lost and did not come back in time: nobody knows the outcome.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// A connected client; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    jobs: mpsc::Sender<Job>,
    export: Export,
    reconnects: Arc<AtomicU64>,
}

/// Requests that wait for the connection task.
const JOBS_MAX: usize = 64;

impl Client {
    /// Connects and negotiates. The connection is served by a task of its own on this runtime.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let (stream, export) = negotiate::connect(&config).await?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let reconnects = Arc::new(AtomicU64::new(0));
        let client = Self {
            jobs,
            export: export.clone(),
            reconnects: Arc::clone(&reconnects),
        };
        tokio::spawn(connection::run(config, stream, export, queue, reconnects));
        Ok(client)
    }

    /// What the server said of the export at the first connection.
    #[must_use]
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// How often the connection was made anew.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// Reads `length` bytes from byte `offset`.
    ///
    /// # Errors
    /// The server's errno, or the loss of the connection.
    pub async fn read(&self, offset: u64, length: u32) -> Result<Bytes, IoError> {
        self.submit(Kind::Read { offset, length }).await
    }

    /// Writes `data` at byte `offset`; with `fua` it is durable when this returns.
    ///
    /// # Errors
    /// The server's errno, or the loss of the connection.
    pub async fn write(&self, offset: u64, data: Bytes, fua: bool) -> Result<(), IoError> {
        let kind = Kind::Write { offset, data, fua };
        self.submit(kind).await.map(drop)
    }

    /// Makes every write that was answered before durable.
    ///
    /// # Errors
    /// The server's errno, or the loss of the connection.
    pub async fn flush(&self) -> Result<(), IoError> {
        self.submit(Kind::Flush).await.map(drop)
    }

    /// Says that the content of a range is not needed any more.
    ///
    /// # Errors
    /// The server's errno, or the loss of the connection.
    pub async fn trim(&self, offset: u64, length: u32) -> Result<(), IoError> {
        self.submit(Kind::Trim { offset, length }).await.map(drop)
    }

    /// Zeroes a range; `no_hole` asks for allocated zeroes.
    ///
    /// # Errors
    /// The server's errno, or the loss of the connection.
    pub async fn write_zeroes(
        &self,
        offset: u64,
        length: u32,
        no_hole: bool,
    ) -> Result<(), IoError> {
        let kind = Kind::WriteZeroes {
            offset,
            length,
            no_hole,
        };
        self.submit(kind).await.map(drop)
    }

    async fn submit(&self, kind: Kind) -> Result<Bytes, IoError> {
        let (answer, answered) = oneshot::channel();
        let gone = || IoError::Lost("the client has ended".to_owned());
        self.jobs
            .send(Job { kind, answer })
            .await
            .map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[cfg(test)]
mod tests;
