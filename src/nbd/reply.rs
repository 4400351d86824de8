//! Replies: simple and structured (proto.md, "Simple reply message", "Structured reply chunk message").

use bytes::{BufMut, BytesMut};

use super::error::RequestFailure;
use super::token::{Owed, OwedKind};
use super::wire::{REPLY_FLAG_DONE, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, chunk};
use crate::errno::IoErrno;
use crate::limits::NBD_STRING_MAX;
use crate::out_queue::OutQueue;
use crate::payload::Payload;

/// Headers are built in blocks of this size; a block is reused when its replies are written.
const ARENA_BLOCK: usize = 8 << 10;

/// The output side of a connection.
///
/// Headers collect in the arena until payload has to follow them, so that replies without payload that become
/// ready in one turn are one slice.
#[derive(Debug)]
pub(super) struct ReplyWriter {
    structured: bool,
    arena: BytesMut,
    out: OutQueue,
}

impl ReplyWriter {
    pub(super) fn new(structured: bool) -> Self {
        Self {
            structured,
            arena: BytesMut::new(),
            out: OutQueue::new(),
        }
    }

    /// Everything that is to be written.
    pub(super) fn queue(&mut self) -> &mut OutQueue {
        self.flush_arena();
        &mut self.out
    }

    /// Position in the stream after the last reply.
    pub(super) fn end(&self) -> u64 {
        self.out.position() + self.arena.len() as u64
    }

    /// Position in the stream up to which the socket took the replies.
    pub(super) fn sent(&self) -> u64 {
        self.out.sent()
    }

    pub(super) fn write(&mut self, owed: &Owed, result: Result<Payload, RequestFailure>) {
        match result {
            Ok(data) => self.success(owed, &data),
            Err(failure) if self.structured => self.structured_failure(owed, &failure),
            Err(failure) => self.simple(owed.cookie, errno_for(owed, failure.errno).wire()),
        }
    }

    fn success(&mut self, owed: &Owed, data: &Payload) {
        let expected = match owed.kind {
            OwedKind::Read { .. } => owed.length,
            OwedKind::Plain { .. } => 0,
        };
        assert_eq!(
            data.len() as u64,
            u64::from(expected),
            "answer to an NBD request has the wrong length: {owed:?}"
        );
        match owed.kind {
            OwedKind::Read { .. } if self.structured && data.is_empty() => {
                self.chunk(owed.cookie, chunk::NONE, 0);
            }
            OwedKind::Read { .. } if self.structured => {
                self.chunk(owed.cookie, chunk::OFFSET_DATA, expected + 8);
                self.arena.put_u64(owed.offset);
            }
            OwedKind::Read { .. } | OwedKind::Plain { .. } => self.simple(owed.cookie, 0),
        }
        if !data.is_empty() {
            self.flush_arena();
            self.out.push_payload(data);
        }
    }

    fn simple(&mut self, cookie: u64, error: u32) {
        self.reserve(16);
        self.arena.put_u32(SIMPLE_REPLY_MAGIC);
        self.arena.put_u32(error);
        self.arena.put_u64(cookie);
    }

    /// The header of the only chunk of a reply.
    fn chunk(&mut self, cookie: u64, kind: u16, length: u32) {
        self.reserve(28);
        self.arena.put_u32(STRUCTURED_REPLY_MAGIC);
        self.arena.put_u16(REPLY_FLAG_DONE);
        self.arena.put_u16(kind);
        self.arena.put_u64(cookie);
        self.arena.put_u32(length);
    }

    fn structured_failure(&mut self, owed: &Owed, failure: &RequestFailure) {
        let errno = errno_for(owed, failure.errno);
        let text = &failure.text;
        let (text, _) = text.split_at(text.floor_char_boundary(NBD_STRING_MAX));
        let text_len = u16::try_from(text.len()).expect("cut to NBD_STRING_MAX");
        // An offset outside the request would make the client drop the connection.
        let inside = |at: &u64| {
            at.checked_sub(owed.offset)
                .is_some_and(|at| at < owed.length.into())
        };
        let offset = failure.offset.filter(inside);
        let fixed = 6 + u32::from(text_len);
        match offset {
            Some(_) => self.chunk(owed.cookie, chunk::ERROR_OFFSET, fixed + 8),
            None => self.chunk(owed.cookie, chunk::ERROR, fixed),
        }
        self.arena.put_u32(errno.wire());
        self.arena.put_u16(text_len);
        self.arena.put_slice(text.as_bytes());
        if let Some(offset) = offset {
            self.arena.put_u64(offset);
        }
    }

    fn reserve(&mut self, header: usize) {
        if self.arena.capacity() - self.arena.len() < header {
            self.arena.reserve(ARENA_BLOCK);
        }
    }

    fn flush_arena(&mut self) {
        if !self.arena.is_empty() {
            self.out.push(self.arena.split().freeze());
        }
    }
}

/// Two numbers mean something special to clients (proto.md, "Error values"); elsewhere they are EINVAL.
fn errno_for(owed: &Owed, errno: IoErrno) -> IoErrno {
    let asked_for = match errno {
        IoErrno::NotSup => owed.kind == OwedKind::Plain { fast_zero: true },
        IoErrno::Overflow => owed.kind == OwedKind::Read { unfragmented: true },
        IoErrno::Perm
        | IoErrno::Io
        | IoErrno::NoMem
        | IoErrno::Inval
        | IoErrno::NoSpc
        | IoErrno::Shutdown => true,
    };
    if asked_for { errno } else { IoErrno::Inval }
}
