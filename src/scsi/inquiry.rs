//! Standard INQUIRY data (SPC-5 6.6.2).

use super::wire::{BadData, at_least, text, u8_or_0, up_to};

/// What a logical unit says of itself first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardInquiry {
    /// Whether a device is there: qualifier 0 is yes, 1 not now, 3 never.
    pub qualifier: u8,
    /// Device type: 0 is a disk, 0x1f none.
    pub device_type: u8,
    /// Version of SPC, e.g. 5 for SPC-3.
    pub version: u8,
    /// Asymmetric access: 0 none, bit 0 implicit, bit 1 explicit (SPC-5 table 150).
    pub tpgs: u8,
    /// Vendor identification, trimmed.
    pub vendor: String,
    /// Product identification, trimmed.
    pub product: String,
    /// Product revision level, trimmed.
    pub revision: String,
}

impl StandardInquiry {
    /// Reads it. Texts that a short answer leaves out are empty.
    ///
    /// # Errors
    /// If it ends before byte 5.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("standard INQUIRY data", data, 5)?;
        let data = up_to(data, usize::from(u8_or_0(data, 4)) + 5);
        let field =
            |from: usize, to: usize| text(up_to(data.get(from..).unwrap_or_default(), to - from));
        let first = u8_or_0(data, 0);
        Ok(Self {
            qualifier: first >> 5,
            device_type: first & 0x1f,
            version: u8_or_0(data, 2),
            tpgs: u8_or_0(data, 5) >> 4 & 3,
            vendor: field(8, 16),
            product: field(16, 32),
            revision: field(32, 36),
        })
    }

    /// Whether this is a disk that can be used now: qualifier 0, device type 0.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        self.qualifier == 0 && self.device_type == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fields_are_where_the_standard_puts_them() {
        let mut data = vec![0x00, 0x00, 0x05, 0x02, 31, 0x10, 0x00, 0x02];
        data.extend(b"LIO-ORG disk one        4.0 ");
        let inquiry = StandardInquiry::parse(&data).unwrap();
        assert_eq!(
            inquiry,
            StandardInquiry {
                qualifier: 0,
                device_type: 0,
                version: 5,
                tpgs: 1,
                vendor: "LIO-ORG".into(),
                product: "disk one".into(),
                revision: "4.0".into(),
            }
        );
        assert!(inquiry.is_disk());
    }

    #[test]
    fn a_unit_that_is_not_there_is_no_disk() {
        let inquiry = StandardInquiry::parse(&[0x7f, 0, 5, 2, 31]).unwrap();
        assert_eq!((inquiry.qualifier, inquiry.device_type), (3, 0x1f));
        assert!(!inquiry.is_disk());
        assert_eq!(inquiry.vendor, "");
    }

    #[test]
    fn bytes_beyond_the_additional_length_do_not_count() {
        let mut data = vec![0, 0, 5, 2, 11, 0, 0, 0];
        data.extend(b"VENDOR  PRODUCT         REV ");
        let inquiry = StandardInquiry::parse(&data).unwrap();
        assert_eq!(
            (inquiry.vendor.as_str(), inquiry.product.as_str()),
            ("VENDOR", "")
        );
    }

    proptest! {
        #[test]
        fn only_a_header_that_is_too_short_is_refused(data in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(StandardInquiry::parse(&data).is_ok(), data.len() >= 5);
        }
    }
}
