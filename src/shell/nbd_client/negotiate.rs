//! Connecting and the fixed newstyle handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::wire::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, IHAVEOPT, INFO_BLOCK_SIZE, INFO_EXPORT, NBDMAGIC,
    OPT_ABORT, OPT_GO, OPT_STRUCTURED_REPLY, OPTION_REPLY_MAGIC, REP_ACK, REP_ERROR_BIT, REP_INFO,
    option,
};
use super::{Address, ClientConfig, ConnectError};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest option reply that is read.
const OPTION_REPLY_MAX: u32 = 64 << 10;

/// What the server said of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Size in bytes.
    pub size: u64,
    /// Transmission flags.
    pub flags: u16,
    /// Smallest request and alignment, in bytes; 1 if the server did not say.
    pub block_size_min: u32,
    /// Best alignment; 4096 if the server did not say.
    pub block_size_preferred: u32,
    /// Largest payload; 32 MiB if the server did not say.
    pub payload_max: u32,
    /// Whether replies may be structured.
    pub structured_replies: bool,
}

impl Export {
    /// Whether writes are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether FLUSH is offered.
    #[must_use]
    pub fn can_flush(&self) -> bool {
        self.flags & 4 != 0
    }

    /// Whether FUA is offered.
    #[must_use]
    pub fn can_fua(&self) -> bool {
        self.flags & 8 != 0
    }

    /// Whether TRIM is offered.
    #[must_use]
    pub fn can_trim(&self) -> bool {
        self.flags & 32 != 0
    }

    /// Whether WRITE ZEROES is offered.
    #[must_use]
    pub fn can_write_zeroes(&self) -> bool {
        self.flags & 64 != 0
    }

    /// Whether several connections see one device.
    #[must_use]
    pub fn can_multi_conn(&self) -> bool {
        self.flags & 256 != 0
    }
}

/// A connected socket of either family.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

macro_rules! either {
    ($self:ident, $stream:ident => $do:expr) => {
        match $self.get_mut() {
            Self::Unix($stream) => $do,
            Self::Tcp($stream) => $do,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

pub(super) async fn connect(config: &ClientConfig) -> Result<(Stream, Export), ConnectError> {
    let socket = |source| ConnectError::Socket {
        address: config.address.clone(),
        source,
    };
    let whole = async {
        let mut stream = match &config.address {
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await.map_err(socket)?),
            Address::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await.map_err(socket)?;
                stream.set_nodelay(true).map_err(socket)?;
                Stream::Tcp(stream)
            }
        };
        let mut handshake = Handshake {
            stream: &mut stream,
            config,
        };
        let export = handshake.run().await?;
        Ok((stream, export))
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, whole).await {
        Ok(result) => result,
        Err(_) => Err(socket(io::ErrorKind::TimedOut.into())),
    }
}

struct Handshake<'a> {
    stream: &'a mut Stream,
    config: &'a ClientConfig,
}

impl Handshake<'_> {
    async fn run(&mut self) -> Result<Export, ConnectError> {
        let mut hello = self.read(18).await?;
        let magics = (hello.get_u64(), hello.get_u64());
        let flags = hello.get_u16();
        if magics != (NBDMAGIC, IHAVEOPT) || flags & FLAG_FIXED_NEWSTYLE == 0 {
            return Err(ConnectError::NotNbd);
        }
        let answer = u32::from(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES));
        self.write(&answer.to_be_bytes()).await?;
        let structured_replies =
            self.config.structured_replies && self.structured_replies().await?;
        self.go(structured_replies).await
    }

    async fn structured_replies(&mut self) -> Result<bool, ConnectError> {
        self.write(&option(OPT_STRUCTURED_REPLY, &[])).await?;
        let (kind, _) = self.option_reply(OPT_STRUCTURED_REPLY).await?;
        Ok(kind == REP_ACK)
    }

    async fn go(&mut self, structured_replies: bool) -> Result<Export, ConnectError> {
        let mut request = BytesMut::new();
        let name = self.config.export.as_bytes();
        request.put_u32(u32::try_from(name.len()).unwrap_or(u32::MAX));
        request.put_slice(name);
        request.put_u16(1);
        request.put_u16(INFO_BLOCK_SIZE);
        self.write(&option(OPT_GO, &request)).await?;
        let mut export = Export {
            size: 0,
            flags: 0,
            block_size_min: 1,
            block_size_preferred: 4096,
            payload_max: 32 << 20,
            structured_replies,
        };
        let mut described = false;
        loop {
            let (kind, mut data) = self.option_reply(OPT_GO).await?;
            match kind {
                REP_ACK if described => return Ok(export),
                REP_ACK => {
                    return Err(ConnectError::Nonsense(
                        "GO acknowledged without INFO_EXPORT",
                    ));
                }
                REP_INFO if data.len() >= 2 => match (data.get_u16(), data.len()) {
                    (INFO_EXPORT, 10) => {
                        export.size = data.get_u64();
                        export.flags = data.get_u16();
                        described = true;
                    }
                    (INFO_BLOCK_SIZE, 12) => {
                        export.block_size_min = data.get_u32();
                        export.block_size_preferred = data.get_u32();
                        export.payload_max = data.get_u32();
                    }
                    (INFO_EXPORT | INFO_BLOCK_SIZE, _) => {
                        return Err(ConnectError::Nonsense("an information of wrong length"));
                    }
                    _ => {}
                },
                error if error & REP_ERROR_BIT != 0 => {
                    let message = String::from_utf8_lossy(&data).into_owned();
                    // The server may close without an answer; the refusal is what matters.
                    let _ = self.write(&option(OPT_ABORT, &[])).await;
                    return Err(ConnectError::Refused {
                        option: OPT_GO,
                        error,
                        message,
                    });
                }
                _ => return Err(ConnectError::Nonsense("an unexpected reply to GO")),
            }
        }
    }

    async fn option_reply(&mut self, to: u32) -> Result<(u32, Bytes), ConnectError> {
        let mut head = self.read(20).await?;
        if head.get_u64() != OPTION_REPLY_MAGIC || head.get_u32() != to {
            return Err(ConnectError::Nonsense("a reply to another option"));
        }
        let kind = head.get_u32();
        let length = head.get_u32();
        if length > OPTION_REPLY_MAX {
            return Err(ConnectError::Nonsense("an option reply without end"));
        }
        let data = self.read(length as usize).await?;
        Ok((kind, data))
    }

    async fn read(&mut self, length: usize) -> Result<Bytes, ConnectError> {
        let mut bytes = vec![0; length];
        let read = self.stream.read_exact(&mut bytes).await;
        read.map_err(|source| self.broken(source))?;
        Ok(bytes.into())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let wrote = self.stream.write_all(bytes).await;
        wrote.map_err(|source| self.broken(source))
    }

    fn broken(&self, source: io::Error) -> ConnectError {
        ConnectError::Socket {
            address: self.config.address.clone(),
            source,
        }
    }
}
