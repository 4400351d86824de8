//! The iSCSI protocol (RFC 7143), sans-IO: PDUs, login, sessions, discovery.

pub mod chap;
pub mod error;
pub mod isid;
pub mod name;
pub mod pdu;
pub mod session;
