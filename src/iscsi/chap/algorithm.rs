//! The hash functions of CHAP.

use std::fmt;
use std::str::FromStr;

use super::Secret;

/// A hash function of CHAP, by its number in IANA's registry of PPP authentication algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChapAlgorithm {
    /// 5: MD5, the one that every target has (RFC 7143 12.1.3 demands it).
    Md5,
    /// 6: SHA-1.
    Sha1,
    /// 7: SHA-256.
    Sha256,
    /// 8: SHA3-256.
    Sha3_256,
}

/// A name that is no CHAP algorithm of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CHAP algorithms are md5, sha1, sha256 and sha3-256")]
pub struct UnknownAlgorithm;

impl ChapAlgorithm {
    /// All of them, the strongest first: the order in which they are offered by default.
    pub const ALL: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// The number that stands in `CHAP_A`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3_256 => 8,
        }
    }

    /// The algorithm with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| u64::from(algorithm.number()) == number)
    }

    /// Length of its responses in bytes.
    #[must_use]
    pub const fn response_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// The response: the hash of identifier, secret and challenge (RFC 1994 4.1).
    #[must_use]
    pub fn response(self, identifier: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
        let id = [identifier];
        let parts = [&id[..], secret.expose(), challenge];
        match self {
            Self::Md5 => hash::<md5::Md5>(parts),
            Self::Sha1 => hash::<sha1::Sha1>(parts),
            Self::Sha256 => hash::<sha2::Sha256>(parts),
            Self::Sha3_256 => hash::<sha3::Sha3_256>(parts),
        }
    }
}

fn hash<H: sha2::Digest>(parts: [&[u8]; 3]) -> Vec<u8> {
    let mut hash = H::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().to_vec()
}

impl fmt::Display for ChapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha3_256 => "sha3-256",
        })
    }
}

impl FromStr for ChapAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.to_string().eq_ignore_ascii_case(text))
            .ok_or(UnknownAlgorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python: `hashlib.new(name, bytes([0x5a]) + secret + challenge).hexdigest()`.
    #[test]
    fn responses_equal_those_of_another_implementation() {
        let secret = Secret::new(b"correct horse battery").unwrap();
        let challenge: Vec<u8> = (0..32).collect();
        for (algorithm, expected) in [
            (ChapAlgorithm::Md5, "7bf5ebee870af4832e76c3bb75f195f3"),
            (
                ChapAlgorithm::Sha1,
                "d53ebd53df4eba07ca6a2d7f136fee46764898c1",
            ),
            (
                ChapAlgorithm::Sha256,
                "7bb19fa03b807c4686a6a607b4a4ae9301833a5099e630cd6bef18345d9d562b",
            ),
            (
                ChapAlgorithm::Sha3_256,
                "791e6e2e92150b49d38ce28af69d47d5884c87853b0a443e20d8e6be3bd14e7b",
            ),
        ] {
            let response = algorithm.response(0x5a, &secret, &challenge);
            let hex: String = response.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, expected, "{algorithm}");
            assert_eq!(response.len(), algorithm.response_len());
        }
    }

    #[test]
    fn a_challenge_of_1024_bytes_is_hashed_whole() {
        let secret = Secret::new(b"correct horse battery").unwrap();
        let challenge: Vec<u8> = (0..1024u16).map(|i| i.to_le_bytes()[0]).collect();
        let response = ChapAlgorithm::Md5.response(1, &secret, &challenge);
        let hex: String = response.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "6bb9680db764cf1bdf1d5b1393be224d");
    }

    #[test]
    fn algorithms_are_found_by_the_numbers_of_iana_and_by_name() {
        for (number, name) in [(5, "md5"), (6, "sha1"), (7, "sha256"), (8, "sha3-256")] {
            let algorithm = ChapAlgorithm::from_number(number).unwrap();
            assert_eq!(u64::from(algorithm.number()), number);
            assert_eq!(name.parse(), Ok(algorithm));
            assert_eq!(algorithm.to_string(), name);
        }
        assert_eq!(ChapAlgorithm::from_number(4), None);
        assert_eq!(ChapAlgorithm::from_number(256 + 5), None);
        assert_eq!("md4".parse::<ChapAlgorithm>(), Err(UnknownAlgorithm));
    }
}
