//! One direction of a link.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{Conditions, Held, Hole, RETRANSMISSION};
use crate::rng::Rng;

/// A limited line takes bytes in slices of this duration, so that a large piece arrives spread out.
const LINE_SLICE: Duration = Duration::from_millis(5);

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order, after all bytes (TCP FIN).
    Fin,
    /// Abruptly (TCP RST).
    Reset,
}

/// What comes out of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The next bytes of the stream.
    Data(Bytes),
    /// The stream's end; nothing follows.
    End(End),
}

/// What happened in a pipe, as proof of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that came in.
    pub pushed: u64,
    /// Bytes that came out.
    pub delivered: u64,
    /// Bytes that came in or were under way while a hole held them.
    pub held: u64,
    /// Bytes that were lost.
    pub dropped: u64,
    /// Pieces that had to be sent again.
    pub lost: u64,
    /// Pieces with a flipped bit.
    pub corrupted: u64,
}

#[derive(Debug)]
struct Waiting {
    pushed_at: Instant,
    data: Bytes,
}

#[derive(Debug)]
struct Flying {
    due: Instant,
    data: Bytes,
}

#[derive(Debug)]
struct Ending {
    due: Instant,
    end: End,
}

/// One direction of one connection, from where it is pushed to where it is delivered.
#[derive(Debug)]
pub struct Pipe {
    conditions: Conditions,
    rng: Rng,
    capacity: usize,
    queued: usize,
    waiting: VecDeque<Waiting>,
    line_free_at: Option<Instant>,
    flying: VecDeque<Flying>,
    end: Option<Ending>,
    ended: bool,
    counters: Counters,
}

impl Pipe {
    /// A pipe without conditions that holds up to `capacity` bytes.
    #[must_use]
    pub fn new(rng: Rng, capacity: usize) -> Self {
        Self {
            conditions: Conditions::default(),
            rng,
            capacity,
            queued: 0,
            waiting: VecDeque::new(),
            line_free_at: None,
            flying: VecDeque::new(),
            end: None,
            ended: false,
            counters: Counters::default(),
        }
    }

    /// The conditions that hold.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes inside.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes that may be pushed; 0 means that the sender must wait.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.end.is_some() {
            return 0;
        }
        self.capacity.saturating_sub(self.queued)
    }

    /// Whether a hole lets nothing out.
    #[must_use]
    pub fn is_holed(&self) -> bool {
        self.conditions.hole == Hole::All
    }

    /// Whether a hole swallows all, or what is large.
    #[must_use]
    pub fn has_hole(&self) -> bool {
        self.conditions.hole != Hole::None
    }

    /// Whether a large piece is swallowed while smaller ones behind it would pass.
    #[must_use]
    pub fn swallows_head(&self) -> bool {
        let head = self.waiting.front();
        matches!(self.conditions.hole, Hole::LargerThan(_))
            && head.is_some_and(|head| self.blocked(head))
    }

    /// Whether bytes pushed now would simply come out again: a driver may pass them by.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.queued == 0 && self.end.is_none() && self.conditions.is_clear()
    }

    /// Counts bytes that a driver passed by a transparent pipe.
    ///
    /// # Panics
    /// If the pipe is not transparent.
    pub fn passed_by(&mut self, bytes: usize) {
        assert!(
            self.is_transparent(),
            "only a transparent pipe is passed by"
        );
        self.counters.pushed += bytes as u64;
        self.counters.delivered += bytes as u64;
    }

    /// Changes the conditions. If this ends a hole, `held` says what becomes of the bytes in it.
    pub fn set_conditions(&mut self, now: Instant, conditions: Conditions, held: Held) {
        let heals = self.is_holed() && conditions.hole != Hole::All;
        if !self.is_holed() && conditions.hole == Hole::All {
            self.counters.held += self.queued as u64;
        }
        self.conditions = conditions;
        if heals && held == Held::Drop && (self.queued > 0 || self.end.is_some()) {
            self.cut(now, End::Reset);
        }
        // What waits enters the line now: not when a slow line would have been free, nor in the past.
        self.line_free_at = Some(now);
    }

    /// Bytes enter. More than [`Pipe::room`] is taken all the same: the bound is the driver's.
    ///
    /// # Panics
    /// If the stream was ended before.
    pub fn push(&mut self, now: Instant, data: Bytes) {
        assert!(self.end.is_none(), "nothing follows the end of a stream");
        if data.is_empty() {
            return;
        }
        self.counters.pushed += data.len() as u64;
        if self.is_holed() {
            self.counters.held += data.len() as u64;
        }
        self.queued += data.len();
        self.waiting.push_back(Waiting {
            pushed_at: now,
            data,
        });
        self.run_line(now);
    }

    /// The sender ended the stream; delivered after all that was pushed.
    pub fn push_end(&mut self, now: Instant, end: End) {
        let due = now + self.conditions.latency;
        self.end.get_or_insert(Ending { due, end });
    }

    /// Ends the stream now; what is under way is lost, and no hole hides the end.
    pub fn cut(&mut self, now: Instant, end: End) {
        self.counters.dropped += self.queued as u64;
        self.queued = 0;
        self.waiting.clear();
        self.flying.clear();
        self.end = Some(Ending { due: now, end });
        self.conditions.hole = Hole::None;
    }

    /// What is due, in order. The end is delivered once.
    pub fn poll_deliver(&mut self, now: Instant) -> Option<Delivery> {
        if self.is_holed() || self.ended {
            return None;
        }
        self.run_line(now);
        if let Some(head) = self.flying.front() {
            if head.due > now {
                return None;
            }
            let data = self.flying.pop_front()?.data;
            self.queued -= data.len();
            self.counters.delivered += data.len() as u64;
            return Some(Delivery::Data(data));
        }
        if !self.waiting.is_empty() {
            return None;
        }
        let ending = self.end.as_ref().filter(|ending| ending.due <= now)?;
        self.ended = true;
        Some(Delivery::End(ending.end))
    }

    /// When something becomes due; `None` if nothing will without a call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_holed() || self.ended {
            return None;
        }
        if let Some(head) = self.flying.front() {
            return Some(head.due);
        }
        let Some(head) = self.waiting.front() else {
            return self.end.as_ref().map(|ending| ending.due);
        };
        (!self.blocked(head)).then(|| self.line_takes(head))
    }

    fn blocked(&self, head: &Waiting) -> bool {
        match self.conditions.hole {
            Hole::None => false,
            Hole::All => true,
            Hole::LargerThan(limit) => head.data.len() > limit,
        }
    }

    fn line_takes(&self, head: &Waiting) -> Instant {
        self.line_free_at
            .map_or(head.pushed_at, |free| free.max(head.pushed_at))
    }

    /// Moves what the line has taken by `now` from waiting to flying.
    fn run_line(&mut self, now: Instant) {
        while let Some(head) = self.waiting.front() {
            let taken_at = self.line_takes(head);
            if self.blocked(head) || taken_at > now {
                return;
            }
            let Some(mut piece) = self.waiting.pop_front() else {
                return;
            };
            let mut sent_at = taken_at;
            if let Some(rate) = self.conditions.bandwidth {
                let slice = slice_len(rate);
                if piece.data.len() > slice {
                    let rest = piece.data.split_off(slice);
                    self.waiting.push_front(Waiting {
                        pushed_at: piece.pushed_at,
                        data: rest,
                    });
                }
                sent_at += transmission_time(piece.data.len(), rate);
                self.line_free_at = Some(sent_at);
            }
            self.fly(sent_at, piece.data);
        }
    }

    fn fly(&mut self, sent_at: Instant, data: Bytes) {
        let mut flight = self.conditions.latency + self.rng.duration_below(self.conditions.jitter);
        if let Some(one_in) = self.conditions.lose_one_in
            && self.rng.chance(1, one_in.get())
        {
            self.counters.lost += 1;
            flight += RETRANSMISSION;
        }
        // Whoever is faster than one before it waits behind it: order never changes.
        let due = sent_at + flight;
        let data = self.maybe_corrupt(data);
        self.flying.push_back(Flying { due, data });
    }

    fn maybe_corrupt(&mut self, data: Bytes) -> Bytes {
        let Some(one_in) = self.conditions.corrupt_one_in else {
            return data;
        };
        if !self.rng.chance(1, one_in.get()) {
            return data;
        }
        self.counters.corrupted += 1;
        let mut bytes = BytesMut::from(data.as_ref());
        let at = self.rng.index(bytes.len());
        let bit = self.rng.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
        bytes.freeze()
    }
}

fn slice_len(rate: NonZeroU64) -> usize {
    let slices_per_second = 1000 / u64::from(LINE_SLICE.subsec_millis());
    usize::try_from((rate.get() / slices_per_second).max(1)).unwrap_or(usize::MAX)
}

fn transmission_time(bytes: usize, rate: NonZeroU64) -> Duration {
    let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
