//! What a session says besides SCSI: pings, texts, logout, messages, rejects.

use std::time::Instant;

use bytes::Bytes;
use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::text::{TextRequest, TextResponse};
use iiblockdaemon::iscsi::pdu::{
    AsyncMessage, Bhs, LogoutReason, LogoutRequest, LogoutResponse, NopIn, NopOut, Reject,
    RejectReason, TaskManagementResponse, TmfResponse,
};
use iiblockdaemon::iscsi::tags::Itt;
use iiblockdaemon::payload::Payload;

use super::super::breach::Breach;
use super::super::trouble::async_data;
use super::{Action, Session, next_ttt};

impl Session {
    /// Answers a task management request.
    pub(in crate::target) fn answer_management(
        &mut self,
        itt: Itt,
        response: TmfResponse,
        out: &mut Outbox,
    ) {
        let numbers = self.consume();
        let pdu = TaskManagementResponse {
            itt,
            response,
            numbers,
        };
        out.push(pdu.encode(), &Payload::new());
    }

    /// Sends an asynchronous message.
    pub(in crate::target) fn send_async(
        &mut self,
        event: u8,
        parameters: [u16; 3],
        sense: &[u8],
        out: &mut Outbox,
    ) {
        let pdu = AsyncMessage {
            lun: LunAddress::from_wire([0; 8]),
            numbers: self.consume(),
            event,
            vendor_code: 0,
            parameters,
        };
        out.push(pdu.encode(), &async_data(sense));
    }

    /// Sends a ping that the initiator has to answer.
    pub(in crate::target) fn ping(&mut self, now: Instant, out: &mut Outbox) {
        self.pinged = Some(now);
        let pdu = NopIn {
            lun: LunAddress::from_wire([0; 8]),
            itt: None,
            ttt: Some(next_ttt(&mut self.next_ttt)),
            numbers: self.numbers(),
        };
        out.push(pdu.encode(), &Payload::new());
    }

    /// Tells the initiator of the command window, without asking for an answer.
    pub(in crate::target) fn tell_window(&self, out: &mut Outbox) {
        let pdu = NopIn {
            lun: LunAddress::from_wire([0; 8]),
            itt: None,
            ttt: None,
            numbers: self.numbers(),
        };
        out.push(pdu.encode(), &Payload::new());
    }

    pub(super) fn take_nop(&mut self, nop: &NopOut, data: &Payload, out: &mut Outbox) {
        if nop.ttt.is_some() {
            self.pinged = None;
        }
        if nop.itt.is_none() {
            return;
        }
        let pdu = NopIn {
            lun: nop.lun,
            itt: nop.itt,
            ttt: None,
            numbers: self.consume(),
        };
        let room = self.parameters.initiator_segment_length as usize;
        out.push(pdu.encode(), &data.slice(0, data.len().min(room)));
    }

    pub(super) fn take_text(
        &mut self,
        request: &TextRequest,
        data: &Payload,
        out: &mut Outbox,
    ) -> Result<Option<Action>, Breach> {
        if request.ttt.is_some() && !self.text.is_empty() {
            self.send_text(request.itt, out);
            return Ok(None);
        }
        let malformed = Breach::Login("malformed text");
        let text = Text::decode(&data.to_bytes());
        let text = text.map_err(|_| malformed)?;
        let wanted = text.get("SendTargets").map(str::to_owned);
        if let Some(wanted) = wanted {
            return Ok(Some(Action::SendTargets(request.itt, wanted)));
        }
        let mut answer = Text::new();
        for (key, _) in text.iter() {
            answer.push(key, "NotUnderstood");
        }
        self.answer_text(request.itt, answer.encode().into(), out);
        Ok(None)
    }

    /// Answers a text request, in as many responses as it takes.
    pub(in crate::target) fn answer_text(&mut self, itt: Itt, text: Bytes, out: &mut Outbox) {
        self.text = text;
        self.send_text(itt, out);
    }

    fn send_text(&mut self, itt: Itt, out: &mut Outbox) {
        let room = self.parameters.initiator_segment_length as usize;
        let segment = self.text.split_to(room.min(self.text.len()));
        let more = !self.text.is_empty();
        let numbers = self.consume();
        let pdu = TextResponse {
            is_final: !more,
            continues: more,
            lun: LunAddress::from_wire([0; 8]),
            itt,
            ttt: more.then(|| next_ttt(&mut self.next_ttt)),
            stat_sn: numbers.stat_sn,
            exp_cmd_sn: numbers.exp_cmd_sn,
            max_cmd_sn: numbers.max_cmd_sn,
        };
        out.push(pdu.encode(), &Payload::from(segment));
    }

    pub(super) fn take_logout(
        &mut self,
        request: &LogoutRequest,
        out: &mut Outbox,
    ) -> Option<Action> {
        let (response, over) = match request.reason {
            LogoutReason::CloseSession => (0, true),
            LogoutReason::CloseConnection if request.cid == self.cid => (0, true),
            LogoutReason::CloseConnection => (1, false),
            LogoutReason::RemoveForRecovery => (2, false),
        };
        let pdu = LogoutResponse {
            itt: request.itt,
            response,
            numbers: self.consume(),
            time2wait: self.parameters.time2wait,
            time2retain: self.parameters.time2retain,
        };
        out.push(pdu.encode(), &Payload::new());
        over.then_some(Action::LoggedOut)
    }

    /// Rejects a PDU; its header goes back.
    pub(in crate::target) fn reject(&mut self, bhs: &Bhs, reason: RejectReason, out: &mut Outbox) {
        let pdu = Reject {
            reason,
            numbers: self.consume(),
            data_sn: 0,
        };
        out.push(pdu.encode(), &Bytes::copy_from_slice(bhs.wire()).into());
    }
}
