//! One connection of the target: bytes to PDUs, and the phase that takes them.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use iiblockdaemon::iscsi::framer::{Frame, Framer, SegmentLimits};
use iiblockdaemon::iscsi::outbox::Outbox;
use iiblockdaemon::iscsi::pdu::{Bhs, InvalidPdu};
use iiblockdaemon::payload::Payload;

use super::config::TargetConfig;
use super::login::{Established, Login};
use super::session::Session;
use crate::rng::Rng;

/// Longest data segment that does not carry SCSI data.
const CONTROL_SEGMENT: u32 = 64 << 10;

#[derive(Debug)]
pub(super) enum Phase {
    Login(Box<Login>),
    /// Logged in, but for the last response: an old session with the same name still drains.
    Waiting(Box<Established>),
    Full(Box<Session>),
    /// Nothing more is read; what is in the outbox still goes out.
    Closing,
}

/// A PDU with its data segment.
#[derive(Debug)]
pub(super) struct Pdu {
    pub(super) bhs: Bhs,
    pub(super) ahs: Bytes,
    pub(super) data: Payload,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) portal: usize,
    pub(super) phase: Phase,
    pub(super) out: Outbox,
    /// Closed without delay, with RST: what is in the outbox is lost.
    pub(super) aborted: bool,
    /// The initiator has given it up, and nothing has told the target.
    pub(super) forsaken: bool,
    framer: Framer,
    partial: Option<Pdu>,
}

impl Connection {
    pub(super) fn new(
        now: Instant,
        config: &Arc<TargetConfig>,
        portal: usize,
        group: u16,
        rng: Rng,
    ) -> Self {
        let login = Login::new(now, Arc::clone(config), group, rng);
        Self {
            portal,
            phase: Phase::Login(Box::new(login)),
            out: Outbox::new(),
            forsaken: false,
            aborted: false,
            framer: Framer::new(SegmentLimits {
                data: config.wishes.max_recv_data_segment_length,
                control: CONTROL_SEGMENT,
            }),
            partial: None,
        }
    }

    /// The next complete PDU of `input`.
    pub(super) fn next_pdu(&mut self, input: &mut BytesMut) -> Result<Option<Pdu>, InvalidPdu> {
        while let Some(frame) = self.framer.next(input)? {
            match frame {
                Frame::Header(bhs, ahs) => {
                    let data = Payload::new();
                    self.partial = Some(Pdu { bhs, ahs, data });
                }
                Frame::Data(piece) => {
                    if let Some(pdu) = &mut self.partial {
                        pdu.data.push(piece);
                    }
                }
                Frame::End => {
                    if let Some(pdu) = self.partial.take() {
                        return Ok(Some(pdu));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The full feature phase begins: digests hold from the next PDU on, both ways.
    pub(super) fn enter_full_feature(&mut self, session: Session) {
        self.framer.set_digests(session.parameters.digests);
        self.out.set_digests(session.parameters.digests);
        self.phase = Phase::Full(Box::new(session));
    }

    /// Ends the connection once everything is out.
    pub(super) fn close(&mut self) -> Option<Box<Session>> {
        match std::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Full(session) => Some(session),
            Phase::Login(_) | Phase::Waiting(_) | Phase::Closing => None,
        }
    }

    /// Ends the connection now.
    pub(super) fn abort(&mut self) -> Option<Box<Session>> {
        self.aborted = true;
        self.close()
    }
}
