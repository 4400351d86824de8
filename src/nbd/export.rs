//! What a client is told about an export.

use std::sync::Arc;

use super::wire::transmission_flag;
use crate::limits::NBD_PAYLOAD_MAX;

/// The block sizes of an export (proto.md, "Block size constraints").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    minimum: u32,
    preferred: u32,
}

impl BlockSizes {
    /// `minimum` is the logical block size: requests that are no multiple of it are refused. `preferred` is
    /// what a client should use. `None` where the protocol forbids it: both are powers of two, `minimum` is
    /// at most 64 KiB and at most `preferred`, which lies between 512 and [`NBD_PAYLOAD_MAX`].
    #[must_use]
    pub fn new(minimum: u32, preferred: u32) -> Option<Self> {
        let powers = minimum.is_power_of_two() && preferred.is_power_of_two();
        let ordered = minimum <= 1 << 16 && minimum <= preferred && preferred <= NBD_PAYLOAD_MAX;
        (powers && ordered && preferred >= 512).then_some(Self { minimum, preferred })
    }

    /// Offsets and lengths are multiples of this.
    #[must_use]
    pub fn minimum(self) -> u32 {
        self.minimum
    }

    /// The best size for small requests.
    #[must_use]
    pub fn preferred(self) -> u32 {
        self.preferred
    }

    /// The largest payload of a request.
    #[must_use]
    pub fn maximum(self) -> u32 {
        NBD_PAYLOAD_MAX
    }
}

/// What an export can do and is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportFlags {
    /// Requests that write are refused with EPERM.
    pub read_only: bool,
    /// The medium rotates: the client may want to sort its requests.
    pub rotational: bool,
    /// A flush on one connection covers what was answered on all of them.
    pub can_multi_conn: bool,
    /// Writes may ask to be durable before their reply.
    pub fua: bool,
    /// There is a volatile cache to flush, or flushing costs nothing.
    pub flush: bool,
    /// Ranges may be discarded.
    pub trim: bool,
    /// Ranges may be zeroed without sending zeroes.
    pub write_zeroes: bool,
    /// Zeroing that would be slow can be told to fail instead.
    pub fast_zero: bool,
}

/// One export as it is offered to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportInfo {
    /// Its name, at most [`crate::limits::NBD_STRING_MAX`] bytes, without NUL.
    pub name: String,
    /// For people; empty if there is nothing to say. Bounded like the name.
    pub description: String,
    /// Size in bytes, a multiple of the minimum block size.
    pub size: u64,
    /// Block sizes.
    pub block_sizes: BlockSizes,
    /// Capabilities.
    pub flags: ExportFlags,
}

impl ExportInfo {
    /// The transmission flags field (proto.md, "Transmission flags").
    pub(super) fn transmission_flags(&self, structured_replies: bool) -> u16 {
        let flags = self.flags;
        [
            (flags.read_only, transmission_flag::READ_ONLY),
            (flags.flush, transmission_flag::SEND_FLUSH),
            (flags.fua, transmission_flag::SEND_FUA),
            (flags.rotational, transmission_flag::ROTATIONAL),
            (flags.trim, transmission_flag::SEND_TRIM),
            (flags.write_zeroes, transmission_flag::SEND_WRITE_ZEROES),
            (structured_replies, transmission_flag::SEND_DF),
            (flags.can_multi_conn, transmission_flag::CAN_MULTI_CONN),
            (
                flags.write_zeroes && flags.fast_zero,
                transmission_flag::SEND_FAST_ZERO,
            ),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(transmission_flag::HAS_FLAGS, |all, (_, bit)| all | bit)
    }
}

/// Where a listener finds the exports that there are at this moment.
pub trait ExportTable: Send + Sync {
    /// The exports now. One handshake sees one snapshot from beginning to end.
    fn snapshot(&self) -> Arc<Vec<ExportInfo>>;
}

/// A table that never changes.
impl ExportTable for Arc<Vec<ExportInfo>> {
    fn snapshot(&self) -> Self {
        Self::clone(self)
    }
}
