//! Accepting NBD clients and negotiating with them, away from the volumes.
//!
//! A client reaches its volume only when its handshake is done: a slow, silent or foreign one costs a place
//! among the handshakes for the handshake's time-out, and nothing else.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::clock;
use super::nbd_bind::{BoundListener, ListenAddress, SocketFile};
use super::stream::{Stream, UnwatchedStream, enlarge_buffers};
use crate::limits::NBD_HANDSHAKES_MAX;
use crate::nbd::{ExportInfo, ExportTable, Handshake, HandshakeError, HandshakeOutcome};

/// How long accepting rests after the system refused, typically for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Room for what a client says in a handshake; larger options grow it.
const INPUT_ROOM: usize = 4 << 10;

/// When an idle TCP client is probed first, then how often; three unanswered probes end it.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A client that is done negotiating. The next byte from it, in `leftover` or on the socket, is transmission.
#[derive(Debug)]
pub struct ReadyClient {
    /// Its socket, for the runtime that will serve it.
    pub socket: UnwatchedStream,
    /// What it sent already.
    pub leftover: BytesMut,
    /// The export as it was told about it.
    pub export: ExportInfo,
    /// It negotiated structured replies.
    pub structured_replies: bool,
    /// Who it is, for the log.
    pub peer: String,
}

/// How a negotiation failed.
#[derive(Debug, thiserror::Error)]
enum NegotiationError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("connection lost: {0}")]
    Socket(#[from] io::Error),
    #[error("client closed the connection")]
    Closed,
}

#[derive(Debug)]
enum Acceptor {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A listener at work.
#[derive(Debug)]
pub struct NbdListener {
    address: ListenAddress,
    // Goes before the acceptor: as long as we listen, nobody takes the file's place.
    file: Option<SocketFile>,
    acceptor: Acceptor,
}

impl NbdListener {
    /// Has the calling task's runtime watch a bound socket.
    ///
    /// # Errors
    /// If the runtime cannot.
    pub fn new(bound: BoundListener) -> io::Result<Self> {
        let socket = bound.socket;
        let acceptor = match bound.address {
            ListenAddress::Unix { .. } => {
                Acceptor::Unix(UnixListener::from_std(StdUnixListener::from(socket))?)
            }
            ListenAddress::Tcp(_) => {
                Acceptor::Tcp(TcpListener::from_std(StdTcpListener::from(socket))?)
            }
        };
        Ok(Self {
            address: bound.address,
            file: bound.file,
            acceptor,
        })
    }

    /// Accepts and negotiates until `stop`, or until nobody receives `clients`. Handshakes under way are
    /// dropped then.
    pub async fn run(
        self,
        exports: Arc<dyn ExportTable>,
        clients: mpsc::Sender<ReadyClient>,
        stop: CancellationToken,
    ) {
        info!(address = %self.address, "listening for NBD clients");
        let stop = stop.child_token();
        let handshakes = TaskTracker::new();
        let places = Arc::new(Semaphore::new(NBD_HANDSHAKES_MAX));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.accept().await)
            };
            let (place, (stream, peer)) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = clients.closed() => break,
                next = next => next,
            };
            let (exports, clients) = (exports.snapshot(), clients.clone());
            let task = async move {
                negotiate(stream, peer, exports, clients).await;
                drop(place);
            };
            handshakes.spawn(stop.clone().run_until_cancelled_owned(task));
        }
        drop(self.file);
        drop(self.acceptor);
        stop.cancel();
        handshakes.close();
        handshakes.wait().await;
        info!(address = %self.address, "stopped listening for NBD clients");
    }

    /// The next client and who it is. Trouble of the system is waited out.
    async fn accept(&self) -> (Stream, String) {
        let mut silent = false;
        loop {
            match self.try_accept().await {
                Ok(client) => return client,
                // That client is gone already; the next one may be fine.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if !silent => {
                    warn!(address = %self.address, %error, "cannot accept NBD clients; trying again");
                    silent = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    async fn try_accept(&self) -> io::Result<(Stream, String)> {
        Ok(match &self.acceptor {
            Acceptor::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                enlarge_buffers(&socket);
                let peer = match socket.peer_cred() {
                    Ok(who) => match who.pid() {
                        Some(pid) => format!("pid {pid} (uid {})", who.uid()),
                        None => format!("uid {}", who.uid()),
                    },
                    Err(_) => "unknown process".to_owned(),
                };
                (Stream::Unix(socket), peer)
            }
            Acceptor::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_TIME)
                    .with_interval(KEEPALIVE_INTERVAL)
                    .with_retries(KEEPALIVE_PROBES);
                let set = socket.set_nodelay(true);
                let set = set.and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keepalive));
                if let Err(error) = set {
                    debug!(%peer, %error, "NBD client left early");
                }
                (Stream::Tcp(socket), peer.to_string())
            }
        })
    }
}

async fn negotiate(
    stream: Stream,
    peer: String,
    exports: Arc<Vec<ExportInfo>>,
    clients: mpsc::Sender<ReadyClient>,
) {
    let mut handshake = Handshake::new(clock::now(), exports);
    let mut leftover = BytesMut::with_capacity(INPUT_ROOM);
    let outcome = converse(&stream, &mut handshake, &mut leftover).await;
    match outcome {
        Ok(HandshakeOutcome::Ready {
            export,
            structured_replies,
        }) => match stream.unwatch() {
            Ok(socket) => {
                debug!(
                    peer,
                    export = export.name,
                    structured_replies,
                    "NBD client is ready"
                );
                let client = ReadyClient {
                    socket,
                    leftover,
                    export,
                    structured_replies,
                    peer,
                };
                // Nobody receives any more: the client is closed with the channel.
                let _ = clients.send(client).await;
            }
            Err(error) => warn!(peer, %error, "cannot hand over an NBD client"),
        },
        Ok(HandshakeOutcome::Aborted) => debug!(peer, "NBD client only asked"),
        Err(NegotiationError::Handshake(error)) => info!(peer, %error, "NBD client refused"),
        Err(error) => debug!(peer, %error, "NBD client left during the handshake"),
    }
}

async fn converse(
    stream: &Stream,
    handshake: &mut Handshake,
    input: &mut BytesMut,
) -> Result<HandshakeOutcome, NegotiationError> {
    loop {
        let deadline = handshake.poll_timeout();
        let turn = async {
            stream.write_all(handshake.outgoing()).await?;
            if let Some(outcome) = handshake.poll_outcome() {
                return Ok(Some(outcome));
            }
            if stream.read(input).await? == 0 {
                return Err(NegotiationError::Closed);
            }
            handshake.handle_bytes(input)?;
            Ok(None)
        };
        let ended = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.at.into(), turn).await,
            None => Ok(turn.await),
        };
        match ended {
            Ok(Ok(Some(outcome))) => return Ok(outcome),
            Ok(result) => result.map(drop)?,
            Err(_elapsed) => handshake.handle_timeout(clock::now())?,
        }
    }
}

#[cfg(test)]
mod tests;
