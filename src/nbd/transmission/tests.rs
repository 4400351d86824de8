use bytes::{BufMut, Bytes};

use super::*;
use crate::errno::IoErrno;
use crate::nbd::export::{BlockSizes, ExportFlags};
use crate::nbd::wire::{command, command_flag};

mod commands;
mod endings;
mod payload;
mod pressure;
mod refusals;
mod streams;

const SIZE: u64 = 1 << 20;

/// Small enough to be reached.
const TINY: ConnectionLimits = ConnectionLimits {
    requests: 4,
    bytes: 64 << 10,
    payload: 32 << 10,
    skip: 48 << 10,
};

fn export() -> ExportInfo {
    ExportInfo {
        name: "disk".to_owned(),
        description: String::new(),
        size: SIZE,
        block_sizes: BlockSizes::new(512, 4096).unwrap(),
        flags: ExportFlags {
            can_multi_conn: true,
            fua: true,
            flush: true,
            trim: true,
            write_zeroes: true,
            fast_zero: true,
            ..ExportFlags::default()
        },
    }
}

fn request(kind: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(0x2560_9513);
    bytes.put_u16(flags);
    bytes.put_u16(kind);
    bytes.put_u64(cookie);
    bytes.put_u64(offset);
    bytes.put_u32(length);
    bytes
}

fn write(flags: u16, cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let length = data.len().try_into().unwrap();
    let mut bytes = request(command::WRITE, flags, cookie, offset, length);
    bytes.extend_from_slice(data);
    bytes
}

fn simple_reply(error: u32, cookie: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(0x6744_6698);
    bytes.put_u32(error);
    bytes.put_u64(cookie);
    bytes
}

/// A structured error chunk, last of its reply.
fn error_chunk(error: u32, cookie: u64, text: &str, offset: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = if offset.is_some() { 0x8002 } else { 0x8001 };
    let fixed = if offset.is_some() { 14 } else { 6 };
    bytes.put_u32(0x668e_33ef);
    bytes.put_u16(1);
    bytes.put_u16(kind);
    bytes.put_u64(cookie);
    bytes.put_u32(fixed + u32::try_from(text.len()).unwrap());
    bytes.put_u32(error);
    bytes.put_u16(text.len().try_into().unwrap());
    bytes.put_slice(text.as_bytes());
    if let Some(offset) = offset {
        bytes.put_u64(offset);
    }
    bytes
}

fn zeroes(len: usize) -> Payload {
    Bytes::from(vec![0; len]).into()
}

/// A connection with its input buffer.
struct Link {
    connection: Connection,
    input: BytesMut,
}

impl Link {
    fn with(export: &ExportInfo, structured: bool, limits: ConnectionLimits) -> Self {
        Self {
            connection: Connection::with_limits(export, structured, limits),
            input: BytesMut::new(),
        }
    }

    fn simple() -> Self {
        Self::with(&export(), false, ConnectionLimits::default())
    }

    fn structured() -> Self {
        Self::with(&export(), true, ConnectionLimits::default())
    }

    fn tiny() -> Self {
        Self::with(&export(), false, TINY)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.connection.handle_bytes(&mut self.input).unwrap();
    }

    fn next(&mut self) -> Request {
        self.connection.poll_request().expect("a request")
    }

    fn answer_next(&mut self, result: Result<Payload, RequestFailure>) {
        let token = self.next().token;
        self.connection.reply(token, result);
    }

    /// What was queued for the client; the socket takes it.
    fn output(&mut self) -> Bytes {
        self.connection.outgoing().take_all()
    }

    /// The answer to a request that never came out.
    fn refused(&mut self, bytes: &[u8]) -> Bytes {
        self.send(bytes);
        assert!(self.connection.poll_request().is_none(), "not admitted");
        self.output()
    }
}
