//! What a session is to be like: given by the shell, constant for the session's life.

use std::fmt;
use std::time::Duration;

use crate::iscsi::chap::{ChapAlgorithm, Secret};
use crate::iscsi::isid::Isid;
use crate::iscsi::name::IscsiName;

/// Everything a session needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Our name.
    pub initiator_name: IscsiName,
    /// Normal or discovery.
    pub kind: SessionKind,
    /// Our part of the session's name.
    pub isid: Isid,
    /// How both sides prove who they are.
    pub auth: AuthConfig,
    /// What is offered in the operational negotiation.
    pub offer: Offer,
    /// How long the login may take.
    pub login_timeout: Duration,
    /// How long the logout may take.
    pub logout_timeout: Duration,
}

impl SessionConfig {
    /// The same with MD5 as the only CHAP algorithm, for targets that fail on a list
    /// ([`SessionError::retry_with_md5_only`](crate::iscsi::error::SessionError::retry_with_md5_only)).
    /// `None` unless MD5 is among several configured algorithms: what the operator excluded is
    /// never offered.
    #[must_use]
    pub fn with_md5_only(&self) -> Option<Self> {
        let AuthConfig::Chap(chap) = &self.auth else {
            return None;
        };
        let md5 = ChapAlgorithm::Md5;
        (chap.algorithms.len() > 1 && chap.algorithms.contains(&md5)).then(|| Self {
            auth: AuthConfig::Chap(ChapConfig {
                algorithms: vec![md5],
                ..chap.clone()
            }),
            ..self.clone()
        })
    }
}

/// The two kinds of session (RFC 7143 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Carries SCSI commands to one target.
    Normal {
        /// The target's name.
        target: IscsiName,
    },
    /// Answers SendTargets only.
    Discovery,
}

/// How both sides prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// AuthMethod=None.
    None,
    /// CHAP, one way or mutual.
    Chap(ChapConfig),
}

/// Credentials for CHAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChapConfig {
    username: Box<str>,
    secret: Secret,
    algorithms: Vec<ChapAlgorithm>,
    mutual: Option<MutualChap>,
    allow_none: bool,
}

/// What the target must prove in mutual CHAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualChap {
    /// The name that the target must give; any name if empty.
    pub username: Box<str>,
    /// The secret that the target must know.
    pub secret: Secret,
}

/// Why credentials cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChapConfigError {
    /// No user name, or one that cannot stand in `CHAP_N`.
    #[error("the CHAP user name has between 1 and 255 bytes without control characters")]
    BadUsername,
    /// No algorithm.
    #[error("at least one CHAP algorithm is needed")]
    NoAlgorithm,
    /// The same secret in both directions (RFC 7143 12.1.3 forbids it).
    #[error("both directions of mutual CHAP have the same secret; they must differ")]
    EqualSecrets,
}

/// Longest CHAP name in bytes that we send or accept: a key's value without the need of `large-binary`.
const USERNAME_MAX: usize = 255;

impl ChapConfig {
    /// One-way credentials; all algorithms are offered, the strongest first.
    ///
    /// # Errors
    /// A user name that cannot be sent.
    pub fn new(username: &str, secret: Secret) -> Result<Self, ChapConfigError> {
        check_username(username)?;
        Ok(Self {
            username: username.into(),
            secret,
            algorithms: ChapAlgorithm::ALL.to_vec(),
            mutual: None,
            allow_none: false,
        })
    }

    /// The algorithms to offer, in the order of preference; repeated ones count once.
    ///
    /// # Errors
    /// An empty list.
    pub fn algorithms(self, preference: &[ChapAlgorithm]) -> Result<Self, ChapConfigError> {
        let mut algorithms = Vec::new();
        for algorithm in preference {
            if !algorithms.contains(algorithm) {
                algorithms.push(*algorithm);
            }
        }
        if algorithms.is_empty() {
            return Err(ChapConfigError::NoAlgorithm);
        }
        Ok(Self { algorithms, ..self })
    }

    /// The target must prove itself as well.
    ///
    /// # Errors
    /// A name that cannot be, or the initiator's own secret.
    pub fn mutual(self, username: &str, secret: Secret) -> Result<Self, ChapConfigError> {
        if !username.is_empty() {
            check_username(username)?;
        }
        if secret.equals(&self.secret) {
            return Err(ChapConfigError::EqualSecrets);
        }
        let mutual = Some(MutualChap {
            username: username.into(),
            secret,
        });
        Ok(Self { mutual, ..self })
    }

    /// Whether a target that does not ask for CHAP is good enough. Off unless the operator says so:
    /// whoever can answer in the target's place would not ask.
    #[must_use]
    pub fn allow_none(self, allow_none: bool) -> Self {
        Self { allow_none, ..self }
    }

    /// Our name in `CHAP_N`.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Our secret.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The offered algorithms in the order of preference; never empty.
    #[must_use]
    pub fn offered(&self) -> &[ChapAlgorithm] {
        &self.algorithms
    }

    /// What the target must prove.
    #[must_use]
    pub fn target(&self) -> Option<&MutualChap> {
        self.mutual.as_ref()
    }

    /// Whether AuthMethod=None is accepted.
    #[must_use]
    pub fn none_is_allowed(&self) -> bool {
        self.allow_none
    }
}

fn check_username(name: &str) -> Result<(), ChapConfigError> {
    let fits = (1..=USERNAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then_some(()).ok_or(ChapConfigError::BadUsername)
}

/// What to offer for a digest (RFC 7143 13.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestChoice {
    /// No digest.
    #[default]
    None,
    /// CRC32C or no session.
    Crc32c,
    /// CRC32C if the target can.
    PreferCrc32c,
    /// CRC32C only if the target insists.
    PreferNone,
}

/// What is offered in the operational negotiation; the result is the target's choice within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// CRC32C over headers.
    pub header_digest: DigestChoice,
    /// CRC32C over data.
    pub data_digest: DigestChoice,
    /// Longest data segment that the target may send, in bytes (512 to 2^24-1).
    pub max_recv_data_segment_length: u32,
    /// Longest unsolicited data per command, in bytes (512 to 2^24-1, clamped to the maximum burst).
    pub first_burst_length: u32,
    /// Longest burst of Data-In or Data-Out, in bytes (512 to 2^24-1).
    pub max_burst_length: u32,
    /// Whether a command may carry data.
    pub immediate_data: bool,
    /// Whether the target must ask for all data that is not immediate.
    pub initial_r2t: bool,
    /// R2Ts outstanding per command (1 to 65535).
    pub max_outstanding_r2t: u16,
    /// Seconds to wait before a reconnect (0 to 3600).
    pub default_time2wait: u16,
    /// Seconds for which tasks survive a lost connection (0 to 3600); 0 at error recovery level 0.
    pub default_time2retain: u16,
}

impl Default for Offer {
    /// Large segments and bursts, no needless round trip for writes, no digests.
    fn default() -> Self {
        Self {
            header_digest: DigestChoice::None,
            data_digest: DigestChoice::None,
            max_recv_data_segment_length: 256 << 10,
            first_burst_length: 256 << 10,
            max_burst_length: 1 << 20,
            immediate_data: true,
            initial_r2t: false,
            max_outstanding_r2t: 1,
            default_time2wait: 2,
            default_time2retain: 0,
        }
    }
}

/// Random bytes that the shell gives to each session; the CHAP challenge and identifier come from them.
#[derive(Clone)]
pub struct Entropy([u8; 32]);

impl Entropy {
    /// Takes bytes from the system's random number generator, or a seed in tests.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chap() -> ChapConfig {
        ChapConfig::new("db1", Secret::new(b"initiator secret").unwrap()).unwrap()
    }

    #[test]
    fn equal_secrets_in_both_directions_are_refused() {
        let same = Secret::new(b"initiator secret").unwrap();
        let error = chap().mutual("array1", same).unwrap_err();
        assert_eq!(error, ChapConfigError::EqualSecrets);
        let other = Secret::new(b"target's secret!").unwrap();
        assert!(chap().mutual("array1", other).is_ok());
    }

    #[test]
    fn a_user_name_that_would_break_the_text_is_refused() {
        let secret = || Secret::new(b"initiator secret").unwrap();
        for name in ["", "a\0CHAP_R=0x00", "a\nb", &"x".repeat(256)] {
            let error = ChapConfig::new(name, secret()).unwrap_err();
            assert_eq!(error, ChapConfigError::BadUsername, "{name:?}");
        }
        assert!(ChapConfig::new("Käse & co", secret()).is_ok());
    }

    #[test]
    fn algorithms_keep_their_order_and_count_once() {
        use ChapAlgorithm::{Md5, Sha1, Sha256};
        let config = chap().algorithms(&[Sha1, Md5, Sha1, Sha256]).unwrap();
        assert_eq!(config.offered(), [Sha1, Md5, Sha256]);
        assert_eq!(
            chap().algorithms(&[]).unwrap_err(),
            ChapConfigError::NoAlgorithm
        );
    }

    #[test]
    fn md5_alone_is_tried_only_where_the_operator_allows_it() {
        use ChapAlgorithm::{Md5, Sha1, Sha256};
        let config = |algorithms: &[ChapAlgorithm]| SessionConfig {
            initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").unwrap(),
            kind: SessionKind::Discovery,
            isid: Isid::derive(&["x"]),
            auth: AuthConfig::Chap(chap().algorithms(algorithms).unwrap()),
            offer: Offer::default(),
            login_timeout: Duration::from_secs(15),
            logout_timeout: Duration::from_secs(5),
        };
        let fallback = config(&[Sha256, Md5]).with_md5_only().unwrap();
        assert!(matches!(&fallback.auth, AuthConfig::Chap(c) if c.offered() == [Md5]));
        assert!(config(&[Sha256, Sha1]).with_md5_only().is_none());
        assert!(config(&[Md5]).with_md5_only().is_none());
    }
}
