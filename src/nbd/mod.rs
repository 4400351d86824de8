//! The NBD server side, sans-IO: handshake and transmission.
