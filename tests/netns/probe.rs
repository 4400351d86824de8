//! A client that writes and reads back without a pause to speak of, and notes the longest time that one
//! request took.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use netsim::nbd_client::{Address, Client, ClientConfig, IoError};
use tokio::sync::watch;

use crate::support::now;

/// The workers' request sizes, and how many bytes each has for itself: so many that it does not come back
/// to a place within a drill. Who rewrites what a lost session had been asked to write waits until that
/// cannot be written any more, which is not what is measured here.
const WORKERS: [(u32, u64); 4] = [
    (4 << 10, 8 << 20),
    (4 << 10, 8 << 20),
    (16 << 10, 16 << 20),
    (64 << 10, 32 << 20),
];

/// Between two requests of a worker: the machine is not to be busy with the probe alone.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Books {
    /// Requests that wait, by worker.
    waiting: BTreeMap<u64, Instant>,
    longest: Duration,
    requests: u64,
    errors: Vec<String>,
    mismatches: u64,
}

/// A running probe.
pub(crate) struct Probe {
    books: Arc<Mutex<Books>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    pub(crate) fn start(socket: &Path, export: &str) -> Self {
        let books = Arc::new(Mutex::new(Books::default()));
        let (stop, stopped) = watch::channel(false);
        let config = ClientConfig {
            export: export.to_owned(),
            ..ClientConfig::new(Address::Unix(socket.to_owned()))
        };
        let shared = Arc::clone(&books);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(work(config, shared, stopped));
        });
        Self {
            books,
            stop,
            thread: Some(thread),
        }
    }

    /// The longest request since the last call, be it answered or still waiting.
    pub(crate) fn longest(&self) -> Duration {
        let mut books = self.books.lock().expect("the books");
        let waiting = books.waiting.values().map(Instant::elapsed).max();
        let longest = books.longest.max(waiting.unwrap_or_default());
        books.longest = Duration::ZERO;
        longest
    }

    /// Asserts that nothing failed and nothing was read that had not been written.
    pub(crate) fn finish(mut self) {
        let _ = self.stop.send(true);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("the probe's thread");
        let books = self.books.lock().expect("the books");
        assert!(books.requests > 100, "{books:?}");
        assert!(
            books.errors.is_empty() && books.mismatches == 0,
            "{books:?}"
        );
    }
}

async fn work(config: ClientConfig, books: Arc<Mutex<Books>>, stopped: watch::Receiver<bool>) {
    let client = Client::connect(config).await.expect("the volume's socket");
    let mut workers = tokio::task::JoinSet::new();
    let mut start = 0;
    for (number, (size, region)) in (0..).zip(WORKERS) {
        let worker = Worker {
            number,
            size,
            start,
            region,
            client: client.clone(),
            books: Arc::clone(&books),
            written: BTreeMap::new(),
        };
        workers.spawn(worker.run(stopped.clone()));
        start += region;
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker");
    }
}

struct Worker {
    number: u64,
    size: u32,
    start: u64,
    region: u64,
    client: Client,
    books: Arc<Mutex<Books>>,
    /// What was acknowledged last, by offset.
    written: BTreeMap<u64, u64>,
}

impl Worker {
    async fn run(mut self, stopped: watch::Receiver<bool>) {
        let places = self.region / u64::from(self.size);
        let mut step: u64 = 0;
        while !*stopped.borrow() {
            step += 1;
            // Any stride that has no factor in common with the number of places visits them all.
            let place = (step * 7) % places;
            let offset = self.start + place * u64::from(self.size);
            if self.write(offset, step).await.is_err() {
                return;
            }
            let older = self
                .written
                .iter()
                .nth(usize::try_from(step).expect("small") % self.written.len());
            let older = older.map(|(offset, step)| (*offset, *step));
            for (offset, step) in [(offset, step)].into_iter().chain(older) {
                if self.read(offset, step).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn content(&self, offset: u64, step: u64) -> Bytes {
        let word = offset.rotate_left(32) ^ step;
        let words = usize::try_from(self.size).expect("small") / 8;
        word.to_be_bytes().repeat(words).into()
    }

    async fn write(&mut self, offset: u64, step: u64) -> Result<(), ()> {
        let data = self.content(offset, step);
        self.begin();
        let written = self.client.write(offset, data, false).await;
        self.end(&written)?;
        self.written.insert(offset, step);
        Ok(())
    }

    async fn read(&self, offset: u64, step: u64) -> Result<(), ()> {
        self.begin();
        let read = self.client.read(offset, self.size).await;
        self.end(&read)?;
        if read.is_ok_and(|data| data != self.content(offset, step)) {
            self.books.lock().expect("the books").mismatches += 1;
        }
        Ok(())
    }

    fn begin(&self) {
        let mut books = self.books.lock().expect("the books");
        books.waiting.insert(self.number, now());
    }

    fn end<T>(&self, answer: &Result<T, IoError>) -> Result<(), ()> {
        let mut books = self.books.lock().expect("the books");
        let began = books.waiting.remove(&self.number).expect("it was asked");
        books.requests += 1;
        books.longest = books.longest.max(began.elapsed());
        if let Err(error) = answer {
            books.errors.push(error.to_string());
            return Err(());
        }
        Ok(())
    }
}
