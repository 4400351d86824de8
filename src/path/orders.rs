//! What the volume wants of a path: commands and orders.

use std::time::Instant;

use super::Path;
use super::fencing::Power;
use super::message::Order;
use crate::iscsi::session::Session;
use crate::task::Task;

impl Path {
    /// Sends a command of the volume.
    ///
    /// # Panics
    /// If [`Path::free_slots`] is 0.
    pub fn submit(&mut self, now: Instant, mut task: Task) {
        task.lun = self.config.lun;
        let session = self.session.as_mut().and_then(Session::full_feature);
        let session = session.expect("commands go to paths with free slots");
        session.submit(now, task);
        self.watch_progress(now);
        self.watch_network(now);
    }

    /// A command went out: it is looked at when it could have made no progress for too long.
    pub(super) fn watch_progress(&mut self, now: Instant) {
        self.escalation.on_sent(now + self.config.detect.command);
    }

    /// What the volume wants.
    pub fn order(&mut self, now: Instant, order: Order) {
        match order {
            Order::Admit => self.on_admitted(now, false),
            Order::AdmitIfProven => self.on_admitted(now, true),
            Order::Refuse { why, stranger } => {
                if stranger {
                    self.power = Power::Told;
                }
                self.disable(now, &why);
            }
            Order::GiveUp if self.admitted => {
                self.lose(now, "a write of unknown fate has to be fenced");
            }
            Order::GiveUp => {}
            Order::Abort { task, why } => self.abort_early(now, task, why),
            Order::Drain => {
                self.drain.want();
                self.try_drain(now);
            }
            Order::ReadAccess => self.read_access(now),
            Order::Activate => self.activate(now),
            Order::Carry(errand) => self.carry(now, errand),
            Order::Enrol(enrol) => self.set_enrol(now, enrol),
            Order::Reject { why, for_good } => self.on_rejected(now, &why, for_good),
            Order::Note { what, why } => self.journal.note(now, self.incarnation, what, &why),
            Order::Recheck => self.recheck(now, "the target says that the unit may have changed"),
        }
        self.watch_network(now);
    }
}
