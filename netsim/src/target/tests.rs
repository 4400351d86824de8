//! The target against an initiator whose every PDU is made by hand.

mod initiator;
mod jams;
mod login;
mod scsi;
mod sessions;
