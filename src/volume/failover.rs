//! What becomes of the attempts of a lost session.
//!
//! | attempt was | action |
//! | --- | --- |
//! | any, `Unsent` | back to its place in the queue |
//! | read or flush, `Indeterminate` | back to its place in the queue |
//! | write, trim, write zeroes, `Indeterminate` | back to its place in the queue, **and** a ghost is recorded |
//!
//! The command keeps its turn, so it goes out before younger ones. It may go to any usable path, the
//! same one in a later session included: the ghost rule makes a second execution harmless.

use std::time::Instant;

use crate::ids::{Disposition, Incarnation, PathId, TaskId};
use crate::path::message::{FenceKind, Standing};
use crate::payload::Payload;
use crate::sabotage::{self, Sabotage};

use super::Volume;

impl Volume {
    pub(super) fn on_lost(
        &mut self,
        now: Instant,
        path: PathId,
        incarnation: Incarnation,
        tasks: Vec<(TaskId, Disposition)>,
    ) {
        let (mut unsent, mut indeterminate, mut ghosts) = (0u32, 0u32, 0u32);
        for (task, disposition) in tasks {
            if self.on_errand_end(now, task, None) {
                continue;
            }
            let attempt = self.take_attempt(now, path, incarnation, task);
            if attempt.orphan {
                continue;
            }
            if disposition == Disposition::Indeterminate
                && sabotage::is(Sabotage::LostWriteAcknowledged)
                && self.commands[&attempt.command].op.written_range().is_some()
            {
                self.finish(now, attempt.command, Ok(Payload::new()));
                continue;
            }
            let disposition = if sabotage::is(Sabotage::SentCalledUnsent) {
                Disposition::Unsent
            } else {
                disposition
            };
            match disposition {
                Disposition::Unsent => unsent += 1,
                Disposition::Indeterminate => {
                    indeterminate += 1;
                    ghosts += u32::from(self.record_ghost(now, &attempt));
                }
            }
            if let Some(command) = self.commands.get_mut(&attempt.command) {
                command.put_off_since = None;
            }
            if self.rival(attempt.command).is_none() {
                self.ready.insert(attempt.command);
            }
        }
        self.durability.on_session(path, false);
        self.on_member_lost(now, path);
        self.drains.remove(&path);
        let route = self.roster.route_mut(path);
        assert_eq!(
            route.in_flight, 0,
            "every attempt of a lost session is resolved"
        );
        let in_use = !route.out && matches!(route.standing, Standing::Ready | Standing::Suspect);
        route.standing = Standing::Unusable;
        route.flow.forget();
        route.alua.forget();
        route.incarnation = incarnation;
        // One that is about to go and carried nothing was logged out on purpose.
        let lost = !route.retiring || unsent + indeterminate > 0;
        route.counters.losses += u64::from(lost);
        self.on_loss(now, path, in_use && lost);
        let route = self.roster.route_mut(path);
        if unsent + indeterminate > 0 {
            route.counters.retries += u64::from(unsent + indeterminate);
            tracing::info!(
                path = %self.names.of(path), %incarnation, unsent, indeterminate, ghosts,
                "commands of the lost session go to other paths"
            );
        }
        self.on_witness_lost(now, path);
        self.on_roster(now);
    }

    /// Whether the attempt left a ghost.
    pub(super) fn record_ghost(&mut self, now: Instant, attempt: &super::Attempt) -> bool {
        let command = &self.commands[&attempt.command];
        let Some(range) = command.op.written_range() else {
            return false;
        };
        self.ledger
            .record(now, attempt.path, attempt.incarnation, range);
        let io = self
            .ios
            .get_mut(&command.io)
            .expect("commands belong to an io");
        io.ghosts.push((attempt.path, attempt.incarnation));
        true
    }

    pub(super) fn on_fenced(
        &mut self,
        now: Instant,
        path: PathId,
        upto: Incarnation,
        by: FenceKind,
    ) {
        let since = self.ledger.oldest(path, upto);
        let counts = by != FenceKind::Reinstatement || self.config.reinstate;
        if counts && self.ledger.fenced(path, upto) {
            let why = format!(
                "lost writes of {} cannot be carried out any more",
                self.names.of(path)
            );
            self.journal
                .lasted(since.unwrap_or(now), now, "fenced", &why);
            tracing::info!(path = %self.names.of(path), %upto, ?by, "lost sessions fenced");
            self.counters.fenced += 1;
            self.after_fence(now);
        }
    }

    pub(super) fn on_unit_reset(&mut self, now: Instant, path: PathId, incarnation: Incarnation) {
        let why = format!(
            "over {}: what was asked of the unit is asked again",
            self.names.of(path)
        );
        self.journal.note(now, "lun reset", &why);
        tracing::debug!(path = %self.names.of(path), %incarnation, "the unit was reset");
        if sabotage::is(Sabotage::ResetAloneIsAFence) {
            self.ledger.clear();
            self.after_fence(now);
        }
    }
}
