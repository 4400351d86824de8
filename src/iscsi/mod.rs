//! The iSCSI protocol (RFC 7143), sans-IO: PDUs, login, sessions, discovery.

pub mod serial;
pub mod tags;

pub mod pdu;

pub mod digest;
pub mod framer;
pub mod outbox;

pub mod session;
