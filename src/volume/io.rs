//! The life of one io: asked, in line for its range, made into commands, answered.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::errno::IoErrno;
use crate::ids::IoId;
use crate::payload::Payload;
use crate::sabotage::{self, Sabotage};

use super::command::{self, Ops};
use super::{Command, CommandOrder, Io, IoError, Reply, Request, Volume};

impl Volume {
    /// Asks for one io. Exactly one [`Reply`] with its id follows.
    ///
    /// # Panics
    /// If no path was ever admitted, or the id is in use.
    pub fn request(&mut self, now: Instant, id: IoId, request: Request) {
        assert!(
            self.unit.is_some(),
            "a volume without a unit is not exported"
        );
        self.counters.on_request(&request);
        self.bytes += request.bytes(self.block_size());
        let mut io = Io {
            accepted: now,
            commands_left: 0,
            parts: SmallVec::new(),
            error: None,
            sync_after: false,
            covers: self.durability.begin(),
            carried_out: false,
            redo: false,
            tells_of_loss: false,
            holds_range: false,
            ghosts: Vec::new(),
            request,
        };
        if self.no_path_expired && !self.roster.any_alive() {
            io.error = Some(IoError {
                errno: IoErrno::Io,
                lba: None,
            });
            return self.answer(now, id, io);
        }
        let ledger = &self.ledger;
        let range = io.request.written_range();
        if let Some(range) = range {
            self.written.note(range);
        }
        let start = range.is_none_or(|range| {
            self.ranges
                .acquire(id, range, |range| ledger.is_haunted(range))
        });
        io.holds_range = start && range.is_some();
        let before = self.ios.insert(id, io);
        assert!(before.is_none(), "io ids are never reused");
        if start {
            self.start(now, id);
        }
    }

    fn block_size(&self) -> u32 {
        let unit = self.unit.as_ref();
        unit.map_or(0, |unit| unit.geometry.block_size())
    }

    /// Makes the io's commands.
    pub(super) fn start(&mut self, now: Instant, id: IoId) {
        let unit = Arc::clone(self.unit.as_ref().expect("requests come after the unit"));
        let mut features = unit.features.clone();
        if self.no_write_same {
            features.write_same_blocks_max = 0;
        }
        let io = self.ios.get_mut(&id).expect("a started io exists");
        let mut ops = command::split(&io.request, unit.geometry, &features);
        let hasty = sabotage::is(Sabotage::FlushNotWaiting);
        if ((self.no_sync || hasty) && matches!(io.request, Request::Flush))
            || (self.no_trim && matches!(io.request, Request::Trim { .. }))
        {
            ops.clear();
        }
        let carried = features.fua && matches!(io.request, Request::Write { .. });
        io.sync_after = io.request.fua() && !carried && !ops.is_empty() && !self.no_sync;
        if ops.is_empty() {
            let io = self.take_io(id);
            return self.answer(now, id, io);
        }
        self.enqueue(id, ops);
    }

    pub(super) fn enqueue(&mut self, id: IoId, ops: Ops) {
        let io = self.ios.get_mut(&id).expect("commands belong to an io");
        // Never fewer: zeroes come in place of a WRITE SAME while others of its io are in flight.
        io.parts
            .resize(io.parts.len().max(ops.len()), Payload::new());
        for (part, op) in ops.into_iter().enumerate() {
            let order = CommandOrder(self.next_command);
            self.next_command += 1;
            io.commands_left += 1;
            self.commands.insert(
                order,
                Command {
                    io: id,
                    part,
                    op,
                    retries: 0,
                    counted: 0,
                    attentions: 0,
                    put_off_since: None,
                    avoid: None,
                    overtaken: false,
                    rivals: None,
                },
            );
            self.ready.insert(order);
        }
    }

    pub(super) fn after_fence(&mut self, now: Instant) {
        for (id, io) in std::mem::take(&mut self.unacknowledged) {
            self.answer(now, id, io);
        }
        self.start_waiting(now);
    }

    pub(super) fn start_waiting(&mut self, now: Instant) {
        // One that has nothing to do is answered at once and gives its range to the next, hence the loop.
        while self.ranges.has_waiting() {
            let ledger = &self.ledger;
            let started = self.ranges.start_waiting(|range| ledger.is_haunted(range));
            if started.is_empty() {
                break;
            }
            for id in started {
                self.ios
                    .get_mut(&id)
                    .expect("waiting ios exist")
                    .holds_range = true;
                self.start(now, id);
            }
        }
    }

    /// Takes an io out, with its range given back. Waiting ios are to be started after.
    pub(super) fn take_io(&mut self, id: IoId) -> Io {
        let mut io = self.ios.remove(&id).expect("an io is answered once");
        if let Some(range) = io.request.written_range() {
            if std::mem::take(&mut io.holds_range) {
                self.ranges.release(id, range);
            } else {
                let waited = self.ranges.forget_waiting(id);
                assert!(waited, "a write-like io holds its range or waits for it");
            }
        }
        io
    }

    /// Answers an io that was taken out, unless it has to wait for a fence first.
    pub(super) fn answer(&mut self, now: Instant, id: IoId, mut io: Io) {
        // Sessions may have been fenced while it was tried again.
        io.ghosts
            .retain(|&(path, incarnation)| self.ledger.has(path, incarnation));
        if self.config.shared && !io.ghosts.is_empty() {
            self.unacknowledged.push_back((id, io));
            return;
        }
        let result = match io.error {
            Some(error) => Err(error),
            None => Ok(match io.parts.len() {
                1 => io.parts.swap_remove(0),
                _ => io.parts.drain(..).fold(Payload::new(), |mut all, part| {
                    all.append(part);
                    all
                }),
            }),
        };
        if result.is_ok() {
            self.durability.on_acknowledged(&io.request);
            if io.redo {
                self.durability.darken();
            }
        }
        self.bytes -= io.request.bytes(self.block_size());
        let latency = now.saturating_duration_since(io.accepted);
        self.counters.on_reply(latency, result.is_err());
        self.replies.push_back(Reply {
            io: id,
            result,
            tells_of_loss: io.tells_of_loss,
            latency,
        });
    }
}
