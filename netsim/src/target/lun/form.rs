//! The commands that the unit knows, with the bits of their descriptor blocks that may be set.
//!
//! One table serves three readers: a bit that is set where none may be is refused, REPORT SUPPORTED
//! OPERATION CODES reports it as usage data, and reservations learn from it what a command does.

use super::answer::Refusal;

/// Operation codes (SPC-5 annex F).
pub(super) mod op {
    pub(in super::super) const TEST_UNIT_READY: u8 = 0x00;
    pub(in super::super) const REQUEST_SENSE: u8 = 0x03;
    pub(in super::super) const INQUIRY: u8 = 0x12;
    pub(in super::super) const MODE_SENSE_6: u8 = 0x1a;
    pub(in super::super) const READ_CAPACITY_10: u8 = 0x25;
    pub(in super::super) const READ_10: u8 = 0x28;
    pub(in super::super) const WRITE_10: u8 = 0x2a;
    pub(in super::super) const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    pub(in super::super) const WRITE_SAME_10: u8 = 0x41;
    pub(in super::super) const UNMAP: u8 = 0x42;
    pub(in super::super) const MODE_SENSE_10: u8 = 0x5a;
    pub(in super::super) const PERSISTENT_RESERVE_IN: u8 = 0x5e;
    pub(in super::super) const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
    pub(in super::super) const READ_16: u8 = 0x88;
    pub(in super::super) const WRITE_16: u8 = 0x8a;
    pub(in super::super) const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    pub(in super::super) const WRITE_SAME_16: u8 = 0x93;
    pub(in super::super) const SERVICE_ACTION_IN_16: u8 = 0x9e;
    pub(in super::super) const MAINTENANCE_IN: u8 = 0xa3;
    pub(in super::super) const MAINTENANCE_OUT: u8 = 0xa4;
}

/// Service action of MAINTENANCE IN.
pub(super) const REPORT_TARGET_PORT_GROUPS: u8 = 0x0a;
const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;
/// Service action of MAINTENANCE OUT.
const SET_TARGET_PORT_GROUPS: u8 = 0x0a;
const READ_CAPACITY_16: u8 = 0x10;

/// What a command does to the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Reads,
    Writes,
}

/// One command that the unit knows.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) opcode: u8,
    /// The service action, where the operation code has some that this table tells apart.
    pub(super) action: Option<u8>,
    pub(super) effect: Effect,
    /// Bits that may be set, from byte 1 on; its length is that of the descriptor block less one.
    pub(super) usage: &'static [u8],
}

use Effect::{Nothing, Reads, Writes};

const fn form(opcode: u8, effect: Effect, usage: &'static [u8]) -> Form {
    Form {
        opcode,
        action: None,
        effect,
        usage,
    }
}

const fn action(opcode: u8, action: u8, usage: &'static [u8]) -> Form {
    Form {
        opcode,
        action: Some(action),
        effect: Nothing,
        usage,
    }
}

const F: u8 = 0xff;

/// Byte 1: DPO 10h and FUA 08h of READ and WRITE; IMMED 02h of SYNCHRONIZE CACHE; UNMAP 08h and NDOB 01h
/// of WRITE SAME. Anchors, protection information and group numbers are not supported.
#[rustfmt::skip]
static FORMS: &[Form] = &[
    form(op::TEST_UNIT_READY,        Nothing, &[0, 0, 0, 0, 0]),
    form(op::REQUEST_SENSE,          Nothing, &[0, 0, 0, F, 0]),
    form(op::INQUIRY,                Nothing, &[0x01, F, F, F, 0]),
    form(op::MODE_SENSE_6,           Nothing, &[0x08, F, F, F, 0]),
    form(op::READ_CAPACITY_10,       Nothing, &[0, 0, 0, 0, 0, 0, 0, 0, 0]),
    form(op::READ_10,                Reads,   &[0x18, F, F, F, F, 0, F, F, 0]),
    form(op::WRITE_10,               Writes,  &[0x18, F, F, F, F, 0, F, F, 0]),
    form(op::SYNCHRONIZE_CACHE_10,   Writes,  &[0x02, F, F, F, F, 0, F, F, 0]),
    form(op::WRITE_SAME_10,          Writes,  &[0x08, F, F, F, F, 0, F, F, 0]),
    form(op::UNMAP,                  Writes,  &[0, 0, 0, 0, 0, 0, F, F, 0]),
    form(op::MODE_SENSE_10,          Nothing, &[0x18, F, F, 0, 0, 0, F, F, 0]),
    form(op::PERSISTENT_RESERVE_IN,  Nothing, &[0x1f, 0, 0, 0, 0, 0, F, F, 0]),
    form(op::PERSISTENT_RESERVE_OUT, Nothing, &[0x1f, F, 0, 0, F, F, F, F, 0]),
    form(op::READ_16,                Reads,   &[0x18, F, F, F, F, F, F, F, F, F, F, F, F, 0, 0]),
    form(op::WRITE_16,               Writes,  &[0x18, F, F, F, F, F, F, F, F, F, F, F, F, 0, 0]),
    form(op::SYNCHRONIZE_CACHE_16,   Writes,  &[0x02, F, F, F, F, F, F, F, F, F, F, F, F, 0, 0]),
    form(op::WRITE_SAME_16,          Writes,  &[0x09, F, F, F, F, F, F, F, F, F, F, F, F, 0, 0]),
    action(op::SERVICE_ACTION_IN_16, READ_CAPACITY_16,
                                              &[0x1f, 0, 0, 0, 0, 0, 0, 0, 0, F, F, F, F, 0, 0]),
    action(op::MAINTENANCE_IN, REPORT_TARGET_PORT_GROUPS,
                                              &[0x1f, 0, 0, 0, 0, F, F, F, F, 0, 0]),
    action(op::MAINTENANCE_OUT, SET_TARGET_PORT_GROUPS,
                                              &[0x1f, 0, 0, 0, 0, F, F, F, F, 0, 0]),
    action(op::MAINTENANCE_IN, REPORT_SUPPORTED_OPERATION_CODES,
                                              &[0x1f, 0x87, F, F, F, F, F, F, F, 0, 0]),
];

impl Form {
    /// The form of a descriptor block, if the unit knows it.
    pub(super) fn of(cdb: &[u8; 16]) -> Option<&'static Self> {
        Self::find(cdb[0], cdb[1] & 0x1f)
    }

    /// The form of an operation code and, where it has them, a service action.
    pub(super) fn find(opcode: u8, action: u8) -> Option<&'static Self> {
        let fits = |f: &&Self| f.opcode == opcode && f.action.is_none_or(|a| a == action);
        FORMS.iter().find(fits)
    }

    /// Refuses bits that may not be set, those beyond the end of the descriptor block included.
    pub(super) fn check(&self, cdb: &[u8; 16]) -> Result<(), Refusal> {
        let usage = self.usage.iter().copied().chain(std::iter::repeat(0));
        match (1u8..)
            .zip(cdb[1..].iter().zip(usage))
            .find(|(_, (byte, may))| *byte & !may != 0)
        {
            Some((at, _)) => Err(Refusal::cdb_byte(at)),
            None => Ok(()),
        }
    }
}

pub(super) fn be16(cdb: &[u8; 16], at: usize) -> u16 {
    u16::from_be_bytes([cdb[at], cdb[at + 1]])
}

pub(super) fn be32(cdb: &[u8; 16], at: usize) -> u32 {
    u32::from_be_bytes([cdb[at], cdb[at + 1], cdb[at + 2], cdb[at + 3]])
}

/// Bytes that the initiator has to send.
pub(super) fn data_out_len(cdb: &[u8; 16], block_size: u32) -> usize {
    let bytes: u64 = match cdb[0] {
        op::WRITE_10 => u64::from(be16(cdb, 7)) * u64::from(block_size),
        op::WRITE_16 => u64::from(be32(cdb, 10)) * u64::from(block_size),
        op::WRITE_SAME_16 if cdb[1] & 0x01 != 0 => 0,
        op::WRITE_SAME_10 | op::WRITE_SAME_16 => block_size.into(),
        op::UNMAP => be16(cdb, 7).into(),
        op::PERSISTENT_RESERVE_OUT => be32(cdb, 5).into(),
        op::MAINTENANCE_OUT => be32(cdb, 6).into(),
        _ => 0,
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
