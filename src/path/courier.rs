//! Commands of the volume that go over this very path, whatever its state: those about persistent
//! reservations, which belong to a nexus.
//!
//! One at a time, in the order in which they were asked for. Each is answered once with
//! [`Message::Carried`]: with the target's answer, or with nothing if the session ended before or there is
//! none. An errand does not keep the path from anything but from being called idle; one without an answer is
//! aborted as any command is.
//!
//! A volume that has a reservation key registers it over every session before the path is used: the path
//! asks with [`Message::Joining`] when nothing else is to be waited for, and stays `Probing` until the volume
//! says [`Enrol::Done`].

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::TaskId;
use crate::iscsi::session::Session;
use crate::task::{Completion, Task};

use super::Path;
use super::message::{Enrol, Errand, Message};

/// Errands that wait; a volume has one sequence of them per path and one of its own.
const WAITING_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Courier {
    waiting: VecDeque<Errand>,
    /// The one whose answer is due, with its ticket.
    asked: Option<(TaskId, u64)>,
    /// The same, while the target's command window has no place for it.
    unsent: Option<Task>,
    /// What the volume wants before the path is used.
    pub(super) enrol: Enrol,
    /// The path has asked the volume in this session, and waits.
    pub(super) joining: bool,
}

impl Courier {
    /// Whether a command waits for a place in the window.
    pub(super) fn waits(&self) -> bool {
        self.unsent.is_some()
    }

    pub(super) fn take_unsent(&mut self) -> Option<Task> {
        self.unsent.take()
    }

    /// Whether an answer is due.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn take_asked(&mut self, task: TaskId) -> Option<u64> {
        self.asked
            .take_if(|(asked, _)| *asked == task)
            .map(|(_, ticket)| ticket)
    }
}

impl Path {
    /// The volume's errand; answered at once if there is no session for it.
    pub(super) fn carry(&mut self, now: Instant, errand: Errand) {
        let there = self
            .session
            .as_mut()
            .and_then(Session::full_feature)
            .is_some();
        if !there || self.logging_out || self.courier.waiting.len() >= WAITING_MAX {
            return self.carried(errand.ticket, None);
        }
        self.courier.waiting.push_back(errand);
        self.send_errand(now);
    }

    fn carried(&mut self, ticket: u64, answer: Option<Completion>) {
        self.messages.push_back(Message::Carried { ticket, answer });
    }

    fn send_errand(&mut self, now: Instant) {
        if self.courier.asked.is_some() {
            return;
        }
        let Some(errand) = self.courier.waiting.pop_front() else {
            return;
        };
        let id = self.own_task();
        self.courier.asked = Some((id, errand.ticket));
        self.courier.unsent = Some(Task {
            id,
            lun: self.config.lun,
            cdb: errand.command.cdb(),
            attribute: errand.attribute,
            data: errand.data,
        });
        self.send_unsent(now);
    }

    /// The errand's command has ended.
    pub(super) fn on_errand_answer(
        &mut self,
        now: Instant,
        ticket: u64,
        answer: Option<Completion>,
    ) {
        self.carried(ticket, answer);
        self.send_errand(now);
    }

    /// What the volume wants before the path is used.
    pub(super) fn set_enrol(&mut self, now: Instant, enrol: Enrol) {
        // What was registered was a session that has ended meanwhile.
        if enrol == Enrol::Done && !self.courier.joining && !self.admitted {
            return;
        }
        self.courier.enrol = enrol;
        if enrol != Enrol::Needed && std::mem::take(&mut self.courier.joining) {
            self.use_unless_unproven(now);
        }
    }

    /// The key cannot be registered over this session.
    pub(super) fn on_rejected(&mut self, now: Instant, why: &str, for_good: bool) {
        match std::mem::take(&mut self.courier.joining) {
            true if for_good => self.disable(now, why),
            true => self.lose(now, why),
            false => {}
        }
    }

    /// Whether the path may not go into use yet, since its key is not registered in this session.
    pub(super) fn waits_for_key(&mut self) -> bool {
        if self.courier.enrol != Enrol::Needed {
            return false;
        }
        if !std::mem::replace(&mut self.courier.joining, true) {
            let incarnation = self.incarnation;
            self.messages.push_back(Message::Joining { incarnation });
        }
        true
    }

    /// The session is over: nothing of it is answered any more, and in the next one the key is registered
    /// anew.
    pub(super) fn end_errands(&mut self) {
        let enrol = match self.courier.enrol {
            Enrol::Done => Enrol::Needed,
            enrol @ (Enrol::Needed | Enrol::NotNeeded) => enrol,
        };
        let before = std::mem::take(&mut self.courier);
        self.courier.enrol = enrol;
        let asked = before.asked.map(|(_, ticket)| ticket);
        let waiting = before.waiting.into_iter().map(|errand| errand.ticket);
        for ticket in asked.into_iter().chain(waiting) {
            self.carried(ticket, None);
        }
    }
}
