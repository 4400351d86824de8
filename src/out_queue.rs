//! What a core wants written to its stream: slices in order, with their place in the stream.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::payload::Payload;

/// The output side of a connection core. The core pushes; the shell writes slices in one vectored
/// write and reports with [`OutQueue::advance`] what the socket took.
///
/// Positions count bytes since the connection began, so that a core can tell for each message
/// whether any byte of it reached the socket: it did if `start_position < sent()`.
#[derive(Debug, Default)]
pub struct OutQueue {
    chunks: VecDeque<Bytes>,
    queued: u64,
    sent: u64,
}

impl OutQueue {
    /// An empty queue at position 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Position in the stream of the next byte pushed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.queued
    }

    /// Bytes that the socket took.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes pushed and not yet taken by the socket.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.queued - self.sent
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends one slice.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.queued += chunk.len() as u64;
            self.chunks.push_back(chunk);
        }
    }

    /// Appends all slices of a payload.
    pub fn push_payload(&mut self, payload: &Payload) {
        payload.chunks().for_each(|chunk| self.push(chunk.clone()));
    }

    /// Fills `slices` with what is next to be written; returns how many were set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    /// Removes the `count` bytes that the socket took.
    ///
    /// # Panics
    /// If that is more than was pending.
    pub fn advance(&mut self, count: usize) {
        assert!(
            count as u64 <= self.pending(),
            "socket took more than was queued"
        );
        self.sent += count as u64;
        let mut left = count;
        while left > 0 {
            let Some(front) = self.chunks.front_mut() else {
                break;
            };
            if front.len() <= left {
                left -= front.len();
                self.chunks.pop_front();
            } else {
                front.advance(left);
                left = 0;
            }
        }
    }

    /// Takes everything pending as one buffer, as if the socket had taken it (for tests and simulated links).
    pub fn take_all(&mut self) -> Bytes {
        let mut payload = Payload::new();
        for chunk in self.chunks.drain(..) {
            payload.push(chunk);
        }
        self.sent = self.queued;
        payload.to_bytes()
    }
}
