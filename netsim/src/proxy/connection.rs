//! One proxied connection: two pumps, one per direction, each over a pipe of the link model.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::Network;
use super::statistics::{Shared, SharedDirection};
use crate::clock;
use crate::link::{Conditions, Counters, Delivery, End, Held, Hole, Link, Pipe};

/// Room for one read; large, because one read and one write per piece is what the proxy costs.
const READ_LEN: usize = 256 << 10;
/// A new buffer is taken when less than this is left.
const READ_LEN_MIN: usize = 32 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection that was accepted inside a hole looks whether its client is still there.
const CLIENT_CHECK: Duration = Duration::from_millis(100);
/// A reset that follows released bytes waits so long, or our kernel would throw them away unsent.
const RESET_GRACE: Duration = Duration::from_millis(50);
/// How long a connection cut with FIN is drained, so that unread bytes do not turn FIN into RST.
const FIN_DRAIN: Duration = Duration::from_secs(2);

pub(super) struct Carrier {
    pub(super) to: String,
    pub(super) network: watch::Receiver<Network>,
    pub(super) statistics: Arc<Shared>,
}

/// The connection is over, abruptly.
struct Aborted;

/// How a connection that was carried is over.
enum Over {
    Ended,
    Aborted,
    Cut(End),
    HalfOpen,
}

enum Unreached {
    Failed,
    Cut(End),
}

impl Carrier {
    /// Carries one accepted connection to its end. Unless both sides ended it with FIN, dropping
    /// the future resets it.
    pub(super) async fn carry(self, client: TcpStream, link: Link) {
        close_with_reset(&client, true);
        let (cuts, halved) = {
            let network = self.network.borrow();
            (network.cuts, network.halved)
        };
        let (mut network, mut middlebox) = (self.network.clone(), self.network.clone());
        let mut server = match self.reach_target(&client, cuts).await {
            Ok(server) => server,
            Err(Unreached::Failed) => return self.statistics.reset(),
            Err(Unreached::Cut(end)) => {
                self.statistics.cut();
                return finish(client, end).await;
            }
        };
        let mut client = client;
        let over = tokio::select! { biased;
            end = cut_after(&mut network, cuts) => Over::Cut(end),
            _ = middlebox.wait_for(|network| network.halved > halved) => Over::HalfOpen,
            ended = self.pump_both(&mut client, &mut server, link) => match ended {
                Ok(()) => Over::Ended,
                Err(Aborted) => Over::Aborted,
            },
        };
        match over {
            Over::Ended => {
                self.statistics.closed();
                close_with_reset(&client, false);
                close_with_reset(&server, false);
            }
            Over::Aborted => self.statistics.reset(),
            Over::HalfOpen => {
                self.statistics.cut();
                drop(client);
                tokio::select! { biased;
                    _ = cut_after(&mut network, cuts) => {}
                    () = swallow(&mut server) => {}
                }
            }
            Over::Cut(end) => {
                self.statistics.cut();
                tokio::join!(finish(client, end), finish(server, end));
            }
        }
    }

    /// Connects to the target, once no hole is in the way. A client that left meanwhile is never
    /// connected: its SYN was lost.
    async fn reach_target(&self, client: &TcpStream, cuts: u64) -> Result<TcpStream, Unreached> {
        let mut network = self.network.clone();
        loop {
            let holed = {
                let network = network.borrow_and_update();
                if network.cuts > cuts {
                    return Err(Unreached::Cut(network.cut_with.unwrap_or(End::Reset)));
                }
                network.path.to_target.hole == Hole::All
                    || network.path.to_initiator.hole == Hole::All
            };
            if is_gone(client).await {
                return Err(Unreached::Failed);
            }
            if !holed {
                break;
            }
            tokio::select! { biased;
                changed = network.changed() => changed.map_err(|_| Unreached::Failed)?,
                () = tokio::time::sleep(CLIENT_CHECK) => {}
            }
        }
        // Not interrupted by a cut: the target may have accepted already, and is to see the cut.
        match tokio::time::timeout(CONNECT_TIMEOUT, connect(&self.to)).await {
            Ok(Ok(server)) => Ok(server),
            Ok(Err(error)) => {
                tracing::debug!(to = self.to, %error, "target cannot be reached");
                Err(Unreached::Failed)
            }
            Err(_) => Err(Unreached::Failed),
        }
    }

    async fn pump_both(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        link: Link,
    ) -> Result<(), Aborted> {
        let (to_target, to_initiator) = link.into_pipes();
        for stream in [&*client, &*server] {
            stream.set_nodelay(true).map_err(|_| Aborted)?;
        }
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let (client_end, server_end) = (Peer::default(), Peer::default());
        let up = Pump {
            statistics: &self.statistics.to_target,
            conditions: |network| &network.path.to_target,
            back: |network| &network.path.to_initiator,
            ..Pump::new(
                (client_read, &client_end),
                (server_write, &server_end),
                to_target,
                self,
            )
        };
        let down = Pump {
            statistics: &self.statistics.to_initiator,
            conditions: |network| &network.path.to_initiator,
            back: |network| &network.path.to_target,
            ..Pump::new(
                (server_read, &server_end),
                (client_write, &client_end),
                to_initiator,
                self,
            )
        };
        tokio::try_join!(up.run(), down.run()).map(|_| ())
    }
}

/// What the two directions of a connection tell each other of a peer.
#[derive(Debug, Default)]
struct Peer {
    /// A write to it failed. Its reset may have come out there, so that reading it only shows an end.
    gone: AtomicBool,
    /// The end of its stream was passed on.
    ended: AtomicBool,
}

struct Pump<'a> {
    from: ReadHalf<'a>,
    source: &'a Peer,
    to: WriteHalf<'a>,
    receiver: &'a Peer,
    pipe: Pipe,
    network: watch::Receiver<Network>,
    conditions: fn(&Network) -> &Conditions,
    /// Those of the other direction.
    back: fn(&Network) -> &Conditions,
    statistics: &'a SharedDirection,
    counted: Counters,
    buffer: BytesMut,
    /// Out of the pipe and not yet taken by the socket.
    pending: Bytes,
    /// The receiver is gone; what comes is thrown away.
    deaf: bool,
    released_at: Option<Instant>,
}

enum Step {
    Changed,
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
    Due,
}

impl<'a> Pump<'a> {
    fn new(
        (from, source): (ReadHalf<'a>, &'a Peer),
        (to, receiver): (WriteHalf<'a>, &'a Peer),
        pipe: Pipe,
        carrier: &'a Carrier,
    ) -> Self {
        let mut network = carrier.network.clone();
        network.mark_changed();
        Self {
            from,
            source,
            to,
            receiver,
            pipe,
            network,
            conditions: |network| &network.path.to_target,
            back: |network| &network.path.to_initiator,
            statistics: &carrier.statistics.to_target,
            counted: Counters::default(),
            buffer: BytesMut::new(),
            pending: Bytes::new(),
            deaf: false,
            released_at: None,
        }
    }

    async fn run(mut self) -> Result<(), Aborted> {
        let ended = self.run_to_end().await;
        self.count();
        ended
    }

    async fn run_to_end(&mut self) -> Result<(), Aborted> {
        loop {
            if self.network.has_changed().map_err(|_| Aborted)? {
                self.follow_network();
            }
            if self.pending.is_empty() {
                match self.pipe.poll_deliver(clock::now()) {
                    Some(Delivery::Data(data)) if !self.deaf => self.pending = data,
                    Some(Delivery::Data(_)) => continue,
                    Some(Delivery::End(end)) => return self.end(end).await,
                    None => {}
                }
            }
            self.count();
            match self.step().await {
                Step::Changed | Step::Due => {}
                Step::Wrote(Ok(count)) => self.pending.advance(count),
                Step::Wrote(Err(_)) => self.lose_receiver()?,
                Step::Read(Ok(0)) => self.pipe.push_end(clock::now(), End::Fin),
                Step::Read(Ok(_)) => self.take_read(),
                Step::Read(Err(_)) => self.pipe.push_end(clock::now(), End::Reset),
            }
        }
    }

    async fn step(&mut self) -> Step {
        let writes = !self.pending.is_empty() && !self.pipe.is_holed();
        let wake = self.pending.is_empty().then(|| self.pipe.poll_timeout());
        // A transparent pipe is passed by, one piece at a time; only a real one fills up meanwhile.
        let reads = self.pipe.room() > 0 && !(writes && self.pipe.is_transparent());
        if reads && self.buffer.capacity() < READ_LEN_MIN {
            self.buffer.reserve(READ_LEN);
        }
        tokio::select! { biased;
            _ = self.network.changed() => {
                self.network.mark_changed();
                Step::Changed
            }
            wrote = self.to.write(&self.pending), if writes => Step::Wrote(wrote),
            () = clock::sleep_until(wake.flatten()), if wake.flatten().is_some() => Step::Due,
            read = self.from.read_buf(&mut self.buffer), if reads => Step::Read(read),
        }
    }

    fn take_read(&mut self) {
        let data = self.buffer.split().freeze();
        if self.pipe.is_transparent() && self.pending.is_empty() && !self.deaf {
            self.pipe.passed_by(data.len());
            self.pending = data;
        } else {
            self.pipe.push(clock::now(), data);
        }
    }

    fn follow_network(&mut self) {
        let now = clock::now();
        let network = self.network.borrow_and_update();
        let conditions = (self.conditions)(&network).clone();
        let held = network.path.held;
        let was_holed = self.pipe.is_holed();
        drop(network);
        self.pipe.set_conditions(now, conditions, held);
        match (was_holed, self.pipe.is_holed()) {
            (false, true) => self.statistics.add_held(self.pending.len()),
            (true, false) => {
                self.released_at = Some(now);
                if held == Held::Drop && !self.pending.is_empty() {
                    self.statistics.take_back(self.pending.len());
                    self.pending.clear();
                    self.pipe.cut(now, End::Reset);
                }
            }
            _ => {}
        }
    }

    fn lose_receiver(&mut self) -> Result<(), Aborted> {
        self.statistics.take_back(self.pending.len());
        self.pending.clear();
        self.deaf = true;
        self.receiver.gone.store(true, Ordering::Relaxed);
        let way_back = (self.back)(&self.network.borrow()).hole;
        if self.receiver.ended.load(Ordering::Relaxed) && way_back != Hole::All {
            // The other direction is over: nobody else tells the sender.
            return Err(Aborted);
        }
        Ok(())
    }

    async fn end(&mut self, end: End) -> Result<(), Aborted> {
        match end {
            End::Fin if self.source.gone.load(Ordering::Relaxed) => Err(Aborted),
            // The other direction goes on; a receiver that is gone is its business.
            End::Fin => {
                self.source.ended.store(true, Ordering::Relaxed);
                let _ = self.to.shutdown().await;
                Ok(())
            }
            End::Reset => {
                let healed = self
                    .released_at
                    .is_some_and(|at| clock::now() < at + RESET_GRACE);
                if healed {
                    tokio::time::sleep(RESET_GRACE).await;
                }
                Err(Aborted)
            }
        }
    }

    fn count(&mut self) {
        let counters = self.pipe.counters();
        self.statistics.add(self.counted, counters);
        self.counted = counters;
    }
}

/// Takes what comes until the other side ends it.
async fn swallow(stream: &mut TcpStream) {
    let mut bytes = vec![0; READ_LEN_MIN];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// Waits until the path is cut once more than `cuts` times.
async fn cut_after(network: &mut watch::Receiver<Network>, cuts: u64) -> End {
    match network.wait_for(|network| network.cuts > cuts).await {
        Ok(network) => network.cut_with.unwrap_or(End::Reset),
        Err(_) => End::Reset,
    }
}

/// Whether the peer has sent FIN or RST, even behind bytes that were not read yet.
async fn is_gone(stream: &TcpStream) -> bool {
    tokio::select! { biased;
        ready = stream.ready(Interest::READABLE) => ready.is_ok_and(|ready| ready.is_read_closed()),
        () = std::future::ready(()) => false,
    }
}

async fn connect(to: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for addr in tokio::net::lookup_host(to).await? {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        close_with_reset(&socket, true);
        match socket.connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether closing the socket sends RST (no linger time) or FIN.
fn close_with_reset(socket: &impl AsFd, reset: bool) {
    // If the socket is broken already there is nothing to send.
    let _ = SockRef::from(socket).set_linger(reset.then_some(Duration::ZERO));
}

async fn finish(mut stream: TcpStream, end: End) {
    match end {
        End::Reset => {}
        End::Fin => {
            close_with_reset(&stream, false);
            let _ = stream.shutdown().await;
            let mut nowhere = tokio::io::sink();
            let drain = tokio::io::copy(&mut stream, &mut nowhere);
            let _ = tokio::time::timeout(FIN_DRAIN, drain).await;
        }
    }
}
