//! The NBD client of `iibadm bench`, which shares no code with the daemon's server.

pub use iiblockdaemon::shell::nbd_client::*;
