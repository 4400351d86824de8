//! What is to be done about a request, by its header alone.
//!
//! | request | refused with |
//! | --- | --- |
//! | unknown type, unknown or undefined flag, a feature that was not advertised | EINVAL |
//! | writes on a read-only export | EPERM |
//! | payload beyond [`ConnectionLimits::payload`] | EINVAL |
//! | offset or length no multiple of the minimum block size | EINVAL |
//! | READ or TRIM beyond the end | EINVAL |
//! | WRITE or WRITE_ZEROES beyond the end | ENOSPC |
//!
//! In this order. What is left and has length zero succeeds without anybody being asked.

use super::error::RequestFailure;
use super::export::{ExportFlags, ExportInfo};
use super::request::ConnectionLimits;
use super::token::OwedKind;
use super::wire::{RequestHeader, command, command_flag};
use crate::errno::IoErrno;

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Hand it on.
    Admit(Admitted),
    /// Succeed at once: nothing to do.
    Nothing,
    /// Answer with this error, after its payload was skipped.
    Refuse(RequestFailure),
    /// The client leaves.
    Disconnect,
}

/// A request that may be executed; offset and length are the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Read,
    Write {
        fua: bool,
    },
    Flush,
    Trim {
        fua: bool,
    },
    WriteZeroes {
        fua: bool,
        may_unmap: bool,
        fast: bool,
    },
}

/// What a request is measured against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    size: u64,
    block_size: u32,
    flags: ExportFlags,
    structured_replies: bool,
    payload_max: u32,
}

impl Terms {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn new(
        export: &ExportInfo,
        structured_replies: bool,
        limits: ConnectionLimits,
    ) -> Self {
        Self {
            size: export.size,
            block_size: export.block_sizes.minimum(),
            flags: export.flags,
            structured_replies,
            payload_max: limits.payload,
        }
    }

    pub(super) fn decide(&self, header: &RequestHeader) -> Decision {
        if header.kind == command::DISC {
            return Decision::Disconnect;
        }
        let decided = self
            .command(header)
            .and_then(|command| self.check(header, command).map(|()| command));
        match decided {
            Err(failure) => Decision::Refuse(failure),
            Ok(Admitted::Flush) => Decision::Admit(Admitted::Flush),
            Ok(_) if header.length == 0 => Decision::Nothing,
            Ok(command) => Decision::Admit(command),
        }
    }

    /// Which command this is, if the client may use it.
    fn command(&self, header: &RequestHeader) -> Result<Admitted, RequestFailure> {
        let has = |flag: u16| header.flags & flag != 0;
        let fua = has(command_flag::FUA);
        // FUA is legal on every command where it was advertised (proto.md, "Command flags").
        let (offered, own_flags, command) = match header.kind {
            command::READ if self.structured_replies => (true, command_flag::DF, Admitted::Read),
            command::READ => (true, 0, Admitted::Read),
            command::WRITE => (true, 0, Admitted::Write { fua }),
            command::FLUSH => (self.flags.flush, 0, Admitted::Flush),
            command::TRIM => (self.flags.trim, 0, Admitted::Trim { fua }),
            command::WRITE_ZEROES => {
                let fast_zero = if self.flags.fast_zero {
                    command_flag::FAST_ZERO
                } else {
                    0
                };
                let command = Admitted::WriteZeroes {
                    fua,
                    may_unmap: !has(command_flag::NO_HOLE),
                    fast: has(command_flag::FAST_ZERO),
                };
                (
                    self.flags.write_zeroes,
                    command_flag::NO_HOLE | fast_zero,
                    command,
                )
            }
            _ => return Err(invalid("unknown command")),
        };
        let fua_flag = if self.flags.fua { command_flag::FUA } else { 0 };
        if !offered {
            return Err(invalid("this export does not offer that command"));
        }
        if header.flags & !(own_flags | fua_flag) != 0 {
            return Err(invalid("unknown command flag"));
        }
        Ok(command)
    }

    fn check(&self, header: &RequestHeader, command: Admitted) -> Result<(), RequestFailure> {
        let (payload, writes, beyond) = match command {
            Admitted::Flush => return Ok(()),
            Admitted::Read => (true, false, IoErrno::Inval),
            Admitted::Write { .. } => (true, true, IoErrno::NoSpc),
            Admitted::Trim { .. } => (false, true, IoErrno::Inval),
            Admitted::WriteZeroes { .. } => (false, true, IoErrno::NoSpc),
        };
        let length = u64::from(header.length);
        let block = u64::from(self.block_size);
        if writes && self.flags.read_only {
            return Err(RequestFailure::new(IoErrno::Perm, "export is read-only"));
        }
        if payload && header.length > self.payload_max {
            let text = format!("larger than {} bytes", self.payload_max);
            return Err(RequestFailure::new(IoErrno::Inval, text));
        }
        if !header.offset.is_multiple_of(block) || !length.is_multiple_of(block) {
            let text = format!("offset and length must be multiples of {block} bytes");
            return Err(RequestFailure::new(IoErrno::Inval, text));
        }
        let end = header.offset.checked_add(length);
        if end.is_none_or(|end| end > self.size) {
            return Err(RequestFailure::new(beyond, "beyond the end of the export"));
        }
        Ok(())
    }
}

impl Admitted {
    /// How its reply looks.
    pub(super) fn owed_kind(self, header: &RequestHeader) -> OwedKind {
        match self {
            Self::Read => OwedKind::Read {
                unfragmented: header.flags & command_flag::DF != 0,
            },
            Self::WriteZeroes { fast, .. } => OwedKind::Plain { fast_zero: fast },
            Self::Write { .. } | Self::Flush | Self::Trim { .. } => {
                OwedKind::Plain { fast_zero: false }
            }
        }
    }

    /// Bytes of payload that the request holds from its header to its reply.
    pub(super) fn held(self, header: &RequestHeader) -> u64 {
        match self {
            Self::Read | Self::Write { .. } => u64::from(header.length),
            Self::Flush | Self::Trim { .. } | Self::WriteZeroes { .. } => 0,
        }
    }
}

fn invalid(text: &'static str) -> RequestFailure {
    RequestFailure::new(IoErrno::Inval, text)
}
