//! Text keys (RFC 7143 sections 6 and 13): the text format and the rule of each negotiated key,
//! for both roles.
//!
//! A negotiated key is settled by one offer and one answer. Its [`Rule`] says which answers an offer
//! permits and, on the other side, which answer to give. A declared key has no answer. Keys that
//! concern the session's text only are [`name`]s.

#![deny(clippy::indexing_slicing)]

mod rule;
mod text;

pub(crate) use rule::is_reserved_answer;
pub use rule::{Answer, Combine, Key, Proposal, Refusal, Rule, Value, parse_number};
pub use text::Text;

/// Answer to a key whose value is not acceptable.
pub const REJECT: &str = "Reject";
/// Answer to a key that does not matter here.
pub const IRRELEVANT: &str = "Irrelevant";
/// Answer to a key that is not known.
pub const NOT_UNDERSTOOD: &str = "NotUnderstood";

/// Names of keys that are declared, or have a procedure of their own.
#[expect(
    missing_docs,
    reason = "the names are those of RFC 7143 sections 12 and 13"
)]
pub mod name {
    pub const AUTH_METHOD: &str = "AuthMethod";
    pub const CHAP_A: &str = "CHAP_A";
    pub const CHAP_I: &str = "CHAP_I";
    pub const CHAP_C: &str = "CHAP_C";
    pub const CHAP_N: &str = "CHAP_N";
    pub const CHAP_R: &str = "CHAP_R";
    pub const INITIATOR_ALIAS: &str = "InitiatorAlias";
    pub const INITIATOR_NAME: &str = "InitiatorName";
    pub const MAX_RECV_DATA_SEGMENT_LENGTH: &str = "MaxRecvDataSegmentLength";
    pub const NODE_ARCHITECTURE: &str = "X#NodeArchitecture";
    pub const SEND_TARGETS: &str = "SendTargets";
    pub const SESSION_TYPE: &str = "SessionType";
    pub const TARGET_ADDRESS: &str = "TargetAddress";
    pub const TARGET_ALIAS: &str = "TargetAlias";
    pub const TARGET_NAME: &str = "TargetName";
    pub const TARGET_PORTAL_GROUP_TAG: &str = "TargetPortalGroupTag";
}

/// MaxRecvDataSegmentLength of a side that declared none, and the bound of login PDUs (RFC 7143 13.12).
pub const MAX_RECV_DATA_SEGMENT_LENGTH_DEFAULT: u32 = 8192;

/// Legal values of the lengths of segments and bursts, in bytes (RFC 7143 13.12 to 13.14).
pub const LENGTH_RANGE: std::ops::RangeInclusive<u32> = 512..=0x00ff_ffff;
