//! The iSCSI protocol (RFC 7143), sans-IO: PDUs, login, sessions, discovery.

pub mod isid;
pub mod name;
pub mod serial;
pub mod tags;

pub mod pdu;

pub mod digest;
pub mod framer;
pub mod outbox;

pub mod chap;
pub mod error;
pub mod keys;

pub mod discovery;
pub mod session;
