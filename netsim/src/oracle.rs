//! The judge of a workload: may this read have returned this?
//!
//! Each block is a register. Every write of a run has a number of its own and blocks say which
//! write they are from, so each *value* of a register is known by its write. The oracle sees when
//! each request begins and ends, on a logical clock that counts these events.
//!
//! For each value it keeps two times over all its operations (the write that made it and the reads
//! that returned it): the **first end**, when the value was certainly there, and the **last
//! start**, when it certainly still was, or was not there yet. Two values contradict each other if
//! each has an operation that started after the other's first end: the register would have to go
//! back and forth. A history of a register with unique values is linearizable if and only if no two
//! of its values contradict each other (Gibbons and Korach, "Testing shared memories", 1997; the
//! condition is theirs, of zones, written as one inequality). From that follows all that we demand:
//! no read returns an older value after a newer one was acknowledged, or was seen.
//!
//! A write that failed or whose outcome is unknown has no end: it may take effect at any time, or
//! never, but once it was seen, it has.
//!
//! A write whose server died is sent again. Until that is answered it may be executed once, twice or never,
//! other writes in between, so reads may see it come and go; afterwards only its last execution counts, which
//! was after it was sent again.
//!
//! What a block held before the run is a value too; the first read learns it.
//!
//! **Durability.** Where the disk may lose what it acknowledged ([`Oracle::of_volatile`]), a value is
//! durable once its write was acknowledged with FUA, or before the beginning of a flush that succeeded. A
//! crash leaves each block with one of the values that were there since the last durable one; which one it
//! is shows the first read after it. From then on that one was *there by the crash*, and none of the others
//! comes back. A read that was under way during the crash may tell of before or of after, so nothing is
//! learned from it. A flush that fails takes the promise back for what was acknowledged before its end.
//!
//! Zeroes do not say which write they are from. A read that returns zeroes is judged as the oldest of the
//! zeroing writes (or the content from before the run) that it may be from, and is remembered only where
//! there is just one: that finds less, and never accuses wrongly.

use std::collections::BTreeMap;
use std::fmt;

use crate::block::{Content, Stamp};

/// How many violations are kept in full; further ones are counted.
const VIOLATIONS_MAX: usize = 32;

/// One write, from its beginning to its end.
#[derive(Debug)]
#[must_use = "a write that never ends blocks nothing, but is never judged either"]
pub struct WriteTicket {
    sequence: u64,
    writer: u32,
    lba: u64,
    blocks: u64,
}

impl WriteTicket {
    /// The number of the write within its run.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// One read, from its beginning to its end.
#[derive(Debug)]
#[must_use = "a read that never ends keeps old values alive"]
pub struct ReadTicket {
    started: u64,
    lba: u64,
    blocks: u64,
}

/// One flush, from its beginning to its end.
#[derive(Debug)]
#[must_use = "a flush that never ends makes nothing durable"]
pub struct FlushTicket {
    started: u64,
}

/// Which rule a read broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It returned a value that a newer one had replaced: `newer` is the newer one's write.
    Reverted {
        /// The write that was there already; `None`: the content from before the run.
        newer: Option<u64>,
    },
    /// It returned a write of another block, volume or run.
    Misplaced,
    /// It returned a block that is not whole.
    Damaged,
    /// A block that nobody wrote changed.
    Changed,
}

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The block.
    pub lba: u64,
    /// What the read returned.
    pub found: Content,
    /// The rule.
    pub rule: Rule,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}: a read returned ", self.lba)?;
        match self.found {
            Content::Stamped(stamp) => write!(
                f,
                "write {} of worker {} to block {}",
                stamp.sequence, stamp.writer, stamp.lba
            )?,
            Content::Damaged(stamp) => write!(
                f,
                "a block that begins as write {} of worker {} to block {}",
                stamp.sequence, stamp.writer, stamp.lba
            )?,
            Content::Zeroes => f.write_str("zeroes")?,
            Content::Other(_) => f.write_str("content of unknown origin")?,
        }
        match self.rule {
            Rule::Reverted { newer: Some(newer) } => {
                write!(f, ", although write {newer} had replaced it")
            }
            Rule::Reverted { newer: None } => {
                f.write_str(", although the content from before the run was seen after it")
            }
            Rule::Misplaced => f.write_str(", which does not belong there"),
            Rule::Damaged => f.write_str(", and it is torn or damaged"),
            Rule::Changed => f.write_str(", but it held something else before and nobody wrote it"),
        }
    }
}

/// Which value of a register: the number of its write, or 0 for what was there before the run.
type ValueId = u64;
const BEFORE: ValueId = 0;

#[derive(Clone, Copy, Debug)]
struct Value {
    id: ValueId,
    first_end: u64,
    last_start: u64,
    /// The write zeroed the block.
    zero: bool,
    /// The write was sent again, and was not answered yet.
    repeated: bool,
    /// When its write was acknowledged.
    acknowledged: Option<u64>,
    /// It survives a crash.
    durable: bool,
    /// A flush failed that might have made it durable.
    waived: bool,
    /// Its first end and last start as they were before a crash that it may have survived.
    before_crash: Option<(u64, u64)>,
}

impl Value {
    fn new(id: ValueId, now: u64, zero: bool) -> Self {
        Self {
            id,
            first_end: u64::MAX,
            last_start: now,
            zero,
            repeated: false,
            acknowledged: None,
            durable: false,
            waived: false,
            before_crash: None,
        }
    }

    /// What was there before the run.
    fn before() -> Self {
        Self {
            first_end: 0,
            acknowledged: Some(0),
            durable: true,
            ..Self::new(BEFORE, 0, false)
        }
    }

    /// Times that can be compared with those of `other`: of before the crash, if both are from then.
    fn times(&self, other: &Self) -> (u64, u64) {
        match self.before_crash {
            Some(times) if other.before_crash.is_some() => times,
            Some(_) | None => (self.first_end, self.last_start),
        }
    }

    /// Whether this value was replaced by `other`, which was there by `now`.
    fn replaced_by(&self, other: &Self, now: u64) -> bool {
        let (first_end, _) = self.times(other);
        let (_, last_start) = other.times(self);
        self.id != other.id && first_end < last_start && other.first_end <= now
    }

    fn contradicts(&self, other: &Self) -> bool {
        self.first_end < other.last_start && other.first_end < self.last_start
    }
}

#[derive(Clone, Debug, Default)]
struct Register {
    values: Vec<Value>,
    reads_in_flight: u32,
    /// What it held before the run, once known.
    before: Option<Content>,
}

/// The judge of one run on one volume.
#[derive(Debug)]
pub struct Oracle {
    run: u64,
    volume: u32,
    clock: u64,
    next_sequence: u64,
    /// What blocks held before the run, where that is known.
    before: Option<Content>,
    registers: BTreeMap<u64, Register>,
    violations: Vec<Violation>,
    violation_count: u64,
    blocks_checked: u64,
    /// Acknowledged is not durable.
    volatile: bool,
    /// When the disk last lost of its cache what it liked to.
    crashed: u64,
}

impl Oracle {
    /// A judge for run `run` on volume `volume`.
    #[must_use]
    pub fn new(run: u64, volume: u32) -> Self {
        Self {
            run,
            volume,
            clock: 1,
            next_sequence: BEFORE + 1,
            before: None,
            registers: BTreeMap::new(),
            violations: Vec::new(),
            violation_count: 0,
            blocks_checked: 0,
            volatile: false,
            crashed: 0,
        }
    }

    /// A judge whose volume is known to hold zeroes.
    #[must_use]
    pub fn of_zeroed(run: u64, volume: u32) -> Self {
        Self {
            before: Some(Content::Zeroes),
            ..Self::new(run, volume)
        }
    }

    /// A judge whose volume is known to hold zeroes, and whose disk has a volatile cache.
    #[must_use]
    pub fn of_volatile(run: u64, volume: u32) -> Self {
        Self {
            volatile: true,
            ..Self::of_zeroed(run, volume)
        }
    }

    /// Blocks that reads returned and that were judged.
    #[must_use]
    pub fn blocks_checked(&self) -> u64 {
        self.blocks_checked
    }

    /// How many blocks broke a rule.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        self.violation_count
    }

    /// The first violations in full.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A write is about to be submitted.
    pub fn write_begins(&mut self, writer: u32, lba: u64, blocks: u64) -> WriteTicket {
        self.begins(writer, lba, blocks, false)
    }

    /// Blocks are about to be zeroed, or trimmed: end a trim as not acknowledged, for it may do nothing.
    pub fn zeroes_begin(&mut self, writer: u32, lba: u64, blocks: u64) -> WriteTicket {
        self.begins(writer, lba, blocks, true)
    }

    fn begins(&mut self, writer: u32, lba: u64, blocks: u64, zero: bool) -> WriteTicket {
        let now = self.tick();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        for at in lba..lba + blocks {
            let value = Value::new(sequence, now, zero);
            self.register(at).values.push(value);
        }
        WriteTicket {
            sequence,
            writer,
            lba,
            blocks,
        }
    }

    /// Fills `data` with the blocks of a write.
    ///
    /// # Panics
    /// If `data` is not as long as the write's blocks.
    pub fn fill(&self, ticket: &WriteTicket, block_size: usize, data: &mut [u8]) {
        let blocks = data.len() / block_size;
        assert_eq!(blocks as u64, ticket.blocks, "a buffer of the write's size");
        for (block, lba) in data.chunks_mut(block_size).zip(ticket.lba..) {
            let stamp = Stamp {
                run: self.run,
                volume: self.volume,
                writer: ticket.writer,
                lba,
                sequence: ticket.sequence,
            };
            stamp.fill(block);
        }
    }

    /// A write that nobody answered is sent again, to a server that knows nothing of the first time.
    pub fn write_repeats(&mut self, ticket: &WriteTicket, zeroes: bool) {
        let again = Value {
            repeated: true,
            ..Value::new(ticket.sequence, self.tick(), zeroes)
        };
        for at in ticket.lba..ticket.lba + ticket.blocks {
            let values = &mut self.register(at).values;
            values.retain(|value| value.id != again.id);
            values.push(again);
        }
    }

    /// A write was answered; not `acknowledged` means that its outcome is unknown.
    pub fn write_ends(&mut self, ticket: WriteTicket, acknowledged: bool) {
        self.ends(ticket, acknowledged, false);
    }

    /// A write with FUA was acknowledged: it is durable.
    pub fn durable_write_ends(&mut self, ticket: WriteTicket) {
        self.ends(ticket, true, true);
    }

    fn ends(&mut self, ticket: WriteTicket, acknowledged: bool, durable: bool) {
        let now = self.tick();
        let volatile = self.volatile;
        for at in ticket.lba..ticket.lba + ticket.blocks {
            let register = self.register(at);
            if acknowledged {
                let mut values = register.values.iter_mut();
                if let Some(value) = values.find(|value| value.id == ticket.sequence) {
                    value.first_end = value.first_end.min(now);
                    value.repeated = false;
                    value.acknowledged = Some(now);
                    value.durable = durable || !volatile;
                }
            }
            register.forget_replaced(now);
        }
    }

    /// A flush is about to be submitted.
    pub fn flush_begins(&mut self) -> FlushTicket {
        let started = self.tick();
        FlushTicket { started }
    }

    /// A flush was answered.
    pub fn flush_ends(&mut self, ticket: FlushTicket, succeeded: bool) {
        let now = self.tick();
        if !self.volatile {
            return;
        }
        for register in self.registers.values_mut() {
            for value in &mut register.values {
                let Some(acknowledged) = value.acknowledged else {
                    continue;
                };
                if !succeeded {
                    value.waived |= !value.durable;
                } else if acknowledged <= ticket.started && !value.waived {
                    value.durable = true;
                }
            }
            register.forget_replaced(now);
        }
    }

    /// The server died, and with it what it knew of a crash: nobody may rely on what is not durable.
    pub fn server_dies(&mut self) {
        let values = self.registers.values_mut().flat_map(|r| &mut r.values);
        values.for_each(|value| value.waived |= value.acknowledged.is_some() && !value.durable);
    }

    /// The disk loses of its cache what it likes to.
    pub fn crashes(&mut self) {
        let now = self.tick();
        if !self.volatile {
            return;
        }
        self.crashed = now;
        let registers = self.registers.values_mut();
        registers.for_each(|register| register.forget_replaced(now));
        for value in self.registers.values_mut().flat_map(|r| &mut r.values) {
            let times = (value.first_end, value.last_start);
            value.before_crash.get_or_insert(times);
            // If it is there afterwards, it was there by now; or its write is still under way.
            value.first_end = match value.acknowledged {
                Some(_) => now,
                None => u64::MAX,
            };
            value.last_start = value.last_start.min(now);
        }
    }

    /// A read is about to be submitted.
    pub fn read_begins(&mut self, lba: u64, blocks: u64) -> ReadTicket {
        let started = self.tick();
        for at in lba..lba + blocks {
            self.register(at).reads_in_flight += 1;
        }
        ReadTicket {
            started,
            lba,
            blocks,
        }
    }

    /// A read was answered: with `data` if it succeeded. Returns how many blocks broke a rule.
    pub fn read_ends(&mut self, ticket: ReadTicket, block_size: usize, data: Option<&[u8]>) -> u64 {
        let now = self.tick();
        let mut broken = 0;
        let mut blocks = data.map(|data| data.chunks(block_size));
        for lba in ticket.lba..ticket.lba + ticket.blocks {
            if let Some(blocks) = &mut blocks {
                let found = Content::of(blocks.next().unwrap_or_default());
                let judged = self.judge(lba, found, ticket.started, now);
                if let Err(rule) = judged {
                    broken += 1;
                    self.report(Violation { lba, found, rule });
                }
                self.blocks_checked += 1;
            }
            let register = self.register(lba);
            register.reads_in_flight -= 1;
            register.forget_replaced(now);
        }
        broken
    }

    fn judge(&mut self, lba: u64, found: Content, started: u64, now: u64) -> Result<(), Rule> {
        let (run, volume) = (self.run, self.volume);
        let next_sequence = self.next_sequence;
        let across_crash = started < self.crashed;
        let register = self.register(lba);
        let id = match found {
            Content::Stamped(stamp) if stamp.run == run => {
                let known = (BEFORE + 1..next_sequence).contains(&stamp.sequence);
                if stamp.lba != lba || stamp.volume != volume || !known {
                    return Err(Rule::Misplaced);
                }
                stamp.sequence
            }
            Content::Zeroes if register.may_be_zero() && across_crash => return Ok(()),
            Content::Zeroes if register.may_be_zero() => return register.saw_zeroes(started, now),
            Content::Damaged(stamp) if stamp.run == run => return Err(Rule::Damaged),
            other @ (Content::Stamped(_)
            | Content::Damaged(_)
            | Content::Zeroes
            | Content::Other(_)) => {
                let before = *register.before.get_or_insert(other);
                if before != other {
                    return Err(match other {
                        Content::Stamped(_) => Rule::Misplaced,
                        Content::Damaged(_) => Rule::Damaged,
                        Content::Zeroes | Content::Other(_) => Rule::Changed,
                    });
                }
                BEFORE
            }
        };
        if across_crash && register.values.iter().any(|value| value.id == id) {
            return Ok(());
        }
        register.saw(id, started, now)
    }

    fn report(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    fn register(&mut self, lba: u64) -> &mut Register {
        let before = self.before;
        self.registers.entry(lba).or_insert_with(|| Register {
            values: vec![Value::before()],
            before,
            ..Register::default()
        })
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Register {
    /// Whether some value that is known to be zeroes was written, so that zeroes need not be from before.
    fn may_be_zero(&self) -> bool {
        self.before == Some(Content::Zeroes) || self.values.iter().any(|value| value.zero)
    }

    /// A read that began at `started` and ends `now` returned zeroes.
    fn saw_zeroes(&mut self, started: u64, now: u64) -> Result<(), Rule> {
        let from_before = self.before.is_none_or(|before| before == Content::Zeroes);
        let is_zero = |value: &Value| value.zero || (value.id == BEFORE && from_before);
        let candidates: Vec<ValueId> = self
            .values
            .iter()
            .filter(|value| is_zero(value))
            .map(|value| value.id)
            .collect();
        let mut legal = Vec::new();
        let mut broken = None;
        for id in candidates {
            let before = self.values.clone();
            match self.saw(id, started, now) {
                Ok(()) => legal.push(id),
                Err(rule) => broken = Some(rule),
            }
            self.values = before;
        }
        match legal[..] {
            [] => Err(broken.unwrap_or_else(|| Rule::Reverted {
                newer: self.values.iter().map(|value| value.id).max(),
            })),
            [one] => self.saw(one, started, now),
            [..] => Ok(()),
        }
    }

    /// A read that began at `started` and ends `now` returned value `id`.
    fn saw(&mut self, id: ValueId, started: u64, now: u64) -> Result<(), Rule> {
        let newer = |id| Rule::Reverted {
            newer: (id != BEFORE).then_some(id),
        };
        let Some(index) = self.values.iter().position(|value| value.id == id) else {
            // Forgotten, so it was replaced for good; by what is known now at the latest.
            let newest = self.values.iter().map(|value| value.id).max();
            return Err(newer(newest.unwrap_or(BEFORE)));
        };
        let mut value = self.values[index];
        if value.repeated {
            return Ok(());
        }
        value.last_start = value.last_start.max(started);
        value.first_end = value.first_end.min(now);
        let mut others = self.values.iter().filter(|other| other.id != id);
        if let Some(other) = others.find(|other| value.contradicts(other)) {
            return Err(newer(other.id));
        }
        self.values[index] = value;
        Ok(())
    }

    /// Forgets values that no read from now on may return: those that another value, which was
    /// there by now, began after. While a read is in flight, it may still return them.
    fn forget_replaced(&mut self, now: u64) {
        if self.reads_in_flight > 0 || self.values.len() < 2 {
            return;
        }
        // Only a durable value replaces others for good, and there are few of them at a time.
        let durable: Vec<Value> = self.values.iter().filter(|v| v.durable).copied().collect();
        let replaced = |value: &Value| durable.iter().any(|other| value.replaced_by(other, now));
        self.values.retain(|value| !replaced(value));
    }
}

#[cfg(test)]
mod tests;
