//! What a client asks for, and how much of it at a time.

use super::token::RequestToken;
use crate::limits::{NBD_BYTES_MAX, NBD_PAYLOAD_MAX, NBD_REQUESTS_MAX, NBD_SKIP_MAX};
use crate::payload::Payload;

/// What a client wants done. Ranges are non-empty, multiples of the block size and inside the export.
#[derive(Clone, Debug)]
pub enum Command {
    /// The reply carries this many bytes.
    Read {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u32,
    },
    /// Write the data.
    Write {
        /// First byte.
        offset: u64,
        /// What to write.
        data: Payload,
        /// Durable before the reply.
        fua: bool,
    },
    /// Everything answered before is made durable before the reply.
    Flush,
    /// The range's content is not needed any more.
    Trim {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u32,
        /// Durable before the reply.
        fua: bool,
    },
    /// The range reads as zeroes afterwards.
    WriteZeroes {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u32,
        /// Durable before the reply.
        fua: bool,
        /// The range may lose its space.
        may_unmap: bool,
        /// Fail with ENOTSUP at once if this would be no faster than writing zeroes.
        fast: bool,
    },
}

/// A request and the duty to answer it.
#[derive(Debug)]
pub struct Request {
    /// To be given to [`super::Connection::reply`].
    pub token: RequestToken,
    /// What is wanted.
    pub command: Command,
}

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Requests between header and end of reply; the client is not read above.
    pub requests: usize,
    /// Payload bytes of those; the client is not read above.
    pub bytes: u64,
    /// Payload of one request; EINVAL above. At most `bytes`.
    pub payload: u32,
    /// Payload of a refused write that is skipped; the connection ends above.
    pub skip: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            requests: NBD_REQUESTS_MAX,
            bytes: NBD_BYTES_MAX,
            payload: NBD_PAYLOAD_MAX,
            skip: NBD_SKIP_MAX,
        }
    }
}
