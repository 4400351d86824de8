//! The NBD server side, sans-IO (protocol document: `doc/proto.md` of NetworkBlockDevice/nbd).
//!
//! A client's connection is two machines after each other:
//!
//! 1. [`Handshake`]: fixed newstyle negotiation. It is given a snapshot of the exports and ends with a
//!    [`HandshakeOutcome`]; bytes that the client sent beyond the handshake stay in the input.
//! 2. [`Connection`]: transmission. [`Request`]s come out, each with a [`RequestToken`] that must come back
//!    in [`Connection::reply`]; the client is held back by the bytes and requests in flight.
//!
//! Neither knows what an export stands for. Absent on purpose: the oldstyle and the non-fixed
//! handshake beyond `NBD_OPT_EXPORT_NAME`, metadata contexts, extended headers.

#![deny(clippy::indexing_slicing)]

mod check;
mod error;
mod export;
mod handshake;
mod info;
mod reply;
mod request;
mod token;
mod transmission;
mod wire;

pub use error::{ConnectionError, HandshakeError, RequestFailure};
pub use export::{BlockSizes, ExportFlags, ExportInfo, ExportTable};
pub use handshake::{Handshake, HandshakeOutcome};
pub use request::{Command, ConnectionLimits, Request};
pub use token::RequestToken;
pub use transmission::Connection;
