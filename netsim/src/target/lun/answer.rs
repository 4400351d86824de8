//! Answers: status, fixed-format sense, data.

use bytes::Bytes;

use super::NexusId;

/// Sense keys that the unit uses, and that tests inject.
pub mod sense {
    /// NO SENSE.
    pub const NO_SENSE: u8 = 0x0;
    /// NOT READY.
    pub const NOT_READY: u8 = 0x2;
    /// MEDIUM ERROR.
    pub const MEDIUM_ERROR: u8 = 0x3;
    /// HARDWARE ERROR.
    pub const HARDWARE_ERROR: u8 = 0x4;
    /// ILLEGAL REQUEST.
    pub const ILLEGAL_REQUEST: u8 = 0x5;
    /// UNIT ATTENTION.
    pub const UNIT_ATTENTION: u8 = 0x6;
    /// DATA PROTECT.
    pub const DATA_PROTECT: u8 = 0x7;
    /// ABORTED COMMAND.
    pub const ABORTED_COMMAND: u8 = 0xb;

    /// Sense data in fixed format.
    #[must_use]
    pub fn fixed(key: u8, asc: u8, ascq: u8) -> Vec<u8> {
        super::fixed(key, asc, ascq, None)
    }
}

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const RESERVATION_CONFLICT: u8 = 0x18;

/// The answer to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// SCSI status.
    pub status: u8,
    /// Sense data in fixed format, without the length that iSCSI puts before it; empty with GOOD.
    pub sense: Vec<u8>,
    /// Data for the initiator, already cut to the allocation length.
    pub data_in: Bytes,
    /// Nexuses whose other commands the target has to abort now (PREEMPT AND ABORT).
    pub aborts: Vec<NexusId>,
}

impl Response {
    pub(super) fn good() -> Self {
        Self::default()
    }

    /// GOOD with data, cut to the allocation length.
    pub(super) fn data(data: impl Into<Bytes>, allocation: usize) -> Self {
        let mut data_in = data.into();
        data_in.truncate(allocation);
        Self {
            data_in,
            ..Self::good()
        }
    }

    /// Whether the status is GOOD.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status == GOOD
    }
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A status without sense data.
    Status(u8),
    /// CHECK CONDITION.
    Sense {
        /// Sense key.
        key: u8,
        /// Additional sense code.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
        /// INFORMATION: the block that is meant.
        information: Option<u32>,
        /// The byte of the descriptor block that is in error.
        cdb_byte: Option<u8>,
    },
}

pub(super) type Answered = Result<Response, Refusal>;

impl Refusal {
    /// INVALID COMMAND OPERATION CODE.
    pub const UNKNOWN: Self = Self::sense(sense::ILLEGAL_REQUEST, 0x20, 0x00);
    /// INVALID FIELD IN CDB.
    pub const FIELD_IN_CDB: Self = Self::sense(sense::ILLEGAL_REQUEST, 0x24, 0x00);
    /// INVALID FIELD IN PARAMETER LIST.
    pub const FIELD_IN_LIST: Self = Self::sense(sense::ILLEGAL_REQUEST, 0x26, 0x00);
    /// PARAMETER LIST LENGTH ERROR.
    pub const LIST_LENGTH: Self = Self::sense(sense::ILLEGAL_REQUEST, 0x1a, 0x00);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub const BEYOND_END: Self = Self::sense(sense::ILLEGAL_REQUEST, 0x21, 0x00);
    /// WRITE PROTECTED.
    pub const WRITE_PROTECTED: Self = Self::sense(sense::DATA_PROTECT, 0x27, 0x00);
    /// INTERNAL TARGET FAILURE.
    pub const INTERNAL: Self = Self::sense(sense::HARDWARE_ERROR, 0x44, 0x00);
    /// RESERVATION CONFLICT.
    pub const CONFLICT: Self = Self::Status(RESERVATION_CONFLICT);

    /// CHECK CONDITION with these codes.
    #[must_use]
    pub const fn sense(key: u8, asc: u8, ascq: u8) -> Self {
        Self::Sense {
            key,
            asc,
            ascq,
            information: None,
            cdb_byte: None,
        }
    }

    /// INVALID FIELD IN CDB that names the byte.
    pub(super) const fn cdb_byte(byte: u8) -> Self {
        Self::Sense {
            key: sense::ILLEGAL_REQUEST,
            asc: 0x24,
            ascq: 0x00,
            information: None,
            cdb_byte: Some(byte),
        }
    }

    /// UNRECOVERED READ ERROR that names the block, if its address fits fixed format.
    pub(super) fn unreadable(lba: u64) -> Self {
        Self::Sense {
            key: sense::MEDIUM_ERROR,
            asc: 0x11,
            ascq: 0x00,
            information: u32::try_from(lba).ok(),
            cdb_byte: None,
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(_: std::io::Error) -> Self {
        Self::INTERNAL
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status(status) => Self {
                status,
                ..Self::default()
            },
            Refusal::Sense {
                key,
                asc,
                ascq,
                information,
                cdb_byte,
            } => {
                let mut sense = fixed(key, asc, ascq, information);
                if let Some(byte) = cdb_byte {
                    sense[15] = 0xc0;
                    sense[17] = byte;
                }
                Self {
                    status: CHECK_CONDITION,
                    sense,
                    ..Self::default()
                }
            }
        }
    }
}

/// Fixed format sense, 18 bytes (SPC-5 4.4.3).
pub(super) fn fixed(key: u8, asc: u8, ascq: u8, information: Option<u32>) -> Vec<u8> {
    let valid = if information.is_some() { 0x80 } else { 0 };
    let [a, b, c, d] = information.unwrap_or(0).to_be_bytes();
    vec![
        0x70 | valid,
        0,
        key,
        a,
        b,
        c,
        d,
        10,
        0,
        0,
        0,
        0,
        asc,
        ascq,
        0,
        0,
        0,
        0,
    ]
}
