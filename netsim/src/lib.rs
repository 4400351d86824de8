//! The network and target simulator of iiblockdaemon.
//!
//! - [`clock`], [`rng`], [`quantity`]: time, seeded randomness, durations and sizes as text;
//! - [`link`]: the one model of a network link, sans-IO;
//! - [`fault`]: faults by name, and the state of a path that they make;
//! - [`proxy`]: the link model over real sockets, with faults at run time;
//! - [`nbd_client`]: an NBD client that shares no code with the daemon's server;
//! - [`block`], [`oracle`], [`meter`], [`workload`]: blocks that say which write they are from, the
//!   judge of what a read may return, stalls per event, and the workload that uses them;
//! - [`recording`]: what a run was seen to do;
//! - [`report`], [`demo`]: the result as text, JSON, a web page or a table, and the demonstration;
//! - [`target`]: a simulated iSCSI target with its disks, sans-IO, and over real sockets;
//! - [`world`], [`swarm`]: the daemon's cores, links and a target on one virtual clock, one seed or many;
//! - [`exhaustive`]: every interleaving of small worlds;
//! - [`scenario`]: worlds by name, from files, with pass criteria; [`live`]: the same over real sockets;
//! - [`compare`]: every policy in the same trouble.

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

pub mod recording;

pub mod report;

pub mod demo;

pub mod world;

pub mod swarm;

pub mod exhaustive;
pub mod scenario;

pub mod live;

pub mod compare;
