//! The other side of a comparison: a path in use is asked what its target shows.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::{PathId, TaskId};
use crate::iscsi::session::Session;
use crate::path::fencer::{Turn, turn, unit_attention};
use crate::path::{Path, State};
use crate::task::{Completion, Task};

use super::{Question, Testimony};

/// Answers in a row that say "not now".
const REPEATS_MAX: u32 = 16;

/// What others asked of a path; each of them has one question at a time.
#[derive(Debug, Default)]
pub(super) struct Stand {
    asked: Option<TaskId>,
    unsent: Option<Task>,
    /// The first is being answered, if `asked`.
    questions: VecDeque<(PathId, Question)>,
    words: VecDeque<(PathId, Testimony)>,
    repeats: u32,
}

impl Stand {
    pub(super) fn commands(&self) -> usize {
        usize::from(self.asked.is_some())
    }

    pub(super) fn take_unsent(&mut self) -> Option<Task> {
        self.unsent.take()
    }

    /// Whether that task is an answer to a question; it is not under way any more then.
    pub(super) fn takes(&mut self, task: TaskId) -> bool {
        self.asked.take_if(|asked| *asked == task).is_some()
    }

    fn say(&mut self, to: PathId, number: u64, answer: Result<Completion, String>) {
        self.words.push_back((to, Testimony { number, answer }));
    }

    /// Nothing more is answered.
    pub(super) fn end(&mut self, why: &str) {
        (self.asked, self.unsent, self.repeats) = (None, None, 0);
        for (to, question) in std::mem::take(&mut self.questions) {
            self.say(to, question.number, Err(why.to_owned()));
        }
    }
}

impl Path {
    /// Another path asks what this one's target shows.
    pub fn testify(&mut self, now: Instant, to: PathId, question: Question) {
        let in_use = matches!(self.state, State::Ready | State::Probation { .. });
        let session = self.session.as_mut().and_then(Session::full_feature);
        if !in_use || session.is_none() || self.logging_out {
            let why = Err("it is not in use any more".to_owned());
            return self.sameness.stand.say(to, question.number, why);
        }
        // Who asks again has no interest in the answer to what it asked before.
        let stand = &mut self.sameness.stand;
        let busy = usize::from(stand.asked.is_some());
        let waiting = stand.questions.iter().skip(busy);
        if let Some(old) = waiting.clone().position(|(other, _)| *other == to) {
            stand.questions.remove(busy + old);
        }
        stand.questions.push_back((to, question));
        self.answer_next(now);
    }

    /// The next answer to another path.
    pub fn poll_testimony(&mut self) -> Option<(PathId, Testimony)> {
        self.sameness.stand.words.pop_front()
    }

    fn answer_next(&mut self, now: Instant) {
        let next = self.sameness.stand.questions.front();
        let Some((_, question)) = next.filter(|_| self.sameness.stand.asked.is_none()) else {
            return;
        };
        let ask = question.matter.ask();
        let id = self.own_task();
        self.sameness.stand.asked = Some(id);
        self.sameness.stand.unsent = Some(ask.task(id, self.config.lun));
        self.send_unsent(now);
    }

    pub(super) fn on_testimony_answer(&mut self, now: Instant, answer: Option<&Completion>) {
        let attention = answer.and_then(unit_attention);
        let stand = &mut self.sameness.stand;
        stand.repeats += 1;
        let later = answer.is_some_and(|a| matches!(turn(a), Turn::Attention | Turn::NotNow));
        if later && stand.repeats < REPEATS_MAX {
            self.answer_next(now);
        } else if let Some((to, question)) = stand.questions.pop_front() {
            stand.repeats = 0;
            let answer = answer.filter(|_| !later).cloned();
            let why = "its target does not answer the question";
            stand.say(to, question.number, answer.ok_or_else(|| why.to_owned()));
            self.answer_next(now);
        }
        // It was for this path's volume.
        if attention.is_some_and(|sense| !sense.says_access_changed()) {
            self.recheck(now, "the target says that the unit may have changed");
        }
    }
}
