//! Numbers and layouts of the NBD protocol (proto.md, "Values"). Everything is big-endian.

use bytes::Buf;

/// `NBDMAGIC`, the first eight bytes of a server.
pub(super) const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: newstyle, and before each option.
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Before each option reply.
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before each request.
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before each simple reply.
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Before each structured reply chunk.
pub(super) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags, and the client's answer to them, which has the same bits.
pub(super) mod handshake_flag {
    pub(in crate::nbd) const FIXED_NEWSTYLE: u16 = 1 << 0;
    pub(in crate::nbd) const NO_ZEROES: u16 = 1 << 1;
}

/// Options of the client.
pub(super) mod option {
    pub(in crate::nbd) const EXPORT_NAME: u32 = 1;
    pub(in crate::nbd) const ABORT: u32 = 2;
    pub(in crate::nbd) const LIST: u32 = 3;
    pub(in crate::nbd) const INFO: u32 = 6;
    pub(in crate::nbd) const GO: u32 = 7;
    pub(in crate::nbd) const STRUCTURED_REPLY: u32 = 8;
}

/// Types of option replies; errors have bit 31 set.
pub(super) mod option_reply {
    pub(in crate::nbd) const ACK: u32 = 1;
    pub(in crate::nbd) const SERVER: u32 = 2;
    pub(in crate::nbd) const INFO: u32 = 3;
    pub(in crate::nbd) const ERR_UNSUP: u32 = (1 << 31) + 1;
    pub(in crate::nbd) const ERR_INVALID: u32 = (1 << 31) + 3;
    pub(in crate::nbd) const ERR_UNKNOWN: u32 = (1 << 31) + 6;
    pub(in crate::nbd) const ERR_TOO_BIG: u32 = (1 << 31) + 9;
}

/// Kinds of `NBD_REP_INFO`.
pub(super) mod info {
    pub(in crate::nbd) const EXPORT: u16 = 0;
    pub(in crate::nbd) const NAME: u16 = 1;
    pub(in crate::nbd) const DESCRIPTION: u16 = 2;
    pub(in crate::nbd) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags of an export.
pub(super) mod transmission_flag {
    pub(in crate::nbd) const HAS_FLAGS: u16 = 1 << 0;
    pub(in crate::nbd) const READ_ONLY: u16 = 1 << 1;
    pub(in crate::nbd) const SEND_FLUSH: u16 = 1 << 2;
    pub(in crate::nbd) const SEND_FUA: u16 = 1 << 3;
    pub(in crate::nbd) const ROTATIONAL: u16 = 1 << 4;
    pub(in crate::nbd) const SEND_TRIM: u16 = 1 << 5;
    pub(in crate::nbd) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(in crate::nbd) const SEND_DF: u16 = 1 << 7;
    pub(in crate::nbd) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(in crate::nbd) const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// Types of requests.
pub(super) mod command {
    pub(in crate::nbd) const READ: u16 = 0;
    pub(in crate::nbd) const WRITE: u16 = 1;
    pub(in crate::nbd) const DISC: u16 = 2;
    pub(in crate::nbd) const FLUSH: u16 = 3;
    pub(in crate::nbd) const TRIM: u16 = 4;
    pub(in crate::nbd) const WRITE_ZEROES: u16 = 6;
}

/// Flags of requests.
pub(super) mod command_flag {
    pub(in crate::nbd) const FUA: u16 = 1 << 0;
    pub(in crate::nbd) const NO_HOLE: u16 = 1 << 1;
    pub(in crate::nbd) const DF: u16 = 1 << 2;
    pub(in crate::nbd) const FAST_ZERO: u16 = 1 << 4;
}

/// The one flag of a structured reply chunk: no more chunks for this request.
pub(super) const REPLY_FLAG_DONE: u16 = 1 << 0;

/// Types of structured reply chunks; errors have bit 15 set.
pub(super) mod chunk {
    pub(in crate::nbd) const NONE: u16 = 0;
    pub(in crate::nbd) const OFFSET_DATA: u16 = 1;
    pub(in crate::nbd) const ERROR: u16 = (1 << 15) + 1;
    pub(in crate::nbd) const ERROR_OFFSET: u16 = (1 << 15) + 2;
}

/// A request without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHeader {
    /// The first four bytes, not yet compared with [`REQUEST_MAGIC`].
    pub(super) magic: u32,
    /// Bits of [`command_flag`].
    pub(super) flags: u16,
    /// One of [`command`], or unknown.
    pub(super) kind: u16,
    /// The client's name for the request.
    pub(super) cookie: u64,
    /// First byte.
    pub(super) offset: u64,
    /// Number of bytes.
    pub(super) length: u32,
}

impl RequestHeader {
    /// Bytes of a request header.
    pub(super) const LEN: usize = 28;

    /// Reads a header; nothing is checked.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let mut rest = bytes.as_slice();
        Self {
            magic: rest.get_u32(),
            flags: rest.get_u16(),
            kind: rest.get_u16(),
            cookie: rest.get_u64(),
            offset: rest.get_u64(),
            length: rest.get_u32(),
        }
    }

    /// Bytes that follow the header: a write's data, whatever becomes of the write.
    pub(super) fn payload_len(&self) -> u32 {
        if self.kind == command::WRITE {
            self.length
        } else {
            0
        }
    }
}
