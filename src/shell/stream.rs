//! Stream sockets: TCP to portals, TCP or unix to NBD clients; tied to a runtime or on their way to
//! another one.

use std::io::{self, IoSlice};
use std::net::TcpStream as StdTcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::limits::NBD_SOCKET_BUFFER;
use crate::out_queue::OutQueue;

/// Slices of one vectored write; the kernel takes no more than 1024 (`UIO_MAXIOV`).
const SLICES_MAX: usize = 64;

/// A connected, non-blocking socket that no runtime watches.
#[derive(Debug)]
pub enum UnwatchedStream {
    /// A unix stream socket.
    Unix(StdUnixStream),
    /// A TCP connection.
    Tcp(StdTcpStream),
}

impl UnwatchedStream {
    /// Has the calling task's runtime watch it.
    ///
    /// # Errors
    /// If the runtime cannot.
    pub fn watch(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(socket) => Stream::Unix(UnixStream::from_std(socket)?),
            Self::Tcp(socket) => Stream::Tcp(TcpStream::from_std(socket)?),
        })
    }
}

/// A connected stream socket in the runtime that it was made in.
#[derive(Debug)]
pub enum Stream {
    /// A unix stream socket.
    Unix(UnixStream),
    /// A TCP connection.
    Tcp(TcpStream),
}

impl Stream {
    /// Reads once into the spare room of `input`. Ready with 0 is the end of the stream.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
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

    /// Waits until it can be read or written, as `interest` says.
    ///
    /// # Errors
    /// If the runtime is shutting down.
    pub async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        match self {
            Self::Unix(socket) => socket.ready(interest).await,
            Self::Tcp(socket) => socket.ready(interest).await,
        }
    }

    /// Reads into the spare room of `buffer` what is there now; 0 if the client closed.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; others end the connection.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.try_read_buf(buffer),
            Self::Tcp(socket) => socket.try_read_buf(buffer),
        }
    }

    /// Writes what the socket takes now, with one system call, and takes it off the queue; how many bytes.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; others end the connection.
    pub fn try_write(&self, queue: &mut OutQueue) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = queue.slices(&mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let written = match self {
            Self::Unix(socket) => socket.try_write_vectored(slices),
            Self::Tcp(socket) => socket.try_write_vectored(slices),
        }?;
        queue.advance(written);
        Ok(written)
    }

    /// Waits for bytes and reads them; 0 if the client closed.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.ready(Interest::READABLE).await?;
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Writes until the queue is empty.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write_all(&self, queue: &mut OutQueue) -> io::Result<()> {
        while !queue.is_empty() {
            self.ready(Interest::WRITABLE).await?;
            match self.try_write(queue) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes it out of its runtime, for another one.
    ///
    /// # Errors
    /// If the runtime cannot let go.
    pub fn unwatch(self) -> io::Result<UnwatchedStream> {
        Ok(match self {
            Self::Unix(socket) => UnwatchedStream::Unix(socket.into_std()?),
            Self::Tcp(socket) => UnwatchedStream::Tcp(socket.into_std()?),
        })
    }
}

fn poll_read_into<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    tokio_util::io::poll_read_buf(Pin::new(stream), context, input)
}

/// Asks the kernel for buffers that hold whole large requests: a unix socket blocks its writer early
/// otherwise. Privileged processes get them beyond the system's limit, others up to it. Of no consequence
/// where it fails.
pub fn enlarge_buffers(socket: &impl AsFd) {
    let fd = socket.as_fd();
    if setsockopt(&fd, sockopt::SndBufForce, &NBD_SOCKET_BUFFER).is_err() {
        let _ = setsockopt(&fd, sockopt::SndBuf, &NBD_SOCKET_BUFFER);
    }
    if setsockopt(&fd, sockopt::RcvBufForce, &NBD_SOCKET_BUFFER).is_err() {
        let _ = setsockopt(&fd, sockopt::RcvBuf, &NBD_SOCKET_BUFFER);
    }
}
