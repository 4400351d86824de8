//! What the target said of itself, and what it is owed an answer to.

use super::exchange::Reply;
use super::negotiation::Negotiation;
use crate::iscsi::error::{Excerpt, PeerIncompatible, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{Key, LENGTH_RANGE, MAX_RECV_DATA_SEGMENT_LENGTH_DEFAULT};
use crate::iscsi::keys::{NOT_UNDERSTOOD, Text, is_reserved_answer, name, parse_number};
use crate::iscsi::session::config::{SessionConfig, SessionKind};
use crate::iscsi::session::negotiated::{Authentication, LoggedIn, Negotiated};
use crate::limits::LOGIN_REPLIES_MAX;

use super::exchange::Exchange;
use crate::iscsi::digest::Digests;

/// Longest alias that is kept, in characters.
const ALIAS_MAX: usize = 255;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) negotiation: Negotiation,
    replies: Text,
    max_recv_data_segment_length: Option<u32>,
    portal_group_tag: Option<u16>,
    alias: Option<String>,
}

impl Peer {
    pub(super) fn new(config: &SessionConfig) -> Self {
        let discovery = config.kind == SessionKind::Discovery;
        Self {
            negotiation: Negotiation::new(&config.offer, discovery),
            replies: Text::new(),
            max_recv_data_segment_length: None,
            portal_group_tag: None,
            alias: None,
        }
    }

    /// Our answers to what the target offered since the last call.
    pub(super) fn take_replies(&mut self) -> Text {
        std::mem::take(&mut self.replies)
    }

    /// Takes every pair that the current state has no special use for.
    pub(super) fn absorb(&mut self, text: &Text) -> Result<(), SessionError> {
        text.iter()
            .try_for_each(|(key, value)| self.on_pair(key, value))
    }

    fn on_pair(&mut self, key: &str, value: &str) -> Result<(), SessionError> {
        if let Some(known) = Key::from_name(key) {
            if let Some(answer) = self.negotiation.on_pair(known, value)? {
                self.replies.push(key, answer);
            }
            return Ok(());
        }
        match key {
            name::MAX_RECV_DATA_SEGMENT_LENGTH => {
                let key = name::MAX_RECV_DATA_SEGMENT_LENGTH;
                if is_reserved_answer(value) {
                    return Err(PeerIncompatible::KeyRefused(key).into());
                }
                let legal = parse_number(value).filter(|length| LENGTH_RANGE.contains(length));
                let length = legal.ok_or_else(|| illegal(key, value))?;
                declare(&mut self.max_recv_data_segment_length, length, key)
            }
            name::TARGET_PORTAL_GROUP_TAG => {
                let key = name::TARGET_PORTAL_GROUP_TAG;
                let legal = parse_number(value).and_then(|tag| u16::try_from(tag).ok());
                let tag = legal.ok_or_else(|| illegal(key, value))?;
                declare(&mut self.portal_group_tag, tag, key)
            }
            name::TARGET_ALIAS => {
                let alias = value.chars().filter(|c| !c.is_control());
                self.alias = Some(alias.take(ALIAS_MAX).collect());
                Ok(())
            }
            // Declared by some targets beyond need; nothing follows from them.
            name::TARGET_NAME | name::TARGET_ADDRESS | name::NODE_ARCHITECTURE => Ok(()),
            _ => self.on_foreign(key, value),
        }
    }

    /// A key that has no business here, or that we do not know.
    fn on_foreign(&mut self, key: &str, value: &str) -> Result<(), SessionError> {
        let ours = [
            name::INITIATOR_NAME,
            name::INITIATOR_ALIAS,
            name::SESSION_TYPE,
        ];
        let elsewhere = [
            name::AUTH_METHOD,
            name::CHAP_A,
            name::CHAP_I,
            name::CHAP_C,
            name::CHAP_N,
            name::CHAP_R,
            name::SEND_TARGETS,
        ];
        if let Some(key) = elsewhere.into_iter().find(|k| *k == key) {
            return Err(PeerMisbehaved::KeyOutOfPlace(key).into());
        }
        if let Some(key) = ours.into_iter().find(|k| *k == key) {
            return Err(if is_reserved_answer(value) {
                PeerIncompatible::KeyRefused(key).into()
            } else {
                PeerMisbehaved::KeyOutOfPlace(key).into()
            });
        }
        // An answer to an answer would never end.
        if !is_reserved_answer(value) {
            if self.replies.len() >= LOGIN_REPLIES_MAX {
                return Err(PeerMisbehaved::TooManyKeys.into());
            }
            tracing::debug!(key, value = %Excerpt::new(value), "key of the target not understood");
            self.replies.push(key, NOT_UNDERSTOOD);
        }
        Ok(())
    }

    /// The end of the login.
    ///
    /// # Errors
    /// If the target waits for answers that it can no longer get, or a demanded digest is missing.
    pub(super) fn finish(
        &mut self,
        reply: &Reply,
        exchange: &Exchange,
        authentication: Authentication,
    ) -> Result<LoggedIn, SessionError> {
        let unanswered = self.take_replies();
        if let Some(key) = unanswered.iter().find_map(|(key, _)| Key::from_name(key)) {
            return Err(PeerMisbehaved::KeyOutOfPlace(key.name()).into());
        }
        let values = self.negotiation.outcome();
        let max_burst_length = values.number(Key::MaxBurstLength);
        let negotiated = Negotiated {
            digests: Digests {
                header: values.digest(Key::HeaderDigest)?,
                data: values.digest(Key::DataDigest)?,
            },
            max_recv_data_segment_length: self.negotiation.max_recv_data_segment_length(),
            target_max_recv_data_segment_length: self
                .max_recv_data_segment_length
                .unwrap_or(MAX_RECV_DATA_SEGMENT_LENGTH_DEFAULT),
            initial_r2t: values.flag(Key::InitialR2T),
            immediate_data: values.flag(Key::ImmediateData),
            // A target may answer the two in the wrong order of size.
            first_burst_length: values.number(Key::FirstBurstLength).min(max_burst_length),
            max_burst_length,
            max_outstanding_r2t: values.small(Key::MaxOutstandingR2T),
            default_time2wait: values.small(Key::DefaultTime2Wait),
            default_time2retain: values.small(Key::DefaultTime2Retain),
            target_portal_group_tag: self.portal_group_tag,
            target_alias: self.alias.take(),
            tsih: reply.response.tsih,
            authentication,
        };
        Ok(LoggedIn {
            negotiated,
            cmd_sn: exchange.first_cmd_sn(),
            exp_stat_sn: exchange.exp_stat_sn(),
            exp_cmd_sn: reply.response.exp_cmd_sn,
            max_cmd_sn: reply.response.max_cmd_sn,
        })
    }
}

pub(super) fn illegal(key: &'static str, value: &str) -> PeerMisbehaved {
    let value = Excerpt::new(value);
    PeerMisbehaved::IllegalValue { key, value }
}

/// A declaration may be repeated, but not changed.
fn declare<T: PartialEq>(
    slot: &mut Option<T>,
    value: T,
    key: &'static str,
) -> Result<(), SessionError> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return Err(PeerMisbehaved::KeyRepeated(key).into());
    }
    *slot = Some(value);
    Ok(())
}
