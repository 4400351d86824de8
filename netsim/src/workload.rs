//! A verifying workload over NBD: several workers, self-describing blocks, an oracle.
//!
//! Each worker keeps one request outstanding; all share the oracle, the meter and the connections.
//! A part of the requests goes to a small *hot* range, so that reads and writes of the same blocks
//! meet in flight; and each worker also writes or reads sequentially for a while now and then. All
//! choices come from the seed; only the interleaving is the world's.

mod plan;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::meter::{Ended, Meter, Phase};
use crate::nbd_client::{Client, IoError};
use crate::oracle::{Oracle, Violation};
use crate::recording::Io;

pub use plan::{Generator, Op, WorkloadConfig};

/// Errors that are kept in full.
const ERRORS_MAX: usize = 16;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What happened between the marks.
    pub phases: Vec<Phase>,
    /// Blocks that broke a rule.
    pub mismatches: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
    /// Blocks read and judged.
    pub blocks_checked: u64,
    /// The first errors.
    pub errors: Vec<String>,
    /// Every answer, since the beginning of the first phase, if [`WorkloadConfig::record`] is set.
    pub answers: Vec<Io>,
}

impl Report {
    /// Requests answered.
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.phases.iter().map(|phase| phase.ios).sum()
    }

    /// Requests answered with an error.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.phases.iter().map(|phase| phase.errors).sum()
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.mismatches == 0 && self.error_count() == 0
    }
}

#[derive(Debug)]
struct Books {
    oracle: Oracle,
    meter: Meter,
    errors: Vec<String>,
    began: Instant,
    answers: Option<Vec<Io>>,
}

/// A running workload.
#[derive(Debug)]
pub struct Workload {
    books: Arc<Mutex<Books>>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
    config: WorkloadConfig,
    client: Client,
}

impl Workload {
    /// Starts the workers on the current runtime; they share out `clients` among themselves.
    ///
    /// # Panics
    /// Without a client, or if the device's last used block does not exist.
    #[must_use]
    pub fn start(clients: &[Client], config: WorkloadConfig, label: impl Into<String>) -> Self {
        let client = clients.first().expect("at least one client").clone();
        let end = (config.first_lba + config.blocks) * u64::from(config.block_size);
        assert!(
            config.blocks > 0 && end <= client.export().size,
            "the workload lies within the device"
        );
        let began = clock::now();
        let books = Arc::new(Mutex::new(Books {
            oracle: Oracle::new(config.run, config.volume),
            meter: Meter::new(began, label),
            errors: Vec::new(),
            began,
            answers: config.record.then(Vec::new),
        }));
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        for (index, client) in (0..config.workers).zip(clients.iter().cycle()) {
            let worker = Worker {
                index,
                client: client.clone(),
                books: Arc::clone(&books),
                block_size: config.block_size,
            };
            let generator = Generator::new(&config, index);
            workers.spawn(worker.run(generator, config.pause, stopped.clone()));
        }
        Self {
            books,
            stop,
            workers,
            config,
            client,
        }
    }

    /// An event happens now: a new phase begins.
    pub fn mark(&self, label: impl Into<String>) {
        lock(&self.books).meter.mark(clock::now(), label);
    }

    /// The current phase so far, and for how long nothing has moved.
    #[must_use]
    pub fn live(&self) -> (Phase, Duration) {
        let books = lock(&self.books);
        let phase = books.meter.phases().last().expect("a first phase").clone();
        (phase, books.meter.stalled(clock::now()))
    }

    /// Ends the workers, reads every used block once more, and reports.
    pub async fn finish(mut self) -> Report {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        self.mark("final check");
        let worker = Worker {
            index: u32::MAX,
            client: self.client.clone(),
            books: Arc::clone(&self.books),
            block_size: self.config.block_size,
        };
        let (mut lba, end) = (
            self.config.first_lba,
            self.config.first_lba + self.config.blocks,
        );
        while lba < end {
            let blocks = self.config.blocks_per_io_max.max(1).min(end - lba);
            worker.carry_out(Op::Read { lba, blocks }).await;
            lba += blocks;
        }
        let mut books = lock(&self.books);
        books.meter.finish(clock::now());
        Report {
            phases: books.meter.phases().to_vec(),
            mismatches: books.oracle.violation_count(),
            violations: books.oracle.violations().to_vec(),
            blocks_checked: books.oracle.blocks_checked(),
            errors: books.errors.clone(),
            answers: books.answers.take().unwrap_or_default(),
        }
    }
}

struct Worker {
    index: u32,
    client: Client,
    books: Arc<Mutex<Books>>,
    block_size: u32,
}

impl Worker {
    async fn run(
        self,
        mut generator: Generator,
        pause: Duration,
        mut stopped: watch::Receiver<bool>,
    ) {
        while !*stopped.borrow_and_update() {
            self.carry_out(generator.next_op()).await;
            if pause.is_zero() {
                // A device that answers from memory would let one worker keep the thread.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn carry_out(&self, op: Op) {
        match op {
            Op::Read { lba, blocks } => self.read(lba, blocks).await,
            Op::Write { lba, blocks, fua } => self.write(lba, blocks, fua).await,
            Op::Flush => {
                let began = self.begin();
                let done = self.client.flush().await;
                self.end(began, op, done.err(), 0, 0);
            }
        }
    }

    async fn read(&self, lba: u64, blocks: u64) {
        let began = self.begin();
        let ticket = lock(&self.books).oracle.read_begins(lba, blocks);
        let (offset, length) = self.bytes(lba, blocks);
        let done = self.client.read(offset, length).await;
        let data = done.as_ref().ok().map(Bytes::as_ref);
        let block_size = self.block_size as usize;
        let mismatches = lock(&self.books).oracle.read_ends(ticket, block_size, data);
        let moved = data.map_or(0, <[u8]>::len) as u64;
        let op = Op::Read { lba, blocks };
        self.end(began, op, done.err(), moved, mismatches);
    }

    async fn write(&self, lba: u64, blocks: u64, fua: bool) {
        let began = self.begin();
        let (offset, length) = self.bytes(lba, blocks);
        let mut data = BytesMut::zeroed(length as usize);
        let ticket = {
            let mut books = lock(&self.books);
            let ticket = books.oracle.write_begins(self.index, lba, blocks);
            books
                .oracle
                .fill(&ticket, self.block_size as usize, &mut data);
            ticket
        };
        let done = self.client.write(offset, data.freeze(), fua).await;
        lock(&self.books).oracle.write_ends(ticket, done.is_ok());
        let moved = if done.is_ok() { u64::from(length) } else { 0 };
        let op = Op::Write { lba, blocks, fua };
        self.end(began, op, done.err(), moved, 0);
    }

    fn bytes(&self, lba: u64, blocks: u64) -> (u64, u32) {
        let size = u64::from(self.block_size);
        let length = u32::try_from(blocks * size).expect("a request below 4 GiB");
        (lba * size, length)
    }

    fn begin(&self) -> Instant {
        let now = clock::now();
        lock(&self.books).meter.began(now);
        now
    }

    fn end(&self, began: Instant, op: Op, error: Option<IoError>, bytes: u64, mismatches: u64) {
        let now = clock::now();
        let mut books = lock(&self.books);
        let ended = Ended {
            bytes,
            failed: error.is_some(),
            mismatches,
        };
        books.meter.ended(now, began, ended);
        let answer = Io {
            asked: began - books.began,
            took: now - began,
            kind: op.kind(),
            bytes: op.bytes(self.block_size),
            failed: error.is_some(),
        };
        if let Some(answers) = &mut books.answers {
            answers.push(answer);
        }
        if let Some(error) = error
            && books.errors.len() < ERRORS_MAX
        {
            books.errors.push(format!("{op}: {error}"));
        }
    }
}

fn lock(books: &Mutex<Books>) -> std::sync::MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
