//! iiblockdaemon: a userspace, multipath-aware, high-availability iSCSI initiator that exports each
//! LUN as one NBD device.
//!
//! Cores decide, shells move bytes. The modules, lowest layer first; a lower one never names a
//! higher one (`docs/ARCHITECTURE.md`, checked by `tests/tidy.rs`):
//!
//! - [`units`], [`ids`], [`limits`], [`deadline`], [`errno`], [`payload`], [`out_queue`], [`task`]:
//!   shared vocabulary;
//! - [`iscsi`], [`scsi`], [`nbd`], [`config`]: protocols and configuration, siblings that know nothing of
//!   each other;
//! - [`path`]: one route to the LUN, over a session;
//! - [`volume`]: the merged LUN, over its paths' messages;
//! - [`engine`], [`control`]: the assembly of a volume, and the administrator's questions;
//! - [`shell`]: sockets, tasks and time.

pub mod units;

pub mod deadline;
pub mod errno;
pub mod ids;
pub mod limits;
pub mod out_queue;
pub mod payload;
#[doc(hidden)]
pub mod sabotage;
pub mod task;

pub mod config;
pub mod iscsi;
pub mod nbd;
pub mod scsi;

pub mod path;

pub mod volume;

pub mod control;
pub mod engine;

pub mod shell;
