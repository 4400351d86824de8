//! Puts PDUs into the output queue: the counterpart of [`super::framer::Framer`], for both roles.
//!
//! Headers, padding and digests are written into one recycled buffer; those that follow each other
//! without payload between them leave as one slice. Payload is queued by reference count.

#![deny(clippy::indexing_slicing)]

use bytes::BytesMut;

use super::digest::{Crc32c, Digests, digest};
use super::framer::padding;
use super::pdu::Bhs;
use crate::out_queue::OutQueue;
use crate::payload::Payload;

/// Bytes of headers per allocation.
const ARENA_LEN: usize = 16 << 10;

/// The output side of one connection. See the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    queue: OutQueue,
    arena: BytesMut,
    digests: Digests,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// An empty outbox, without digests, as login is.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: OutQueue::new(),
            arena: BytesMut::new(),
            digests: Digests::default(),
        }
    }

    /// Switches digests from the next PDU on.
    pub fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
    }

    /// Position in the stream of the next PDU.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.queue.position() + self.arena.len() as u64
    }

    /// Bytes that the socket took.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.queue.sent()
    }

    /// Appends a PDU without additional header segments; DataSegmentLength is filled in.
    ///
    /// # Panics
    /// If `data` does not fit a data segment (24 bits).
    pub fn push(&mut self, mut bhs: Bhs, data: &Payload) {
        let len = u32::try_from(data.len()).expect("a data segment has at most 24 bits of length");
        bhs.set_data_len(len);
        tracing::trace!(opcode = ?bhs.opcode().ok(), ?bhs, "queued");
        if self.arena.capacity() - self.arena.len() < 64 {
            self.flush();
            self.arena.reserve(ARENA_LEN);
        }
        self.arena.extend_from_slice(bhs.wire());
        if self.digests.header {
            self.arena.extend_from_slice(&digest(bhs.wire()));
        }
        if data.is_empty() {
            return;
        }
        self.flush();
        self.queue.push_payload(data);
        let pad = [0u8; 4];
        let pad = pad.get(..padding(data.len())).unwrap_or_default();
        self.arena.extend_from_slice(pad);
        if self.digests.data {
            let mut crc = Crc32c::default();
            data.chunks().for_each(|chunk| crc.update(chunk));
            crc.update(pad);
            self.arena.extend_from_slice(&crc.wire());
        }
    }

    /// Everything appended so far, for the driver.
    pub fn outgoing(&mut self) -> &mut OutQueue {
        self.flush();
        &mut self.queue
    }

    fn flush(&mut self) {
        if !self.arena.is_empty() {
            self.queue.push(self.arena.split().freeze());
        }
    }
}
