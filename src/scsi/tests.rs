//! Answers of a foreign target, tgt of Debian, byte for byte as it gave them.

use super::capacity::{Capacity, ShortCapacity};
use super::identity::{LunIdentity, NameKind};
use super::inquiry::StandardInquiry;
use super::mode::ModeParameters;
use super::sense::{Sense, SenseKey};
use super::vpd::{
    BlockLimits, Designator, DeviceIdentification, Provisioning, Rotation, serial, supported_pages,
};
use crate::units::Geometry;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const INQUIRY: &str = "
    000005123d000002 4945542020202020 5649525455414c2d4449534b20202020 30303031
    0000000000000000000000000000000000000000000004c0096003000000";
const SERIAL: &str = "
    00800024 202020202020202020202020202020202020202020202020202020202020 626561663131";
const IDENTIFICATION: &str = "
    00830048
    02010024 4945542020202020 3030303130303031 0000000000000000000000000000000000000000
    01030008 3000000100000001
    01030010 6000000000000000 0e00000000010001";
const BLOCK_LIMITS: &str = "
    00b0003c 00800000 0000000000000000000000000000000000000000000000000000000000000000
    000000000000000000000000000000000000000000000000";
const MODE_SENSE_ALL: &str = "
    69001008 0000000000000200
    00020e8080000a0000000000000000000000
    0812 1400ffff0000ffffffff80140000000000000a0a021000000000000002004a01001c04";

fn identity(page_83: &str) -> LunIdentity {
    let inquiry = StandardInquiry::parse(&bytes(INQUIRY)).unwrap();
    let page = DeviceIdentification::parse(&bytes(page_83)).unwrap();
    assert!(!page.truncated);
    let serial = serial(&bytes(SERIAL)).unwrap();
    LunIdentity::new(
        &inquiry,
        &page.designators,
        serial,
        Geometry::new(512, 8192).unwrap(),
    )
}

#[test]
fn tgts_texts_and_pages_are_read() {
    let inquiry = StandardInquiry::parse(&bytes(INQUIRY)).unwrap();
    assert!(inquiry.is_disk());
    assert_eq!(
        (inquiry.vendor.as_str(), inquiry.product.as_str()),
        ("IET", "VIRTUAL-DISK")
    );
    assert_eq!(
        (inquiry.revision.as_str(), inquiry.version, inquiry.tpgs),
        ("0001", 5, 0)
    );
    assert_eq!(serial(&bytes(SERIAL)), Ok(Some("beaf11".into())));
    let pages = supported_pages(&bytes("00000006 008083b0b1b2"));
    assert_eq!(pages, Ok(vec![0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]));
}

#[test]
fn tgts_limits_say_nothing() {
    assert_eq!(
        BlockLimits::parse(&bytes(BLOCK_LIMITS)),
        Ok(BlockLimits::default())
    );
    assert_eq!(
        Rotation::parse(&bytes("00b10040 0000")),
        Ok(Rotation::Unknown)
    );
    assert_eq!(
        Provisioning::parse(&bytes("00b20004 00000000")),
        Ok(Provisioning::default())
    );
}

#[test]
fn tgts_capacity_is_the_same_in_both_forms() {
    let short = ShortCapacity::parse(&bytes("00001fff 00000200")).unwrap();
    let long = bytes("0000000000001fff 00000200 0003 0000 00000000000000000000000000000000");
    let long = Capacity::parse(&long).unwrap();
    assert_eq!(short, ShortCapacity::Fits(long.geometry));
    assert_eq!(long.geometry, Geometry::new(512, 8192).unwrap());
    assert_eq!(
        (long.physical_block_size(), long.thin, long.protection),
        (4096, false, None)
    );
}

#[test]
fn tgts_mode_pages_tell_of_a_write_cache_and_fua() {
    let mode = ModeParameters::parse_6(&bytes(MODE_SENSE_ALL)).unwrap();
    assert_eq!(
        mode,
        ModeParameters {
            write_protected: false,
            fua: true,
            write_cache: Some(true)
        }
    );
}

#[test]
fn tgts_first_answer_is_a_power_on() {
    let sense = Sense::parse(&bytes("7000060000 00000a0000000029 0000000000")).unwrap();
    assert_eq!(sense, Sense::new(SenseKey::UnitAttention, 0x29, 0));
}

#[test]
fn tgts_default_names_are_weak_although_one_looks_like_a_registered_naa() {
    let tgt = identity(IDENTIFICATION);
    assert_eq!(tgt.wwid(), "t10.IET_____00010001");
    let kinds: Vec<_> = tgt.names().iter().map(|name| name.kind()).collect();
    assert_eq!(
        kinds,
        [NameKind::T10, NameKind::LocalNaa, NameKind::LocalNaa]
    );
    assert!(tgt.weak());
    assert!(tgt.is_named("naa.60000000000000000e00000000010001"));
}

#[test]
fn a_scsi_id_that_was_given_to_tgt_is_its_name() {
    let hex: String = b"IET     db1-data"
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let given = IDENTIFICATION.replace("4945542020202020 3030303130303031", &hex);
    let tgt = identity(&given);
    assert_eq!(tgt.wwid(), "t10.IET_____db1-data");
    assert!(!tgt.weak());
}

#[test]
fn tgt_names_no_port() {
    let page = DeviceIdentification::parse(&bytes(IDENTIFICATION)).unwrap();
    assert_eq!(page.designators[0].kind, Designator::T10);
    assert_eq!(
        (page.target_port_group(), page.relative_target_port()),
        (None, None)
    );
}
