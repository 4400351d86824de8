//! Fixed newstyle negotiation (proto.md, "Handshake").
//!
//! The server greets, the client answers with its flags, then sends options, each answered before the
//! next is read, until one of them ends the handshake: `GO` or `EXPORT_NAME` with an export, `ABORT`
//! without. Unknown options are answered `ERR_UNSUP` and skipped, so that newer clients fall back.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tracing::trace;

use super::error::HandshakeError;
use super::export::ExportInfo;
use super::info::{InfoRequest, OptionReplies, Refusal, export_name};
use super::wire::{INIT_MAGIC, OPTION_MAGIC, handshake_flag, option, option_reply};
use crate::deadline::Deadline;
use crate::limits::{NBD_HANDSHAKE_TIMEOUT, NBD_OPTION_MAX, NBD_OPTIONS_MAX, NBD_STRING_MAX};
use crate::out_queue::OutQueue;

/// Bytes of an option before its data: magic, number, length.
const OPTION_HEADER_LEN: usize = 16;

/// Reserved bytes after the answer to `EXPORT_NAME`, unless the client renounced them.
const EXPORT_NAME_ZEROES: usize = 124;

/// How a handshake ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// Transmission begins with the next byte of the input.
    Ready {
        /// The export, as the client was told about it.
        export: ExportInfo,
        /// The client wants structured replies.
        structured_replies: bool,
    },
    /// The client was only asking; after the output is written, the socket is to be closed.
    Aborted,
}

/// What the next bytes of the client are.
#[derive(Clone, Copy, Debug)]
enum Stage {
    ClientFlags,
    Options { fixed: bool, no_zeroes: bool },
    Ended,
}

/// One client's negotiation.
///
/// Driver contract: write [`Self::outgoing`]; after reading, call [`Self::handle_bytes`], write the output
/// and ask [`Self::poll_outcome`]; at [`Self::poll_timeout`], call [`Self::handle_timeout`]. After an error,
/// close the socket. After an outcome, write the output before the socket is used for anything else; what is
/// left in the input belongs to transmission.
#[derive(Debug)]
pub struct Handshake {
    exports: Arc<Vec<ExportInfo>>,
    deadline: Instant,
    stage: Stage,
    options: u32,
    structured_replies: bool,
    out: OutQueue,
    outcome: Option<HandshakeOutcome>,
}

impl Handshake {
    /// A negotiation over these exports, its greeting queued.
    ///
    /// # Panics
    /// If a name or description is longer than [`NBD_STRING_MAX`].
    #[must_use]
    pub fn new(now: Instant, exports: Arc<Vec<ExportInfo>>) -> Self {
        let short = |text: &str| text.len() <= NBD_STRING_MAX;
        assert!(
            exports
                .iter()
                .all(|export| short(&export.name) && short(&export.description)),
            "an export's name or description is longer than NBD allows"
        );
        let mut greeting = BytesMut::with_capacity(18);
        greeting.put_u64(INIT_MAGIC);
        greeting.put_u64(OPTION_MAGIC);
        greeting.put_u16(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        let mut out = OutQueue::new();
        out.push(greeting.freeze());
        Self {
            exports,
            deadline: now + NBD_HANDSHAKE_TIMEOUT,
            stage: Stage::ClientFlags,
            options: 0,
            structured_replies: false,
            out,
            outcome: None,
        }
    }

    /// Consumes what is complete and leaves the rest, at most [`Self::INPUT_MAX`] bytes.
    ///
    /// # Errors
    /// When the client is to be dropped.
    pub fn handle_bytes(&mut self, input: &mut BytesMut) -> Result<(), HandshakeError> {
        loop {
            match self.stage {
                Stage::ClientFlags => {
                    let Ok(flags) = input.as_ref().try_get_u32() else {
                        return Ok(());
                    };
                    input.advance(size_of::<u32>());
                    self.on_client_flags(flags)?;
                }
                Stage::Options { fixed, no_zeroes } => {
                    let Some((kind, data)) = self.next_option(input)? else {
                        return Ok(());
                    };
                    if kind == option::EXPORT_NAME {
                        self.on_export_name(&data, no_zeroes)?;
                    } else if fixed {
                        self.on_option(kind, data);
                    } else {
                        return Err(HandshakeError::NotFixedNewstyle { option: kind });
                    }
                }
                Stage::Ended => return Ok(()),
            }
        }
    }

    /// Input that may have to be kept between calls of [`Self::handle_bytes`].
    pub const INPUT_MAX: usize = OPTION_HEADER_LEN + NBD_OPTION_MAX as usize;

    /// # Errors
    /// When the client took too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), HandshakeError> {
        if self.is_over() || now < self.deadline {
            return Ok(());
        }
        self.stage = Stage::Ended;
        self.outcome = None;
        Err(HandshakeError::TimedOut)
    }

    /// When the client's time is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        (!self.is_over()).then(|| Deadline::new(self.deadline, "NBD handshake"))
    }

    /// What is to be written to the client.
    pub fn outgoing(&mut self) -> &mut OutQueue {
        &mut self.out
    }

    /// How the handshake ended, once.
    #[must_use]
    pub fn poll_outcome(&mut self) -> Option<HandshakeOutcome> {
        self.outcome.take()
    }

    /// Whether the outcome was taken, before which the client has to take the last answers.
    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended) && self.outcome.is_none()
    }

    fn on_client_flags(&mut self, flags: u32) -> Result<(), HandshakeError> {
        let has = |flag: u16| flags & u32::from(flag) != 0;
        let known = u32::from(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        if flags & !known != 0 {
            return Err(HandshakeError::UnknownClientFlags { flags });
        }
        self.stage = Stage::Options {
            fixed: has(handshake_flag::FIXED_NEWSTYLE),
            no_zeroes: has(handshake_flag::NO_ZEROES),
        };
        Ok(())
    }

    /// The next option with its data, once it is there entirely.
    fn next_option(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<(u32, Bytes)>, HandshakeError> {
        let Some(header) = input.first_chunk::<OPTION_HEADER_LEN>() else {
            return Ok(None);
        };
        let mut header = header.as_slice();
        let (magic, kind, length) = (header.get_u64(), header.get_u32(), header.get_u32());
        if magic != OPTION_MAGIC {
            return Err(HandshakeError::BadOptionMagic { magic });
        }
        if length > NBD_OPTION_MAX {
            let option = kind;
            return Err(HandshakeError::OptionTooLong { option, length });
        }
        if self.options == NBD_OPTIONS_MAX {
            return Err(HandshakeError::TooManyOptions);
        }
        let whole = OPTION_HEADER_LEN + length as usize;
        if input.len() < whole {
            return Ok(None);
        }
        self.options += 1;
        trace!(option = kind, length, "NBD option");
        let mut unit = input.split_to(whole).freeze();
        Ok(Some((kind, unit.split_off(OPTION_HEADER_LEN))))
    }

    /// An option to which there is a reply.
    fn on_option(&mut self, kind: u32, data: Bytes) {
        let mut buffer = BytesMut::new();
        let mut replies = OptionReplies::new(&mut buffer, kind);
        let result = match kind {
            option::ABORT => {
                self.end(HandshakeOutcome::Aborted);
                Ok(())
            }
            option::LIST if data.is_empty() => {
                self.exports
                    .iter()
                    .for_each(|export| replies.server(export));
                Ok(())
            }
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.structured_replies = true;
                Ok(())
            }
            option::LIST | option::STRUCTURED_REPLY => {
                Err(Refusal::invalid("this option carries no data"))
            }
            option::INFO | option::GO => self.on_info(kind, data, &mut replies),
            _ => Err(Refusal {
                kind: option_reply::ERR_UNSUP,
                text: "option is not supported by this server",
            }),
        };
        match result {
            Ok(()) => replies.ack(),
            Err(refusal) => replies.refuse(&refusal),
        }
        self.out.push(buffer.freeze());
    }

    fn on_info(
        &mut self,
        kind: u32,
        data: Bytes,
        replies: &mut OptionReplies<'_>,
    ) -> Result<(), Refusal> {
        let request = InfoRequest::parse(data)?;
        let Some(export) = self.find(&request.name).cloned() else {
            return Err(Refusal {
                kind: option_reply::ERR_UNKNOWN,
                text: "there is no export of this name",
            });
        };
        let flags = export.transmission_flags(self.structured_replies);
        replies.export(&export, &request, flags);
        if kind == option::GO {
            self.enter(export);
        }
        Ok(())
    }

    fn on_export_name(&mut self, data: &[u8], no_zeroes: bool) -> Result<(), HandshakeError> {
        let export = export_name(data).ok().and_then(|name| self.find(name));
        let Some(export) = export.cloned() else {
            let name = String::from_utf8_lossy(data).chars().take(64).collect();
            return Err(HandshakeError::UnknownExport { name });
        };
        let mut answer = BytesMut::with_capacity(10 + EXPORT_NAME_ZEROES);
        answer.put_u64(export.size);
        answer.put_u16(export.transmission_flags(self.structured_replies));
        if !no_zeroes {
            answer.put_bytes(0, EXPORT_NAME_ZEROES);
        }
        self.out.push(answer.freeze());
        self.enter(export);
        Ok(())
    }

    /// The export of that name; the empty name is the only export where there is exactly one.
    fn find(&self, name: &str) -> Option<&ExportInfo> {
        let default = match self.exports.as_slice() {
            [only] if name.is_empty() => Some(only),
            _ => None,
        };
        let named = self.exports.iter().find(|export| export.name == name);
        named.or(default)
    }

    fn enter(&mut self, export: ExportInfo) {
        let structured_replies = self.structured_replies;
        self.end(HandshakeOutcome::Ready {
            export,
            structured_replies,
        });
    }

    fn end(&mut self, outcome: HandshakeOutcome) {
        self.stage = Stage::Ended;
        self.outcome = Some(outcome);
    }
}

#[cfg(test)]
mod tests;
