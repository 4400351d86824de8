//! `multipath.toml`: typed, checked, immutable configuration.
//!
//! Three steps, each in a file of its own: `reader` walks the TOML with the place of every value,
//! `file` is the file's mirror (every key optional, nothing compared with anything), and `check`
//! merges the levels, compares, and makes the types below. No step stops at the first mistake:
//! [`ConfigErrors`] has all of them, each with file, line, key and what to do.
//!
//! - Precedence: a volume's own keys, over its profile's, over `[defaults]`, over [`defaults`].
//! - What changes while the daemon runs, and when it takes effect: [`diff`].
//! - Where each value comes from is kept for those who ask: [`show`].
//! - Unknown keys are mistakes; the near known one is suggested.
//! - Durations and sizes are strings with a unit: `"700ms"`, `"256KiB"`.
//! - The check touches nothing outside: the files that the configuration names come from [`Files`].
//! - Secrets are in files of their own, which nobody else may read; no message has them.

mod check;
pub mod defaults;
pub mod diff;
mod error;
mod file;
mod isid;
mod names;
mod reader;
mod secret;
pub mod show;
mod values;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policies::PolicySpec;

use crate::ids::Lun;

pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use isid::isid;
pub use names::Portal;
pub use secret::{FileContent, Files, SecretText, secret_file};
pub use values::{duration, listen, reservation_key, show_size, size};

/// The whole configuration. Everything in it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[[volume]]`, in the order of the file; at least one.
    pub volumes: Vec<Volume>,
}

impl Config {
    /// Checks the text of a file. `file` stands in messages, and relative names of secret files start
    /// at its directory.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, file: &FilePath, files: &dyn Files) -> Result<Self, ConfigErrors> {
        check::explain(text, file, files).map(|effective| effective.config)
    }

    /// The volume with this name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }
}

/// What concerns the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Our iSCSI name; valid by RFC 7143 4.2.7.
    pub initiator_name: String,
    /// Where pinned identities and the clean-exit mark are kept; absolute.
    pub state_dir: PathBuf,
    /// The control socket.
    pub control: Control,
}

/// Where `iibadm` reaches the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The socket's path; absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// The group that may use it, besides its owner.
    pub group: Option<String>,
}

/// One LUN and all that we do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name, unique: letters, digits, `.`, `_` and `-`. Also the NBD export name.
    pub name: String,
    /// Its routes, 1 to [`crate::limits::PATHS_MAX`], in the order of the file.
    pub paths: Vec<Path>,
    /// Credentials; `None`: AuthMethod=None.
    pub auth: Option<Arc<Auth>>,
    /// Where and how it is served.
    pub export: Export,
    /// The identity that its LUN must have, in lower case (`naa.6001…`, `eui.…`, `t10.…`); `None`: pinned
    /// on first use.
    pub wwid: Option<String>,
    /// The key of persistent reservations that is registered over every path; not 0.
    pub reservation_key: Option<u64>,
    /// Whether other hosts write to the LUN: then an indeterminate write is acknowledged after its fence
    /// only.
    pub shared: bool,
    /// Which path carries what.
    pub policy: PolicySpec,
    /// What is made of the target's access states.
    pub alua: Alua,
    /// What happens to I/O while no path is usable.
    pub no_path: NoPath,
    /// What may end the uncertainty about a lost session's writes.
    pub fence: Fence,
    /// How long which silence is bearable.
    pub detect: Detect,
    /// What is offered in the iSCSI login, and the depth of the queue.
    pub iscsi: Iscsi,
    /// What becomes of a LUN that has grown.
    pub resize: Resize,
    /// What shows that two paths lead to one LUN, beyond its identifiers.
    pub same_unit: SameUnit,
    /// How long a stop may take: drain, flush, log out.
    pub stop_timeout: Duration,
}

/// One route to a LUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The target's address.
    pub portal: Portal,
    /// The interface that the connection is bound to (`SO_BINDTODEVICE`).
    pub nic: Option<String>,
    /// The address that the connection starts from.
    pub source: Option<IpAddr>,
    /// Its share or rank, 1–255.
    pub weight: u8,
    /// Its tier where the policy has explicit ones, the smallest first.
    pub tier: u8,
    /// The target's iSCSI name; valid by RFC 7143 4.2.7.
    pub target: String,
    /// The logical unit.
    pub lun: Lun,
    /// Which of the sessions of this route it is, from 1 (`sessions`).
    pub session: u16,
    /// Our half of the session's name, in wire order: the same after every restart, different from every
    /// other path's ([`isid`]).
    pub isid: [u8; 6],
}

impl fmt::Display for Path {
    /// As status and log name it: `10.0.1.10:3260 via eth1`, and its second session
    /// `10.0.1.10:3260 via eth1 #2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.portal)?;
        if let Some(nic) = &self.nic {
            write!(f, " via {nic}")?;
        }
        if let Some(source) = &self.source {
            write!(f, " from {source}")?;
        }
        if self.session > 1 {
            write!(f, " #{}", self.session)?;
        }
        Ok(())
    }
}

/// CHAP credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Name of its section.
    pub name: String,
    /// The name that we log in with, 1–255 bytes without control characters.
    pub username: String,
    /// The secret that goes with it.
    pub secret: SecretText,
    /// What is offered, most wanted first; never empty, nothing twice.
    pub algorithms: Vec<ChapAlgorithm>,
    /// What the target must prove (mutual CHAP).
    pub target: Option<TargetAuth>,
    /// Whether a target that asks for no authentication is accepted.
    pub allow_none: bool,
}

/// What a target must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAuth {
    /// The name that it must give.
    pub username: String,
    /// The secret that it must know; differs from ours.
    pub secret: SecretText,
}

/// Hash algorithms of CHAP (RFC 7143 12.1.3 and the IANA registry of PPP authentication algorithms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChapAlgorithm {
    /// `sha3-256`
    Sha3_256,
    /// `sha256`
    Sha256,
    /// `sha1`
    Sha1,
    /// `md5`
    Md5,
}

/// How a volume is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where NBD clients are accepted; never empty.
    pub nbd: Vec<Listen>,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// A place where NBD clients are accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// `unix:/path`
    Unix(PathBuf),
    /// `tcp:host:port`
    Tcp {
        /// Address or host name, without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
}

impl fmt::Display for Listen {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// What happens to I/O while no path is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// It fails at once.
    Fail,
    /// It waits this long, then fails.
    Queue(Duration),
    /// It waits.
    QueueForever,
}

/// What shows that two paths lead to one LUN: the strongest that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameUnit {
    /// A reservation key that is registered over one and read over the other; else blocks.
    Reservation,
    /// Blocks that are read over both; else identifiers.
    Blocks,
    /// Nothing but identifiers.
    Identifiers,
}

/// What becomes of a LUN that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// It is served with its new size.
    Grow,
    /// It is served with its old size until the next start.
    Never,
}

/// What ends the uncertainty about the writes of a lost session; the strongest that works is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// A new login with the lost session's ISID.
    pub reinstate: bool,
    /// Another path has the target abort the tasks of the lost path's own reservation key.
    pub preempt_abort: bool,
    /// A command that hangs at the target, and keeps that from being done, is ended by LOGICAL UNIT RESET.
    pub lun_reset: bool,
    /// After this time nothing of the lost session is taken to be under way any more: an assumption.
    pub quiesce: Option<Duration>,
}

/// What is made of a target's access states (ALUA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alua {
    /// `follow`: they are read and followed.
    Follow,
    /// `explicit`: the same; and where no active/optimized path is usable, the target is asked to make one
    /// so.
    Explicit,
    /// `ignore`: they are not read.
    Ignore,
}

/// How long which silence is bearable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detect {
    /// Bytes that no TCP acknowledgement answers.
    pub network: Duration,
    /// A target whose TCP answers and whose iSCSI does not.
    pub target: Duration,
    /// One command, from its submission on.
    pub command: Duration,
}

/// What is offered in the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iscsi {
    /// HeaderDigest
    pub header_digest: DigestChoice,
    /// DataDigest
    pub data_digest: DigestChoice,
    /// MaxRecvDataSegmentLength that we declare, in bytes.
    pub max_recv_data_segment_length: u32,
    /// FirstBurstLength in bytes; not above `max_burst_length`.
    pub first_burst_length: u32,
    /// MaxBurstLength in bytes.
    pub max_burst_length: u32,
    /// ImmediateData
    pub immediate_data: bool,
    /// InitialR2T
    pub initial_r2t: bool,
    /// MaxOutstandingR2T
    pub max_outstanding_r2t: u16,
    /// Commands in flight per path; the target's CmdSN window may be smaller.
    pub queue_depth: u16,
}

/// What is offered for a digest key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestChoice {
    /// `none`: no digest, or no session.
    None,
    /// `crc32c`: the digest, or no session.
    Crc32c,
    /// `prefer-crc32c`: with digest if the target can.
    PreferCrc32c,
    /// `prefer-none`: without if the target allows.
    PreferNone,
}
