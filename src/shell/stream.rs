//! The sockets of a volume: TCP to portals, TCP or unix to NBD clients.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::net::{TcpStream, UnixStream};

use crate::out_queue::OutQueue;

/// Room that a read is offered; large reads need few system calls, and a buffer is given back when its last slice is.
const READ_ROOM: usize = 256 << 10;

/// Less room than this, and a new buffer is taken.
const READ_ROOM_MIN: usize = 16 << 10;

/// Slices of one vectored write (`IOV_MAX` is 1024).
const SLICES_MAX: usize = 128;

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// Reads once into `input`. Ready with 0 is the end of the stream.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if input.capacity() - input.len() < READ_ROOM_MIN {
            input.reserve(READ_ROOM);
        }
        match self {
            Self::Tcp(stream) => poll_read_into(stream, context, input),
            Self::Unix(stream) => poll_read_into(stream, context, input),
        }
    }

    /// Ready when a write may make progress.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    /// Writes what the socket takes now; at most `turns` vectored writes. `true` if something was written.
    ///
    /// # Errors
    /// The socket's.
    pub fn try_write(&self, queue: &mut OutQueue, turns: usize) -> io::Result<bool> {
        let mut wrote = false;
        for _ in 0..turns {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = queue.slices(&mut slices);
            if count == 0 {
                break;
            }
            let written = match self {
                Self::Tcp(stream) => stream.try_write_vectored(&slices[..count]),
                Self::Unix(stream) => stream.try_write_vectored(&slices[..count]),
            };
            match written {
                Ok(count) => queue.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            wrote = true;
        }
        Ok(wrote)
    }
}

fn poll_read_into<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    tokio_util::io::poll_read_buf(Pin::new(stream), context, input)
}
