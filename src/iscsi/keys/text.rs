//! The text format: `key=value` pairs, each ended by a zero byte (RFC 7143 6.1).

use std::fmt;

use crate::iscsi::error::{PeerMisbehaved, TextError};
use crate::iscsi::keys::name;
use crate::limits;

/// Longest key name in bytes (RFC 7143 6.1).
const KEY_LEN_MAX: usize = 63;

/// A list of `key=value` pairs in the order of the wire. `Debug` does not show CHAP responses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text {
    pairs: Vec<(String, String)>,
}

impl Text {
    /// No pairs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a pair.
    ///
    /// # Panics
    /// If key or value would break the format: what we send is ours to check.
    pub fn push(&mut self, key: &str, value: impl fmt::Display) {
        let value = value.to_string();
        assert!(is_key(key) && !value.contains('\0'), "text pair {key}");
        self.pairs.push((key.to_owned(), value));
    }

    /// Appends `key=value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.push(key, value);
        self
    }

    /// Appends all pairs of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.pairs.append(&mut other.pairs);
    }

    /// Reads a complete text: the data segments of an exchange, put together.
    ///
    /// Bytes that are no UTF-8 become replacement characters, which no rule accepts and an alias may
    /// have. Empty pairs are skipped: targets exist that count padding as text.
    ///
    /// # Errors
    /// A pair without `=`, an illegal key, a text that is too long or does not end with a zero byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.len() > limits::TEXT_BYTES_MAX {
            return Err(TextError::TooLong);
        }
        let Some(bytes) = bytes.strip_suffix(&[0]) else {
            return if bytes.is_empty() {
                Ok(Self::new())
            } else {
                Err(TextError::Truncated)
            };
        };
        let pairs = bytes
            .split(|b| *b == 0)
            .filter(|pair| !pair.is_empty())
            .map(decode_pair)
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// The data segment, or several if it is longer than a segment may be.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in &self.pairs {
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b'=');
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// The pairs in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The first value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Removes `key` and gives its value.
    ///
    /// # Errors
    /// If it is there more than once.
    pub fn take(&mut self, key: &'static str) -> Result<Option<String>, PeerMisbehaved> {
        let mut values = self.pairs.extract_if(.., |(k, _)| k == key);
        let value = values.next().map(|(_, v)| v);
        match values.next() {
            Some(_) => Err(PeerMisbehaved::KeyRepeated(key)),
            None => Ok(value),
        }
    }
}

fn decode_pair(pair: &[u8]) -> Result<(String, String), TextError> {
    let text = String::from_utf8_lossy(pair);
    let (key, value) = text.split_once('=').ok_or(TextError::NoEquals)?;
    if key.len() > KEY_LEN_MAX {
        return Err(TextError::KeyTooLong);
    }
    if !is_key(key) {
        return Err(TextError::BadKey);
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// RFC 7143 6.1, but for the capital first letter: a standard key begins with `i`, vendors' with
/// anything.
fn is_key(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-+@_#/".contains(&b);
    !key.is_empty() && key.bytes().all(allowed)
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(key, value)| match key {
            name::CHAP_R => (key, ".."),
            _ => (key, value),
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
        Text::decode(bytes).unwrap().pairs
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_are_separated_by_zero_bytes() {
        let bytes = b"A=1\0TargetAddress=[fe80::1]:3260,1\0X-a.b=c=d\0E=\0";
        let expected = [
            pair("A", "1"),
            pair("TargetAddress", "[fe80::1]:3260,1"),
            pair("X-a.b", "c=d"),
            pair("E", ""),
        ];
        assert_eq!(pairs(bytes), expected);
        assert_eq!(Text::decode(bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn padding_that_a_target_counts_as_text_is_skipped() {
        assert_eq!(pairs(b"A=1\0\0\0\0"), [pair("A", "1")]);
        assert_eq!(pairs(b"\0"), []);
        assert_eq!(pairs(b""), []);
    }

    #[test]
    fn an_alias_that_is_no_utf_8_does_not_spoil_the_rest() {
        let expected = [pair("TargetAlias", "Gr\u{fffd}n"), pair("A", "1")];
        assert_eq!(pairs(b"TargetAlias=Gr\xfcn\0A=1\0"), expected);
    }

    #[test]
    fn each_mistake_has_its_error() {
        let long = [&[b'K'; 64][..], b"=1\0"].concat();
        for (bytes, error) in [
            (&b"A=1"[..], TextError::Truncated),
            (b"A=1\0B", TextError::Truncated),
            (b"A=1\0B\0", TextError::NoEquals),
            (b"=1\0", TextError::BadKey),
            (b"A B=1\0", TextError::BadKey),
            (b"\xff=1\0", TextError::BadKey),
            (&long, TextError::KeyTooLong),
            (&vec![0; limits::TEXT_BYTES_MAX + 1], TextError::TooLong),
        ] {
            assert_eq!(Text::decode(bytes).unwrap_err(), error);
        }
    }

    #[test]
    fn taking_a_key_that_is_there_twice_is_an_error() {
        let mut text = Text::new().with("A", 1).with("B", 2).with("A", 1);
        assert_eq!(text.take("B"), Ok(Some("2".to_owned())));
        assert_eq!(text.take("B"), Ok(None));
        assert_eq!(text.take("A"), Err(PeerMisbehaved::KeyRepeated("A")));
    }

    #[test]
    fn a_chap_response_is_not_shown() {
        let text = Text::new().with("CHAP_N", "db1").with("CHAP_R", "0xabcd");
        let shown = format!("{text:?}");
        assert!(shown.contains("db1") && !shown.contains("abcd"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back_and_read_again(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(text) = Text::decode(&bytes) {
                prop_assert_eq!(Text::decode(&text.encode()).unwrap(), text);
            }
        }

        #[test]
        fn text_of_ours_survives_the_wire(list in prop::collection::vec(("[A-Za-z][A-Za-z0-9._+@-]{0,62}", "[^\0]{0,80}"), 0..8)) {
            let mut text = Text::new();
            for (key, value) in &list {
                text.push(key, value);
            }
            prop_assert_eq!(Text::decode(&text.encode()).unwrap(), text);
        }
    }
}
