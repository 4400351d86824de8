//! A RAM disk behind the real NBD listener and the real NBD connection, answering out of order.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use iiblockdaemon::errno::IoErrno;
use iiblockdaemon::nbd::{
    BlockSizes, Command, Connection, ExportFlags, ExportInfo, ExportTable, Request, RequestFailure,
    RequestToken,
};
use iiblockdaemon::payload::Payload;
use iiblockdaemon::shell::nbd_bind::{BoundListener, ListenAddress};
use iiblockdaemon::shell::nbd_listen::{NbdListener, ReadyClient};
use iiblockdaemon::shell::stream::Stream;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A byte of a sector that is bad where the offer says so.
pub(crate) const BAD_BLOCK: u64 = 8192;

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: AtomicUsize,
    pub(crate) clients_ever: AtomicUsize,
    pub(crate) structured_clients: AtomicUsize,
    pub(crate) requests: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) fua: AtomicU64,
    pub(crate) trims: AtomicU64,
    pub(crate) zeroes: AtomicU64,
    pub(crate) largest_write: AtomicU64,
    pub(crate) most_in_flight: AtomicUsize,
    /// Requests that were still out when their client went away.
    pub(crate) orphaned: AtomicU64,
}

/// A server on threads of its own; stops when dropped.
pub(crate) struct RamServer {
    pub(crate) address: ListenAddress,
    pub(crate) counters: Arc<Counters>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// What the server offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) size: u64,
    pub(crate) block_size: u32,
    pub(crate) read_only: bool,
    pub(crate) tcp: bool,
    /// Reading [`BAD_BLOCK`] is a medium error.
    pub(crate) bad_block: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            size: 64 << 20,
            block_size: 512,
            read_only: false,
            tcp: false,
            bad_block: false,
        }
    }
}

struct Disk {
    data: Vec<u8>,
    bad_block: bool,
    /// Changes with every request: how long the next one takes.
    dither: u64,
}

struct Table(Arc<Vec<ExportInfo>>);

impl ExportTable for Table {
    fn snapshot(&self) -> Arc<Vec<ExportInfo>> {
        Arc::clone(&self.0)
    }
}

fn export(offer: Offer) -> ExportInfo {
    ExportInfo {
        name: "ram".to_owned(),
        description: "a RAM disk of the tests".to_owned(),
        size: offer.size,
        block_sizes: BlockSizes::new(offer.block_size, 4096).expect("valid block sizes"),
        flags: ExportFlags {
            read_only: offer.read_only,
            rotational: false,
            can_multi_conn: true,
            fua: true,
            flush: true,
            trim: true,
            write_zeroes: true,
            fast_zero: true,
        },
    }
}

impl RamServer {
    pub(crate) fn start(offer: Offer) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = if offer.tcp {
            ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"))
        } else {
            let path = directory.path().join("nbd.sock");
            ListenAddress::Unix { path, mode: 0o600 }
        };
        let bound = BoundListener::bind(&address).expect("listens");
        let address = bound.address().clone();
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let (sender, clients) = mpsc::channel(1);
        let listening = spawn_runtime({
            let stop = stop.clone();
            move || async move {
                let table = Arc::new(Table(Arc::new(vec![export(offer)])));
                let listener = NbdListener::new(bound).expect("watched");
                listener.run(table, sender, stop).await;
            }
        });
        // Negotiated there, served here: the socket changes its runtime, as it does in the daemon.
        let serving = spawn_runtime({
            let (counters, stop) = (Arc::clone(&counters), stop.clone());
            move || serve(offer, clients, counters, stop)
        });
        Self {
            address,
            counters,
            stop,
            threads: vec![listening, serving],
            _directory: directory,
        }
    }

    /// As libnbd and qemu write it.
    pub(crate) fn uri(&self) -> String {
        match &self.address {
            ListenAddress::Unix { path, .. } => format!("nbd+unix:///?socket={}", path.display()),
            ListenAddress::Tcp(address) => format!("nbd://{address}"),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        match &self.address {
            ListenAddress::Unix { path, .. } => path.clone(),
            ListenAddress::Tcp(_) => panic!("a TCP server has no socket file"),
        }
    }
}

impl Drop for RamServer {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server panicked"
            );
        }
    }
}

fn spawn_runtime<F, Fut>(task: F) -> JoinHandle<()>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, task());
    })
}

async fn serve(
    offer: Offer,
    mut clients: mpsc::Receiver<ReadyClient>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let disk = Rc::new(RefCell::new(Disk {
        data: vec![0; usize::try_from(offer.size).expect("fits memory")],
        bad_block: offer.bad_block,
        dither: 1,
    }));
    loop {
        let client = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            client = clients.recv() => client,
        };
        let Some(client) = client else { return };
        let (disk, counters, stop) = (Rc::clone(&disk), Arc::clone(&counters), stop.clone());
        tokio::task::spawn_local(async move {
            counters.clients.fetch_add(1, Ordering::Relaxed);
            counters.clients_ever.fetch_add(1, Ordering::Relaxed);
            let structured = usize::from(client.structured_replies);
            counters
                .structured_clients
                .fetch_add(structured, Ordering::Relaxed);
            let ended = stop.run_until_cancelled(serve_client(client, disk, &counters));
            let _ = ended.await;
            counters.clients.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

type Answer = (RequestToken, Result<Payload, RequestFailure>);

async fn serve_client(
    client: ReadyClient,
    disk: Rc<RefCell<Disk>>,
    counters: &Arc<Counters>,
) -> io::Result<()> {
    let stream = client.socket.watch()?;
    let mut connection = Connection::new(&client.export, client.structured_replies);
    let mut input = client.leftover;
    let (done, mut answers) = mpsc::unbounded_channel::<Answer>();
    loop {
        if !input.is_empty() {
            connection
                .handle_bytes(&mut input)
                .map_err(io::Error::other)?;
        }
        while let Some(request) = connection.poll_request() {
            start(request, &disk, counters, done.clone());
        }
        let in_flight = connection.in_flight();
        counters
            .most_in_flight
            .fetch_max(in_flight, Ordering::Relaxed);
        let wrote = write_some(&stream, &mut connection)?;
        if connection.is_finished() {
            return Ok(());
        }
        if wrote && !input.is_empty() {
            continue;
        }
        let interest = match (connection.wants_input(), !connection.outgoing().is_empty()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        tokio::select! {
            biased;
            Some((token, result)) = answers.recv() => {
                connection.reply(token, result);
                while let Ok((token, result)) = answers.try_recv() {
                    connection.reply(token, result);
                }
            }
            ready = stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                if ready?.is_readable() && connection.wants_input() {
                    input.reserve(connection.expected_input().clamp(64 << 10, 1 << 20));
                    match stream.try_read(&mut input) {
                        Ok(0) => break,
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
    }
    let orphaned = connection.in_flight() as u64;
    counters.orphaned.fetch_add(orphaned, Ordering::Relaxed);
    Ok(())
}

/// Writes until the socket is full or nothing is left; whether anything was written.
fn write_some(stream: &Stream, connection: &mut Connection) -> io::Result<bool> {
    let mut wrote = false;
    while !connection.outgoing().is_empty() {
        match stream.try_write(connection.outgoing()) {
            Ok(_) => wrote = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(wrote)
}

/// Executes a request some turns later, so that replies overtake each other.
fn start(
    request: Request,
    disk: &Rc<RefCell<Disk>>,
    counters: &Arc<Counters>,
    done: mpsc::UnboundedSender<Answer>,
) {
    let (disk, counters) = (Rc::clone(disk), Arc::clone(counters));
    tokio::task::spawn_local(async move {
        let turns = disk.borrow_mut().next_delay();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let result = disk.borrow_mut().execute(request.command, &counters);
        // Fails when the client is gone, which releases the token.
        let _ = done.send((request.token, result));
    });
}

impl Disk {
    /// Zero to seven turns of the runtime, by a small xorshift.
    fn next_delay(&mut self) -> u64 {
        self.dither ^= self.dither << 13;
        self.dither ^= self.dither >> 7;
        self.dither ^= self.dither << 17;
        self.dither % 8
    }

    fn execute(
        &mut self,
        command: Command,
        counters: &Counters,
    ) -> Result<Payload, RequestFailure> {
        counters.requests.fetch_add(1, Ordering::Relaxed);
        match command {
            Command::Read { offset, length } => {
                let hit = (offset..offset + u64::from(length)).contains(&BAD_BLOCK);
                if self.bad_block && hit {
                    let failure = RequestFailure::new(IoErrno::Io, "medium error");
                    return Err(failure.at(BAD_BLOCK));
                }
                let mut payload = Payload::new();
                // In several slices, as Data-In arrives.
                for piece in self.range(offset, length).chunks(64 << 10) {
                    payload.push(BytesMut::from(piece).freeze());
                }
                return Ok(payload);
            }
            Command::Write { offset, data, fua } => {
                counters.fua.fetch_add(fua.into(), Ordering::Relaxed);
                let len = data.len() as u64;
                counters.largest_write.fetch_max(len, Ordering::Relaxed);
                let mut at = usize::try_from(offset).expect("inside");
                for chunk in data.chunks() {
                    self.data[at..at + chunk.len()].copy_from_slice(chunk);
                    at += chunk.len();
                }
            }
            Command::Flush => {
                counters.flushes.fetch_add(1, Ordering::Relaxed);
            }
            Command::Trim { offset, length, .. } => {
                counters.trims.fetch_add(1, Ordering::Relaxed);
                self.range(offset, length).fill(0);
            }
            Command::WriteZeroes {
                offset,
                length,
                fast,
                ..
            } => {
                if fast && length > 1 << 20 {
                    return Err(IoErrno::NotSup.into());
                }
                counters.zeroes.fetch_add(1, Ordering::Relaxed);
                self.range(offset, length).fill(0);
            }
        }
        Ok(Bytes::new().into())
    }

    fn range(&mut self, offset: u64, length: u32) -> &mut [u8] {
        let at = usize::try_from(offset).expect("inside");
        &mut self.data[at..at + length as usize]
    }
}
