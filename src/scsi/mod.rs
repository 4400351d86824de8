//! SCSI: commands, sense data, inquiry pages, access states, and what an answer means.
//!
//! Stateless builders and parsers (SPC-5, SBC-4, SAM-5), and two judgements that the rest of the program
//! rests on: what an answer tells us to do ([`verdict`]), and whether two logical units are the same one
//! ([`identity`]). Parameter data comes from the network: nothing here panics on it.

#![deny(clippy::indexing_slicing)]

#[cfg(test)]
mod tests;
mod wire;

pub mod alua;
pub mod capacity;
pub mod cdb;
pub mod identity;
pub mod inquiry;
pub mod luns;
pub mod mode;
pub mod opcodes;
pub mod reservation;
pub mod sense;
pub mod verdict;
pub mod vpd;

pub use wire::BadData;
