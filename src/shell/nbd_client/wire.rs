//! The NBD wire format as this client speaks it (NBD protocol document, "Protocol phases").
//!
//! Written independently of the daemon's server: a common error of both would be invisible.

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
pub(super) const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;

pub(super) const FLAG_FIXED_NEWSTYLE: u16 = 1;
pub(super) const FLAG_NO_ZEROES: u16 = 2;

pub(super) const OPT_ABORT: u32 = 2;
pub(super) const OPT_GO: u32 = 7;
pub(super) const OPT_STRUCTURED_REPLY: u32 = 8;

pub(super) const REP_ACK: u32 = 1;
pub(super) const REP_INFO: u32 = 3;
pub(super) const REP_ERROR_BIT: u32 = 1 << 31;

pub(super) const INFO_EXPORT: u16 = 0;
pub(super) const INFO_BLOCK_SIZE: u16 = 3;

/// Answer when it is durable.
pub const CMD_FLAG_FUA: u16 = 1;
/// Zeroes are to be allocated.
pub const CMD_FLAG_NO_HOLE: u16 = 2;

const CHUNK_FLAG_DONE: u16 = 1;
const CHUNK_NONE: u16 = 0;
const CHUNK_OFFSET_DATA: u16 = 1;
const CHUNK_OFFSET_HOLE: u16 = 2;
const CHUNK_ERROR_BIT: u16 = 1 << 15;

/// The longest chunk or reply that is believed.
const LENGTH_MAX: u32 = 64 << 20;

/// The kinds of request, with their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "the protocol's names")]
pub enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 6,
}

impl Command {
    fn code(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::Trim => 4,
            Self::WriteZeroes => 6,
        }
    }
}

/// A request's header.
#[must_use]
pub fn request(command: Command, flags: u16, cookie: u64, offset: u64, length: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(28);
    out.put_u32(REQUEST_MAGIC);
    out.put_u16(flags);
    out.put_u16(command.code());
    out.put_u64(cookie);
    out.put_u64(offset);
    out.put_u32(length);
    out.freeze()
}

pub(super) fn option(option: u32, data: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(16 + data.len());
    out.put_u64(IHAVEOPT);
    out.put_u32(option);
    out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    out.put_slice(data);
    out
}

/// What the server broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A reply begins with an unknown magic.
    #[error("a reply begins with {0:#010x}")]
    Magic(u32),
    /// A reply to a request that is not outstanding.
    #[error("a reply to cookie {0}, which is not outstanding")]
    Cookie(u64),
    /// A length beyond all reason.
    #[error("a reply of {0} bytes")]
    Length(u32),
    /// A chunk of an unknown kind, or one that contradicts itself.
    #[error("a malformed chunk of kind {0}")]
    Chunk(u16),
    /// Data outside the range that was asked for, twice, or missing.
    #[error("the data of a read reply does not cover the request exactly once")]
    Coverage,
}

/// One reply or chunk, complete.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole answer.
    Simple {
        /// Of the request.
        cookie: u64,
        /// NBD errno, 0 for none.
        error: u32,
        /// Of a read that succeeded.
        data: Bytes,
    },
    /// A part of a structured answer.
    Chunk {
        /// Of the request.
        cookie: u64,
        /// The last one.
        done: bool,
        /// What it says.
        body: Body,
    },
}

/// What a chunk says.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the protocol's names")]
pub enum Body {
    None,
    Data { offset: u64, data: Bytes },
    Hole { offset: u64, length: u32 },
    Error(u32),
}

/// Takes the next complete reply off `input`. `read_len` tells how much data a simple reply to a
/// cookie carries: `None` if the cookie is unknown.
///
/// # Errors
/// What the server broke.
pub fn parse_reply(
    input: &mut BytesMut,
    read_len: impl Fn(u64) -> Option<u32>,
) -> Result<Option<Reply>, WireError> {
    let mut head = input.as_ref();
    if head.remaining() < 16 {
        return Ok(None);
    }
    match head.get_u32() {
        SIMPLE_REPLY_MAGIC => {
            let error = head.get_u32();
            let cookie = head.get_u64();
            let expected = read_len(cookie).ok_or(WireError::Cookie(cookie))?;
            let data_len = if error == 0 { expected as usize } else { 0 };
            if head.remaining() < data_len {
                input.reserve(data_len - head.remaining());
                return Ok(None);
            }
            input.advance(16);
            let data = input.split_to(data_len).freeze();
            Ok(Some(Reply::Simple {
                cookie,
                error,
                data,
            }))
        }
        CHUNK_MAGIC => parse_chunk(input),
        other => Err(WireError::Magic(other)),
    }
}

fn parse_chunk(input: &mut BytesMut) -> Result<Option<Reply>, WireError> {
    let mut head = input.as_ref();
    if head.remaining() < 20 {
        return Ok(None);
    }
    head.advance(4);
    let done = head.get_u16() & CHUNK_FLAG_DONE != 0;
    let kind = head.get_u16();
    let cookie = head.get_u64();
    let length = head.get_u32();
    if length > LENGTH_MAX {
        return Err(WireError::Length(length));
    }
    if head.remaining() < length as usize {
        input.reserve(length as usize - head.remaining());
        return Ok(None);
    }
    input.advance(20);
    let mut data = input.split_to(length as usize).freeze();
    let body = match kind {
        CHUNK_NONE if data.is_empty() && done => Body::None,
        CHUNK_OFFSET_DATA if data.len() > 8 => Body::Data {
            offset: data.get_u64(),
            data,
        },
        CHUNK_OFFSET_HOLE if data.len() == 12 => Body::Hole {
            offset: data.get_u64(),
            length: data.get_u32(),
        },
        kind if kind & CHUNK_ERROR_BIT != 0 && data.len() >= 6 => Body::Error(data.get_u32()),
        kind => return Err(WireError::Chunk(kind)),
    };
    Ok(Some(Reply::Chunk { cookie, done, body }))
}
