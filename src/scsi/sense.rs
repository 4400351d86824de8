//! Sense data (SPC-5 4.4), fixed and descriptor format alike.

use std::fmt;

use super::wire::{array, u8_or_0, u32_or_0};

/// The sense keys (SPC-5 4.4.8), in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the names are the standard's and say what there is to say"
)]
pub enum SenseKey {
    NoSense,
    RecoveredError,
    NotReady,
    MediumError,
    HardwareError,
    IllegalRequest,
    UnitAttention,
    DataProtect,
    BlankCheck,
    VendorSpecific,
    CopyAborted,
    AbortedCommand,
    Reserved,
    VolumeOverflow,
    Miscompare,
    Completed,
}

impl SenseKey {
    /// All of them; the index is the number on the wire.
    pub const ALL: [Self; 16] = [
        Self::NoSense,
        Self::RecoveredError,
        Self::NotReady,
        Self::MediumError,
        Self::HardwareError,
        Self::IllegalRequest,
        Self::UnitAttention,
        Self::DataProtect,
        Self::BlankCheck,
        Self::VendorSpecific,
        Self::CopyAborted,
        Self::AbortedCommand,
        Self::Reserved,
        Self::VolumeOverflow,
        Self::Miscompare,
        Self::Completed,
    ];

    /// The key in the low four bits of a byte.
    #[must_use]
    pub fn from_wire(byte: u8) -> Self {
        Self::ALL
            .get(usize::from(byte & 0x0f))
            .copied()
            .unwrap_or(Self::Reserved)
    }

    /// The number on the wire.
    #[must_use]
    pub fn wire(self) -> u8 {
        self as u8
    }

    /// The standard's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSense => "NO SENSE",
            Self::RecoveredError => "RECOVERED ERROR",
            Self::NotReady => "NOT READY",
            Self::MediumError => "MEDIUM ERROR",
            Self::HardwareError => "HARDWARE ERROR",
            Self::IllegalRequest => "ILLEGAL REQUEST",
            Self::UnitAttention => "UNIT ATTENTION",
            Self::DataProtect => "DATA PROTECT",
            Self::BlankCheck => "BLANK CHECK",
            Self::VendorSpecific => "VENDOR SPECIFIC",
            Self::CopyAborted => "COPY ABORTED",
            Self::AbortedCommand => "ABORTED COMMAND",
            Self::Reserved => "RESERVED SENSE KEY",
            Self::VolumeOverflow => "VOLUME OVERFLOW",
            Self::Miscompare => "MISCOMPARE",
            Self::Completed => "COMPLETED",
        }
    }
}

/// Where an ILLEGAL REQUEST points (SPC-5 4.4.2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    /// In the descriptor block, else in the parameter data.
    pub in_cdb: bool,
    /// The byte in error.
    pub byte: u16,
    /// Its bit in error, if one is named.
    pub bit: Option<u8>,
}

/// What a target said about a command that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
    /// It is about an earlier command, whose status was good; this one was not executed (SPC-5 4.4.7).
    pub deferred: bool,
    /// INFORMATION if valid: for a medium error the first bad logical block.
    pub information: Option<u64>,
    /// Which field was illegal, if said.
    pub field: Option<FieldPointer>,
}

impl Sense {
    /// Whether a unit attention says that the unit was without power, so that a volatile cache is gone: POWER
    /// ON OCCURRED, DEVICE INTERNAL RESET (SPC-5 annex F). 29/00 may mean it as well, but tgt and LIO tell
    /// that to every new session, and tgt to everybody after a LUN RESET, which loses no cache: it does not
    /// count, for a flush that fails for nothing stops a file system.
    #[must_use]
    pub fn says_power_was_lost(&self) -> bool {
        let code = matches!((self.asc, self.ascq), (0x29, 0x01 | 0x04));
        self.key == SenseKey::UnitAttention && !self.deferred && code
    }

    /// Whether a unit attention says that the unit was reset, by whomever: commands ended without an answer
    /// (SAM-5 6.3; the codes of SPC-5 annex F below ASC 29h).
    #[must_use]
    pub fn says_reset(&self) -> bool {
        self.key == SenseKey::UnitAttention && !self.deferred && self.asc == 0x29
    }

    /// Whether a unit attention says that access states changed, or that a change failed, or that one is
    /// under way (SPC-5 5.18.2.5).
    #[must_use]
    pub fn says_access_changed(&self) -> bool {
        let code = matches!(
            (self.asc, self.ascq),
            (0x2a, 0x06 | 0x07) | (0x04, 0x0a..=0x0c)
        );
        self.key == SenseKey::UnitAttention && !self.deferred && code
    }

    /// Whether a unit attention says that somebody changed reservations or registrations: RESERVATIONS
    /// PREEMPTED, RESERVATIONS RELEASED, REGISTRATIONS PREEMPTED (SPC-5 5.14).
    #[must_use]
    pub fn says_reservations_changed(&self) -> bool {
        let code = matches!((self.asc, self.ascq), (0x2a, 0x03..=0x05));
        self.key == SenseKey::UnitAttention && !self.deferred && code
    }

    /// Sense with nothing but its codes.
    #[must_use]
    pub fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self {
            key,
            asc,
            ascq,
            deferred: false,
            information: None,
            field: None,
        }
    }

    /// Reads sense data; `None` if it is empty or in no format of the standard. Codes that a short answer
    /// leaves out are zero.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let code = data.first()? & 0x7f;
        match code {
            0x70 | 0x71 => Some(Self::parse_fixed(data, code == 0x71)),
            0x72 | 0x73 => Some(Self::parse_descriptors(data, code == 0x73)),
            _ => None,
        }
    }

    /// Fixed format: what lies beyond ADDITIONAL SENSE LENGTH (byte 7) does not count.
    fn parse_fixed(data: &[u8], deferred: bool) -> Self {
        let end = usize::from(u8_or_0(data, 7)) + 8;
        let data = super::wire::up_to(data, end);
        let valid = u8_or_0(data, 0) & 0x80 != 0;
        let key = SenseKey::from_wire(u8_or_0(data, 2));
        Self {
            key,
            asc: u8_or_0(data, 12),
            ascq: u8_or_0(data, 13),
            deferred,
            information: valid.then(|| u32_or_0(data, 3).into()),
            field: array(data, 15).and_then(|specific| field_pointer(key, specific)),
        }
    }

    /// Descriptor format: a header of 8 bytes, then descriptors of type, length, data.
    fn parse_descriptors(data: &[u8], deferred: bool) -> Self {
        let key = SenseKey::from_wire(u8_or_0(data, 1));
        let mut sense = Self {
            deferred,
            ..Self::new(key, u8_or_0(data, 2), u8_or_0(data, 3))
        };
        let len = usize::from(u8_or_0(data, 7));
        let mut rest = super::wire::up_to(data.get(8..).unwrap_or_default(), len);
        while let [kind, len, tail @ ..] = rest {
            let Some((body, next)) = tail.split_at_checked((*len).into()) else {
                break;
            };
            match (*kind, array(body, 2), array(body, 2)) {
                (INFORMATION, Some(lba), _) if u8_or_0(body, 0) & 0x80 != 0 => {
                    sense.information = Some(u64::from_be_bytes(lba));
                }
                (SENSE_KEY_SPECIFIC, _, Some(specific)) => {
                    sense.field = field_pointer(key, specific);
                }
                _ => {}
            }
            rest = next;
        }
        sense
    }

    /// In fixed format, 18 bytes; `None` if INFORMATION needs more than the format's 32 bits.
    #[must_use]
    pub fn to_fixed(&self) -> Option<[u8; 18]> {
        let mut b = [0; 18];
        b[0] = if self.deferred { 0x71 } else { 0x70 };
        if let Some(information) = self.information {
            b[0] |= 0x80;
            b[3..7].copy_from_slice(&u32::try_from(information).ok()?.to_be_bytes());
        }
        b[2] = self.key.wire();
        b[7] = 10;
        b[12] = self.asc;
        b[13] = self.ascq;
        if let Some(field) = self.field {
            b[15..18].copy_from_slice(&field.to_wire());
        }
        Some(b)
    }

    /// In descriptor format.
    #[must_use]
    pub fn to_descriptors(&self) -> Vec<u8> {
        let code = if self.deferred { 0x73 } else { 0x72 };
        let mut b = vec![code, self.key.wire(), self.asc, self.ascq, 0, 0, 0];
        let mut descriptors = Vec::new();
        if let Some(information) = self.information {
            descriptors.extend([INFORMATION, 10, 0x80, 0]);
            descriptors.extend(information.to_be_bytes());
        }
        if let Some(field) = self.field {
            descriptors.extend([SENSE_KEY_SPECIFIC, 6, 0, 0]);
            descriptors.extend(field.to_wire());
            descriptors.push(0);
        }
        b.push(u8::try_from(descriptors.len()).expect("two short descriptors"));
        b.extend(descriptors);
        b
    }
}

/// Descriptor types (SPC-5 table 30).
const INFORMATION: u8 = 0x00;
const SENSE_KEY_SPECIFIC: u8 = 0x02;

impl FieldPointer {
    fn to_wire(self) -> [u8; 3] {
        let [high, low] = self.byte.to_be_bytes();
        let bit = self.bit.map_or(0, |bit| 0x08 | (bit & 7));
        [0x80 | u8::from(self.in_cdb) << 6 | bit, high, low]
    }
}

fn field_pointer(key: SenseKey, [flags, high, low]: [u8; 3]) -> Option<FieldPointer> {
    (key == SenseKey::IllegalRequest && flags & 0x80 != 0).then(|| FieldPointer {
        in_cdb: flags & 0x40 != 0,
        byte: u16::from_be_bytes([high, low]),
        bit: (flags & 0x08 != 0).then_some(flags & 7),
    })
}

impl fmt::Display for Sense {
    /// E.g. `MEDIUM ERROR 11/00 at block 4711`, `ILLEGAL REQUEST 24/00 (CDB byte 1 bit 3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deferred {
            f.write_str("deferred ")?;
        }
        write!(f, "{} {:02x}/{:02x}", self.key.name(), self.asc, self.ascq)?;
        if let (SenseKey::MediumError, Some(lba)) = (self.key, self.information) {
            write!(f, " at block {lba}")?;
        }
        if let Some(field) = self.field {
            let place = if field.in_cdb { "CDB" } else { "parameter" };
            write!(f, " ({place} byte {}", field.byte)?;
            if let Some(bit) = field.bit {
                write!(f, " bit {bit}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fixed_sense_is_read_by_its_layout() {
        // SPC-5 4.4.3: valid, current, MEDIUM ERROR, information 0x00012345, 11/04.
        let bytes = [
            0xf0, 0, 0x03, 0, 1, 0x23, 0x45, 10, 0, 0, 0, 0, 0x11, 0x04, 0, 0, 0, 0,
        ];
        let sense = Sense::parse(&bytes).unwrap();
        assert_eq!(
            sense,
            Sense {
                information: Some(0x12345),
                ..Sense::new(SenseKey::MediumError, 0x11, 4)
            }
        );
        assert_eq!(sense.to_string(), "MEDIUM ERROR 11/04 at block 74565");
    }

    #[test]
    fn descriptor_sense_is_read_by_its_layout() {
        // SPC-5 4.4.2: deferred, HARDWARE ERROR 44/00, an unknown descriptor, then INFORMATION.
        let bytes = [
            0x73, 0x04, 0x44, 0, 0, 0, 0, 16, 0x80, 2, 9, 9, 0, 10, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 2,
        ];
        assert_eq!(
            Sense::parse(&bytes),
            Some(Sense {
                deferred: true,
                information: Some(0x1_0000_0002),
                ..Sense::new(SenseKey::HardwareError, 0x44, 0)
            })
        );
    }

    #[test]
    fn an_illegal_field_is_named() {
        let bytes = [
            0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcb, 0, 1,
        ];
        let sense = Sense::parse(&bytes).unwrap();
        assert_eq!(
            sense.to_string(),
            "ILLEGAL REQUEST 24/00 (CDB byte 1 bit 3)"
        );
    }

    #[test]
    fn what_lies_beyond_the_additional_length_does_not_count() {
        let mut bytes = [0xff; 18];
        bytes[0] = 0x70;
        bytes[7] = 0;
        let sense = Sense::parse(&bytes).unwrap();
        assert_eq!((sense.asc, sense.ascq, sense.field), (0, 0, None));
    }

    #[test]
    fn empty_and_vendor_specific_sense_is_none() {
        assert_eq!(Sense::parse(&[]), None);
        assert_eq!(Sense::parse(&[0x7f, 0, 3]), None);
        assert_eq!(Sense::parse(&[0]), None);
    }

    fn any_sense() -> impl Strategy<Value = Sense> {
        let field = (any::<bool>(), any::<u16>(), proptest::option::of(0..8u8))
            .prop_map(|(in_cdb, byte, bit)| FieldPointer { in_cdb, byte, bit });
        let codes = (0..16usize, any::<(u8, u8, bool)>());
        (codes, any::<Option<u32>>(), proptest::option::of(field)).prop_map(
            |((key, (asc, ascq, deferred)), information, field)| {
                let key = SenseKey::ALL[key];
                let field = field.filter(|_| key == SenseKey::IllegalRequest);
                let information = information.map(u64::from);
                Sense {
                    key,
                    asc,
                    ascq,
                    deferred,
                    information,
                    field,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn both_formats_are_read_back(sense in any_sense(), high in any::<u32>()) {
            prop_assert_eq!(Sense::parse(&sense.to_fixed().unwrap()), Some(sense));
            let wide = Sense { information: sense.information.map(|i| i | u64::from(high) << 32), ..sense };
            prop_assert_eq!(Sense::parse(&wide.to_descriptors()), Some(wide));
        }

        #[test]
        fn a_cut_answer_keeps_the_codes_that_came(sense in any_sense(), keep in 0..18usize) {
            let cut = Sense::parse(&sense.to_fixed().unwrap()[..keep]);
            prop_assert_eq!(cut.is_some(), keep > 0);
            prop_assert!(keep < 3 || cut.unwrap().key == sense.key);
        }

        #[test]
        fn no_sense_is_too_odd_to_read(bytes in vec(any::<u8>(), 0..64), code in 0x70..0x74u8) {
            let mut bytes = bytes;
            bytes.insert(0, code);
            let sense = Sense::parse(&bytes).unwrap();
            prop_assert!(!sense.to_string().is_empty());
        }
    }
}
