//! The network and target simulator of iiblockdaemon.
//!
//! - [`clock`], [`rng`], [`quantity`]: time, seeded randomness, durations and sizes as text;
//! - [`link`]: the one model of a network link, sans-IO;
//! - [`fault`]: faults by name, and the state of a path that they make.
//! - [`proxy`]: the link model over real sockets, with faults at run time;

pub mod clock;
pub mod quantity;
pub mod rng;

pub mod link;

pub mod fault;

pub mod proxy;

pub mod nbd_client;

pub mod block;
pub mod meter;
pub mod oracle;
pub mod workload;

pub mod target;
