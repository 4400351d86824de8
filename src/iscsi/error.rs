//! What ends a session, ordered by who must act.

mod login_status;

use crate::iscsi::chap::ChapAlgorithm;
use crate::iscsi::tags::Itt;

pub use crate::iscsi::pdu::InvalidPdu;
pub use login_status::LoginStatus;

/// Why a session ended. The outer variants say who must act, the inner ones what happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Bytes that are no PDU: drop the session, keep the path.
    #[error("the target sent an invalid PDU: {0}")]
    InvalidPdu(#[from] InvalidPdu),
    /// A PDU that is not allowed here: drop the session, keep the path.
    #[error("the target broke the protocol: {0}")]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// The target cannot do what the configuration asks for: retrying changes nothing.
    #[error("the target and the configuration do not fit: {0}")]
    PeerIncompatible(#[from] PeerIncompatible),
    /// The target refused the login with a status of its own.
    #[error("the target refused the login: {0}")]
    LoginRefused(LoginStatus),
    /// CHAP failed on our side of it, or could not be done.
    #[error("authentication failed: {0}")]
    AuthenticationFailed(#[from] AuthenticationFailed),
    /// The target took too long.
    #[error("{0}")]
    Timeout(#[from] SessionTimeout),
}

impl SessionError {
    /// Whether a human has to change something, here or at the target, before a login can succeed;
    /// to be said once, loudly.
    ///
    /// It does not say that trying again is useless: a target that is starting answers 0203, 0202
    /// and even 0201 until its configuration is loaded (tgt, LIO), so a path that worked before
    /// should go on trying, slowly.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::PeerIncompatible(_) => true,
            Self::AuthenticationFailed(failure) => !failure.retry_with_md5_only(),
            Self::LoginRefused(status) => status.needs_operator(),
            Self::InvalidPdu(_) | Self::PeerMisbehaved(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the login should be repeated at once with
    /// [`SessionConfig::with_md5_only`](crate::iscsi::session::config::SessionConfig::with_md5_only):
    /// LIO before Linux 3.15 and Synology's fail on a list in `CHAP_A`; tgt 1.0.85 says SHA-256 and
    /// means SHA-1. The second error is then the one to report.
    #[must_use]
    pub fn retry_with_md5_only(&self) -> bool {
        matches!(self, Self::AuthenticationFailed(failure) if failure.retry_with_md5_only())
    }
}

/// What is wrong with a text segment (RFC 7143 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A pair without `=`.
    #[error("a pair without '='")]
    NoEquals,
    /// An empty key name, or one with other characters than RFC 7143 6.1 allows.
    #[error("an illegal key name")]
    BadKey,
    /// A key name of more than 63 bytes.
    #[error("a key name of more than 63 bytes")]
    KeyTooLong,
    /// The text ends within a pair.
    #[error("the text ends within a pair")]
    Truncated,
    /// All segments together exceed [`TEXT_BYTES_MAX`](crate::limits::TEXT_BYTES_MAX).
    #[error("the text is too long")]
    TooLong,
}

/// A violation of the protocol by the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// Text that is no list of `key=value` pairs.
    #[error("malformed text: {0}")]
    Text(#[from] TextError),
    /// A PDU that has no place in this phase.
    #[error("PDU {0:#04x} is not allowed in this phase")]
    UnexpectedPdu(u8),
    /// A field that must repeat what was sent.
    #[error("field {0} does not match the request")]
    Mismatch(&'static str),
    /// A login stage that does not follow from the request's.
    #[error("illegal login stage transition")]
    StageTransition,
    /// More login exchanges than [`LOGIN_EXCHANGES_MAX`](crate::limits::LOGIN_EXCHANGES_MAX).
    #[error("the login does not come to an end")]
    EndlessLogin,
    /// Continuation bit and transit bit together, or text after the end.
    #[error("illegal use of the continue bit")]
    Continuation,
    /// A value that does not follow from the offer.
    #[error("{key}={value} does not answer what was offered")]
    OutsideOffer {
        /// The key.
        key: &'static str,
        /// The value, cut to a bounded length.
        value: Excerpt,
    },
    /// A value that is not legal for its key.
    #[error("{key}={value} is not a legal value")]
    IllegalValue {
        /// The key.
        key: &'static str,
        /// The value, cut to a bounded length.
        value: Excerpt,
    },
    /// A key that came twice, or again after it was settled.
    #[error("{0} was sent twice")]
    KeyRepeated(&'static str),
    /// A key that a target may not send, or not now.
    #[error("{0} is not allowed here")]
    KeyOutOfPlace(&'static str),
    /// A key that must be there.
    #[error("{0} is missing")]
    KeyMissing(&'static str),
    /// A task tag that was never sent.
    #[error("task tag {0} was never sent")]
    UnknownTag(Itt),
    /// Data of a task that does not follow from what came before.
    #[error("data out of order: {0}")]
    Transfer(#[from] TransferFault),
    /// More PDUs of a kind than anybody could need.
    #[error("a flood of {0}")]
    Flood(&'static str),
    /// A PDU rejected that a target must accept.
    #[error("PDU {opcode:#04x} rejected for reason {reason:#04x}")]
    Rejected {
        /// Opcode of the rejected PDU.
        opcode: u8,
        /// Reason (RFC 7143 11.17.1).
        reason: u8,
    },
    /// More unknown keys than [`LOGIN_REPLIES_MAX`](crate::limits::LOGIN_REPLIES_MAX).
    #[error("too many unknown keys")]
    TooManyKeys,
    /// A redirect without a usable address.
    #[error("redirect to an unusable address: {0}")]
    BadRedirect(#[from] crate::iscsi::name::PortalAddrError),
}

/// What is wrong with a Data-In or an R2T. At error recovery level 0 nothing of the session's data
/// can be trusted after it (RFC 7143 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferFault {
    /// The task has no data in this direction.
    #[error("the task has no data in this direction")]
    WrongDirection,
    /// DataSN or R2TSN is not the next one.
    #[error("sequence number {found} instead of {expected}")]
    Number {
        /// The next one.
        expected: u32,
        /// What came.
        found: u32,
    },
    /// The buffer offset is not where the data before ended.
    #[error("buffer offset {found} instead of {expected}")]
    Offset {
        /// Where the data before ended.
        expected: u32,
        /// What came.
        found: u32,
    },
    /// It ends beyond the task's data.
    #[error("beyond the end of the task's data")]
    BeyondEnd,
}

/// Text of the target in an error, cut to 80 characters, control characters replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// Cuts `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self(text.chars().take(80).map(clean).collect())
    }
}

impl std::fmt::Display for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// What the target cannot do, or insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIncompatible {
    /// No protocol version in common (RFC 7143 11.13.3).
    #[error("the target speaks no iSCSI version that we know")]
    Version,
    /// The target refused a key that the session cannot do without.
    #[error("the target refuses to negotiate {0}")]
    KeyRefused(&'static str),
    /// A digest that the configuration demands is not available.
    #[error("the target does not offer the {0} that the configuration demands")]
    DigestRefused(&'static str),
}

/// Why authentication failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationFailed {
    /// The target demands CHAP, none is configured.
    #[error("the target demands CHAP, but no credentials are configured")]
    CredentialsMissing,
    /// The target skipped CHAP although credentials are configured and `allow_none` is off.
    #[error(
        "the target does not demand CHAP although credentials are configured; \
         anybody could answer in its place (allow_none = true permits this)"
    )]
    Skipped,
    /// The target knows no authentication method of ours.
    #[error(
        "the target does not do CHAP with us: no credentials are set up there, \
         or it demands another method"
    )]
    NoCommonMethod,
    /// The target refused our name or response.
    #[error("the target refused our CHAP user name or secret (status {status:?})")]
    CredentialsRefused {
        /// What it said.
        status: LoginStatus,
        /// It chose another algorithm than MD5 although MD5 was offered. tgt takes 7 for SHA-1, so
        /// that its login with SHA-256 fails whatever the secret: MD5 alone may be accepted.
        md5_alone_untried: bool,
    },
    /// The target refused what was offered in `CHAP_A`.
    #[error("the target accepts none of the offered CHAP algorithms")]
    AlgorithmsRefused {
        /// A list was offered and MD5 was in it: MD5 alone may be accepted.
        md5_alone_untried: bool,
    },
    /// The target chose an algorithm that was not offered.
    #[error("the target chose CHAP algorithm {0}, which was not offered")]
    AlgorithmNotOffered(u32),
    /// The target's challenge is longer than 1024 bytes, empty or not binary.
    #[error("the target's CHAP challenge cannot be read")]
    BadChallenge,
    /// The target's challenge is ours: a reflection attack (RFC 7143 12.1.3).
    #[error("the target sent our own CHAP challenge back")]
    ReflectedChallenge,
    /// The target's response is ours: it does not know its secret, or both secrets are equal.
    #[error("the target sent our own CHAP response back; both directions need different secrets")]
    ReflectedResponse,
    /// The target did not prove itself although mutual CHAP is configured.
    #[error("the target did not authenticate itself although mutual CHAP is configured")]
    TargetSilent,
    /// The target's name in mutual CHAP is not the configured one.
    #[error("the target authenticates under another name than the configured one")]
    TargetName,
    /// The target's response is wrong.
    #[error("the target's CHAP response is wrong: it does not know the configured target secret")]
    TargetResponse,
}

impl AuthenticationFailed {
    fn retry_with_md5_only(self) -> bool {
        matches!(
            self,
            Self::AlgorithmsRefused {
                md5_alone_untried: true
            } | Self::CredentialsRefused {
                md5_alone_untried: true,
                ..
            }
        )
    }

    /// The error for a target that refused `offered` in `CHAP_A`.
    #[must_use]
    pub fn algorithms_refused(offered: &[ChapAlgorithm]) -> Self {
        Self::AlgorithmsRefused {
            md5_alone_untried: offered.len() > 1 && offered.contains(&ChapAlgorithm::Md5),
        }
    }
}

/// What the target was too slow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionTimeout {
    /// The login.
    #[error("the target did not complete the login in time")]
    Login,
    /// The logout.
    #[error("the target did not answer the logout in time")]
    Logout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_list_with_md5_in_it_is_tried_again_with_md5_alone() {
        use ChapAlgorithm::{Md5, Sha1, Sha256};
        for (offered, retry) in [
            (&[Sha256, Md5][..], true),
            (&[Md5], false),
            (&[Sha256], false),
            (&[Sha256, Sha1], false),
        ] {
            let error = SessionError::from(AuthenticationFailed::algorithms_refused(offered));
            assert_eq!(error.retry_with_md5_only(), retry, "{offered:?}");
            assert_eq!(error.needs_operator(), !retry, "{offered:?}");
        }
    }

    #[test]
    fn text_of_the_target_is_cut_and_cleaned_before_it_is_shown() {
        let shown = Excerpt::new(&format!("a\n\x1b[31m{}", "x".repeat(500))).to_string();
        assert_eq!(shown.chars().count(), 80);
        assert!(!shown.contains(['\n', '\x1b']));
    }
}
