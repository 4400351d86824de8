//! SendTargets in the full feature phase (RFC 7143 11.10, 11.11, appendix C).
//!
//! One exchange at a time. Its request fits one PDU: a name has at most 223 bytes, and no target may
//! declare segments of less than 512. The answer may be of any length: while the target leaves F at
//! 0, with or without C, an empty request with its transfer tag asks for more.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{Event, Exchange, FullFeature};
use crate::ids::Lun;
use crate::iscsi::discovery;
use crate::iscsi::error::{PeerMisbehaved, SessionError, TextError};
use crate::iscsi::pdu::InitiatorNumbers;
use crate::iscsi::pdu::text::{TextRequest, TextResponse};
use crate::iscsi::session::event::TargetQuery;
use crate::iscsi::tags::{Itt, Ttt};
use crate::limits;
use crate::payload::Payload;

#[derive(Debug)]
pub(super) struct TextExchange {
    text: BytesMut,
    answers: u32,
}

impl FullFeature {
    /// Asks for targets and their portals; the answer comes as [`Event::Targets`]. Ignored while
    /// another such request is unanswered.
    pub fn send_targets(&mut self, now: Instant, query: TargetQuery<'_>) {
        self.note_sent(now);
        if self.text.is_some() {
            return;
        }
        let value = match query {
            TargetQuery::All => "All",
            TargetQuery::ThisTarget => "",
            TargetQuery::Named(name) => name,
        };
        let text = discovery::send_targets(value).encode();
        let itt = self.table.insert(Exchange::Text);
        self.text = Some(TextExchange {
            text: BytesMut::new(),
            answers: 0,
        });
        self.push_text_request(itt, None, Lun::from_wire([0; 8]), text.into());
    }

    fn push_text_request(&mut self, itt: Itt, ttt: Option<Ttt>, lun: Lun, text: Bytes) {
        let InitiatorNumbers {
            cmd_sn,
            exp_stat_sn,
        } = self.window.immediate();
        let request = TextRequest {
            immediate: true,
            is_final: true,
            continues: false,
            lun,
            itt,
            ttt,
            cmd_sn,
            exp_stat_sn,
        };
        self.outbox.push(request.encode(), &text.into());
    }

    pub(super) fn on_text_response(
        &mut self,
        pdu: TextResponse,
        data: &Payload,
    ) -> Result<(), SessionError> {
        self.window.consume(pdu.stat_sn);
        match self.find(pdu.itt)? {
            Some(Exchange::Text) => {}
            Some(_) => return Err(PeerMisbehaved::Mismatch("Initiator Task Tag").into()),
            None => return Ok(()),
        }
        let Some(exchange) = &mut self.text else {
            return Ok(());
        };
        exchange.answers += 1;
        if exchange.text.len() + data.len() > limits::TEXT_BYTES_MAX
            || exchange.answers > limits::TEXT_EXCHANGES_MAX
        {
            return Err(PeerMisbehaved::from(TextError::TooLong).into());
        }
        data.chunks()
            .for_each(|chunk| exchange.text.extend_from_slice(chunk));
        match (pdu.is_final, pdu.ttt) {
            (true, _) => {
                let text = std::mem::take(&mut exchange.text).freeze();
                self.text = None;
                self.table.remove(pdu.itt);
                let targets = discovery::parse_send_targets(&text)?.targets;
                self.events.push_back(Event::Targets(targets));
            }
            (false, Some(ttt)) => {
                self.push_text_request(pdu.itt, Some(ttt), pdu.lun, Bytes::new());
            }
            (false, None) => {
                return Err(PeerMisbehaved::Mismatch("Target Transfer Tag").into());
            }
        }
        Ok(())
    }
}
