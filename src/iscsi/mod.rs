//! The iSCSI protocol (RFC 7143), sans-IO: PDUs, login, sessions, discovery.

pub mod pdu;
pub mod session;
