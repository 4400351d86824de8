//! One volume over simulated paths, its client and its target in one thread: what benches drive.
//!
//! The real [`Engine`] is driven as the shell drives it; the wire is a copy from one buffer to another, the
//! target is netsim's, time is a number. So what is seen is the engine, and nothing of sockets or runtime.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use iiblockdaemon::engine::{Action, ClientId, Engine, LinkId};
use iiblockdaemon::iscsi::session::config::{DigestChoice, Entropy};
use iiblockdaemon::nbd;
use iiblockdaemon::out_queue::OutQueue;
use netsim::target::{ConnectionId, Target};
use netsim::world::{self, Knobs};

/// Room that a buffer is offered for a read, as the shell does.
const READ_ROOM: usize = 256 << 10;
/// Less room, and a new buffer is taken.
const READ_ROOM_MIN: usize = 16 << 10;
const BLOCKS: u64 = 128 << 10;
const BLOCK: u64 = 512;
const CHUNK_HEADER: usize = 20;
const SIMPLE_REPLY: usize = 16;
/// So many turns without an answer, and it surely hangs.
const IDLE_TURNS_MAX: u32 = 100_000;
const TURN: Duration = Duration::from_micros(10);

/// What the client asks for, over and over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) write: bool,
    pub(crate) bytes: u32,
    pub(crate) depth: u64,
}

struct Wire {
    connection: ConnectionId,
    to_target: BytesMut,
    to_engine: BytesMut,
    input: BytesMut,
}

/// See the module's documentation.
pub(crate) struct Lab {
    now: Instant,
    engine: Engine,
    target: Target,
    wires: BTreeMap<LinkId, Wire>,
    client: Option<ClientId>,
    requests: BytesMut,
    input: BytesMut,
    replies: BytesMut,
    cookie: u64,
    in_flight: u64,
    answered: u64,
    data: Vec<u8>,
    /// What is counted, and how much of it was counted inside the engine.
    counter: fn() -> u64,
    inside: u64,
}

impl Lab {
    /// A volume that is online over all `paths`; `counter` is read before and after every call of the engine.
    pub(crate) fn new(paths: u16, digests: bool, counter: fn() -> u64) -> Self {
        let digest = if digests {
            DigestChoice::Crc32c
        } else {
            DigestChoice::None
        };
        let mut knobs = Knobs::calm(1);
        knobs.groups = (0..paths).map(|_| 1).collect();
        knobs.blocks = BLOCKS;
        knobs.service_time = Duration::ZERO;
        knobs.queue_depth = 128;
        knobs.commands_per_path = 128;
        knobs.offer.header_digest = digest;
        knobs.offer.data_digest = digest;
        let now = netsim::clock::now();
        let portals = (0..knobs.groups.len()).map(world::portal);
        let mut lab = Self {
            now,
            engine: world::engine(now, &knobs),
            target: world::target_at(&knobs, portals),
            wires: BTreeMap::new(),
            client: None,
            requests: BytesMut::new(),
            input: BytesMut::new(),
            replies: BytesMut::new(),
            cookie: 0,
            in_flight: 0,
            answered: 0,
            data: vec![0x5a; 4 << 20],
            counter,
            inside: 0,
        };
        // All paths are in use, and the proofs among them are done.
        for _ in 0..1_000_000 {
            lab.turn();
            if lab.engine.used_paths().len() == usize::from(paths) && lab.is_quiet() {
                break;
            }
        }
        let export = lab.engine.export_info().expect("the volume is online");
        assert_eq!(lab.engine.used_paths().len(), usize::from(paths));
        lab.client = Some(lab.engine.attach(nbd::Connection::new(&export, true)));
        lab
    }

    fn is_quiet(&self) -> bool {
        self.wires
            .keys()
            .all(|link| link.link == iiblockdaemon::path::Link::Main)
    }

    /// Answers so many requests of the workload, and returns what was counted inside the engine meanwhile.
    pub(crate) fn run(&mut self, workload: Workload, requests: u64) -> u64 {
        let (before, until) = (self.inside, self.answered + requests);
        let mut idle = 0;
        while self.answered < until {
            while self.in_flight < workload.depth {
                self.ask(workload);
            }
            let answered = self.answered;
            self.turn();
            idle = if self.answered > answered {
                0
            } else {
                idle + 1
            };
            assert!(idle < IDLE_TURNS_MAX, "the volume hangs");
        }
        self.inside - before
    }

    fn ask(&mut self, workload: Workload) {
        let bytes = u64::from(workload.bytes);
        let places = BLOCKS * BLOCK / bytes;
        self.cookie += 1;
        self.in_flight += 1;
        let kind = u16::from(workload.write);
        self.requests.put_u32(0x2560_9513);
        self.requests.put_u16(0);
        self.requests.put_u16(kind);
        self.requests.put_u64(self.cookie);
        // A walk over the whole disk without a pattern that a cache would like.
        self.requests.put_u64(self.cookie * 7919 % places * bytes);
        self.requests.put_u32(workload.bytes);
        if workload.write {
            let data = self.data.get(..workload.bytes as usize);
            self.requests.extend_from_slice(data.unwrap_or_default());
        }
    }

    /// Calls the engine, and counts.
    fn within<T>(&mut self, call: impl FnOnce(&mut Engine) -> T) -> T {
        let before = (self.counter)();
        let result = call(&mut self.engine);
        self.inside += (self.counter)() - before;
        result
    }

    fn turn(&mut self) {
        self.now += TURN;
        let now = self.now;
        self.read_client();
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        for link in &links {
            self.read_link(*link);
        }
        let due = self.engine.poll_timeout();
        if due.is_some_and(|due| due.at <= now) {
            self.within(|engine| engine.handle_timeout(now));
        }
        if self.target.poll_timeout().is_some_and(|due| due.at <= now) {
            self.target.handle_timeout(now);
        }
        self.within(|engine| engine.pump(now));
        while let Some(action) = self.within(Engine::poll_action) {
            self.act(action);
        }
        for link in links {
            self.write_link(link);
        }
        while self.target.poll_woken().is_some() {}
        self.write_client();
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Dial { link, to, .. } => {
                let mut portals = 0..self.target.config().portals.len();
                let portal = portals.find(|portal| world::portal(*portal) == to.to_string());
                let connection = self.target.connect(now, portal.expect("a portal"));
                let wire = Wire {
                    connection,
                    to_target: BytesMut::new(),
                    to_engine: BytesMut::new(),
                    input: BytesMut::new(),
                };
                self.wires.insert(link, wire);
                let entropy = Entropy::new([7; 32]);
                self.within(|engine| engine.on_connected(now, link, entropy));
            }
            Action::Hangup { link } => {
                if let Some(wire) = self.wires.remove(&link) {
                    self.target.disconnect(now, wire.connection);
                }
            }
            Action::CloseClient { .. } => panic!("the engine closes the client"),
            // These wires lose nothing, nobody waits for the answer, and the configuration stays.
            Action::Observe { .. }
            | Action::Online
            | Action::PathsUsed
            | Action::Resized
            | Action::KeyChanged
            | Action::PathGone { .. } => {}
        }
    }

    fn read_client(&mut self) {
        let Some(client) = self.client else { return };
        let mut input = std::mem::take(&mut self.input);
        while !self.requests.is_empty() && self.engine.client_wants_input(client) {
            read(&mut self.requests, &mut input);
            self.within(|engine| engine.handle_client_bytes(client, &mut input));
        }
        if !input.is_empty() {
            self.within(|engine| engine.handle_client_bytes(client, &mut input));
        }
        self.input = input;
    }

    fn read_link(&mut self, link: LinkId) {
        let now = self.now;
        let Some(mut wire) = self.wires.remove(&link) else {
            return;
        };
        if let Some(queue) = self.target.outgoing(wire.connection) {
            write(queue, &mut wire.to_engine, |queue, taken| {
                queue.advance(taken);
            });
        }
        while !wire.to_engine.is_empty() {
            read(&mut wire.to_engine, &mut wire.input);
            self.within(|engine| engine.handle_link_bytes(now, link, &mut wire.input));
        }
        let over = self.target.is_over(wire.connection).is_some();
        let written = self.target.outgoing(wire.connection);
        if over && written.is_none_or(|queue| queue.is_empty()) {
            self.target.disconnect(now, wire.connection);
            self.within(|engine| engine.on_closed(now, link, "closed by the target"));
        } else {
            self.wires.insert(link, wire);
        }
    }

    fn write_link(&mut self, link: LinkId) {
        let (now, counter) = (self.now, self.counter);
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        let before = counter();
        let queue = self.engine.link_outgoing(link);
        self.inside += counter() - before;
        let inside = &mut self.inside;
        write(queue, &mut wire.to_target, |queue, taken| {
            let before = counter();
            queue.advance(taken);
            *inside += counter() - before;
        });
        if !wire.to_target.is_empty() {
            self.target
                .handle_bytes(now, wire.connection, &mut wire.to_target);
        }
    }

    fn write_client(&mut self) {
        let counter = self.counter;
        let before = counter();
        let queue = self
            .client
            .and_then(|client| self.engine.client_outgoing(client));
        self.inside += counter() - before;
        let Some(queue) = queue else { return };
        let inside = &mut self.inside;
        write(queue, &mut self.replies, |queue, taken| {
            let before = counter();
            queue.advance(taken);
            *inside += counter() - before;
        });
        self.take_replies();
    }

    /// Counts the replies that are complete.
    fn take_replies(&mut self) {
        while let Some(head) = self.replies.get(..8) {
            let simple = head.starts_with(&[0x67, 0x44, 0x66, 0x98]);
            let (length, done) = if simple {
                assert!(head.ends_with(&[0; 4]), "an error reply");
                (SIMPLE_REPLY, true)
            } else {
                assert!(head[6] & 0x80 == 0, "an error reply");
                let done = head[5] & 1 == 1;
                let Some(length) = self.replies.get(16..CHUNK_HEADER) else {
                    return;
                };
                let length = length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (CHUNK_HEADER + length, done)
            };
            if self.replies.len() < length {
                return;
            }
            self.replies.advance(length);
            if done {
                self.answered += 1;
                self.in_flight -= 1;
            }
        }
    }
}

/// As one read of a socket: what is there, as far as the buffer has room.
fn read(from: &mut BytesMut, into: &mut BytesMut) {
    if into.capacity() - into.len() < READ_ROOM_MIN {
        into.reserve(READ_ROOM);
    }
    let length = from.len().min(into.capacity() - into.len());
    into.extend_from_slice(&from.split_to(length));
}

/// As vectored writes to a socket that takes everything.
fn write(queue: &mut OutQueue, into: &mut BytesMut, mut advance: impl FnMut(&mut OutQueue, usize)) {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = queue.slices(&mut slices);
        let before = into.len();
        slices
            .iter()
            .take(count)
            .for_each(|slice| into.extend_from_slice(slice));
        let taken = into.len() - before;
        advance(queue, taken);
    }
}
