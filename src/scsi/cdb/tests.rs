use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::units::Geometry;

fn hex(cdb: Cdb) -> String {
    let bytes = &cdb.wire()[..usize::from(cdb.length())];
    bytes
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn range(lba: u64, blocks: u64) -> BlockRange {
    let unit = Geometry::new(512, 1 << 53).unwrap();
    unit.range(lba * 512, blocks * 512).unwrap()
}

#[test]
fn questions_have_the_layout_of_spc() {
    let inquiry = |page, allocation| hex(Command::Inquiry { page, allocation }.cdb());
    assert_eq!(inquiry(None, 255), "12 00 00 00 ff 00");
    assert_eq!(inquiry(Some(0x83), 4096), "12 01 83 10 00 00");
    assert_eq!(inquiry(Some(0), 4), "12 01 00 00 04 00");
    let (page, allocation) = (8, 192);
    let mode_6 = Command::ModeSense6 { page, allocation };
    assert_eq!(hex(mode_6.cdb()), "1a 08 08 00 c0 00");
    let (page, allocation) = (8, 0x0200);
    let mode_10 = Command::ModeSense10 { page, allocation };
    assert_eq!(hex(mode_10.cdb()), "5a 08 08 00 00 00 00 02 00 00");
    let luns = Command::ReportLuns { allocation: 16 };
    assert_eq!(hex(luns.cdb()), "a0 00 00 00 00 00 00 00 00 10 00 00");
    let groups = Command::ReportTargetPortGroups { allocation: 1024 };
    assert_eq!(hex(groups.cdb()), "a3 0a 00 00 00 00 00 00 04 00 00 00");
    let set = Command::SetTargetPortGroups { list: 8 };
    assert_eq!(hex(set.cdb()), "a4 0a 00 00 00 00 00 00 00 08 00 00");
    let code = |code, action| hex(Command::ReportSupportedOperationCode { code, action }.cdb());
    assert_eq!(code(0x93, None), "a3 0c 01 93 00 00 00 00 00 20 00 00");
    assert_eq!(
        code(0x9e, Some(0x12)),
        "a3 0c 02 9e 00 12 00 00 00 20 00 00"
    );
    assert_eq!(hex(Command::TestUnitReady.cdb()), "00 00 00 00 00 00");
}

#[test]
fn reservations_have_the_layout_of_spc() {
    let (action, allocation) = (ReserveIn::ReadKeys, 0x0108);
    let keys = Command::PersistentReserveIn { action, allocation };
    assert_eq!(hex(keys.cdb()), "5e 00 00 00 00 00 00 01 08 00");
    let out = |action| hex(Command::PersistentReserveOut(action).cdb());
    assert_eq!(out(ReserveOut::Register), "5f 00 00 00 00 00 00 00 18 00");
    assert_eq!(
        out(ReserveOut::RegisterAndIgnoreExistingKey),
        "5f 06 00 00 00 00 00 00 18 00"
    );
    assert_eq!(
        out(ReserveOut::PreemptAndAbort(
            ReservationType::WriteExclusiveRegistrantsOnly
        )),
        "5f 05 05 00 00 00 00 00 18 00"
    );
    let kind = ReservationType::ExclusiveAccessAllRegistrants;
    assert_eq!(
        out(ReserveOut::Release(kind)),
        "5f 02 08 00 00 00 00 00 18 00"
    );
    assert_eq!(out(ReserveOut::Clear), "5f 03 00 00 00 00 00 00 18 00");
}

#[test]
fn commands_without_a_transfer_have_the_layout_of_sbc() {
    assert_eq!(
        hex(Command::ReadCapacity10.cdb()),
        "25 00 00 00 00 00 00 00 00 00"
    );
    let long = Command::ReadCapacity16.cdb();
    assert_eq!(hex(long), "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00");
    assert_eq!(hex(Command::flush().cdb()), "35 00 00 00 00 00 00 00 00 00");
    let far = Command::SynchronizeCache(Extent {
        lba: 1 << 32,
        blocks: 1,
    });
    assert_eq!(
        hex(far.cdb()),
        "91 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00"
    );
    assert_eq!(
        hex(Command::Unmap { list: 24 }.cdb()),
        "42 00 00 00 00 00 00 00 18 00"
    );
}

#[test]
fn write_same_has_its_flags_where_sbc_puts_them() {
    let flags = |bits: u8| WriteSameFlags {
        unmap: bits & 1 != 0,
        anchor: bits & 2 != 0,
        no_data_out: bits & 4 != 0,
    };
    let (lba, blocks) = (0x0102_0304, 0x0506);
    let short = |bits| {
        hex(Command::WriteSame10 {
            lba,
            blocks,
            flags: flags(bits),
        }
        .cdb())
    };
    assert_eq!(short(1), "41 08 01 02 03 04 00 05 06 00");
    assert_eq!(
        short(6),
        "41 10 01 02 03 04 00 05 06 00",
        "NDOB is not in the 10-byte form"
    );
    let extent = Extent {
        lba: 0x0102_0304_0506_0708,
        blocks: 0x090a_0b0c,
    };
    let long = |bits| {
        hex(Command::WriteSame16 {
            extent,
            flags: flags(bits),
        }
        .cdb())
    };
    assert_eq!(long(4), "93 01 01 02 03 04 05 06 07 08 09 0a 0b 0c 00 00");
    assert_eq!(long(7), "93 19 01 02 03 04 05 06 07 08 09 0a 0b 0c 00 00");
}

#[test]
fn a_transfer_uses_ten_bytes_as_long_as_both_numbers_fit() {
    let cdb = |direction, lba, blocks, fua| {
        hex(Command::transfer(direction, range(lba, blocks), fua).cdb())
    };
    assert_eq!(
        cdb(Direction::Read, 0x01020304, 0x0506, false),
        "28 00 01 02 03 04 00 05 06 00"
    );
    assert_eq!(
        cdb(Direction::Write, 0xffff_ffff, 0xffff, true),
        "2a 08 ff ff ff ff 00 ff ff 00"
    );
    assert_eq!(
        cdb(Direction::Read, 0x1_0000_0000, 1, true),
        "88 08 00 00 00 01 00 00 00 00 00 00 00 01 00 00"
    );
    assert_eq!(
        cdb(Direction::Write, 1, 0x1_0000, false),
        "8a 00 00 00 00 00 00 00 00 01 00 01 00 00 00 00"
    );
}

#[test]
fn expected_lengths_are_those_of_the_data() {
    let read = Command::transfer(Direction::Read, range(0, 8), false);
    assert_eq!(read.data_length(4096), DataLength::In(32768));
    let write = Command::transfer(Direction::Write, range(0, 8), false);
    assert_eq!(write.data_length(512), DataLength::Out(4096));
    let same = |no_data_out| Command::WriteSame16 {
        extent: Extent {
            lba: 0,
            blocks: 100,
        },
        flags: WriteSameFlags {
            no_data_out,
            ..WriteSameFlags::default()
        },
    };
    assert_eq!(same(true).data_length(512), DataLength::None);
    assert_eq!(same(false).data_length(512), DataLength::Out(512));
    assert_eq!(Command::flush().data_length(512), DataLength::None);
    assert_eq!(Command::ReadCapacity10.data_length(512), DataLength::In(8));
}

#[test]
fn an_unmap_list_names_its_lengths_and_every_range() {
    let (command, list) = Command::unmap(&[range(0x0102, 8), range(1 << 33, 0xffff_ffff)]);
    assert_eq!(command.data_length(512), DataLength::Out(40));
    assert_eq!(
        list[..],
        [
            0, 38, 0, 32, 0, 0, 0, 0, // total - 2, descriptors
            0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 8, 0, 0, 0, 0, //
            0, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0,
        ]
    );
}

#[test]
fn an_unmap_list_whose_lengths_disagree_is_refused() {
    let (_, list) = Command::unmap(&[range(0, 8)]);
    assert!(Command::unmap_extents(&list).is_some());
    for (at, value) in [(1, 21), (3, 15), (3, 32)] {
        let mut wrong = list.to_vec();
        wrong[at] = value;
        assert_eq!(Command::unmap_extents(&wrong), None);
    }
}

fn any_extent() -> impl Strategy<Value = Extent> {
    let lba = prop_oneof![0..=0xffff_ffffu64, any::<u64>()];
    let blocks = prop_oneof![0..=0xffffu32, any::<u32>()];
    (lba, blocks).prop_map(|(lba, blocks)| Extent { lba, blocks })
}

fn any_command() -> impl Strategy<Value = Command> {
    let flags =
        any::<(bool, bool, bool)>().prop_map(|(unmap, anchor, no_data_out)| WriteSameFlags {
            unmap,
            anchor,
            no_data_out,
        });
    let short_flags = any::<(bool, bool)>().prop_map(|(unmap, anchor)| WriteSameFlags {
        unmap,
        anchor,
        no_data_out: false,
    });
    let reserve_in = prop_oneof![
        Just(ReserveIn::ReadKeys),
        Just(ReserveIn::ReadReservation),
        Just(ReserveIn::ReportCapabilities)
    ];
    let kind = || proptest::sample::select(&ReservationType::ALL[..]);
    let reserve_out = prop_oneof![
        Just(ReserveOut::Register),
        Just(ReserveOut::RegisterAndIgnoreExistingKey),
        Just(ReserveOut::Clear),
        kind().prop_map(ReserveOut::Reserve),
        kind().prop_map(ReserveOut::Release),
        kind().prop_map(ReserveOut::Preempt),
        kind().prop_map(ReserveOut::PreemptAndAbort),
    ];
    prop_oneof![
        Just(Command::TestUnitReady),
        Just(Command::ReadCapacity10),
        Just(Command::ReadCapacity16),
        any::<(Option<u8>, u16)>()
            .prop_map(|(page, allocation)| Command::Inquiry { page, allocation }),
        (0..64u8, any::<u8>())
            .prop_map(|(page, allocation)| Command::ModeSense6 { page, allocation }),
        (0..64u8, any::<u16>())
            .prop_map(|(page, allocation)| Command::ModeSense10 { page, allocation }),
        (any_extent(), any::<bool>()).prop_map(|(extent, fua)| Command::Read { extent, fua }),
        (any_extent(), any::<bool>()).prop_map(|(extent, fua)| Command::Write { extent, fua }),
        any_extent().prop_map(Command::SynchronizeCache),
        any::<u16>().prop_map(|list| Command::Unmap { list }),
        (any::<(u32, u16)>(), short_flags)
            .prop_map(|((lba, blocks), flags)| Command::WriteSame10 { lba, blocks, flags }),
        (any_extent(), flags).prop_map(|(extent, flags)| Command::WriteSame16 { extent, flags }),
        any::<u32>().prop_map(|allocation| Command::ReportLuns { allocation }),
        any::<u32>().prop_map(|allocation| Command::ReportTargetPortGroups { allocation }),
        any::<u32>().prop_map(|list| Command::SetTargetPortGroups { list }),
        any::<(u8, Option<u16>)>()
            .prop_map(|(code, action)| Command::ReportSupportedOperationCode { code, action }),
        (reserve_in, any::<u16>()).prop_map(|(action, allocation)| {
            Command::PersistentReserveIn { action, allocation }
        }),
        reserve_out.prop_map(Command::PersistentReserveOut),
    ]
}

proptest! {
    #[test]
    fn what_was_built_is_read_back(command in any_command()) {
        prop_assert_eq!(Command::parse(command.cdb().wire()), Some(command));
    }

    #[test]
    fn what_was_read_says_the_same_when_built_again(bytes in any::<[u8; 16]>(), code in any_command()) {
        let mut bytes = bytes;
        bytes[0] = code.cdb().opcode();
        if let Some(command) = Command::parse(&bytes) {
            prop_assert_eq!(Command::parse(command.cdb().wire()), Some(command));
        }
    }

    #[test]
    fn an_unmap_list_is_read_back(ranges in vec((0u64..1 << 50, 1u64..=0xffff_ffff), 0..40)) {
        let ranges: Vec<_> = ranges.into_iter().map(|(lba, blocks)| range(lba, blocks)).collect();
        let (_, list) = Command::unmap(&ranges);
        let expected: Vec<_> = ranges.iter().copied().map(Extent::of).collect();
        prop_assert_eq!(Command::unmap_extents(&list), Some(expected));
    }

    #[test]
    fn no_unmap_list_is_too_odd_to_read(list in vec(any::<u8>(), 0..64)) {
        if let Some(extents) = Command::unmap_extents(&list) {
            prop_assert!(extents.len() * 16 + 8 <= list.len());
        }
    }
}
