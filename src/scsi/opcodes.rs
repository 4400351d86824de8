//! REPORT SUPPORTED OPERATION CODES for one command (SPC-5 6.35.3): is it known, and which of its bits.

use super::wire::{BadData, at_least, u8_or_0, u16_or_0, up_to};

/// What a unit says of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandSupport {
    /// It does not know yet.
    Unknown,
    /// Not supported.
    No,
    /// Supported: the bits of the descriptor block that it looks at (CDB USAGE DATA).
    Yes(Vec<u8>),
}

impl CommandSupport {
    /// Reads it.
    ///
    /// # Errors
    /// If the header is cut.
    pub fn parse(data: &[u8]) -> Result<Self, BadData> {
        let data = at_least("REPORT SUPPORTED OPERATION CODES data", data, 4)?;
        let usage = up_to(data.get(4..).unwrap_or_default(), u16_or_0(data, 2).into());
        Ok(match u8_or_0(data, 1) & 7 {
            1 => Self::No,
            3 | 5 => Self::Yes(usage.to_vec()),
            _ => Self::Unknown,
        })
    }

    /// Whether the unit looks at these bits of that byte of the descriptor block.
    #[must_use]
    pub fn uses(&self, byte: usize, bits: u8) -> bool {
        match self {
            Self::Yes(usage) => u8_or_0(usage, byte) & bits == bits,
            Self::Unknown | Self::No => false,
        }
    }

    /// Of WRITE SAME(16): zeroes can be written without sending a block of them (NDOB).
    #[must_use]
    pub fn has_no_data_out(&self) -> bool {
        self.uses(1, 0x01)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usage_bits_tell_what_write_same_can_do() {
        let mut data = vec![0, 3, 0, 16, 0x93, 0x09];
        data.extend([0xff; 14]);
        let support = CommandSupport::parse(&data).unwrap();
        assert!(support.has_no_data_out());
        assert!(support.uses(1, 0x08) && !support.uses(1, 0x10) && !support.uses(99, 1));
    }

    #[test]
    fn a_command_that_is_not_supported_has_no_bits() {
        assert_eq!(CommandSupport::parse(&[0, 1, 0, 0]), Ok(CommandSupport::No));
        assert_eq!(
            CommandSupport::parse(&[0, 0, 0, 0]),
            Ok(CommandSupport::Unknown)
        );
        assert!(!CommandSupport::No.has_no_data_out());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_read(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(CommandSupport::parse(&data).is_ok(), data.len() >= 4);
        }
    }
}
