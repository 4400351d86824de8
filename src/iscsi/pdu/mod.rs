//! Protocol data units (RFC 7143 section 11): one file per group, encode and decode for both roles.
//!
//! Every PDU is a struct with `decode(&Bhs) -> Result<Self, InvalidPdu>` and `encode(&self) -> Bhs`.
//! Data segments stand beside the header, never inside the struct: [`crate::iscsi::framer::Framer`]
//! hands them out and [`crate::iscsi::outbox::Outbox`] appends them, filling in DataSegmentLength.

#![deny(clippy::indexing_slicing)]

pub mod bhs;
pub mod command;
pub mod control;
pub mod data;
pub mod login;
pub mod nop;
pub mod task;
pub mod text;

#[cfg(test)]
mod tests;

pub use bhs::{BHS_LEN, Bhs, InitiatorNumbers, TargetNumbers};
pub use command::{DataDirection, RawResidual, ScsiCommand, ScsiResponse};
pub use control::{
    AsyncMessage, LogoutReason, LogoutRequest, LogoutResponse, Reject, RejectReason,
};
pub use data::{DataIn, DataInStatus, DataOut, R2t};
pub use nop::{NopIn, NopOut};
pub use task::{Function, TaskManagementRequest, TaskManagementResponse, TmfResponse};

/// Operation codes (RFC 7143 11.2.1.2), without the immediate bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of RFC 7143 11.2.1.2")]
pub enum Opcode {
    NopOut = 0x00,
    ScsiCommand = 0x01,
    TaskManagementRequest = 0x02,
    LoginRequest = 0x03,
    TextRequest = 0x04,
    DataOut = 0x05,
    LogoutRequest = 0x06,
    SnackRequest = 0x10,
    NopIn = 0x20,
    ScsiResponse = 0x21,
    TaskManagementResponse = 0x22,
    LoginResponse = 0x23,
    TextResponse = 0x24,
    DataIn = 0x25,
    LogoutResponse = 0x26,
    R2t = 0x31,
    AsyncMessage = 0x32,
    Reject = 0x3f,
}

impl Opcode {
    /// The operation code of this value, if there is one.
    #[must_use]
    pub const fn from_wire(value: u8) -> Option<Self> {
        Some(match value {
            0x00 => Self::NopOut,
            0x01 => Self::ScsiCommand,
            0x02 => Self::TaskManagementRequest,
            0x03 => Self::LoginRequest,
            0x04 => Self::TextRequest,
            0x05 => Self::DataOut,
            0x06 => Self::LogoutRequest,
            0x10 => Self::SnackRequest,
            0x20 => Self::NopIn,
            0x21 => Self::ScsiResponse,
            0x22 => Self::TaskManagementResponse,
            0x23 => Self::LoginResponse,
            0x24 => Self::TextResponse,
            0x25 => Self::DataIn,
            0x26 => Self::LogoutResponse,
            0x31 => Self::R2t,
            0x32 => Self::AsyncMessage,
            0x3f => Self::Reject,
            _ => return None,
        })
    }
}

/// A PDU that breaks the format of RFC 7143 section 11: the stream cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPdu {
    /// The opcode is unknown, or never sent in this direction.
    #[error("unexpected opcode {0:#04x}")]
    UnexpectedOpcode(u8),
    /// The data segment is longer than this kind of PDU may have.
    #[error("data segment of {length} bytes in a PDU of opcode {opcode:#04x}, limit {limit}")]
    DataTooLong {
        /// Opcode of the PDU.
        opcode: u8,
        /// Its DataSegmentLength.
        length: u32,
        /// What we accept.
        limit: u32,
    },
    /// The header digest does not match.
    #[error("header digest error")]
    HeaderDigest,
    /// The data digest does not match.
    #[error("data digest error")]
    DataDigest,
    /// A field that must name a task carries the reserved tag.
    #[error("reserved task tag in a PDU of opcode {0:#04x} that must name a task")]
    ReservedTag(u8),
    /// A field has a value that the RFC does not define.
    #[error("undefined value {value:#x} in {field}")]
    UndefinedValue {
        /// RFC 7143 name of the field.
        field: &'static str,
        /// What it held.
        value: u32,
    },
    /// The data segment is too short for what it must hold.
    #[error("data segment too short: {0}")]
    DataTooShort(&'static str),
}

impl InvalidPdu {
    pub(crate) fn undefined(field: &'static str, value: impl Into<u32>) -> Self {
        let value = value.into();
        Self::UndefinedValue { field, value }
    }
}
