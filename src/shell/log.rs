//! Log lines on their way to stderr.
//!
//! Whoever reads them may stall: a pager, a terminal at Ctrl-S, a journal whose disk hangs. Volumes do not
//! wait for that: a thread of its own writes, and what does not fit its queue is counted and left out.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use super::clock;
use crate::limits::LOG_LINES_MAX;

/// How long the end of the program waits for a reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
const FLUSH_RETRY: Duration = Duration::from_millis(10);

enum Entry {
    Line(Vec<u8>),
    /// Everything before this was written.
    Flush(SyncSender<()>),
}

/// Where a logger writes: each write is one line.
#[derive(Clone, Debug)]
pub struct LogQueue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl LogQueue {
    /// Lines go to `out`, as fast as that takes them.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(LOG_LINES_MAX);
        let writer = thread::Builder::new().name("log".to_owned());
        writer.spawn(move || write_all(&waiting, out))?;
        let lost = Arc::new(AtomicU64::new(0));
        Ok(Self { entries, lost })
    }

    /// Waits until all lines so far are written, for a second at most.
    pub fn flush(&self) {
        let give_up = clock::now() + FLUSH_TIMEOUT;
        let (done, written) = sync_channel(1);
        let mut last = Entry::Flush(done);
        while let Err(full) = self.send(last) {
            if clock::now() >= give_up {
                return;
            }
            last = full;
            thread::sleep(FLUSH_RETRY);
        }
        let left = give_up.saturating_duration_since(clock::now());
        // Who does not read at all is not waited for any longer.
        let _unread = written.recv_timeout(left);
    }

    /// From now on a panic is told here, after all lines that came before it, which tell how it came about.
    /// The program ends with it, and a reader that stalls puts that off for a second at most.
    pub fn tell_panics(&self) {
        let log = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or("without a name");
            let mut told = format!("thread '{name}' {panic}\n");
            let trace = Backtrace::capture();
            if trace.status() == BacktraceStatus::Captured {
                told += &format!("{trace}\n");
            }
            log.tell(told.into_bytes());
            log.flush();
        }));
    }

    fn tell(&self, line: Vec<u8>) {
        if self.send(Entry::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// After word of the lines before it that are lost; or it comes back.
    fn send(&self, entry: Entry) -> Result<(), Entry> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let word =
                format!("{lost} lines of the log are missing here: nobody read them in time\n");
            if self
                .entries
                .try_send(Entry::Line(word.into_bytes()))
                .is_err()
            {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                return Err(entry);
            }
        }
        let sent = self.entries.try_send(entry);
        sent.map_err(|error| match error {
            TrySendError::Full(entry) | TrySendError::Disconnected(entry) => entry,
        })
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.tell(line.to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(entries: &Receiver<Entry>, mut out: impl Write) {
    for entry in entries {
        // A log that cannot be written is no reason to stop: a disk may have room again.
        let _unwritten = match entry {
            Entry::Line(line) => out.write_all(&line),
            Entry::Flush(done) => done.send(()).map_err(io::Error::other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Mutex;

    /// Writes a line once it may.
    struct Gate(Receiver<()>, Arc<Mutex<Vec<String>>>);

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(line).into_owned();
            self.1.lock().unwrap().push(text);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_told_after_the_lines_before_it_and_before_the_end() {
        let (open, gate) = sync_channel(3);
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut log = LogQueue::start(Gate(gate, Arc::clone(&written))).unwrap();
        let before = panic::take_hook();
        log.tell_panics();
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // Tests beside this one may panic as well.
            if thread::current().name() != Some("dies") {
                return before(panic);
            }
            (0..3).for_each(|_| open.send(()).unwrap());
            tell(panic);
        }));
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        let dies = thread::Builder::new().name("dies".to_owned());
        let dies = dies.spawn(|| panic!("on purpose")).unwrap();
        assert!(dies.join().is_err());
        drop(panic::take_hook());
        let written = written.lock().unwrap();
        assert_eq!(written.get(..2).unwrap(), ["one\n", "two\n"]);
        let told = &written[2];
        assert!(
            told.starts_with("thread 'dies' panicked at src/shell/log.rs")
                && told.contains("on purpose"),
            "{told}"
        );
    }

    #[test]
    fn a_reader_that_stalls_keeps_nobody_waiting_and_learns_what_it_missed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = LogQueue::start(writer).unwrap();
        let line = [b'x'; 1023].iter().chain(b"\n").copied();
        let line: Vec<u8> = line.collect();
        let written = 4 * LOG_LINES_MAX;
        for _ in 0..written {
            log.write_all(&line).unwrap();
        }
        // It reads again.
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        LogQueue::flush(&log);
        drop(log);
        let text = reading.join().unwrap().unwrap();
        let arrived = text.lines().filter(|line| line.starts_with('x')).count();
        let counted = text.lines().filter_map(|line| {
            let (count, _) = line.split_once(" lines of the log are missing here")?;
            count.parse::<usize>().ok()
        });
        let missed: usize = counted.sum();
        assert!(missed > 0);
        assert_eq!(arrived + missed, written);
        let last = text.lines().last();
        assert!(
            last.is_some_and(|last| last.contains("missing")),
            "told where they are missing"
        );
    }
}
