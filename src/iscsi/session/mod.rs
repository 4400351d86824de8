//! One iSCSI session of one connection at error recovery level 0, sans-IO.

pub mod config;
