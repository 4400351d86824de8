//! Splits a byte stream into PDUs, for the initiator and for a target.
//!
//! A PDU is a basic header, additional header segments, an optional header digest, a data segment
//! padded to four bytes and an optional data digest (RFC 7143 11.2). The framer hands out the header
//! as soon as it is complete, then the data in the pieces in which it arrived, then the end once
//! digests were verified. Nothing is copied: each piece is a slice of the buffer that was read into.
//!
//! Data handed out before [`Frame::End`] is not yet verified: act on it only at the end.
//!
//! What is left in the input is at most one header with its additional segments (1072 bytes), or a
//! piece of data below [`limits::DATA_PIECE_MIN`]: the buffer that is read into must hold more.

#![deny(clippy::indexing_slicing)]

use bytes::{Buf, Bytes, BytesMut};

use super::digest::{Crc32c, DIGEST_LEN, Digests, digest};
use super::pdu::{BHS_LEN, Bhs, InvalidPdu, Opcode};
use crate::limits;

/// What the framer found next.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A header, its digest verified, with its additional header segments.
    Header(Bhs, Bytes),
    /// The next piece of the data segment, never empty, without padding.
    Data(Bytes),
    /// The PDU is complete and its data digest was verified.
    End,
}

/// How long a data segment may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// In PDUs that may be as long as the declared MaxRecvDataSegmentLength: those with SCSI data
    /// (SCSI Command, Data-Out, Data-In), and text in the full feature phase.
    pub data: u32,
    /// In all others, which have no use for more.
    pub control: u32,
}

/// The state of one direction of one connection. See the module's documentation.
#[derive(Debug)]
pub struct Framer {
    digests: Digests,
    limits: SegmentLimits,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Data {
        left: usize,
        pad: usize,
        crc: Crc32c,
    },
    Trailer {
        pad: usize,
        crc: Crc32c,
    },
    End,
}

impl Framer {
    /// A framer at the start of a connection: without digests, as login is (RFC 7143 6.1).
    #[must_use]
    pub fn new(limits: SegmentLimits) -> Self {
        Self {
            digests: Digests::default(),
            limits,
            state: State::Header,
        }
    }

    /// Switches digests from the next header on: call it between the last login PDU and the first
    /// PDU of the full feature phase.
    pub fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
    }

    /// Takes the next frame off `input`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// A segment above its limit, or a digest that does not match. Nothing after it can be framed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, InvalidPdu> {
        match self.state {
            State::Header => self.header(input),
            State::Data { left, pad, crc } => Ok(self.data(input, left, pad, crc)),
            State::Trailer { pad, crc } => self.trailer(input, pad, crc),
            State::End => {
                self.state = State::Header;
                Ok(Some(Frame::End))
            }
        }
    }

    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, InvalidPdu> {
        let Some(bhs) = input.first_chunk::<BHS_LEN>().copied().map(Bhs::from_wire) else {
            return Ok(None);
        };
        let digest_len = if self.digests.header { DIGEST_LEN } else { 0 };
        let covered = BHS_LEN + bhs.ahs_len();
        let Some((header, rest)) = input.split_at_checked(covered) else {
            return Ok(None);
        };
        if rest.len() < digest_len {
            return Ok(None);
        }
        if self.digests.header && !rest.starts_with(&digest(header)) {
            return Err(InvalidPdu::HeaderDigest);
        }
        self.check_length(&bhs)?;
        input.advance(BHS_LEN);
        let ahs = match bhs.ahs_len() {
            0 => Bytes::new(),
            len => input.split_to(len).freeze(),
        };
        input.advance(digest_len);
        self.state = match usize::try_from(bhs.data_len()).unwrap_or(usize::MAX) {
            0 => State::End,
            left => State::Data {
                left,
                pad: padding(left),
                crc: Crc32c::default(),
            },
        };
        Ok(Some(Frame::Header(bhs, ahs)))
    }

    fn check_length(&self, bhs: &Bhs) -> Result<(), InvalidPdu> {
        let limit = match Opcode::from_wire(bhs.opcode_value()) {
            Some(
                Opcode::ScsiCommand
                | Opcode::DataOut
                | Opcode::DataIn
                | Opcode::TextRequest
                | Opcode::TextResponse,
            ) => self.limits.data,
            _ => self.limits.control,
        };
        if bhs.data_len() > limit {
            return Err(InvalidPdu::DataTooLong {
                opcode: bhs.opcode_value(),
                length: bhs.data_len(),
                limit,
            });
        }
        Ok(())
    }

    fn data(
        &mut self,
        input: &mut BytesMut,
        left: usize,
        pad: usize,
        mut crc: Crc32c,
    ) -> Option<Frame> {
        if input.len() < left.min(limits::DATA_PIECE_MIN) {
            return None;
        }
        let piece = input.split_to(left.min(input.len())).freeze();
        if self.digests.data {
            crc.update(&piece);
        }
        self.state = match left - piece.len() {
            0 => State::Trailer { pad, crc },
            left => State::Data { left, pad, crc },
        };
        Some(Frame::Data(piece))
    }

    fn trailer(
        &mut self,
        input: &mut BytesMut,
        pad: usize,
        mut crc: Crc32c,
    ) -> Result<Option<Frame>, InvalidPdu> {
        let digest_len = if self.digests.data { DIGEST_LEN } else { 0 };
        let Some((padding, rest)) = input.split_at_checked(pad) else {
            return Ok(None);
        };
        if rest.len() < digest_len {
            return Ok(None);
        }
        if self.digests.data {
            // The padding is part of what the digest covers (RFC 7143 11.2.4).
            crc.update(padding);
            if !rest.starts_with(&crc.wire()) {
                return Err(InvalidPdu::DataDigest);
            }
        }
        input.advance(pad + digest_len);
        self.state = State::Header;
        Ok(Some(Frame::End))
    }
}

#[cfg(test)]
mod tests;

/// Bytes of padding after a data segment of `len` bytes.
#[must_use]
pub const fn padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}
