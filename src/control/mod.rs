//! Requests and answers of the control socket, and their rendering.
//!
//! The protocol: a unix stream socket; the client sends one request, the daemon sends one answer and closes.
//! Each is one JSON object on one line, with the protocol's version in it ([`wire`]). What the daemon
//! tells is a [`StatusReport`]; [`render`] makes it readable.

pub mod events;
mod human;
pub mod reload;
pub mod render;
pub mod report;
pub mod reservation;
pub mod wire;

pub use report::{
    AccessReport, DaemonReport, Duty, FenceLevel, PathReport, PathState, StatusReport,
    VolumeReport, VolumeState, VolumeTotals,
};
pub use wire::{Answer, Ask, Refusal, Request, WireError};
