//! Descriptor blocks and UNMAP lists, read back: for logs, and to hold the builders to what they say.

use super::{Command, Extent, NO_DATA_OUT, ReserveIn, ReserveOut, WriteSameFlags, op};
use crate::scsi::reservation::ReservationType;
use crate::scsi::wire::{array, u16_or_0, u32_or_0, u64_or_0};

pub(super) fn command(cdb: &[u8; 16]) -> Option<Command> {
    let flags = cdb[1];
    let (lba_10, len_10) = (u32_or_0(cdb, 2), u16_or_0(cdb, 7));
    let short = Extent {
        lba: lba_10.into(),
        blocks: len_10.into(),
    };
    let long = Extent {
        lba: u64_or_0(cdb, 2),
        blocks: u32_or_0(cdb, 10),
    };
    let fua = flags & 0x08 != 0;
    Some(match cdb[0] {
        op::TEST_UNIT_READY => Command::TestUnitReady,
        op::INQUIRY => inquiry(cdb)?,
        op::MODE_SENSE_6 => Command::ModeSense6 {
            page: cdb[2] & 0x3f,
            allocation: cdb[4],
        },
        op::MODE_SENSE_10 => Command::ModeSense10 {
            page: cdb[2] & 0x3f,
            allocation: len_10,
        },
        op::READ_CAPACITY_10 => Command::ReadCapacity10,
        op::READ_10 => Command::Read { extent: short, fua },
        op::READ_16 => Command::Read { extent: long, fua },
        op::WRITE_10 => Command::Write { extent: short, fua },
        op::WRITE_16 => Command::Write { extent: long, fua },
        op::SYNCHRONIZE_CACHE_10 => Command::SynchronizeCache(short),
        op::SYNCHRONIZE_CACHE_16 => Command::SynchronizeCache(long),
        op::UNMAP => Command::Unmap { list: len_10 },
        op::WRITE_SAME_10 => {
            let flags = same_flags(flags & !NO_DATA_OUT);
            Command::WriteSame10 {
                lba: lba_10,
                blocks: len_10,
                flags,
            }
        }
        op::WRITE_SAME_16 => Command::WriteSame16 {
            extent: long,
            flags: same_flags(flags),
        },
        op::SERVICE_ACTION_IN_16 => match flags & 0x1f {
            op::READ_CAPACITY_16 => Command::ReadCapacity16,
            _ => return None,
        },
        op::REPORT_LUNS => Command::ReportLuns {
            allocation: u32_or_0(cdb, 6),
        },
        op::MAINTENANCE_IN => maintenance_in(cdb)?,
        op::MAINTENANCE_OUT => match flags & 0x1f {
            op::SET_TARGET_PORT_GROUPS => Command::SetTargetPortGroups {
                list: u32_or_0(cdb, 6),
            },
            _ => return None,
        },
        op::PERSISTENT_RESERVE_IN => reserve_in(flags, len_10)?,
        op::PERSISTENT_RESERVE_OUT => reserve_out(cdb)?,
        _ => return None,
    })
}

fn inquiry(cdb: &[u8; 16]) -> Option<Command> {
    let page = match (cdb[1] & 1, cdb[2]) {
        (1, page) => Some(page),
        (_, 0) => None,
        _ => return None,
    };
    Some(Command::Inquiry {
        page,
        allocation: u16_or_0(cdb, 3),
    })
}

fn maintenance_in(cdb: &[u8; 16]) -> Option<Command> {
    match cdb[1] & 0x1f {
        op::REPORT_TARGET_PORT_GROUPS => Some(Command::ReportTargetPortGroups {
            allocation: u32_or_0(cdb, 6),
        }),
        op::REPORT_SUPPORTED_OPERATION_CODES => {
            let action = match cdb[2] & 7 {
                1 => None,
                2 => Some(u16_or_0(cdb, 4)),
                _ => return None,
            };
            Some(Command::ReportSupportedOperationCode {
                code: cdb[3],
                action,
            })
        }
        _ => None,
    }
}

fn reserve_in(action: u8, allocation: u16) -> Option<Command> {
    let action = match action & 0x1f {
        0 => ReserveIn::ReadKeys,
        1 => ReserveIn::ReadReservation,
        2 => ReserveIn::ReportCapabilities,
        _ => return None,
    };
    Some(Command::PersistentReserveIn { action, allocation })
}

fn reserve_out(cdb: &[u8; 16]) -> Option<Command> {
    let kind = || ReservationType::from_wire(cdb[2]);
    Some(Command::PersistentReserveOut(match cdb[1] & 0x1f {
        0 => ReserveOut::Register,
        1 => ReserveOut::Reserve(kind()?),
        2 => ReserveOut::Release(kind()?),
        3 => ReserveOut::Clear,
        4 => ReserveOut::Preempt(kind()?),
        5 => ReserveOut::PreemptAndAbort(kind()?),
        6 => ReserveOut::RegisterAndIgnoreExistingKey,
        _ => return None,
    }))
}

fn same_flags(byte: u8) -> WriteSameFlags {
    WriteSameFlags {
        unmap: byte & 0x08 != 0,
        anchor: byte & 0x10 != 0,
        no_data_out: byte & NO_DATA_OUT != 0,
    }
}

pub(super) fn unmap_list(list: &[u8]) -> Option<Vec<Extent>> {
    let header: [u8; 8] = array(list, 0)?;
    let (total, descriptors) = (u16_or_0(&header, 0), u16_or_0(&header, 2));
    let body = list.get(8..)?.get(..usize::from(descriptors))?;
    if descriptors % 16 != 0 || u32::from(total) != u32::from(descriptors) + 6 {
        return None;
    }
    let extent = |d: &[u8]| Extent {
        lba: u64_or_0(d, 0),
        blocks: u32_or_0(d, 8),
    };
    Some(body.chunks_exact(16).map(extent).collect())
}
