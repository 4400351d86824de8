//! The course of a comparison on the path that joins.

use std::time::{Duration, Instant};

use crate::ids::{PathId, TaskId};
use crate::path::fencer::{Turn, turn, unit_attention};
use crate::path::fencing::Power;
use crate::path::{Path, State};
use crate::sabotage::{self, Sabotage};
use crate::scsi::verdict::status;
use crate::task::Completion;
use crate::units::BlockRange;

use super::by_blocks::ByBlocks;
use super::by_key::{self, ByKey};
use super::keys::{NONE, Registered};
use super::{ALONE_MAX, Ask, Basis, Finding, Matter, Question, SameBy, Step, Testimony};

/// The target must answer a command of a comparison within so long; then the session is given up.
const OWN_MAX: Duration = Duration::from_secs(15);

/// The same over the reference; then another one is asked.
const REFERENCE_MAX: Duration = Duration::from_secs(5);

/// Blocks are compared for so long; then a few of them are enough.
const BLOCKS_MAX: Duration = Duration::from_secs(3);

/// References that did not answer, in a row, before the comparison is left open.
const FAILURES_MAX: u32 = 3;

/// Answers in a row that say "not now".
const REPEATS_MAX: u32 = 16;

/// A path in use that only its identifiers speak for is compared after this; the pause doubles.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// After REGISTER was aborted, or its answer is missing for another reason: by then it was carried out, or
/// never will be.
const CLEAN_LATE: Duration = Duration::from_secs(10);

/// A key whose removal the target refused, as ports in transition do, is tried again after this.
const CLEAN_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Method {
    Key(ByKey),
    Blocks(ByBlocks),
}

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Run {
    /// What the volume's consent was.
    if_proven: bool,
    began: Instant,
    method: Option<Method>,
    next: Option<Step>,
    /// The question that the reference has to answer.
    asked: Option<(PathId, Question, Instant)>,
    /// The reference of the last answer.
    reference: Option<PathId>,
    /// One that did not answer.
    shy: Option<PathId>,
    failures: u32,
}

impl Path {
    /// The volume took the unit for its own by its identifiers: is it to be compared before it is used?
    /// Then [`Path::on_admitted`] goes on when that is done.
    pub(in crate::path) fn begin_comparison(&mut self, now: Instant, if_proven: bool) {
        if self.config.same_by == SameBy::Identifiers || sabotage::is(Sabotage::SamenessUnchecked) {
            let why = "`same_unit` asks for no more".to_owned();
            self.sameness.refuted = None;
            return self.take_for_same(now, if_proven, Basis::Identifiers { why }, false);
        }
        self.sameness.run = Some(Run {
            if_proven,
            began: now,
            method: None,
            next: None,
            asked: None,
            reference: None,
            shy: None,
            failures: 0,
        });
        self.go_on_comparing(now);
    }

    /// What is found does not count: the session is over, or the unit is looked at again.
    pub(in crate::path) fn end_comparison(&mut self) {
        self.sameness.run = None;
        self.sameness.question = None;
    }

    /// The session is over.
    pub(in crate::path) fn end_sameness(&mut self, now: Instant) {
        self.end_comparison();
        if let Some((_, ask, _)) = self.sameness.slot.asked {
            self.expect_late(now, ask);
        }
        self.sameness.slot = super::Slot::default();
        self.sameness.basis = None;
        (self.sameness.again, self.sameness.clean_at) = (None, None);
        self.sameness.stand.end("its session is lost");
    }

    /// Whether a comparison is under way.
    #[must_use]
    pub fn is_comparing(&self) -> bool {
        self.sameness.is_comparing()
    }

    /// Where the volume wrote last: that is where a copy differs.
    pub fn tell_written(&mut self, written: Vec<BlockRange>) {
        self.sameness.written = written;
    }

    /// A process before this one may have left a key of this path at the target.
    pub fn sweep_keys(&mut self) {
        self.sameness.keys.sweep = true;
    }

    /// An earlier run found another unit behind this path.
    pub fn distrust(&mut self) {
        let why =
            "an earlier run found another logical unit here, with the same identifiers".to_owned();
        self.sameness.refuted = Some(why);
    }

    /// Whether it led to another unit when it was last compared.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.sameness.refuted.is_some()
    }

    /// Whether it is what others may be compared with, better than one that only its identifiers speak for.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        let basis = self.sameness.basis.as_ref();
        basis.is_some_and(|basis| !matches!(basis, Basis::Identifiers { .. }))
    }

    /// The next question to another path.
    pub fn poll_question(&mut self) -> Option<(PathId, Question)> {
        self.sameness.question.take()
    }

    /// Goes on with what the others' state allows.
    pub fn go_on_comparing(&mut self, now: Instant) {
        loop {
            let alone = !self.surroundings.peers.any;
            let Some(run) = &mut self.sameness.run else {
                return;
            };
            if alone && run.began + ALONE_MAX <= now {
                return self.use_uncompared(now, true);
            }
            if run.asked.is_some() || self.sameness.slot.asked.is_some() {
                return;
            }
            if let Some(Method::Blocks(blocks)) = &run.method
                && run.began + BLOCKS_MAX <= now
                && let Some(finding) = blocks.enough()
            {
                return self.conclude(now, finding);
            }
            match run.next.take() {
                Some(Step::Done(finding)) => return self.conclude(now, finding),
                Some(Step::Own(ask)) => return self.ask_own(now, ask),
                next => {
                    run.next = next;
                    if !self.ask_reference(now) {
                        return self.without_reference(now);
                    }
                }
            }
        }
    }

    /// Puts what is to be asked to a reference, or begins; `false` if there is none.
    fn ask_reference(&mut self, now: Instant) -> bool {
        let Some(run) = &mut self.sameness.run else {
            return false;
        };
        let [first, second] = self.surroundings.references;
        let other = second.filter(|_| first == run.shy);
        let Some(reference) = other.or(first) else {
            return false;
        };
        match run.next.take() {
            Some(Step::Reference(matter)) => {
                let number = self.sameness.next_question;
                self.sameness.next_question += 1;
                let question = Question { number, matter };
                run.asked = Some((reference, question, now));
                run.reference = Some(reference);
                self.sameness.question = Some((reference, question));
            }
            Some(step) => run.next = Some(step),
            None if self.config.same_by == SameBy::Reservation => {
                let (method, step) = ByKey::begin(&mut self.sameness.keys);
                (run.method, run.next) = (Some(Method::Key(method)), Some(step));
            }
            None => self.compare_blocks(),
        }
        true
    }

    fn compare_blocks(&mut self) {
        let Some(geometry) = self.geometry else {
            return;
        };
        let same = &mut self.sameness;
        let random = || same.keys.next();
        let (method, step) = ByBlocks::begin(geometry, &same.written, random);
        if let Some(run) = &mut same.run {
            (run.method, run.next) = (Some(Method::Blocks(method)), Some(step));
        }
    }

    /// No other path can be asked now.
    fn without_reference(&mut self, now: Instant) {
        let Some(run) = &self.sameness.run else {
            return;
        };
        // One that was in use in this session is not to wait: others may wait for it.
        let waits = self.surroundings.others && !self.admitted;
        if !waits || run.began + ALONE_MAX <= now {
            self.use_uncompared(now, waits);
        }
    }

    /// It goes into use by its identifiers, unless those are known to be worth nothing.
    fn use_uncompared(&mut self, now: Instant, others: bool) {
        let basis = match others {
            true => Basis::Identifiers {
                why: "no other path answered in time".to_owned(),
            },
            false => Basis::First,
        };
        self.use_unless_refuted(now, basis, others);
    }

    fn use_unless_refuted(&mut self, now: Instant, basis: Basis, again: bool) {
        if let Some(why) = &self.sameness.refuted {
            let why = format!("not proven to be the same logical unit, and {why}");
            self.end_comparison();
            return self.disable(now, &why);
        }
        let Some(run) = self.sameness.run.take() else {
            return;
        };
        self.sameness.question = None;
        self.take_for_same(now, run.if_proven, basis, again);
    }

    fn take_for_same(&mut self, now: Instant, if_proven: bool, basis: Basis, again: bool) {
        let (path, why) = (&self.config.name, basis.to_string());
        if self.sameness.basis.as_ref() != Some(&basis) {
            self.journal.note(now, self.incarnation, "same unit", &why);
            tracing::info!(%path, incarnation = %self.incarnation, why, "taken for the volume's logical unit");
        }
        let pause = self.sameness.again.map_or(AGAIN, |(_, pause)| pause);
        self.sameness.again = again.then_some((now + pause, pause));
        self.sameness.basis = Some(basis);
        self.go_on_admitted(now, if_proven);
    }

    fn conclude(&mut self, now: Instant, finding: Finding) {
        let Some(run) = &mut self.sameness.run else {
            return;
        };
        let by_key = matches!(run.method, Some(Method::Key(_)));
        let reference = run.reference.map(|path| self.names.of(path));
        let reference = reference.unwrap_or("the other path");
        match finding {
            Finding::Same(basis) => {
                let if_proven = run.if_proven;
                self.end_comparison();
                if self.sameness.refuted.take().is_some() {
                    tracing::info!(path = %self.config.name, "leads to the volume's logical unit again");
                }
                self.take_for_same(now, if_proven, basis, false);
            }
            Finding::Different(how) => {
                let why = self.difference(&format!("{how} {reference}"));
                self.sameness.refuted =
                    Some("it was another one when it was last compared".to_owned());
                self.end_comparison();
                // What it told of its power is not for this volume.
                self.power = Power::Told;
                self.disable(now, &why);
            }
            Finding::Open { why, again } if by_key && !self.access.is_resting() => {
                let why = format!("no reservation key could be compared: {why}");
                self.journal.note(now, self.incarnation, "compared", &why);
                tracing::debug!(path = %self.config.name, again, why, "comparing blocks");
                self.compare_blocks();
                self.go_on_comparing(now);
            }
            Finding::Open { why, again } => {
                // What it could not show while its port carried nothing is due when it does.
                if self.access.is_resting() {
                    self.access.owe_proof();
                }
                self.use_unless_refuted(now, Basis::Identifiers { why }, again);
            }
        }
    }

    /// Says that it is another unit, and what to do.
    fn difference(&self, how: &str) -> String {
        let (portal, lun) = (&self.config.portal, self.config.lun);
        format!(
            "different logical unit with the same identifiers: {}, found at {portal}, target {}, LUN {lun}, is not \
             the volume's, which has these identifiers too, for {how}; a copy must have identifiers of its own, or \
             else remove this path; if both do serve one disk and only have no reservations in common, set \
             same_unit = \"blocks\"",
            self.sameness.identity,
            self.target_name(),
        )
    }

    // ---- the path's own commands

    /// That has ended without an answer, and may be carried out all the same.
    fn expect_late(&mut self, now: Instant, ask: Ask) {
        if matches!(ask, Ask::Register { .. }) {
            self.sameness.late_at = Some(now + CLEAN_LATE);
        }
    }

    fn ask_own(&mut self, now: Instant, ask: Ask) {
        if let Ask::Register { new, .. } = ask {
            self.sameness.keys.on_register(new);
        }
        let id = self.own_task();
        self.sameness.slot.asked = Some((id, ask, now));
        self.sameness.slot.unsent = Some(ask.task(id, self.config.lun));
        self.send_unsent(now);
    }

    /// A command of the comparison has ended; whether it was one.
    pub(in crate::path) fn on_compared(
        &mut self,
        now: Instant,
        task: TaskId,
        answer: Option<&Completion>,
    ) -> bool {
        if self.sameness.stand.takes(task) {
            self.on_testimony_answer(now, answer);
            return true;
        }
        let Some((_, ask, _)) = self.sameness.slot.asked.take_if(|(id, ..)| *id == task) else {
            return false;
        };
        self.on_own_word(now, ask, answer);
        true
    }

    fn on_own_word(&mut self, now: Instant, ask: Ask, answer: Option<&Completion>) {
        if answer.is_none() {
            self.expect_late(now, ask);
        }
        let attention = answer.and_then(unit_attention);
        if attention.is_some_and(|sense| !sense.says_access_changed()) {
            return self.recheck(now, "a unit attention during the comparison");
        }
        let later = |answer: &&Completion| matches!(turn(answer), Turn::Attention | Turn::NotNow);
        let Some(answer) = answer.filter(|answer| !later(answer)) else {
            self.sameness.slot.repeats += 1;
            let many = self.sameness.slot.repeats >= REPEATS_MAX;
            return match self.sameness.run.is_some() {
                true if many => self.lose(now, "only unit attentions or BUSY"),
                true => self.ask_own(now, ask),
                // What is left is removed on another occasion.
                false => {
                    self.sameness.slot.repeats = 0;
                    self.clean_later(now);
                }
            };
        };
        self.sameness.slot.repeats = 0;
        let said = match answer.status {
            status::GOOD => Registered::Good,
            status::RESERVATION_CONFLICT => Registered::Conflict,
            _ => Registered::Refused,
        };
        if let Ask::Register { own, new } = ask {
            self.sameness.keys.on_registered(own, new, said);
        }
        let same = &mut self.sameness;
        match &mut same.run {
            Some(run) => {
                run.next = match &mut run.method {
                    Some(Method::Key(method)) => Some(method.on_own(&mut same.keys, said, answer)),
                    Some(Method::Blocks(method)) => Some(method.on_own(answer)),
                    // It began after this was asked.
                    None => None,
                };
                self.go_on_comparing(now);
            }
            None => {
                if matches!(ask, Ask::Keys { .. }) {
                    match by_key::list(answer) {
                        Ok(list) => same.keys.recognise(&list),
                        Err(_) => {
                            // A port in transition says nothing either, nor a unit that another host has
                            // reserved by RESERVE(6): it is asked again, but not at once.
                            same.keys.sweep &= !by_key::is_for_good(answer);
                            return self.clean_later(now);
                        }
                    }
                }
                match said {
                    Registered::Refused => self.clean_later(now),
                    Registered::Good | Registered::Conflict => self.clean_up(now),
                }
            }
        }
    }

    /// Removes what may still be registered of this path, in its own time.
    pub(in crate::path) fn clean_up(&mut self, now: Instant) {
        let same = &self.sameness;
        let free = same.run.is_none() && same.slot.asked.is_none();
        if !free || !self.admitted || self.logging_out {
            return;
        }
        if same.keys.any() {
            let own = same.keys.own();
            self.ask_own(now, Ask::Register { own, new: NONE });
        } else if same.keys.sweep {
            self.ask_own(now, Ask::Keys { allocation: 4096 });
        }
    }

    fn clean_later(&mut self, now: Instant) {
        let left = self.sameness.keys.any() || self.sameness.keys.sweep;
        self.sameness.clean_at = left.then_some(now + CLEAN_AGAIN);
    }

    /// The last chance before a logout: it is not waited for.
    pub(in crate::path) fn clean_up_last(&mut self, now: Instant) {
        if self.sameness.keys.any() && self.sameness.slot.asked.is_none() {
            let own = self.sameness.keys.own();
            self.ask_own(now, Ask::Register { own, new: NONE });
        }
    }

    // ---- the reference's word

    /// The reference has answered. `undisturbed`: the volume wrote nothing where it was asked to watch.
    pub fn on_testimony(&mut self, now: Instant, said: Testimony, undisturbed: bool) {
        let Some(run) = &mut self.sameness.run else {
            return;
        };
        let asked = run
            .asked
            .take_if(|(_, asked, _)| asked.number == said.number);
        let Some((reference, question, _)) = asked else {
            return;
        };
        match said.answer {
            Ok(answer) => {
                run.failures = 0;
                run.next = match &mut run.method {
                    Some(Method::Key(method)) => {
                        Some(method.on_reference(&self.sameness.keys, &answer))
                    }
                    Some(Method::Blocks(method)) => Some(method.on_reference(&answer, undisturbed)),
                    None => None,
                };
            }
            Err(why) => self.on_no_testimony(reference, question.matter, why),
        }
        self.go_on_comparing(now);
    }

    fn on_no_testimony(&mut self, reference: PathId, matter: Matter, why: String) {
        let same = &mut self.sameness;
        let Some(run) = &mut same.run else { return };
        run.failures += 1;
        run.shy = Some(reference);
        run.next = match &mut run.method {
            Some(Method::Key(method)) if run.failures >= FAILURES_MAX => {
                run.failures = 0;
                Some(method.give_up(&same.keys, why))
            }
            Some(Method::Blocks(_)) if run.failures >= FAILURES_MAX => Some(ByBlocks::give_up(why)),
            Some(_) | None => Some(Step::Reference(matter)),
        };
    }

    // ---- time

    /// When the comparison has to be looked after.
    pub(in crate::path) fn sameness_due(&self) -> Option<Instant> {
        let same = &self.sameness;
        let Some(run) = &same.run else {
            let ready = matches!(self.state, State::Ready);
            let again = same.again.filter(|_| ready).map(|(at, _)| at);
            let late = same.late_at.filter(|_| ready);
            return again.into_iter().chain(same.clean_at).chain(late).min();
        };
        let own = same.slot.asked.map(|(_, _, since)| since + OWN_MAX);
        let theirs = run.asked.map(|(_, _, since)| since + REFERENCE_MAX);
        let waits = run.asked.is_none() && same.slot.asked.is_none();
        let alone = (waits || !self.surroundings.peers.any).then_some(run.began + ALONE_MAX);
        own.into_iter().chain(theirs).chain(alone).min()
    }

    pub(in crate::path) fn check_sameness(&mut self, now: Instant) {
        if self.sameness_due().is_none_or(|at| at > now) {
            return;
        }
        if let Some(run) = &mut self.sameness.run {
            let own = self
                .sameness
                .slot
                .asked
                .map(|(_, _, since)| since + OWN_MAX);
            if own.is_some_and(|at| at <= now) {
                return self.lose(now, "a command of the comparison was not answered in time");
            }
            let late = |(_, _, since): &mut (_, _, Instant)| *since + REFERENCE_MAX <= now;
            if let Some((reference, question, _)) = run.asked.take_if(late) {
                let why = "the other path's target did not answer in time".to_owned();
                self.on_no_testimony(reference, question.matter, why);
            }
            return self.go_on_comparing(now);
        }
        let ready = matches!(self.state, State::Ready);
        let late = self.sameness.late_at.take_if(|at| ready && *at <= now);
        self.sameness.keys.sweep |= late.is_some();
        let clean = self.sameness.clean_at.take_if(|at| *at <= now);
        if clean.or(late).is_some() {
            self.clean_up(now);
        }
        let due = self.sameness.again.filter(|(at, _)| *at <= now);
        let Some((_, pause)) = due.filter(|_| matches!(self.state, State::Ready)) else {
            return;
        };
        let [first, _] = self.surroundings.references;
        let Some(reference) = first else {
            self.sameness.again = Some((now + AGAIN, pause));
            return;
        };
        let pause = (pause * 2).min(AGAIN_MAX);
        self.sameness.again = Some((now + pause, pause));
        // Of two that only their identifiers speak for, one stays where it is.
        if self.surroundings.reference_is_sure || reference < self.id {
            self.recheck(
                now,
                "another path is there to compare the logical unit with",
            );
        }
    }
}
