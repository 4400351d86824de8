//! The network of a world: routes with their conditions, and TCP connections over them.
//!
//! A [`Wire`] is one connection: the [`crate::link`] model between two kernels, each with a receive
//! buffer. Either end may be gone before the other learns of it: bytes under way are still delivered,
//! before a reset as well, and a hole hides all of it.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iiblockdaemon::engine::LinkId;
use iiblockdaemon::out_queue::OutQueue;

use super::knobs::Line;
use super::receipts::Receipts;
use crate::fault::PathState;
use crate::link::{Conditions, Direction, End, Held, Hole, Link, Pipe};
use crate::rng::Rng;
use crate::target::ConnectionId;

/// A receiver that is not read holds so much; then its sender has to wait.
const RECEIVE_MAX: usize = 64 << 10;

/// The first pause before an unanswered SYN is sent again; it doubles.
const SYN_RETRY: Duration = Duration::from_secs(1);

/// What one path's way through the network is like now.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) to_target: Conditions,
    pub(super) to_initiator: Conditions,
    pub(super) refusing: bool,
    /// Bits are flipped in connections that are past their login, which no digest protects.
    pub(super) corrupt_one_in: Option<NonZeroU64>,
    /// The NIC has no carrier.
    pub(super) unplugged: bool,
    /// The target sends so much later than its kernel acknowledges.
    pub(super) late: Duration,
    /// It is as a scenario file says: nothing is left to chance.
    planned: bool,
}

/// An attempt to connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    pub(super) due: Instant,
    retry: Duration,
}

/// One TCP connection, from the first SYN until both ends know that it is over.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) route: usize,
    /// The portal that it leads to: that of another path after a redirect.
    pub(super) portal: usize,
    pub(super) dial: Option<Dial>,
    /// The initiator's end, while it is open there.
    pub(super) link: Option<LinkId>,
    /// The target's end, while it is open there.
    pub(super) connection: Option<ConnectionId>,
    /// Its session is in the full feature phase, as both ends know.
    pub(super) logged_in: bool,
    /// The initiator's end is gone and nobody will tell the target.
    pub(super) half_open: bool,
    pub(super) pipes: Link,
    pub(super) at_initiator: BytesMut,
    pub(super) at_target: BytesMut,
    /// So many bytes of that are the beginning of a PDU, and no more can be made of them.
    pub(super) looked_at: usize,
    /// The stream to the target ended; so many bytes may still have to be read.
    pub(super) ended_at_target: bool,
    /// What the target's kernel acknowledged.
    pub(super) receipts: Receipts,
}

/// What a dial came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialed {
    Connected,
    Refused,
    Waits,
}

#[derive(Debug)]
pub(super) struct Net {
    lines: Vec<Line>,
    rng: Rng,
    pub(super) routes: Vec<Route>,
    pub(super) wires: BTreeMap<u64, Wire>,
    next: u64,
    /// The target's host refuses all connections.
    pub(super) away: bool,
}

impl Net {
    pub(super) fn new(lines: Vec<Line>, rng: Rng) -> Self {
        let route = |line: &Line| Route {
            to_target: line.with(&Conditions::default()),
            to_initiator: line.with(&Conditions::default()),
            refusing: false,
            corrupt_one_in: None,
            unplugged: false,
            late: Duration::ZERO,
            planned: false,
        };
        Self {
            routes: lines.iter().map(route).collect(),
            lines,
            rng,
            wires: BTreeMap::new(),
            next: 0,
            away: false,
        }
    }

    fn clear(&self, route: usize, slower: Duration) -> Conditions {
        self.lines[route].with(&Conditions {
            latency: slower,
            ..Conditions::default()
        })
    }

    /// A SYN is sent, of a link that has hung up.
    pub(super) fn dial(&mut self, now: Instant, link: LinkId, route: usize, portal: usize) {
        let id = self.next;
        self.next += 1;
        let rng = self.rng.stream_indexed("wire", id);
        let mut pipes = Link::new(&rng, self.lines[route].capacity);
        let conditions = &self.routes[route];
        let there_and_back = conditions.to_target.latency + conditions.to_initiator.latency;
        let release = Held::Release;
        // No digest protects a login.
        let (mut to_target, mut to_initiator) = conditions.conditions();
        (to_target.corrupt_one_in, to_initiator.corrupt_one_in) = (None, None);
        pipes.to_target().set_conditions(now, to_target, release);
        pipes
            .to_initiator()
            .set_conditions(now, to_initiator, release);
        let dial = Dial {
            due: now + there_and_back,
            retry: SYN_RETRY,
        };
        let wire = Wire {
            route,
            portal,
            dial: Some(dial),
            link: Some(link),
            connection: None,
            logged_in: false,
            half_open: false,
            pipes,
            at_initiator: BytesMut::new(),
            at_target: BytesMut::new(),
            looked_at: 0,
            ended_at_target: false,
            receipts: Receipts::new(now, conditions.late),
        };
        self.wires.insert(id, wire);
    }

    /// What becomes of the SYN of this wire, which is due.
    pub(super) fn dialed(&mut self, now: Instant, id: u64) -> Dialed {
        let Some(wire) = self.wires.get_mut(&id) else {
            return Dialed::Waits;
        };
        let route = &self.routes[wire.route];
        let holed = |conditions: &Conditions| conditions.hole == Hole::All;
        if route.unplugged || holed(&route.to_target) || holed(&route.to_initiator) {
            if let Some(dial) = &mut wire.dial {
                dial.due = now + dial.retry;
                dial.retry *= 2;
            }
            return Dialed::Waits;
        }
        wire.dial = None;
        if route.refusing || self.away {
            Dialed::Refused
        } else {
            Dialed::Connected
        }
    }

    /// The initiator closes abortively. What was sent may still arrive, before the reset. The target's end,
    /// if nothing will tell it.
    pub(super) fn hang_up(&mut self, now: Instant, link: LinkId) -> Option<ConnectionId> {
        let (&id, wire) = self
            .wires
            .iter_mut()
            .find(|(_, wire)| wire.link == Some(link))?;
        wire.link = None;
        let to_target = wire.pipes.to_target();
        // A reset is not sent twice: what a hole swallows is gone for good.
        let certain = self.routes[wire.route].planned;
        wire.half_open = to_target.is_holed() && (certain || self.rng.chance(1, 2));
        if !wire.half_open {
            to_target.push_end(now, End::Reset);
        }
        let forsaken = wire.connection.filter(|_| wire.half_open);
        if wire.connection.is_none() {
            self.wires.remove(&id);
        }
        forsaken
    }

    /// Forgets wires that are over at both ends.
    pub(super) fn sweep(&mut self) {
        self.wires
            .retain(|_, wire| wire.link.is_some() || wire.connection.is_some());
    }

    pub(super) fn wires_of(&mut self, route: usize) -> impl Iterator<Item = &mut Wire> {
        self.wires
            .values_mut()
            .filter(move |wire| wire.route == route)
    }

    pub(super) fn set_hole(
        &mut self,
        now: Instant,
        route: usize,
        direction: Direction,
        hole: Hole,
    ) {
        let there = &mut self.routes[route];
        if direction.includes_to_target() {
            there.to_target.hole = hole;
        }
        if direction.includes_to_initiator() {
            there.to_initiator.hole = hole;
        }
        self.apply(now, route, Held::Release);
    }

    /// No hole any more; `slower` than the line is.
    pub(super) fn mend(&mut self, now: Instant, route: usize, slower: Duration, held: Held) {
        let clear = self.clear(route, slower);
        self.routes[route].to_target = clear.clone();
        self.routes[route].to_initiator = clear;
        self.routes[route].corrupt_one_in = None;
        self.apply(now, route, held);
    }

    /// A route carries no more than that, and than its line does.
    pub(super) fn limit(&mut self, now: Instant, route: usize, limit: Option<NonZeroU64>) {
        let limit = limit.into_iter().chain(self.lines[route].bandwidth).min();
        self.routes[route].to_target.bandwidth = limit;
        self.routes[route].to_initiator.bandwidth = limit;
        self.apply(now, route, Held::Release);
    }

    pub(super) fn corrupt(&mut self, now: Instant, route: usize, one_in: Option<NonZeroU64>) {
        self.routes[route].corrupt_one_in = one_in;
        self.apply(now, route, Held::Release);
    }

    /// The login of this wire is over.
    pub(super) fn logged_in(&mut self, now: Instant, id: u64) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.logged_in) else {
            return;
        };
        wire.logged_in = true;
        let route = wire.route;
        self.apply(now, route, Held::Release);
    }

    pub(super) fn slow(&mut self, now: Instant, route: usize, by: Duration) {
        let latency = self.lines[route].latency + by;
        self.routes[route].to_target.latency = latency;
        self.routes[route].to_initiator.latency = latency;
        self.apply(now, route, Held::Release);
    }

    /// The NIC loses its carrier, or has it again.
    pub(super) fn set_unplugged(&mut self, now: Instant, route: usize, unplugged: bool) {
        self.routes[route].unplugged = unplugged;
        self.apply(now, route, Held::Release);
    }

    /// The target sends later than its kernel acknowledges.
    pub(super) fn set_late(&mut self, now: Instant, route: usize, late: Duration) {
        self.routes[route].late = late;
        self.apply(now, route, Held::Release);
    }

    /// What is wrong with a route, in full; whether new connections are refused from now on.
    pub(super) fn set_state(&mut self, now: Instant, route: usize, state: &PathState) {
        let there = &mut self.routes[route];
        there.to_target = self.lines[route].with(&state.to_target);
        there.to_initiator = self.lines[route].with(&state.to_initiator);
        let refused = there.refusing;
        there.planned = true;
        there.refusing = state.cut.is_some();
        there.corrupt_one_in = state.to_target.corrupt_one_in;
        self.apply(now, route, state.held);
        if let Some(end) = state.cut.filter(|_| !refused) {
            self.cut(now, route, end);
        }
    }

    /// Ends the connections of a route, on both sides.
    pub(super) fn cut(&mut self, now: Instant, route: usize, end: End) {
        for wire in self.wires_of(route).filter(|wire| wire.dial.is_none()) {
            wire.pipes.cut(now, end);
        }
    }

    fn apply(&mut self, now: Instant, route: usize, held: Held) {
        let there = &self.routes[route];
        let wanted = there.conditions();
        let (corrupt, late) = (there.corrupt_one_in, there.late);
        for wire in self.wires_of(route) {
            let (mut to_target, mut to_initiator) = wanted.clone();
            wire.receipts.set_late(late);
            for conditions in [&mut to_target, &mut to_initiator] {
                let one_in = conditions.corrupt_one_in.or(corrupt);
                conditions.corrupt_one_in = one_in.filter(|_| wire.logged_in);
            }
            let lost = |pipe: &mut Pipe, next: &Conditions| {
                pipe.has_hole() && next.hole == Hole::None && pipe.queued() > 0
            };
            let lost = held == Held::Drop
                && (lost(wire.pipes.to_target(), &to_target)
                    | lost(wire.pipes.to_initiator(), &to_initiator));
            let release = Held::Release;
            wire.pipes
                .to_target()
                .set_conditions(now, to_target.clone(), release);
            wire.pipes
                .to_initiator()
                .set_conditions(now, to_initiator.clone(), release);
            if lost {
                wire.pipes.cut(now, End::Reset);
            }
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for wire in self.wires.values_mut() {
            if let Some(dial) = wire.dial {
                next = next.into_iter().chain([dial.due]).min();
                continue;
            }
            let readable = wire.at_target.len() < RECEIVE_MAX;
            let to_target = wire.pipes.to_target().poll_timeout().filter(|_| readable);
            let to_initiator = wire.pipes.to_initiator().poll_timeout();
            next = next.into_iter().chain(to_target).chain(to_initiator).min();
        }
        next
    }
}

impl Route {
    /// Of both directions of a connection.
    fn conditions(&self) -> (Conditions, Conditions) {
        let (mut to_target, mut to_initiator) = (self.to_target.clone(), self.to_initiator.clone());
        to_initiator.latency += self.late;
        if self.unplugged {
            (to_target.hole, to_initiator.hole) = (Hole::All, Hole::All);
        }
        (to_target, to_initiator)
    }
}

impl Line {
    /// The line with what is wrong with it.
    fn with(&self, wrong: &Conditions) -> Conditions {
        Conditions {
            latency: self.latency + wrong.latency,
            jitter: self.jitter + wrong.jitter,
            bandwidth: wrong.bandwidth.into_iter().chain(self.bandwidth).min(),
            ..wrong.clone()
        }
    }
}

impl Wire {
    pub(super) fn target_has_room(&self) -> bool {
        self.at_target.len() < RECEIVE_MAX
    }

    /// The target, which may have been frozen, has not looked at what is there.
    pub(super) fn is_unlooked_at(&self) -> bool {
        self.at_target.len() != self.looked_at
    }
}

/// Moves what fits from a queue into a pipe; whether anything moved.
pub(super) fn write(now: Instant, queue: &mut OutQueue, pipe: &mut Pipe) -> bool {
    let room = pipe.room();
    if queue.is_empty() || room == 0 {
        return false;
    }
    if queue.pending() <= room as u64 {
        pipe.push(now, queue.take_all());
        return true;
    }
    let mut slices = [IoSlice::new(&[]); 64];
    let count = queue.slices(&mut slices);
    let mut piece = BytesMut::with_capacity(room);
    for slice in slices.iter().take(count) {
        let take = slice.len().min(room - piece.len());
        piece.extend_from_slice(slice.get(..take).unwrap_or_default());
    }
    let taken = piece.len();
    queue.advance(taken);
    pipe.push(now, Bytes::from(piece));
    true
}
