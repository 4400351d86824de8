//! Questions about reservations, which take more than a turn to answer.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::ids::PathId;
use crate::volume::{ReservationAsk, ReservationStatus};

use super::VolumeTask;

/// How things stand, with the names of the paths; or why nothing was done.
pub type Told = Result<(ReservationStatus, Vec<(PathId, String)>), String>;

/// Who waits for an answer, by the number of the question.
#[derive(Debug, Default)]
pub(super) struct Askers {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Told>>,
}

impl VolumeTask {
    pub(super) fn on_reservation_ask(
        &mut self,
        now: Instant,
        ask: ReservationAsk,
        done: oneshot::Sender<Told>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        self.askers.next += 1;
        let number = self.askers.next;
        self.askers.waiting.insert(number, done);
        self.engine.ask_reservation(now, number, ask);
    }

    pub(super) fn answer_askers(&mut self) {
        while let Some((number, answer)) = self.engine.poll_reservation() {
            let told = answer.map(|status| {
                let paths = status.paths.iter();
                let there = paths.filter(|member| self.engine.is_present(member.path));
                let names = there.map(|member| {
                    let name = self.engine.path_name(member.path).to_owned();
                    (member.path, name)
                });
                let names = names.collect();
                (status, names)
            });
            if let Some(asker) = self.askers.waiting.remove(&number) {
                // Who has gone does not want to know.
                let _ = asker.send(told);
            }
        }
    }
}
