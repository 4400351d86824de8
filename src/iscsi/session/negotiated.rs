//! What a login settled.

use crate::iscsi::chap::ChapAlgorithm;
use crate::iscsi::digest::Digests;
use crate::iscsi::serial::SerialNumber;

/// The values that hold for a session: what was negotiated, not what was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Digests from the first PDU of the full feature phase on.
    pub digests: Digests,
    /// Longest data segment that the target may send, in bytes: what we declared.
    pub max_recv_data_segment_length: u32,
    /// Longest data segment that we may send, in bytes: what the target declared, or 8192.
    pub target_max_recv_data_segment_length: u32,
    /// Whether data that is not immediate waits for an R2T.
    pub initial_r2t: bool,
    /// Whether a command may carry data.
    pub immediate_data: bool,
    /// Longest unsolicited data of a command, immediate data included, in bytes; at most
    /// `max_burst_length`.
    pub first_burst_length: u32,
    /// Longest burst, in bytes.
    pub max_burst_length: u32,
    /// R2Ts outstanding per command.
    pub max_outstanding_r2t: u16,
    /// Seconds to wait before a reconnect after an unexpected end.
    pub default_time2wait: u16,
    /// Seconds for which tasks survive an unexpected end.
    pub default_time2retain: u16,
    /// The group of the portal that we are logged in to; `None` if the target did not say. Zero is a
    /// group like any other (RFC 7143 13.9), and what discovery said may be out of date.
    pub target_portal_group_tag: Option<u16>,
    /// What the target calls itself for humans.
    pub target_alias: Option<String>,
    /// The target's part of the session's name.
    pub tsih: u16,
    /// How we and perhaps the target proved who we are.
    pub authentication: Authentication,
}

/// How a login was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// By CHAP.
    Chap {
        /// The algorithm that the target chose.
        algorithm: ChapAlgorithm,
        /// Whether the target proved itself too.
        mutual: bool,
    },
}

/// The end of a successful login: what holds, and where counting starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// What was settled.
    pub negotiated: Negotiated,
    /// CmdSN of the first command: that of the login requests (RFC 7143 11.12.8).
    pub cmd_sn: SerialNumber,
    /// The StatSN that the target uses next.
    pub exp_stat_sn: SerialNumber,
    /// The ExpCmdSN of the last login response.
    pub exp_cmd_sn: SerialNumber,
    /// The MaxCmdSN of the last login response.
    pub max_cmd_sn: SerialNumber,
}
