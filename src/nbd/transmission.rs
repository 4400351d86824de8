//! Transmission: requests in, replies out, in any order (proto.md, "Transmission").
//!
//! A request occupies a place and, if it carries or asks for data, bytes of the connection's budget, from the
//! moment its header is consumed until the socket took the last byte of its reply. Where the budget is used
//! up, the next header stays in the input and the socket is not read: a client that sends without reading its
//! replies holds back itself only.
//!
//! A write's payload is taken out of the input as slices, as it arrives. The payload of a write that is
//! refused is dropped as it arrives, and the refusal is answered after it, so that the stream stays in step.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::check::{Admitted, Decision, Terms};
use super::error::{ConnectionError, RequestFailure};
use super::export::ExportInfo;
use super::reply::ReplyWriter;
use super::request::{Command, ConnectionLimits, Request};
use super::token::{Forgotten, Owed, OwedKind, RequestToken};
use super::wire::{REQUEST_MAGIC, RequestHeader};
use crate::limits::NBD_FRAGMENT_MIN;
use crate::out_queue::OutQueue;
use crate::payload::Payload;

/// What the next byte of the input is.
#[derive(Debug)]
enum Intake {
    Header,
    Payload {
        owed: Owed,
        fua: bool,
        data: Payload,
        missing: usize,
    },
    Skip {
        owed: Owed,
        failure: RequestFailure,
        missing: usize,
    },
    Disconnected,
}

/// A reply that occupies its place until the socket took it.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    end: u64,
    held: u64,
}

/// One client in transmission.
///
/// Driver contract, once per turn: append to the input if [`Self::wants_input`]; [`Self::handle_bytes`] if
/// there is input, also if only answers were written since, for room may have come back; drain
/// [`Self::poll_request`]; give due answers to [`Self::reply`]; write [`Self::outgoing`]. If answers were
/// written and the input is not empty, take another turn before waiting. Close the socket after an error, or
/// once [`Self::is_finished`]. Dropping a connection releases the tokens that are still out.
#[derive(Debug)]
pub struct Connection {
    // Must be dropped before `requests`, whose tokens are not forgotten then.
    alive: Arc<Forgotten>,
    terms: Terms,
    limits: ConnectionLimits,
    intake: Intake,
    requests: VecDeque<Request>,
    unanswered: usize,
    unsent: VecDeque<Unsent>,
    held: u64,
    /// A request is in the input for which there was no room.
    waiting: bool,
    replies: ReplyWriter,
}

impl Connection {
    /// A client that finished its handshake, or the kernel's, which needs none.
    #[must_use]
    pub fn new(export: &ExportInfo, structured_replies: bool) -> Self {
        Self::with_limits(export, structured_replies, ConnectionLimits::default())
    }

    /// The size in bytes that the client was told of.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.terms.size()
    }

    /// The same with other bounds.
    ///
    /// # Panics
    /// If the bounds let no request pass.
    #[must_use]
    pub fn with_limits(
        export: &ExportInfo,
        structured_replies: bool,
        limits: ConnectionLimits,
    ) -> Self {
        assert!(
            limits.requests > 0 && u64::from(limits.payload) <= limits.bytes,
            "bounds let requests pass"
        );
        Self {
            alive: Arc::default(),
            terms: Terms::new(export, structured_replies, limits),
            limits,
            intake: Intake::Header,
            requests: VecDeque::new(),
            unanswered: 0,
            unsent: VecDeque::new(),
            held: 0,
            waiting: false,
            replies: ReplyWriter::new(structured_replies),
        }
    }

    /// Consumes what is complete and what there is room for; the rest stays.
    ///
    /// # Errors
    /// When the stream is out of step; the socket is to be closed.
    ///
    /// # Panics
    /// If one of its tokens was dropped.
    pub fn handle_bytes(&mut self, input: &mut BytesMut) -> Result<(), ConnectionError> {
        self.alive.assert_none();
        self.release_sent();
        self.waiting = false;
        let mut progress = true;
        while progress {
            progress = match self.intake {
                Intake::Header => self.take_header(input)?,
                Intake::Payload { .. } => self.take_payload(input),
                Intake::Skip { .. } => self.skip_payload(input),
                Intake::Disconnected => {
                    input.clear();
                    false
                }
            };
        }
        Ok(())
    }

    /// Whether more input is of use. If not, the socket is not to be read.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.intake {
            Intake::Header => !self.waiting && self.in_flight() < self.limits.requests,
            Intake::Payload { .. } | Intake::Skip { .. } => true,
            Intake::Disconnected => false,
        }
    }

    /// Bytes that are sure to come: the rest of the payload that is being received, for which a reader may
    /// make room.
    #[must_use]
    pub fn expected_input(&self) -> usize {
        match &self.intake {
            Intake::Payload { missing, .. } => *missing,
            Intake::Header | Intake::Skip { .. } | Intake::Disconnected => 0,
        }
    }

    /// The next request, oldest first.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Answers a request. A read's success carries exactly its length of data, any other none.
    ///
    /// # Panics
    /// If the length is wrong, or the token is another connection's.
    pub fn reply(&mut self, token: RequestToken, result: Result<Payload, RequestFailure>) {
        let owed = token.redeem(&self.alive);
        self.answer(&owed, result);
    }

    /// What is to be written to the client.
    pub fn outgoing(&mut self) -> &mut OutQueue {
        self.replies.queue()
    }

    /// Requests whose reply the socket has not taken entirely.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let sent = self.replies.sent();
        let gone = self.unsent.partition_point(|reply| reply.end <= sent);
        self.unanswered + self.unsent.len() - gone
    }

    /// Whether the client said goodbye and has all its answers.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.intake, Intake::Disconnected) && self.in_flight() == 0
    }

    fn take_header(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let Some(bytes) = input.first_chunk::<{ RequestHeader::LEN }>() else {
            return Ok(false);
        };
        if self.unanswered + self.unsent.len() >= self.limits.requests {
            self.waiting = true;
            return Ok(false);
        }
        let header = RequestHeader::decode(bytes);
        if header.magic != REQUEST_MAGIC {
            let magic = header.magic;
            return Err(ConnectionError::BadRequestMagic { magic });
        }
        let decision = self.terms.decide(&header);
        if let Decision::Admit(command) = decision
            && self.held + command.held(&header) > self.limits.bytes
        {
            self.waiting = true;
            return Ok(false);
        }
        input.advance(RequestHeader::LEN);
        self.on_decision(&header, decision)?;
        Ok(true)
    }

    fn on_decision(
        &mut self,
        header: &RequestHeader,
        decision: Decision,
    ) -> Result<(), ConnectionError> {
        let plain = OwedKind::Plain { fast_zero: false };
        match decision {
            Decision::Admit(command) => {
                let owed = owed(header, command.owed_kind(header), command.held(header));
                self.admit(owed, command);
            }
            Decision::Nothing => {
                self.unanswered += 1;
                let kind = match header.kind {
                    super::wire::command::READ => OwedKind::Read {
                        unfragmented: false,
                    },
                    _ => plain,
                };
                self.answer(&owed(header, kind, 0), Ok(Payload::new()));
            }
            Decision::Refuse(failure) => {
                let payload = header.payload_len();
                if payload > self.limits.skip {
                    let (length, limit) = (payload, self.limits.skip);
                    return Err(ConnectionError::PayloadTooLarge { length, limit });
                }
                self.unanswered += 1;
                self.intake = Intake::Skip {
                    owed: owed(header, plain, 0),
                    failure,
                    missing: payload as usize,
                };
            }
            Decision::Disconnect => self.intake = Intake::Disconnected,
        }
        Ok(())
    }

    fn admit(&mut self, owed: Owed, command: Admitted) {
        self.unanswered += 1;
        self.held += owed.held;
        let (offset, length) = (owed.offset, owed.length);
        let command = match command {
            Admitted::Read => Command::Read { offset, length },
            Admitted::Write { fua } => {
                self.intake = Intake::Payload {
                    owed,
                    fua,
                    data: Payload::new(),
                    missing: length as usize,
                };
                return;
            }
            Admitted::Flush => Command::Flush,
            Admitted::Trim { fua } => Command::Trim {
                offset,
                length,
                fua,
            },
            Admitted::WriteZeroes {
                fua,
                may_unmap,
                fast,
            } => Command::WriteZeroes {
                offset,
                length,
                fua,
                may_unmap,
                fast,
            },
        };
        self.push_request(owed, command);
    }

    /// Takes slices of the input into the payload. Small ones wait until they have grown, so that a client
    /// that sends single bytes cannot make us keep a descriptor for each.
    fn take_payload(&mut self, input: &mut BytesMut) -> bool {
        let Intake::Payload {
            owed,
            fua,
            data,
            missing,
        } = &mut self.intake
        else {
            return false;
        };
        let take = input.len().min(*missing);
        if take < *missing && take < NBD_FRAGMENT_MIN {
            return false;
        }
        data.push(input.split_to(take).freeze());
        *missing -= take;
        if *missing == 0 {
            let (owed, fua, data) = (*owed, *fua, std::mem::take(data));
            let offset = owed.offset;
            self.intake = Intake::Header;
            self.push_request(owed, Command::Write { offset, data, fua });
        }
        true
    }

    fn skip_payload(&mut self, input: &mut BytesMut) -> bool {
        let Intake::Skip {
            owed,
            failure,
            missing,
        } = &mut self.intake
        else {
            return false;
        };
        let skip = input.len().min(*missing);
        input.advance(skip);
        *missing -= skip;
        if *missing > 0 {
            return false;
        }
        let (owed, failure) = (*owed, failure.clone());
        self.intake = Intake::Header;
        self.answer(&owed, Err(failure));
        true
    }

    fn push_request(&mut self, owed: Owed, command: Command) {
        let token = RequestToken::new(&self.alive, owed);
        self.requests.push_back(Request { token, command });
    }

    fn answer(&mut self, owed: &Owed, result: Result<Payload, RequestFailure>) {
        self.replies.write(owed, result);
        self.unanswered -= 1;
        self.unsent.push_back(Unsent {
            end: self.replies.end(),
            held: owed.held,
        });
    }

    fn release_sent(&mut self) {
        let sent = self.replies.sent();
        while let Some(reply) = self.unsent.pop_front_if(|reply| reply.end <= sent) {
            self.held -= reply.held;
        }
    }
}

fn owed(header: &RequestHeader, kind: OwedKind, held: u64) -> Owed {
    Owed {
        cookie: header.cookie,
        kind,
        offset: header.offset,
        length: header.length,
        held,
    }
}

#[cfg(test)]
mod tests;
