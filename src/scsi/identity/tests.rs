use proptest::prelude::*;

use super::*;

const NAA_6: [u8; 16] = [
    0x60, 0x01, 0x40, 0x5f, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78, 0x87, 0x96, 0xa5, 0xb4, 0xc3, 0xd2,
];

fn designator(kind: u8, bytes: &[u8]) -> Designator {
    let association = Association::LogicalUnit;
    Designator {
        association,
        code_set: 1,
        kind,
        bytes: bytes.to_vec(),
    }
}

fn inquiry(vendor: &str, product: &str) -> StandardInquiry {
    StandardInquiry {
        qualifier: 0,
        device_type: 0,
        version: 5,
        tpgs: 0,
        vendor: vendor.into(),
        product: product.into(),
        revision: "4.0".into(),
    }
}

fn unit(designators: &[Designator]) -> LunIdentity {
    let geometry = Geometry::new(512, 2048).unwrap();
    LunIdentity::new(
        &inquiry("LIO-ORG", "disk1"),
        designators,
        Some("f2d3".into()),
        geometry,
    )
}

fn lio() -> LunIdentity {
    unit(&[
        designator(Designator::NAA, &NAA_6),
        designator(Designator::T10, b"LIO-ORG disk1:f2d3"),
    ])
}

#[test]
fn names_have_canonical_forms() {
    let name = |kind, bytes: &[u8]| LunName::of(&designator(kind, bytes)).unwrap().to_string();
    assert_eq!(
        name(Designator::NAA, &NAA_6),
        "naa.6001405f2d3c4b5a69788796a5b4c3d2"
    );
    assert_eq!(
        name(Designator::EUI64, &[0, 0x25, 0x38, 1, 2, 3, 4, 0xff]),
        "eui.00253801020304ff"
    );
    assert_eq!(
        name(Designator::T10, b"IET     00010001\0\0"),
        "t10.IET_____00010001"
    );
    assert_eq!(
        name(Designator::NAME_STRING, b"iqn.2003-01.org.x,L,0x1\0"),
        "iqn.2003-01.org.x,L,0x1"
    );
    let mut uuid = vec![0x10, 0];
    uuid.extend(0x10u8..0x20);
    assert_eq!(
        name(Designator::UUID, &uuid),
        "uuid.10111213-1415-1617-1819-1a1b1c1d1e1f"
    );
}

#[test]
fn the_strongest_name_is_the_units() {
    let local = designator(Designator::NAA, &[0x30, 0, 0, 0, 0, 0, 0, 1]);
    let t10 = designator(Designator::T10, b"VENDOR  serial");
    let eui = designator(Designator::EUI64, &[1; 8]);
    let naa = designator(Designator::NAA, &NAA_6);
    let mut all = vec![local.clone(), t10];
    assert_eq!(
        unit(&all).wwid(),
        "t10.VENDOR__serial",
        "a local NAA is no authority's"
    );
    all.push(eui);
    assert_eq!(unit(&all).wwid(), "eui.0101010101010101");
    all.push(naa);
    assert_eq!(unit(&all).wwid(), "naa.6001405f2d3c4b5a69788796a5b4c3d2");
    assert_eq!(unit(&[local]).wwid(), "naa.3000000000000001");
    assert_eq!(unit(&[]).wwid(), "serial.LIO-ORG_disk1_f2d3");
}

#[test]
fn names_of_ports_and_targets_are_no_names_of_the_unit() {
    let of_port = Designator {
        association: Association::TargetPort,
        ..designator(Designator::NAA, &NAA_6)
    };
    assert!(unit(&[of_port]).names().is_empty());
}

#[test]
fn a_unit_is_found_by_any_of_its_names() {
    for wwid in [
        "naa.6001405f2d3c4b5a69788796a5b4c3d2",
        " NAA.6001405F2D3C4B5A69788796A5B4C3D2 ",
        "t10.LIO-ORG_disk1:f2d3",
        "serial.LIO-ORG_disk1_f2d3",
    ] {
        assert!(lio().is_named(wwid), "{wwid}");
    }
    assert!(!lio().is_named("naa.6001405f2d3c4b5a69788796a5b4c3d3"));
    assert!(!lio().is_named(""));
}

#[test]
fn each_difference_is_named() {
    let volume = lio();
    assert_eq!(lio().matches(&volume), Ok(()));
    let mut other_naa = NAA_6;
    other_naa[15] ^= 1;
    let named = unit(&[designator(Designator::NAA, &other_naa)]);
    let message = named.matches(&volume).unwrap_err().to_string();
    assert!(
        message.contains("naa.6001405f2d3c4b5a69788796a5b4c3d3"),
        "{message}"
    );
    assert!(
        message.contains("naa.6001405f2d3c4b5a69788796a5b4c3d2"),
        "{message}"
    );

    let serial = LunIdentity {
        serial: None,
        ..lio()
    };
    let empty = String::new();
    assert_eq!(
        serial.matches(&volume),
        Err(IdentityMismatch::Serial {
            found: empty,
            expected: "f2d3".into()
        })
    );
    let product = LunIdentity {
        product: "disk2".into(),
        ..lio()
    };
    assert!(matches!(
        product.matches(&volume),
        Err(IdentityMismatch::Product { .. })
    ));
    let coarse = lio().resized(Geometry::new(4096, 2048).unwrap());
    assert_eq!(
        coarse.matches(&volume),
        Err(IdentityMismatch::BlockSize {
            found: 4096,
            expected: 512
        })
    );
    let grown = lio().resized(Geometry::new(512, 4096).unwrap());
    assert_eq!(
        grown.matches(&volume),
        Err(IdentityMismatch::Capacity {
            found: 4096,
            expected: 2048
        })
    );
}

#[test]
fn a_kind_of_name_that_both_have_must_agree() {
    let same_naa_other_t10 = unit(&[
        designator(Designator::NAA, &NAA_6),
        designator(Designator::T10, b"LIO-ORG disk1:eeee"),
    ]);
    assert!(matches!(
        same_naa_other_t10.matches(&lio()),
        Err(IdentityMismatch::Name { .. })
    ));
}

#[test]
fn a_weaker_name_that_only_one_side_has_is_no_contradiction() {
    let naa_only = unit(&[designator(Designator::NAA, &NAA_6)]);
    assert_eq!(naa_only.matches(&lio()), Ok(()));
    assert_eq!(lio().matches(&naa_only), Ok(()));
}

#[test]
fn a_unit_without_names_is_not_one_with_names() {
    assert!(matches!(
        unit(&[]).matches(&lio()),
        Err(IdentityMismatch::Name { .. })
    ));
    assert!(matches!(
        lio().matches(&unit(&[])),
        Err(IdentityMismatch::Name { .. })
    ));
    assert_eq!(unit(&[]).matches(&unit(&[])), Ok(()));
}

#[test]
fn vendors_defaults_are_weak() {
    let weak = |kind, bytes: &[u8]| unit(&[designator(kind, bytes)]).weak();
    assert!(unit(&[]).weak());
    assert!(weak(Designator::T10, b"IET     00010001"));
    assert!(weak(Designator::T10, b"IET     0001000a\0\0\0\0"));
    assert!(weak(Designator::T10, b"FreeBSD MYDEVID   1"));
    assert!(weak(Designator::T10, b"VENDOR"));
    assert!(
        weak(Designator::NAA, &[0x30, 0, 0, 1, 0, 0, 0, 1]),
        "locally assigned"
    );
    assert!(weak(Designator::EUI64, &[0; 8]));
    let mut no_serial = [0; 16];
    no_serial[..4].copy_from_slice(&NAA_6[..4]);
    no_serial[3] = 0x50;
    assert!(
        weak(Designator::NAA, &no_serial),
        "LIO without a unit serial"
    );
    // tgt lists all of its defaults; with an id of its own, e.g. 0123456789abcdef, it has a name.
    let tgt = |id: &[u8], digits: u64| {
        let naa = (0x6u128 << 124 | u128::from(digits)).to_be_bytes();
        unit(&[
            designator(Designator::T10, id),
            designator(Designator::NAA, &[0x30, 0, 0, 1, 0, 0, 0, 1]),
            designator(Designator::NAA, &naa),
        ])
    };
    assert!(tgt(b"IET     00010001", 0x0e00_0000_0001_0001).weak());
    assert!(!tgt(b"0123456789abcdef", 0x0123_4567_89ab_cdef).weak());

    assert!(!lio().weak());
    assert!(!weak(Designator::T10, b"IET     db1-primary"));
    assert!(
        !weak(Designator::T10, b"VENDOR  0001000a"),
        "only tgt's vendor makes it tgt's default"
    );
}

#[test]
fn an_identity_reads_as_one_line() {
    let line = lio().to_string();
    assert_eq!(
        line.split_once(' ').unwrap().0,
        "naa.6001405f2d3c4b5a69788796a5b4c3d2"
    );
    assert!(line.ends_with(" (LIO-ORG disk1, serial \"f2d3\", 2048 blocks of 512 bytes)"));
}

fn any_names() -> impl Strategy<Value = Vec<Designator>> {
    let one = (0..12u8, proptest::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(kind, bytes)| designator(kind, &bytes));
    proptest::collection::vec(one, 0..5)
}

proptest! {
    #[test]
    fn matching_is_symmetric_and_does_not_depend_on_the_order(
        mut names in any_names(),
        others in any_names(),
    ) {
        let (a, b) = (unit(&names), unit(&others));
        prop_assert_eq!(a.matches(&b).is_ok(), b.matches(&a).is_ok());
        names.reverse();
        prop_assert_eq!(a.matches(&unit(&names)), Ok(()));
        prop_assert!(a.is_named(&a.wwid()));
    }
}
