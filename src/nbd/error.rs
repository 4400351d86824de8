//! How a client's connection, or one of its requests, fails.

use std::borrow::Cow;

use crate::errno::IoErrno;
use crate::limits;

/// Why a handshake ended without an export; the socket is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The client set flags that we did not offer (proto.md: the server must drop the connection).
    #[error("client sent unknown handshake flags {flags:#x}; is it an NBD client?")]
    UnknownClientFlags {
        /// All flags that it sent.
        flags: u32,
    },
    /// What should be an option does not begin like one.
    #[error("option begins with {magic:#018x} instead of IHAVEOPT")]
    BadOptionMagic {
        /// What stood there.
        magic: u64,
    },
    /// An option is longer than we read.
    #[error(
        "option {option} is {length} bytes long, at most {} are read",
        limits::NBD_OPTION_MAX
    )]
    OptionTooLong {
        /// Its number.
        option: u32,
        /// Its announced length.
        length: u32,
    },
    /// More options than any client needs.
    #[error("more than {} options", limits::NBD_OPTIONS_MAX)]
    TooManyOptions,
    /// Without fixed newstyle, only `NBD_OPT_EXPORT_NAME` has a defined answer.
    #[error("option {option} from a client that does not speak fixed newstyle")]
    NotFixedNewstyle {
        /// Its number.
        option: u32,
    },
    /// `NBD_OPT_EXPORT_NAME` knows no error reply, only closing.
    #[error("client asked for an export that does not exist: {name:?}")]
    UnknownExport {
        /// What it asked for, cut to a printable length.
        name: String,
    },
    /// The client was too slow.
    #[error("handshake not finished within {} s", limits::NBD_HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
}

/// Why transmission cannot go on; the socket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// What should be a request does not begin like one: the stream is out of step.
    #[error("request begins with {magic:#010x} instead of the NBD request magic")]
    BadRequestMagic {
        /// What stood there.
        magic: u32,
    },
    /// A write so large that its payload is not even skipped.
    #[error("write of {length} bytes, at most {limit} are skipped")]
    PayloadTooLarge {
        /// Its announced length.
        length: u32,
        /// The bound.
        limit: u32,
    },
}

/// Why one request fails, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFailure {
    /// The error number.
    pub errno: IoErrno,
    /// Byte of the export where it happened, where that is known; told to clients with structured replies.
    pub offset: Option<u64>,
    /// For people; told to clients with structured replies. Empty if there is nothing to say.
    pub text: Cow<'static, str>,
}

impl RequestFailure {
    /// A failure with an explanation.
    #[must_use]
    pub fn new(errno: IoErrno, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self {
            errno,
            offset: None,
            text,
        }
    }

    /// The same failure, at this byte of the export.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }
}

impl From<IoErrno> for RequestFailure {
    fn from(errno: IoErrno) -> Self {
        Self::new(errno, "")
    }
}
