//! Binary values in text: hexadecimal or base64 (RFC 7143 6.1).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As `0x` and lower-case hexadecimal digits, the form that every implementation reads.
#[must_use]
pub fn encode_binary(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// From `0x...` or `0X...` in either case, or `0b...` or `0B...`; `None` if it is neither. An odd
/// number of hexadecimal digits has a leading zero that was left out.
#[must_use]
pub fn decode_binary(text: &str) -> Option<Vec<u8>> {
    let (form, digits) = text.split_at_checked(2)?;
    match form {
        "0x" | "0X" => decode_hex(digits),
        "0b" | "0B" => BASE64.decode(digits).ok(),
        _ => None,
    }
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    let even = digits.len().is_multiple_of(2);
    let mut high = if even { None } else { Some(0) };
    for digit in digits.chars() {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        high = match high {
            None => Some(digit),
            Some(high) => {
                bytes.push(high << 4 | digit);
                None
            }
        };
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hex_and_base64_are_read_in_either_case_of_their_prefix() {
        for (text, bytes) in [
            ("0x00ff1A", &[0x00, 0xff, 0x1a][..]),
            ("0X00FF1a", &[0x00, 0xff, 0x1a]),
            ("0xf1a", &[0x0f, 0x1a]),
            ("0x7", &[0x07]),
            ("0x", &[]),
            ("0bAP8a", &[0x00, 0xff, 0x1a]),
            ("0BAP8=", &[0x00, 0xff]),
            ("0bAP8", &[0x00, 0xff]),
            ("0b+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(decode_binary(text).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "0",
            "1234",
            "0y12",
            "0xg0",
            "0x+1",
            "0b*",
            "0bA",
            "0x1\u{e4}",
            "\u{1f600}",
        ] {
            assert_eq!(decode_binary(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn encoded_bytes_are_read_back(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
            prop_assert_eq!(decode_binary(&encode_binary(&bytes)), Some(bytes.clone()));
            let base64 = format!("0b{}", BASE64.encode(&bytes));
            prop_assert_eq!(decode_binary(&base64), Some(bytes));
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in ".*") {
            let _ = decode_binary(&text);
        }
    }
}
