//! The simulated target over real sockets.
//!
//! One task per connection moves bytes; the target itself is behind one lock, which no task holds
//! across an await. Output is taken out of the target before it is written, so that the lock is not
//! held during a system call.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use iiblockdaemon::out_queue::OutQueue;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{ConnectionId, Target};
use crate::clock;

const READ_LEN: usize = 256 << 10;
const READ_LEN_MIN: usize = 32 << 10;
const SLICES_MAX: usize = 64;
/// Output beyond this is written before more is read.
const OUTPUT_MAX: u64 = 8 << 20;
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

/// A running target. Dropping it resets all connections and frees the ports.
#[derive(Debug)]
pub struct TargetServer {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    timer: Notify,
}

#[derive(Debug)]
struct Inner {
    target: Target,
    wakers: BTreeMap<ConnectionId, Arc<Notify>>,
    /// When the timer task will wake up.
    armed: Option<Instant>,
}

impl TargetServer {
    /// Serves `target` on the current runtime; `listeners` are its portals, in their order.
    ///
    /// # Panics
    /// If there are not as many listeners as portals, or outside of a tokio runtime.
    ///
    /// # Errors
    /// If a listener does not tell its address.
    pub fn start(target: Target, listeners: Vec<TcpListener>) -> io::Result<Self> {
        let portals = target.config().portals.len();
        assert_eq!(portals, listeners.len(), "a listener for each portal");
        let addresses = listeners.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                target,
                wakers: BTreeMap::new(),
                armed: None,
            }),
            timer: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for (portal, listener) in listeners.into_iter().enumerate() {
            tasks.spawn(listen(Arc::clone(&shared), portal, listener));
        }
        tasks.spawn(keep_time(Arc::clone(&shared)));
        Ok(Self {
            shared,
            addresses,
            tasks,
        })
    }

    /// Where the portals listen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Looks at the target, or does something to it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Target) -> T) -> T {
        self.shared.with(act)
    }

    /// Ends the target: ports are freed and connections are reset. Gives the target back, from
    /// which another can be started; `None` if its tasks do not end.
    pub async fn stop(mut self) -> Option<Target> {
        self.tasks.shutdown().await;
        let Self { shared, .. } = self;
        let give_up = clock::now() + STOP_TIMEOUT;
        // Connections are aborted with their listener, and end when the runtime comes to them.
        while Arc::strong_count(&shared) > 1 && clock::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let inner = Arc::into_inner(shared)?.inner.into_inner();
        Some(inner.unwrap_or_else(PoisonError::into_inner).target)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on the target, then wakes whom that concerns.
    fn with<T>(&self, act: impl FnOnce(&mut Target) -> T) -> T {
        let mut inner = self.lock();
        let result = act(&mut inner.target);
        while let Some(id) = inner.target.poll_woken() {
            if let Some(waker) = inner.wakers.get(&id) {
                waker.notify_one();
            }
        }
        let due = inner.target.poll_timeout().map(|deadline| deadline.at);
        let sooner = due.is_some_and(|due| inner.armed.is_none_or(|armed| due < armed));
        if sooner {
            inner.armed = due;
            self.timer.notify_one();
        }
        result
    }
}

async fn keep_time(shared: Arc<Shared>) {
    loop {
        let due = {
            let mut inner = shared.lock();
            let due = inner.target.poll_timeout().map(|deadline| deadline.at);
            inner.armed = due;
            due
        };
        tokio::select! { biased;
            () = shared.timer.notified() => {}
            () = clock::sleep_until(due) => shared.with(|target| target.handle_timeout(clock::now())),
        }
    }
}

async fn listen(shared: Arc<Shared>, portal: usize, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! { biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(&shared), portal, stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
}

/// Takes the connection out of the tables however its task ends.
struct Registration {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let id = self.id;
        self.shared.lock().wakers.remove(&id);
        self.shared
            .with(|target| target.disconnect(clock::now(), id));
    }
}

async fn serve(shared: Arc<Shared>, portal: usize, stream: TcpStream) {
    // If either fails the connection is broken, which the first read will tell.
    let _ = stream.set_nodelay(true);
    // A process that ends, or a session that is thrown out, leaves with RST.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let waker = Arc::new(Notify::new());
    let id = shared.with(|target| target.connect(clock::now(), portal));
    shared.lock().wakers.insert(id, Arc::clone(&waker));
    let registration = Registration { shared, id };
    let cleanly = move_bytes(&registration.shared, id, &stream, &waker).await;
    if cleanly {
        let _ = SockRef::from(&stream).set_linger(None);
    }
}

/// What a connection may do now.
struct Turn {
    reads: bool,
    /// The target ended the connection; `true`: at once.
    over: Option<bool>,
}

/// Moves bytes until the connection is over; returns whether it ended cleanly.
async fn move_bytes(shared: &Shared, id: ConnectionId, stream: &TcpStream, waker: &Notify) -> bool {
    let mut out = OutQueue::new();
    let mut input = BytesMut::new();
    loop {
        let turn = {
            let mut inner = shared.lock();
            if out.is_empty()
                && let Some(queue) = inner.target.outgoing(id)
            {
                out = std::mem::take(queue);
            }
            Turn {
                reads: inner.target.wants_input(id) && out.pending() < OUTPUT_MAX,
                over: inner.target.is_over(id),
            }
        };
        match turn.over {
            Some(true) => return false,
            Some(false) if out.is_empty() => return true,
            _ => {}
        }
        if input.capacity() - input.len() < READ_LEN_MIN {
            input.reserve(READ_LEN);
        }
        tokio::select! { biased;
            wrote = write_some(stream, &mut out), if !out.is_empty() => {
                if wrote.is_err() {
                    return false;
                }
            }
            () = waker.notified() => {}
            read = read_some(stream, &mut input), if turn.reads => match read {
                Ok(0) | Err(_) => return false,
                Ok(_) => shared.with(|target| target.handle_bytes(clock::now(), id, &mut input)),
            },
        }
    }
}

async fn read_some(stream: &TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

async fn write_some(stream: &TcpStream, out: &mut OutQueue) -> io::Result<()> {
    stream.writable().await?;
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let count = out.slices(&mut slices);
    match stream.try_write_vectored(slices.get(..count).unwrap_or_default()) {
        Ok(taken) => {
            out.advance(taken);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
