//! NBD clients inside the world: what they ask for, and what they make of the answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iiblockdaemon::engine::ClientId;

use super::knobs::{Knobs, Load};
use crate::nbd_client::wire::{
    self, Body, CMD_FLAG_FUA, CMD_FLAG_NO_HOLE, Command, Reply, WireError, parse_reply,
};
use crate::oracle::{FlushTicket, Oracle, ReadTicket, WriteTicket};
use crate::recording::Kind;
use crate::rng::Rng;

/// Pause after an error.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// What a request is to the oracle.
#[derive(Debug)]
enum Ticket {
    Read(ReadTicket),
    Write(WriteTicket),
    /// It may do nothing.
    Trim(WriteTicket),
    Flush(FlushTicket),
}

/// A request that was not answered yet.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    /// It is a write of zeroes.
    zeroes: bool,
    /// It is a write with FUA.
    fua: bool,
    /// Its bytes, should it have to be sent again.
    request: Bytes,
    began: Instant,
    offset: u64,
    /// Of the data that is expected.
    length: u32,
    /// What it is about.
    bytes: u32,
    pieces: Vec<(u64, Bytes)>,
    error: Option<u32>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) cookie: u64,
    pub(super) took: Duration,
    pub(super) error: Option<u32>,
    /// Blocks that broke a rule of the oracle.
    pub(super) broken: u64,
    pub(super) kind: Kind,
    pub(super) bytes: u32,
}

/// One NBD connection and its user.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    writer: u32,
    rng: Rng,
    load: Load,
    block_size: u32,
    blocks: u64,
    /// The export offers it.
    trims: bool,
    next_cookie: u64,
    asked: BTreeMap<u64, Asked>,
    next_at: Instant,
    /// What it wrote and the daemon has not read.
    pub(super) socket: BytesMut,
    /// What the daemon read and has not consumed.
    pub(super) unread: BytesMut,
    /// There is something new in `unread`, or room for it.
    pub(super) fresh: bool,
    /// What the daemon wrote.
    pub(super) input: BytesMut,
}

impl Client {
    pub(super) fn new(now: Instant, id: ClientId, trims: bool, knobs: &Knobs) -> Self {
        Self {
            id,
            writer: u32::try_from(id.0).unwrap_or(u32::MAX),
            rng: Rng::new(knobs.seed).stream_indexed("client", id.0),
            load: knobs.load.clone(),
            block_size: knobs.block_size,
            blocks: knobs.blocks,
            trims,
            next_cookie: 0,
            asked: BTreeMap::new(),
            next_at: now,
            socket: BytesMut::new(),
            unread: BytesMut::new(),
            fresh: false,
            input: BytesMut::new(),
        }
    }

    /// When the oldest unanswered request was asked.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        self.asked
            .iter()
            .map(|(cookie, asked)| (*cookie, asked.began))
            .min_by_key(|(_, began)| *began)
    }

    /// When it asks next, if it may.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.asked.len() < self.load.depth).then_some(self.next_at)
    }

    /// Asks what is due; a line for each request.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        oracle: &mut Oracle,
        mut note: impl FnMut(String),
    ) -> bool {
        let mut any = false;
        while self.asked.len() < self.load.depth && self.next_at <= now {
            any = true;
            let mean = self.load.think * u32::try_from(self.load.depth).unwrap_or(1);
            // Bursts and pauses.
            let pause = if self.rng.chance(1, 3) {
                Duration::ZERO
            } else {
                self.rng.duration_below(mean)
            };
            self.next_at = now + pause;
            let line = self.ask_one(now, oracle);
            note(line);
        }
        any
    }

    fn ask_one(&mut self, now: Instant, oracle: &mut Oracle) -> String {
        let blocks = self.rng.between(1, self.load.blocks_max);
        let lba = self.rng.below(self.blocks - blocks + 1);
        let roll = self.rng.below(100);
        if roll < self.load.reads {
            return self.read(now, oracle, lba, blocks);
        }
        let rest = self.rng.below(100);
        match rest {
            0..5 => {
                let command = wire::request(Command::Flush, 0, self.next_cookie, 0, 0);
                let ticket = Ticket::Flush(oracle.flush_begins());
                self.send(now, command, ticket, 0, 0);
                format!("client {} io {} flush", self.writer, self.next_cookie - 1)
            }
            5..15 if self.load.zeroes => self.zero(now, oracle, lba, blocks),
            15..22 if self.load.zeroes && self.trims => self.trim(now, oracle, lba, blocks),
            _ => self.write(now, oracle, lba, blocks, rest < 40),
        }
    }

    fn bytes(&self, blocks: u64) -> u32 {
        u32::try_from(blocks * u64::from(self.block_size)).unwrap_or(u32::MAX)
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        oracle: &mut Oracle,
        lba: u64,
        blocks: u64,
    ) -> String {
        let (offset, length) = (lba * u64::from(self.block_size), self.bytes(blocks));
        let ticket = Ticket::Read(oracle.read_begins(lba, blocks));
        let command = wire::request(Command::Read, 0, self.next_cookie, offset, length);
        let cookie = self.send(now, command, ticket, offset, length);
        format!("client {} io {cookie} read {lba}+{blocks}", self.writer)
    }

    fn write(
        &mut self,
        now: Instant,
        oracle: &mut Oracle,
        lba: u64,
        blocks: u64,
        fua: bool,
    ) -> String {
        let (offset, length) = (lba * u64::from(self.block_size), self.bytes(blocks));
        let ticket = oracle.write_begins(self.writer, lba, blocks);
        let mut data = vec![0; length as usize];
        oracle.fill(&ticket, self.block_size as usize, &mut data);
        let sequence = ticket.sequence();
        let flags = if fua { CMD_FLAG_FUA } else { 0 };
        let command = wire::request(Command::Write, flags, self.next_cookie, offset, length);
        let request = [&command[..], &data].concat().into();
        let cookie = self.send(now, request, Ticket::Write(ticket), offset, length);
        if let Some(asked) = self.asked.get_mut(&cookie) {
            asked.fua = fua;
        }
        format!(
            "client {} io {cookie} write {lba}+{blocks} as {sequence} fua {fua}",
            self.writer
        )
    }

    fn zero(&mut self, now: Instant, oracle: &mut Oracle, lba: u64, blocks: u64) -> String {
        let (offset, length) = (lba * u64::from(self.block_size), self.bytes(blocks));
        let ticket = oracle.zeroes_begin(self.writer, lba, blocks);
        let sequence = ticket.sequence();
        let flags = if self.rng.chance(1, 2) {
            CMD_FLAG_NO_HOLE
        } else {
            0
        };
        let command = wire::request(
            Command::WriteZeroes,
            flags,
            self.next_cookie,
            offset,
            length,
        );
        let cookie = self.send(now, command, Ticket::Write(ticket), offset, length);
        if let Some(asked) = self.asked.get_mut(&cookie) {
            asked.zeroes = true;
        }
        format!(
            "client {} io {cookie} zero {lba}+{blocks} as {sequence}",
            self.writer
        )
    }

    fn trim(&mut self, now: Instant, oracle: &mut Oracle, lba: u64, blocks: u64) -> String {
        let (offset, length) = (lba * u64::from(self.block_size), self.bytes(blocks));
        let ticket = oracle.zeroes_begin(self.writer, lba, blocks);
        let sequence = ticket.sequence();
        let command = wire::request(Command::Trim, 0, self.next_cookie, offset, length);
        let cookie = self.send(now, command, Ticket::Trim(ticket), offset, length);
        format!(
            "client {} io {cookie} trim {lba}+{blocks} as {sequence}",
            self.writer
        )
    }

    fn send(
        &mut self,
        now: Instant,
        request: Bytes,
        ticket: Ticket,
        offset: u64,
        bytes: u32,
    ) -> u64 {
        let length = match ticket {
            Ticket::Read(_) => bytes,
            Ticket::Write(_) | Ticket::Trim(_) | Ticket::Flush(_) => 0,
        };
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.socket.extend_from_slice(&request);
        let asked = Asked {
            zeroes: false,
            fua: false,
            ticket,
            request,
            began: now,
            offset,
            length,
            bytes,
            pieces: Vec::new(),
            error: None,
        };
        self.asked.insert(cookie, asked);
        cookie
    }

    /// The daemon is another one: as the kernel does, everything unanswered is sent again.
    pub(super) fn reconnect(&mut self, id: ClientId, oracle: &mut Oracle) {
        self.id = id;
        self.unread.clear();
        self.input.clear();
        self.socket.clear();
        self.fresh = false;
        for asked in self.asked.values_mut() {
            asked.pieces.clear();
            asked.error = None;
            match &asked.ticket {
                Ticket::Write(ticket) => oracle.write_repeats(ticket, asked.zeroes),
                Ticket::Trim(ticket) => oracle.write_repeats(ticket, true),
                Ticket::Read(_) | Ticket::Flush(_) => {}
            }
            self.socket.extend_from_slice(&asked.request);
        }
    }

    /// There is no daemon: what was on its way to it, or back, is lost.
    pub(super) fn pause(&mut self) {
        self.unread.clear();
        self.input.clear();
        self.fresh = false;
    }

    /// It dies, and another one takes its place: nobody will know what became of what it had asked for.
    pub(super) fn replace(&mut self, id: ClientId, oracle: &mut Oracle) {
        for (_, asked) in std::mem::take(&mut self.asked) {
            match asked.ticket {
                Ticket::Read(ticket) => {
                    oracle.read_ends(ticket, self.block_size as usize, None);
                }
                Ticket::Write(ticket) | Ticket::Trim(ticket) => oracle.write_ends(ticket, false),
                Ticket::Flush(_) => {}
            }
        }
        self.reconnect(id, oracle);
    }

    /// The daemon reads: all that is there, or now and then only a part.
    pub(super) fn hand_over(&mut self) -> bool {
        if self.socket.is_empty() {
            return false;
        }
        let all = self.socket.len();
        let part = if self.rng.chance(1, 8) {
            1 + self.rng.index(all)
        } else {
            all
        };
        self.unread.unsplit(self.socket.split_to(part));
        self.fresh = true;
        true
    }

    /// Takes the replies that are complete.
    pub(super) fn take_replies(
        &mut self,
        now: Instant,
        oracle: &mut Oracle,
        mut ended: impl FnMut(Ended),
    ) -> Result<(), WireError> {
        loop {
            let asked = &self.asked;
            let length = |cookie| asked.get(&cookie).map(|asked| asked.length);
            let Some(reply) = parse_reply(&mut self.input, length)? else {
                return Ok(());
            };
            match reply {
                Reply::Simple {
                    cookie,
                    error,
                    data,
                } => {
                    let asked = self.remove(cookie)?;
                    let error = (error != 0).then_some(error);
                    self.calm_down(now, error);
                    let block_size = self.block_size;
                    ended(conclude(
                        now, oracle, cookie, asked, error, &data, block_size,
                    ));
                }
                Reply::Chunk { cookie, done, body } => {
                    let asked = self
                        .asked
                        .get_mut(&cookie)
                        .ok_or(WireError::Cookie(cookie))?;
                    match body {
                        Body::None => {}
                        Body::Data { offset, data } => asked.pieces.push((offset, data)),
                        Body::Hole { offset, length } => {
                            let zeroes = Bytes::from(vec![0; length as usize]);
                            asked.pieces.push((offset, zeroes));
                        }
                        Body::Error(error) => {
                            asked.error.get_or_insert(error);
                        }
                    }
                    if done {
                        let mut asked = self.remove(cookie)?;
                        let error = asked.error;
                        self.calm_down(now, error);
                        let data = match error {
                            None => assemble(&mut asked)?,
                            Some(_) => Bytes::new(),
                        };
                        let block_size = self.block_size;
                        ended(conclude(
                            now, oracle, cookie, asked, error, &data, block_size,
                        ));
                    }
                }
            }
        }
    }

    /// An error is no reason to ask for more at once.
    fn calm_down(&mut self, now: Instant, error: Option<u32>) {
        if error.is_some() {
            self.next_at = self.next_at.max(now + AFTER_ERROR);
        }
    }

    fn remove(&mut self, cookie: u64) -> Result<Asked, WireError> {
        self.asked.remove(&cookie).ok_or(WireError::Cookie(cookie))
    }
}

fn conclude(
    now: Instant,
    oracle: &mut Oracle,
    cookie: u64,
    asked: Asked,
    error: Option<u32>,
    data: &[u8],
    block_size: u32,
) -> Ended {
    let good = error.is_none();
    let mut broken = 0;
    let kind = match asked.ticket {
        _ if asked.zeroes => Kind::Zero,
        Ticket::Read(_) => Kind::Read,
        Ticket::Write(_) => Kind::Write,
        Ticket::Trim(_) => Kind::Zero,
        Ticket::Flush(_) => Kind::Flush,
    };
    match asked.ticket {
        Ticket::Read(ticket) => {
            broken = oracle.read_ends(ticket, block_size as usize, good.then_some(data));
        }
        Ticket::Write(ticket) if good && asked.fua => oracle.durable_write_ends(ticket),
        Ticket::Write(ticket) => oracle.write_ends(ticket, good),
        Ticket::Trim(ticket) => oracle.write_ends(ticket, false),
        Ticket::Flush(ticket) => {
            oracle.flush_ends(ticket, good);
        }
    }
    Ended {
        cookie,
        took: now.saturating_duration_since(asked.began),
        error,
        broken,
        kind,
        bytes: asked.bytes,
    }
}

/// The data of a read, which its chunks must cover exactly once.
fn assemble(asked: &mut Asked) -> Result<Bytes, WireError> {
    let mut pieces = std::mem::take(&mut asked.pieces);
    pieces.sort_by_key(|(at, _)| *at);
    let mut all = BytesMut::with_capacity(asked.length as usize);
    for (at, data) in &pieces {
        if *at != asked.offset + all.len() as u64 {
            return Err(WireError::Coverage);
        }
        all.extend_from_slice(data);
    }
    if all.len() == asked.length as usize {
        Ok(all.freeze())
    } else {
        Err(WireError::Coverage)
    }
}
