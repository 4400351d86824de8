use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn page_of(code: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[0, code, len[0], len[1]], body].concat()
}

#[test]
fn the_list_of_pages_is_read() {
    let data = page_of(0, &[0x00, 0x80, 0x83, 0xb0]);
    assert_eq!(supported_pages(&data), Ok(vec![0x00, 0x80, 0x83, 0xb0]));
}

#[test]
fn another_page_than_the_one_asked_for_is_refused() {
    let data = page_of(0x83, &[]);
    assert_eq!(
        serial(&data),
        Err(BadData::OtherPage {
            asked: 0x80,
            got: 0x83
        })
    );
    assert_eq!(
        serial(&[0, 0x80, 0]),
        Err(BadData::Short {
            what: "a VPD page",
            got: 3,
            need: 4
        })
    );
}

#[test]
fn a_serial_number_loses_its_padding_and_a_blank_one_is_none() {
    assert_eq!(
        serial(&page_of(0x80, b"  beaf11\0\0")),
        Ok(Some("beaf11".into()))
    );
    assert_eq!(serial(&page_of(0x80, b"    ")), Ok(None));
    assert_eq!(
        serial(&[0, 0x80, 0, 2, b'a', b'b', b'c']),
        Ok(Some("ab".into()))
    );
}

#[test]
fn designators_of_unit_and_port_are_told_apart() {
    let mut body = vec![0x01, 0x03, 0, 16];
    body.extend([
        0x60, 0x01, 0x40, 0x5f, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78, 0x87, 0x96, 0xa5, 0xb4, 0xc3,
        0xd2,
    ]);
    body.extend([0x02, 0x01, 0, 12]);
    body.extend(b"LIO-ORG disk");
    body.extend([0x51, 0x94, 0, 4, 0, 0, 0, 7]);
    body.extend([0x51, 0x95, 0, 4, 0, 0, 0x01, 0x02]);
    let page = DeviceIdentification::parse(&page_of(0x83, &body)).unwrap();
    assert!(!page.truncated);
    let kinds: Vec<_> = page
        .designators
        .iter()
        .map(|d| (d.association, d.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (Association::LogicalUnit, Designator::NAA),
            (Association::LogicalUnit, Designator::T10),
            (Association::TargetPort, Designator::RELATIVE_PORT),
            (Association::TargetPort, Designator::PORT_GROUP),
        ]
    );
    assert_eq!(page.designators[0].naa(), Some(6));
    assert_eq!(page.relative_target_port(), Some(7));
    assert_eq!(page.target_port_group(), Some(0x0102));
}

#[test]
fn a_cut_page_keeps_whole_designators_and_says_that_it_is_cut() {
    let body = [0x51, 0x94, 0, 4, 0, 0, 0, 7, 0x51, 0x95, 0, 4, 0, 0, 0, 1];
    let whole = page_of(0x83, &body);
    let cut = DeviceIdentification::parse(&whole[..18]).unwrap();
    assert!(cut.truncated);
    assert_eq!(cut.designators.len(), 1);
    assert!(!DeviceIdentification::parse(&whole).unwrap().truncated);
}

#[test]
fn block_limits_are_where_the_standard_puts_them() {
    let mut data = page_of(0xb0, &[0; 60]);
    data[4] = 1;
    data[6..8].copy_from_slice(&8u16.to_be_bytes());
    data[8..12].copy_from_slice(&0x1000u32.to_be_bytes());
    data[12..16].copy_from_slice(&0x0800u32.to_be_bytes());
    data[20..24].copy_from_slice(&0xffff_ffffu32.to_be_bytes());
    data[24..28].copy_from_slice(&256u32.to_be_bytes());
    data[28..32].copy_from_slice(&16u32.to_be_bytes());
    data[32..36].copy_from_slice(&0x8000_0003u32.to_be_bytes());
    data[36..44].copy_from_slice(&0x0001_0000_0000u64.to_be_bytes());
    assert_eq!(
        BlockLimits::parse(&data),
        Ok(BlockLimits {
            no_zero_write_same: true,
            transfer_granularity: 8,
            transfer_max: 0x1000,
            transfer_optimal: 0x0800,
            unmap_blocks_max: u32::MAX,
            unmap_descriptors_max: 256,
            unmap_granularity: 16,
            unmap_alignment: Some(3),
            write_same_max: 1 << 32,
        })
    );
}

#[test]
fn the_short_page_of_sbc_2_says_nothing_of_unmap() {
    let mut data = page_of(0xb0, &[0; 12]);
    data[8..12].copy_from_slice(&128u32.to_be_bytes());
    data.extend([0xff; 40]);
    let limits = BlockLimits::parse(&data).unwrap();
    assert_eq!(
        limits,
        BlockLimits {
            transfer_max: 128,
            ..BlockLimits::default()
        }
    );
}

#[test]
fn rotation_is_a_rate_or_none() {
    let of = |rate: u16| Rotation::parse(&page_of(0xb1, &rate.to_be_bytes())).unwrap();
    assert_eq!(of(0), Rotation::Unknown);
    assert_eq!(of(1), Rotation::SolidState);
    assert_eq!(of(0x0400), Rotation::Unknown);
    assert_eq!(of(7200), Rotation::Rpm(7200));
    assert_eq!(of(0xffff), Rotation::Unknown);
}

#[test]
fn provisioning_flags_are_read_one_by_one() {
    let of = |flags, kind| Provisioning::parse(&page_of(0xb2, &[0, flags, kind, 0])).unwrap();
    let none = Provisioning::default();
    assert_eq!(
        of(0x80, 0),
        Provisioning {
            unmap: true,
            ..none
        }
    );
    assert_eq!(
        of(0x40, 0),
        Provisioning {
            write_same_16: true,
            ..none
        }
    );
    assert_eq!(
        of(0x20, 0),
        Provisioning {
            write_same_10: true,
            ..none
        }
    );
    assert_eq!(
        of(0x04, 0),
        Provisioning {
            reads_zeroes: true,
            ..none
        }
    );
    assert_eq!(of(0x08, 0), none, "010b is a vendor's pattern, not zeroes");
    assert_eq!(
        of(0x02, 0),
        Provisioning {
            anchor: true,
            ..none
        }
    );
    assert_eq!(
        of(0, 2),
        Provisioning {
            kind: ProvisioningKind::Thin,
            ..none
        }
    );
    assert_eq!(
        of(0, 1),
        Provisioning {
            kind: ProvisioningKind::Resource,
            ..none
        }
    );
}

proptest! {
    #[test]
    fn no_page_is_too_odd_to_read(
        code in any::<u8>(),
        body in vec(any::<u8>(), 0..300),
        len in any::<u16>(),
    ) {
        let mut data = page_of(code, &body);
        data[2..4].copy_from_slice(&len.to_be_bytes());
        let right = |page| code == page;
        prop_assert_eq!(supported_pages(&data).is_ok(), right(page::SUPPORTED));
        prop_assert_eq!(serial(&data).is_ok(), right(page::SERIAL));
        prop_assert_eq!(BlockLimits::parse(&data).is_ok(), right(page::BLOCK_LIMITS));
        prop_assert_eq!(Rotation::parse(&data).is_ok(), right(page::BLOCK_CHARACTERISTICS));
        prop_assert_eq!(Provisioning::parse(&data).is_ok(), right(page::PROVISIONING));
        prop_assert_eq!(DeviceIdentification::parse(&data).is_ok(), right(page::IDENTIFICATION));
    }

    #[test]
    fn designators_never_hold_more_than_the_page(body in vec(any::<u8>(), 0..300)) {
        let page = DeviceIdentification::parse(&page_of(0x83, &body)).unwrap();
        let used: usize = page.designators.iter().map(|d| d.bytes.len() + 4).sum();
        prop_assert!(used <= body.len());
        prop_assert_eq!(page.truncated, used < body.len());
    }
}
