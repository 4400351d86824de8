//! The threads that volumes run on: one per processor at most, each with a runtime of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::shell::moderation;
use crate::shell::volume_task::VolumeTask;

/// What a volume's thread is given.
pub(super) type Job = Box<dyn FnOnce() -> VolumeTask + Send>;

#[derive(Debug)]
struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    /// Volumes at work there.
    load: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

/// All threads. They end when they are joined and their volumes have ended.
#[derive(Debug)]
pub(super) struct Workers {
    most: usize,
    threads: Mutex<Vec<Worker>>,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            most: thread::available_parallelism().map_or(1, usize::from),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Starts a volume on a thread of its own, or on the one with the fewest if there is one per processor.
    pub(super) fn start(&self, job: Job) -> std::io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |worker: &Worker| worker.load.load(Ordering::Relaxed);
        let idle = threads.iter().any(|worker| load(worker) == 0);
        if !idle && threads.len() < self.most {
            let worker = spawn(threads.len())?;
            threads.push(worker);
        }
        let worker = threads.iter().min_by_key(|worker| load(worker));
        let worker = worker.ok_or_else(|| std::io::Error::other("there is no processor"))?;
        worker.load.fetch_add(1, Ordering::Relaxed);
        let sent = worker.jobs.send(job);
        sent.map_err(|_| std::io::Error::other("the thread has ended"))
    }

    /// Waits until all volumes have ended.
    pub(super) async fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for Worker { jobs, thread, .. } in threads {
            drop(jobs);
            // Joining it elsewhere keeps this runtime free.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn spawn(index: usize) -> std::io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(moderation::hold)
        .build()?;
    let (jobs, mut inbox) = mpsc::unbounded_channel::<Job>();
    let load = Arc::new(AtomicUsize::new(0));
    let ended = Arc::clone(&load);
    let thread = thread::Builder::new()
        .name(format!("volumes-{index}"))
        .spawn(move || {
            moderation::sharpen_timers();
            let local = LocalSet::new();
            local.spawn_local(async move {
                while let Some(job) = inbox.recv().await {
                    let (task, ended) = (job(), Arc::clone(&ended));
                    tokio::task::spawn_local(async move {
                        task.run().await;
                        ended.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            });
            runtime.block_on(local);
        })?;
    Ok(Worker { jobs, load, thread })
}
