//! Typed commands to descriptor blocks.

use super::{
    Command, DISABLE_BLOCK_DESCRIPTORS, Extent, NO_DATA_OUT, READ_CAPACITY_16_LEN, RESERVE_OUT_LEN,
    ReserveIn, ReserveOut, SUPPORTED_OPERATION_LEN, WriteSameFlags, op,
};
use crate::task::Cdb;

pub(super) fn cdb(command: Command) -> Cdb {
    match command {
        Command::TestUnitReady => six([op::TEST_UNIT_READY, 0], [0; 3]),
        Command::Inquiry { page, allocation } => {
            let [high, low] = allocation.to_be_bytes();
            let evpd = u8::from(page.is_some());
            six([op::INQUIRY, evpd], [page.unwrap_or(0), high, low])
        }
        Command::ModeSense6 { page, allocation } => six(
            [op::MODE_SENSE_6, DISABLE_BLOCK_DESCRIPTORS],
            [page, 0, allocation],
        ),
        Command::ModeSense10 { page, allocation } => {
            let head = [op::MODE_SENSE_10, DISABLE_BLOCK_DESCRIPTORS];
            ten(head, u32::from_be_bytes([page, 0, 0, 0]), allocation)
        }
        Command::ReadCapacity10 => ten([op::READ_CAPACITY_10, 0], 0, 0),
        Command::ReadCapacity16 => {
            let head = [op::SERVICE_ACTION_IN_16, op::READ_CAPACITY_16];
            sixteen(head, 0, READ_CAPACITY_16_LEN)
        }
        Command::Read { extent, fua } => sized([op::READ_10, op::READ_16], fua, extent),
        Command::Write { extent, fua } => sized([op::WRITE_10, op::WRITE_16], fua, extent),
        Command::SynchronizeCache(extent) => sized(
            [op::SYNCHRONIZE_CACHE_10, op::SYNCHRONIZE_CACHE_16],
            false,
            extent,
        ),
        Command::Unmap { list } => ten([op::UNMAP, 0], 0, list),
        Command::WriteSame10 { lba, blocks, flags } => ten(
            [op::WRITE_SAME_10, same_flags(flags) & !NO_DATA_OUT],
            lba,
            blocks,
        ),
        Command::WriteSame16 { extent, flags } => sixteen(
            [op::WRITE_SAME_16, same_flags(flags)],
            extent.lba,
            extent.blocks,
        ),
        Command::ReportLuns { allocation } => twelve([op::REPORT_LUNS, 0], [0; 4], allocation),
        Command::ReportTargetPortGroups { allocation } => {
            let head = [op::MAINTENANCE_IN, op::REPORT_TARGET_PORT_GROUPS];
            twelve(head, [0; 4], allocation)
        }
        Command::SetTargetPortGroups { list } => {
            let head = [op::MAINTENANCE_OUT, op::SET_TARGET_PORT_GROUPS];
            twelve(head, [0; 4], list)
        }
        Command::ReportSupportedOperationCode { code, action } => supported_code(code, action),
        Command::PersistentReserveIn { action, allocation } => reserve_in(action, allocation),
        Command::PersistentReserveOut(action) => reserve_out(action),
    }
}

/// REPORTING OPTIONS 1 asks for an operation code, 2 for one service action of it.
fn supported_code(code: u8, action: Option<u16>) -> Cdb {
    let options = if action.is_some() { 2 } else { 1 };
    let [high, low] = action.unwrap_or(0).to_be_bytes();
    let head = [op::MAINTENANCE_IN, op::REPORT_SUPPORTED_OPERATION_CODES];
    twelve(head, [options, code, high, low], SUPPORTED_OPERATION_LEN)
}

fn reserve_in(action: ReserveIn, allocation: u16) -> Cdb {
    let action = match action {
        ReserveIn::ReadKeys => 0,
        ReserveIn::ReadReservation => 1,
        ReserveIn::ReportCapabilities => 2,
    };
    ten([op::PERSISTENT_RESERVE_IN, action], 0, allocation)
}

/// PARAMETER LIST LENGTH has four bytes here, from 5 on.
fn reserve_out(action: ReserveOut) -> Cdb {
    let (action, kind) = match action {
        ReserveOut::Register => (0, 0),
        ReserveOut::Reserve(kind) => (1, kind.wire()),
        ReserveOut::Release(kind) => (2, kind.wire()),
        ReserveOut::Clear => (3, 0),
        ReserveOut::Preempt(kind) => (4, kind.wire()),
        ReserveOut::PreemptAndAbort(kind) => (5, kind.wire()),
        ReserveOut::RegisterAndIgnoreExistingKey => (6, 0),
    };
    let [a, b, c, d] = RESERVE_OUT_LEN.to_be_bytes();
    Cdb::from_10([
        op::PERSISTENT_RESERVE_OUT,
        action,
        kind,
        0,
        0,
        a,
        b,
        c,
        d,
        0,
    ])
}

/// Byte 1 of WRITE SAME.
fn same_flags(flags: WriteSameFlags) -> u8 {
    u8::from(flags.anchor) << 4 | u8::from(flags.unmap) << 3 | u8::from(flags.no_data_out)
}

/// The 10-byte form where the extent fits, else the 16-byte one; FUA has the same place in both.
fn sized([short, long]: [u8; 2], fua: bool, extent: Extent) -> Cdb {
    let flags = u8::from(fua) << 3;
    match extent.short() {
        Some((lba, blocks)) => ten([short, flags], lba, blocks),
        None => sixteen([long, flags], extent.lba, extent.blocks),
    }
}

fn six([code, flags]: [u8; 2], [a, b, c]: [u8; 3]) -> Cdb {
    Cdb::from_6([code, flags, a, b, c, 0])
}

/// The usual 10-byte layout: four bytes from 2 on, two from 7 on.
fn ten(head: [u8; 2], lba: u32, len: u16) -> Cdb {
    let mut b = [0; 10];
    b[..2].copy_from_slice(&head);
    b[2..6].copy_from_slice(&lba.to_be_bytes());
    b[7..9].copy_from_slice(&len.to_be_bytes());
    Cdb::from_10(b)
}

/// The usual 12-byte layout: four single bytes from 2 on, a length from 6 on.
fn twelve(head: [u8; 2], middle: [u8; 4], len: u32) -> Cdb {
    let mut b = [0; 12];
    b[..2].copy_from_slice(&head);
    b[2..6].copy_from_slice(&middle);
    b[6..10].copy_from_slice(&len.to_be_bytes());
    Cdb::from_12(b)
}

/// The usual 16-byte layout: eight bytes from 2 on, four from 10 on.
fn sixteen(head: [u8; 2], lba: u64, len: u32) -> Cdb {
    let mut b = [0; 16];
    b[..2].copy_from_slice(&head);
    b[2..10].copy_from_slice(&lba.to_be_bytes());
    b[10..14].copy_from_slice(&len.to_be_bytes());
    Cdb::from_16(b)
}
