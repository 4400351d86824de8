//! A SCSI command as the layers hand it to each other: opaque to iSCSI, built and read by `scsi`.

use bytes::Bytes;

use crate::ids::{Lun, TaskId};
use crate::payload::Payload;

/// A command descriptor block of 6, 10, 12 or 16 bytes (SPC-4 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; 16],
    len: u8,
}

impl Cdb {
    /// From its bytes; unused trailing bytes are zero on the wire.
    #[must_use]
    pub const fn from_6(b: [u8; 6]) -> Self {
        Self {
            bytes: [
                b[0], b[1], b[2], b[3], b[4], b[5], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            len: 6,
        }
    }

    /// From its ten bytes.
    #[must_use]
    pub const fn from_10(b: [u8; 10]) -> Self {
        let bytes = [
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], 0, 0, 0, 0, 0, 0,
        ];
        Self { bytes, len: 10 }
    }

    /// From its twelve bytes.
    #[must_use]
    pub const fn from_12(b: [u8; 12]) -> Self {
        let bytes = [
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], 0, 0, 0, 0,
        ];
        Self { bytes, len: 12 }
    }

    /// From its sixteen bytes.
    #[must_use]
    pub const fn from_16(bytes: [u8; 16]) -> Self {
        Self { bytes, len: 16 }
    }

    /// The 16-byte field of the SCSI Command PDU (RFC 7143 11.3.5): padded with zeroes.
    #[must_use]
    pub const fn wire(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// The operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.bytes[0]
    }

    /// Length in bytes: 6, 10, 12 or 16.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.len
    }
}

/// Which way a command's data goes.
#[derive(Clone, Debug)]
pub enum DataTransfer {
    /// No data.
    None,
    /// The target sends up to this many bytes.
    In(u32),
    /// The initiator sends these bytes.
    Out(Payload),
}

/// SAM-5 8.6: task attributes that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAttribute {
    /// May be reordered.
    Simple,
    /// Waits for every older task of the logical unit; younger ones wait for it.
    Ordered,
}

/// One command to be submitted to a session.
#[derive(Clone, Debug)]
pub struct Task {
    /// The submitter's name for it.
    pub id: TaskId,
    /// Logical unit.
    pub lun: Lun,
    /// The command.
    pub cdb: Cdb,
    /// Its attribute.
    pub attribute: TaskAttribute,
    /// Its data.
    pub data: DataTransfer,
}

/// The residual that the target reported (RFC 7143 11.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Residual {
    /// Exactly the expected length was transferred.
    #[default]
    None,
    /// So many bytes fewer than expected were transferred.
    Underflow(u32),
    /// So many bytes more than expected were available.
    Overflow(u32),
}

/// A target's answer to a command: the SCSI status with what came along.
#[derive(Clone, Debug)]
pub struct Completion {
    /// SAM-5 5.3 status code, e.g. 0x00 GOOD, 0x02 CHECK CONDITION.
    pub status: u8,
    /// Sense data without the iSCSI length prefix; empty if none.
    pub sense: Bytes,
    /// Data-In, exactly as much as the target sent, in offset order.
    pub data: Payload,
    /// The residual as reported.
    pub residual: Residual,
}
