//! Pings both ways (RFC 7143 11.18, 11.19).
//!
//! Ours are immediate: they do not depend on the command window, so an answer says that the target
//! is there and nothing about its queue. The age of each task is looked at beside them.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::{Event, Exchange, FullFeature};
use crate::ids::Lun;
use crate::iscsi::error::{PeerMisbehaved, SessionError};
use crate::iscsi::pdu::{NopIn, NopOut};
use crate::iscsi::tags::{Itt, Ttt};
use crate::limits;
use crate::payload::Payload;

#[derive(Debug, Default)]
pub(super) struct Keepalive {
    /// When each unanswered ping was queued, oldest first.
    pings: VecDeque<(Itt, Instant)>,
    /// Where in the stream each answer that may be unsent ends.
    answers: VecDeque<u64>,
}

impl FullFeature {
    /// Queues a ping, unless [`limits::PINGS_MAX`] are unanswered.
    pub fn ping(&mut self, now: Instant) {
        self.ping_with(now, &Payload::new());
    }

    /// The same with `bytes` of data, as far as the target takes so much: it sends them back
    /// (RFC 7143 11.18), so that segments of full size go both ways.
    pub fn ping_sized(&mut self, now: Instant, bytes: usize) {
        let longest = self.negotiated.target_max_recv_data_segment_length;
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        let bytes = bytes.min(longest).min(limits::PING_DATA_MAX);
        let data = Bytes::from_static(&[0; limits::PING_DATA_MAX]).slice(..bytes);
        self.ping_with(now, &data.into());
    }

    fn ping_with(&mut self, now: Instant, data: &Payload) {
        self.note_sent(now);
        if self.keepalive.pings.len() >= limits::PINGS_MAX {
            return;
        }
        let itt = self.table.insert(Exchange::Ping(now));
        self.keepalive.pings.push_back((itt, now));
        self.push_nop_out(Some(itt), None, Lun::from_wire([0; 8]), data);
    }

    /// When the oldest unanswered ping was queued.
    #[must_use]
    pub fn oldest_ping(&self) -> Option<Instant> {
        self.keepalive.pings.front().map(|(_, at)| *at)
    }

    pub(super) fn on_nop_in(&mut self, now: Instant, pdu: NopIn) -> Result<(), SessionError> {
        if let Some(itt) = pdu.itt {
            self.window.consume(pdu.numbers.stat_sn);
            match self.find(itt)? {
                Some(Exchange::Ping(_)) => self.end_ping(now, itt),
                Some(Exchange::Plug) => {
                    self.table.remove(itt);
                    self.plugs -= 1;
                }
                Some(_) => return Err(PeerMisbehaved::Mismatch("Initiator Task Tag").into()),
                None => {}
            }
        }
        match pdu.ttt {
            Some(ttt) => self.answer_ping(ttt, pdu.lun),
            None => Ok(()),
        }
    }

    /// The target showed that it is there, by an answer or by rejecting the ping.
    pub(super) fn end_ping(&mut self, now: Instant, itt: Itt) {
        if let Some(Exchange::Ping(queued)) = self.table.remove(itt) {
            self.keepalive.pings.retain(|(ping, _)| *ping != itt);
            self.events.push_back(Event::PingAnswered {
                rtt: now.saturating_duration_since(queued),
            });
        }
    }

    /// Answers the target's ping with its tag and all eight bytes of its LUN.
    fn answer_ping(&mut self, ttt: Ttt, lun: Lun) -> Result<(), SessionError> {
        let sent = self.outbox.sent();
        let answers = &mut self.keepalive.answers;
        while answers.front().is_some_and(|end| *end <= sent) {
            answers.pop_front();
        }
        if answers.len() >= limits::PING_ANSWERS_MAX {
            return Err(PeerMisbehaved::Flood("pings").into());
        }
        self.push_nop_out(None, Some(ttt), lun, &Payload::new());
        self.keepalive.answers.push_back(self.outbox.position());
        Ok(())
    }

    fn push_nop_out(&mut self, itt: Option<Itt>, ttt: Option<Ttt>, lun: Lun, data: &Payload) {
        let pdu = NopOut {
            immediate: true,
            lun,
            itt,
            ttt,
            numbers: self.window.immediate(),
        };
        self.outbox.push(pdu.encode(), data);
    }

    /// An acknowledgement of everything received, that wants no answer (RFC 7143 11.18.1).
    pub(super) fn push_acknowledgement(&mut self, lun: Lun) {
        self.push_nop_out(None, None, lun, &Payload::new());
    }

    /// Fills the hole that a rejected command left in the CmdSNs (RFC 7143 7.3) with a NOP-Out.
    pub(super) fn plug_hole(
        &mut self,
        cmd_sn: crate::iscsi::serial::SerialNumber,
    ) -> Result<(), PeerMisbehaved> {
        if self.plugs >= limits::PLUGS_MAX {
            return Err(PeerMisbehaved::Flood("rejects"));
        }
        self.plugs += 1;
        let mut numbers = self.window.immediate();
        numbers.cmd_sn = cmd_sn;
        let pdu = NopOut {
            immediate: false,
            lun: Lun::from_wire([0; 8]),
            itt: Some(self.table.insert(Exchange::Plug)),
            ttt: None,
            numbers,
        };
        self.outbox.push(pdu.encode(), &Payload::new());
        Ok(())
    }
}
