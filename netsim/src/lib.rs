//! The network and target simulator of iiblockdaemon.

pub mod target;
