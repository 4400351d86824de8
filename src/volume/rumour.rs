//! News of a power loss that may be no news, and what was perhaps not told.
//!
//! A target tells each nexus once that the unit was without power, with the answer to the nexus's first
//! command. So two things leave a doubt:
//!
//! - A path that was never in touch before is told of a power loss that may be long past.
//! - A session ends before the answer to its first command came: what that would have told is not told
//!   again.
//!
//! Other paths know. After a power loss the unit tells each of them too, or their sessions are dead. Those
//! that are in use, and those that come into use later, are asked (TEST UNIT READY): the first answer to a
//! command that was sent after the doubt arose, and that says nothing of a power loss, ends it. A flush waits
//! for the word of those that can be asked. When there is none left, it fails: it must not promise what may
//! be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::ids::{PathId, TaskId};
use crate::payload::Payload;
use crate::scsi::cdb::Command;
use crate::scsi::verdict::shows_no_attention_is_left;
use crate::task::{Completion, DataTransfer};

use super::{CommandOrder, Volume};

/// A witness that could not be asked, or did not say, is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A power loss that is not certain.
#[derive(Debug)]
struct Rumour {
    from: PathId,
    since: Instant,
    /// Other paths whose sessions are in use and have not answered yet.
    witnesses: BTreeSet<PathId>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    open: Vec<Rumour>,
    /// The questions to witnesses, and when they were asked.
    asked: BTreeMap<TaskId, (PathId, Instant)>,
    ask_at: Option<Instant>,
    /// Flushes that the unit has answered.
    held: Vec<CommandOrder>,
}

impl Rumours {
    /// Questions under way.
    pub(super) fn questions(&self) -> usize {
        self.asked.len()
    }

    /// When witnesses are to be asked.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Whether that path told of a power loss, or was perhaps not told of one, and it is not known what that
    /// is worth.
    pub(super) fn doubts(&self, path: PathId) -> bool {
        self.open.iter().any(|rumour| rumour.from == path)
    }

    fn add(&mut self, from: PathId, since: Instant, witnesses: BTreeSet<PathId>) {
        match self.open.iter_mut().find(|rumour| rumour.from == from) {
            // Who refutes the later one refutes the earlier one too, if it has been there since that.
            Some(rumour) => {
                rumour.since = since;
                rumour.witnesses.retain(|path| witnesses.contains(path));
            }
            None => self.open.push(Rumour {
                from,
                since,
                witnesses,
            }),
        }
    }
}

impl Volume {
    /// `path` says that the unit was without power, or may have been (`heard` as there), and there is
    /// nothing to tell whether that is news.
    pub(super) fn on_rumour(&mut self, now: Instant, path: PathId) {
        self.make_again();
        if !self.has_at_stake() {
            return;
        }
        let witnesses = self.durability.others_in_use(path);
        // Two that may have missed the same cannot vouch for each other.
        let witnesses = witnesses.filter(|by| !self.rumours.doubts(*by)).collect();
        self.rumours.add(path, now, witnesses);
        self.rumours.ask_at = Some(now);
        self.judge_rumours(now);
    }

    /// `path` has come into use: of rumours from others it knows better.
    pub(super) fn on_new_witness(&mut self, now: Instant, path: PathId) {
        if self.rumours.doubts(path) {
            return;
        }
        for rumour in &mut self.rumours.open {
            rumour.witnesses.insert(path);
            self.rumours.ask_at = Some(now);
        }
    }

    /// Asks those that are not being asked, if it is due. Their sessions have told how many commands they
    /// take.
    pub(super) fn ask_witnesses(&mut self, now: Instant) {
        if self.rumours.ask_at.is_none_or(|at| at > now) {
            return;
        }
        let open = self.rumours.open.iter();
        let witnesses: BTreeSet<_> = open.flat_map(|rumour| &rumour.witnesses).copied().collect();
        if witnesses.is_empty() {
            self.rumours.ask_at = None;
            return;
        }
        self.rumours.ask_at = Some(now + ASK_AGAIN);
        for on in witnesses {
            let route = self.roster.route_mut(on);
            let is_asked = self.rumours.asked.values().any(|(path, _)| *path == on);
            if is_asked || !route.standing.is_usable() || route.session_slots() == 0 {
                continue;
            }
            route.take_slot();
            let incarnation = route.incarnation;
            let id = TaskId(self.next_task);
            self.next_task += 1;
            self.rumours.asked.insert(id, (on, now));
            let cdb = Command::TestUnitReady.cdb();
            self.submit(on, incarnation, id, cdb, DataTransfer::None);
        }
    }

    /// When the task is a question to a witness: which has ended then.
    pub(super) fn take_question(&mut self, task: TaskId) -> Option<(PathId, Instant)> {
        match self.rumours.asked.is_empty() {
            true => None,
            false => self.rumours.asked.remove(&task),
        }
    }

    /// `path` has answered a command that was sent at `sent`.
    pub(super) fn on_word(
        &mut self,
        now: Instant,
        path: PathId,
        sent: Instant,
        completion: &Completion,
    ) {
        if self.rumours.open.is_empty() || !shows_no_attention_is_left(completion) {
            return;
        }
        let open = self.rumours.open.len();
        self.rumours
            .open
            .retain(|rumour| sent < rumour.since || !rumour.witnesses.contains(&path));
        if self.rumours.open.len() < open {
            tracing::info!(
                path = %self.names.of(path),
                "another path may have been told of a power loss: this one knows of none, so there was none that is news"
            );
        }
        self.judge_rumours(now);
    }

    /// The session of `path` is lost.
    pub(super) fn on_witness_lost(&mut self, now: Instant, path: PathId) {
        for rumour in &mut self.rumours.open {
            rumour.witnesses.remove(&path);
        }
        self.judge_rumours(now);
    }

    /// The unit has answered a flush: whether it is to be held back until it is known what that is worth.
    pub(super) fn holds_flush(&mut self, now: Instant, flush: CommandOrder) -> bool {
        if !self.rumours.open.is_empty() {
            self.rumours.held.push(flush);
            self.judge_rumours(now);
            return true;
        }
        false
    }

    /// What nobody is left to refute is so, once it matters.
    fn judge_rumours(&mut self, now: Instant) {
        let mut open = self.rumours.open.iter();
        let unrefuted = open.find(|rumour| rumour.witnesses.is_empty());
        match unrefuted.map(|rumour| rumour.from) {
            Some(from) if !self.rumours.held.is_empty() => {
                self.forget_rumours();
                self.go_dark(now, from);
            }
            Some(_) | None => {}
        }
        self.settle_rumours(now);
    }

    /// With the last rumour, what waited for it goes on.
    pub(super) fn settle_rumours(&mut self, now: Instant) {
        if !self.rumours.open.is_empty() {
            return;
        }
        self.rumours.ask_at = None;
        for order in std::mem::take(&mut self.rumours.held) {
            self.finish(now, order, Ok(Payload::new()));
        }
    }

    /// All that waits fails: so do flushes that are held back.
    pub(super) fn drop_held_flushes(&mut self) {
        self.rumours.held.clear();
    }

    /// There is nothing to refute any more.
    pub(super) fn forget_rumours(&mut self) {
        self.rumours.open.clear();
    }
}
