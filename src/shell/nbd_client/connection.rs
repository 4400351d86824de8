//! The transmission phase: one task that owns the socket and every outstanding request.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::negotiate::{self, Export, Stream};
use super::wire::{
    self, Body, CMD_FLAG_FUA, CMD_FLAG_NO_HOLE, Command, Reply, WireError, parse_reply,
};
use super::{ClientConfig, IoError};
use crate::out_queue::OutQueue;
use crate::shell::clock;

/// Requests in flight on the connection; further ones wait.
const IN_FLIGHT_MAX: usize = 256;
const READ_LEN: usize = 256 << 10;
const SLICES_MAX: usize = 64;
const RETRY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) enum Kind {
    Read {
        offset: u64,
        length: u32,
    },
    Write {
        offset: u64,
        data: Bytes,
        fua: bool,
    },
    Flush,
    Trim {
        offset: u64,
        length: u32,
    },
    WriteZeroes {
        offset: u64,
        length: u32,
        no_hole: bool,
    },
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) answer: oneshot::Sender<Result<Bytes, IoError>>,
}

/// A request that was sent, with what came back of it so far.
#[derive(Debug)]
struct Outstanding {
    job: Job,
    pieces: Vec<(u64, Bytes)>,
    error: Option<u32>,
}

enum Ended {
    /// Every handle is gone and everything is answered.
    Unused,
    Lost(String),
}

/// Serves the client until its handles are gone or the connection stays lost.
pub(super) async fn run(
    config: ClientConfig,
    mut stream: Stream,
    export: Export,
    mut jobs: mpsc::Receiver<Job>,
    reconnects: Arc<AtomicU64>,
) {
    let mut table = Table::default();
    loop {
        let why = match serve(stream, &mut table, &mut jobs).await {
            Ended::Unused => return,
            Ended::Lost(why) => why,
        };
        tracing::debug!(address = %config.address, why, "NBD connection lost");
        match reconnect(&config, &export).await {
            Some(next) => {
                reconnects.fetch_add(1, Relaxed);
                stream = next;
                table.send_again();
            }
            None => {
                table.fail_all(&why);
                jobs.close();
                while let Some(job) = jobs.recv().await {
                    let _ = job.answer.send(Err(IoError::Lost(why.clone())));
                }
                return;
            }
        }
    }
}

async fn reconnect(config: &ClientConfig, export: &Export) -> Option<Stream> {
    let give_up = clock::now() + config.reconnect_for;
    while clock::now() < give_up {
        match negotiate::connect(config).await {
            Ok((stream, again)) if again == *export => return Some(stream),
            Ok(_) => tracing::warn!("the export changed while the connection was lost"),
            Err(error) => tracing::debug!(%error, "reconnect"),
        }
        tokio::time::sleep(RETRY).await;
    }
    None
}

async fn serve(stream: Stream, table: &mut Table, jobs: &mut mpsc::Receiver<Job>) -> Ended {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut input = BytesMut::new();
    let mut open = true;
    loop {
        if !open && table.outstanding.is_empty() {
            table.disconnect();
            let _ = write_some(&mut write, &mut table.out).await;
            return Ended::Unused;
        }
        input.reserve(READ_LEN);
        tokio::select! { biased;
            wrote = write_some(&mut write, &mut table.out), if !table.out.is_empty() => {
                if let Err(error) = wrote {
                    return Ended::Lost(error.to_string());
                }
            }
            took = read_some(&mut read, &mut input) => {
                if let Err(error) = took {
                    return Ended::Lost(error.to_string());
                }
                if let Err(error) = table.take_replies(&mut input) {
                    return Ended::Lost(error.to_string());
                }
            }
            job = jobs.recv(), if open && table.outstanding.len() < IN_FLIGHT_MAX => match job {
                Some(job) => table.send(job),
                None => open = false,
            },
        }
    }
}

async fn read_some(read: &mut ReadHalf<Stream>, input: &mut BytesMut) -> io::Result<()> {
    match read.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn write_some(write: &mut WriteHalf<Stream>, out: &mut OutQueue) -> io::Result<()> {
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let count = out.slices(&mut slices);
    let taken = write
        .write_vectored(slices.get(..count).unwrap_or_default())
        .await?;
    out.advance(taken);
    Ok(())
}

#[derive(Debug, Default)]
struct Table {
    next_cookie: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    out: OutQueue,
}

impl Table {
    fn send(&mut self, job: Job) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let len = |data: &Bytes| u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (command, flags, offset, length) = match &job.kind {
            Kind::Read { offset, length } => (Command::Read, 0, *offset, *length),
            Kind::Write { offset, data, fua } => {
                let flags = if *fua { CMD_FLAG_FUA } else { 0 };
                (Command::Write, flags, *offset, len(data))
            }
            Kind::Flush => (Command::Flush, 0, 0, 0),
            Kind::Trim { offset, length } => (Command::Trim, 0, *offset, *length),
            Kind::WriteZeroes {
                offset,
                length,
                no_hole,
            } => {
                let flags = if *no_hole { CMD_FLAG_NO_HOLE } else { 0 };
                (Command::WriteZeroes, flags, *offset, *length)
            }
        };
        self.out
            .push(wire::request(command, flags, cookie, offset, length));
        if let Kind::Write { data, .. } = &job.kind {
            self.out.push(data.clone());
        }
        let outstanding = Outstanding {
            job,
            pieces: Vec::new(),
            error: None,
        };
        self.outstanding.insert(cookie, outstanding);
    }

    fn disconnect(&mut self) {
        self.out
            .push(wire::request(Command::Disconnect, 0, u64::MAX, 0, 0));
    }

    /// On a new connection: everything that was outstanding goes out again, in its old order.
    fn send_again(&mut self) {
        self.out = OutQueue::new();
        for (_, outstanding) in std::mem::take(&mut self.outstanding) {
            self.send(outstanding.job);
        }
    }

    fn fail_all(&mut self, why: &str) {
        for (_, outstanding) in std::mem::take(&mut self.outstanding) {
            let answer = outstanding.job.answer;
            let _ = answer.send(Err(IoError::Lost(why.to_owned())));
        }
    }

    fn take_replies(&mut self, input: &mut BytesMut) -> Result<(), WireError> {
        loop {
            let read_len = |cookie| {
                let outstanding = self.outstanding.get(&cookie)?;
                if let Kind::Read { length, .. } = outstanding.job.kind {
                    return Some(length);
                }
                Some(0)
            };
            let Some(reply) = parse_reply(input, read_len)? else {
                return Ok(());
            };
            match reply {
                Reply::Simple {
                    cookie,
                    error,
                    data,
                } => {
                    let outstanding = self.remove(cookie)?;
                    let answer = if error == 0 {
                        Ok(data)
                    } else {
                        Err(IoError::Errno(error))
                    };
                    let _ = outstanding.job.answer.send(answer);
                }
                Reply::Chunk { cookie, done, body } => self.take_chunk(cookie, done, body)?,
            }
        }
    }

    fn take_chunk(&mut self, cookie: u64, done: bool, body: Body) -> Result<(), WireError> {
        let outstanding = self
            .outstanding
            .get_mut(&cookie)
            .ok_or(WireError::Cookie(cookie))?;
        match body {
            Body::None => {}
            Body::Data { offset, data } => outstanding.pieces.push((offset, data)),
            Body::Hole { offset, length } => {
                let zeroes = Bytes::from(vec![0; length as usize]);
                outstanding.pieces.push((offset, zeroes));
            }
            Body::Error(error) => {
                outstanding.error.get_or_insert(error);
            }
        }
        if !done {
            return Ok(());
        }
        let outstanding = self.remove(cookie)?;
        let assembled = match outstanding.error {
            Some(error) => Ok(Err(IoError::Errno(error))),
            None => assemble(outstanding.pieces, &outstanding.job.kind).map(Ok),
        };
        let lost = |error: WireError| Err(IoError::Lost(error.to_string()));
        let answer = assembled.clone().unwrap_or_else(lost);
        let _ = outstanding.job.answer.send(answer);
        assembled.map(drop)
    }

    fn remove(&mut self, cookie: u64) -> Result<Outstanding, WireError> {
        self.outstanding
            .remove(&cookie)
            .ok_or(WireError::Cookie(cookie))
    }
}

/// The data of a read, which its chunks must cover exactly once.
fn assemble(mut pieces: Vec<(u64, Bytes)>, kind: &Kind) -> Result<Bytes, WireError> {
    let Kind::Read { offset, length } = *kind else {
        return if pieces.is_empty() {
            Ok(Bytes::new())
        } else {
            Err(WireError::Coverage)
        };
    };
    pieces.sort_by_key(|(at, _)| *at);
    let mut next = offset;
    for (at, data) in &pieces {
        if *at != next {
            return Err(WireError::Coverage);
        }
        next += data.len() as u64;
    }
    if next != offset + u64::from(length) {
        return Err(WireError::Coverage);
    }
    match <[(u64, Bytes); 1]>::try_from(pieces) {
        Ok([(_, data)]) => Ok(data),
        Err(pieces) => {
            let mut all = BytesMut::with_capacity(length as usize);
            pieces
                .iter()
                .for_each(|(_, data)| all.extend_from_slice(data));
            Ok(all.freeze())
        }
    }
}
