//! Stopping: drain, flush, log out, within one limit for all of it.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{Stopped, VolumeTask};

#[derive(Debug)]
pub(super) enum StopPhase {
    Drain,
    Flush,
    Logout,
}

pub(super) struct Stopping {
    pub(super) phase: StopPhase,
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Stopped>,
    pub(super) drained: bool,
}

impl VolumeTask {
    /// The next phase of a stop, if this one is done; `true` when all are.
    pub(super) fn advance_stop(&mut self, now: Instant) -> bool {
        let Some(stopping) = &mut self.stopping else {
            return false;
        };
        let over = stopping.deadline <= now;
        match stopping.phase {
            StopPhase::Drain if over || self.engine.is_drained() => {
                stopping.drained = self.engine.is_drained();
                stopping.phase = StopPhase::Flush;
                if !over {
                    self.engine.flush_for_stop(now);
                    self.engine.pump(now);
                    self.settle(now);
                }
                self.advance_stop(now)
            }
            StopPhase::Flush if over || self.engine.is_drained() => {
                stopping.drained &= self.engine.is_drained();
                stopping.phase = StopPhase::Logout;
                self.engine.stop_paths(now);
                self.engine.pump(now);
                self.settle(now);
                self.advance_stop(now)
            }
            StopPhase::Logout if over || self.engine.is_stopped() => {
                let status = self.engine.status(now);
                let drained = stopping.drained && status.volume.ghosts == 0;
                let clean = drained && self.engine.is_stopped();
                let stopped = Stopped {
                    clean,
                    flushed: self.engine.is_flushed(),
                    unanswered: status.volume.ios,
                };
                if let Some(stopping) = self.stopping.take() {
                    // The asker may have gone; then nobody needs the answer.
                    let _ = stopping.done.send(stopped);
                }
                true
            }
            StopPhase::Drain | StopPhase::Flush | StopPhase::Logout => false,
        }
    }
}
