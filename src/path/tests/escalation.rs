//! From ABORT TASK to LOGICAL UNIT RESET to the end of the session.

use super::*;
use crate::path::message::{Abort, Fate};

const OVERTAKEN: Abort = Abort::Overtaken {
    idle: Duration::from_secs(2),
};

/// A path in use with a write that is not answered.
fn hung(lun_reset: bool) -> (Bench, TaskId) {
    let mut bench = Bench::with(|config| config.lun_reset = lun_reset);
    bench.up();
    bench.disk = Box::new(|_, _| None);
    let task = bench.write();
    bench.serve_once(Link::Main);
    bench.messages.clear();
    (bench, task)
}

impl Bench {
    /// What the target was asked to do with its tasks by now, and how that is answered.
    fn manage(&mut self, response: Option<TmfResponse>) -> Vec<Function> {
        let wire = self.wires.get_mut(&Link::Main).unwrap();
        let sent = wire.take(&self.path.outgoing(Link::Main).take_all());
        let mut asked = Vec::new();
        for pdu in &sent {
            if pdu.bhs.opcode() != Ok(Opcode::TaskManagementRequest) {
                self.answer(Link::Main, pdu);
                continue;
            }
            let request = TaskManagementRequest::decode(&pdu.bhs).unwrap();
            asked.push(request.function);
            if let Some(response) = response {
                let numbers = self.wires.get_mut(&Link::Main).unwrap().numbers();
                let answer = TaskManagementResponse {
                    itt: request.itt,
                    response,
                    numbers,
                };
                self.send(Link::Main, answer.encode(), &[]);
            }
        }
        asked
    }

    /// Lets time pass as [`Bench::pass`] does, and answers task management so.
    fn pass_managed(&mut self, time: Duration, response: Option<TmfResponse>) -> Vec<Function> {
        let until = self.now + time;
        let mut asked = Vec::new();
        while let Some(deadline) = self.path.poll_timeout().filter(|d| d.at <= until) {
            self.now = self.now.max(deadline.at);
            self.path.handle_timeout(self.now);
            self.turn();
            if self.is_open(Link::Main) {
                asked.extend(self.manage(response));
            }
        }
        self.now = until;
        asked
    }

    fn order_abort(&mut self, task: TaskId, why: Abort) {
        self.path.order(self.now, Order::Abort { task, why });
        self.turn();
    }

    fn fates(&self) -> Vec<(TaskId, Fate)> {
        let mut fates = Vec::new();
        for message in &self.messages {
            if let Message::Failed { task, fate, .. } = message {
                fates.push((*task, *fate));
            }
        }
        fates
    }
}

fn is_abort(function: &Function) -> bool {
    matches!(function, Function::AbortTask { .. })
}

fn is_reset(function: &Function) -> bool {
    matches!(function, Function::LogicalUnitReset(_))
}

#[test]
fn an_early_abort_that_is_answered_ends_the_command_and_nothing_else() {
    let (mut bench, task) = hung(true);
    bench.pass(ms(2_500));
    bench.order_abort(task, OVERTAKEN);
    let asked = bench.manage(Some(TmfResponse::Complete));
    assert!(asked.len() == 1 && is_abort(&asked[0]), "{asked:?}");
    assert_eq!(bench.fates(), [(task, Fate::Aborted)]);
    assert_eq!(bench.state(), PathState::Ready);
    assert_eq!(bench.path.status(bench.now).aborts, 1);
}

#[test]
fn a_command_that_made_progress_is_not_aborted_early() {
    let (mut bench, task) = hung(false);
    bench.pass(ms(1_900));
    bench.order_abort(task, OVERTAKEN);
    assert!(bench.manage(None).is_empty(), "its bytes were taken since");
}

#[test]
fn an_early_abort_that_is_not_answered_disturbs_nobody_before_the_commands_own_deadline() {
    let (mut bench, task) = hung(false);
    bench.pass(ms(2_500));
    bench.order_abort(task, OVERTAKEN);
    bench.pass_managed(ms(27_000), None);
    assert_eq!(bench.state(), PathState::Ready);
    bench.pass_managed(ms(600), None);
    assert_eq!(bench.lost(), [vec![(task, Disposition::Indeterminate)]]);
}

#[test]
fn an_early_abort_that_is_refused_is_the_last_one_of_its_session() {
    let (mut bench, task) = hung(false);
    bench.pass(ms(2_500));
    bench.order_abort(task, OVERTAKEN);
    let asked = bench.manage(Some(TmfResponse::NotSupported));
    assert_eq!(asked.len(), 1);
    assert_eq!(bench.state(), PathState::Ready);
    bench.order_abort(task, OVERTAKEN);
    assert!(bench.manage(None).is_empty());
    // Its own deadline counts.
    let asked = bench.pass_managed(ms(27_400), None);
    assert!(!asked.iter().any(is_abort), "{asked:?}");
    let asked = bench.pass_managed(ms(500), Some(TmfResponse::NotSupported));
    assert!(asked.iter().any(is_abort), "{asked:?}");
    assert_eq!(bench.lost().len(), 1);
}

#[test]
fn where_the_unit_may_be_reset_that_comes_before_the_end_of_the_session() {
    let (mut bench, task) = hung(true);
    let asked = bench.pass_managed(ms(34_900), None);
    assert!(asked.len() == 1 && is_abort(&asked[0]), "{asked:?}");
    let asked = bench.pass_managed(ms(200), Some(TmfResponse::Complete));
    assert!(asked.len() == 1 && is_reset(&asked[0]), "{asked:?}");
    assert_eq!(bench.fates(), [(task, Fate::Aborted)]);
    let told = |message: &Message| matches!(message, Message::UnitReset { .. });
    assert!(bench.messages.iter().any(told));
    assert!(bench.lost().is_empty());
    assert_eq!(bench.state(), PathState::Ready);
    // It hangs again at once: a second reset would help no more.
    bench.messages.clear();
    let again = bench.write();
    let asked = bench.pass_managed(ms(35_200), None);
    assert!(
        asked.iter().any(is_reset),
        "half a minute later it is tried"
    );
    bench.pass_managed(ms(10_000), None);
    assert_eq!(bench.lost(), [vec![(again, Disposition::Indeterminate)]]);
}

#[test]
fn a_reset_that_is_refused_or_not_answered_ends_the_session() {
    for response in [Some(TmfResponse::NotSupported), None] {
        let (mut bench, task) = hung(true);
        bench.pass_managed(ms(34_900), None);
        let asked = bench.pass_managed(ms(200), response);
        assert!(asked.iter().any(is_reset));
        assert_eq!(bench.lost().is_empty(), response.is_none());
        bench.pass_managed(ms(10_000), None);
        assert_eq!(bench.lost(), [vec![(task, Disposition::Indeterminate)]]);
    }
}

#[test]
fn of_what_nobody_waits_for_four_at_a_time_are_aborted_unless_the_target_takes_long() {
    let (mut bench, first) = hung(false);
    let tasks: Vec<TaskId> = (0..6).map(|_| bench.write()).collect();
    bench.manage(None);
    for &task in &tasks {
        bench.order_abort(task, Abort::Beaten);
    }
    assert_eq!(bench.manage(Some(TmfResponse::Complete)).len(), 4);
    bench.order_abort(first, Abort::Beaten);
    assert_eq!(bench.manage(None).len(), 1, "there is room again");
    bench.pass(ms(600));
    // The answer comes late.
    let late = bench.path.status(bench.now).aborts;
    bench.order_abort(tasks[4], Abort::Beaten);
    assert_eq!(bench.path.status(bench.now).aborts, late + 1);
}

#[test]
fn a_barrier_of_a_session_that_lives_is_an_ordered_command_and_a_busy_target_is_asked_again() {
    let mut bench = Bench::new();
    bench.up();
    let mut busy = true;
    bench.disk = Box::new(move |cdb, attribute| {
        assert_eq!((cdb[0], attribute), (0, TaskAttribute::Ordered));
        let answer = std::mem::take(&mut busy);
        Some(if answer { Answer::status(8) } else { disk(cdb) })
    });
    bench.path.order(bench.now, Order::Drain);
    bench.serve(Link::Main);
    let drained = |bench: &Bench| {
        let drained = |message: &Message| matches!(message, Message::Drained { .. });
        bench.messages.iter().any(drained)
    };
    assert!(!drained(&bench));
    bench.pass(ms(1_100));
    assert!(drained(&bench));
    assert_eq!(bench.state(), PathState::Ready);
}

#[test]
fn a_path_that_asks_for_nothing_more_has_aborted_what_a_reset_of_the_unit_ended() {
    let (mut bench, task) = hung(true);
    bench.path.on_unit_was_reset(bench.now);
    bench.turn();
    let asked = bench.manage(Some(TmfResponse::TaskDoesNotExist));
    assert!(asked.len() == 1 && is_abort(&asked[0]), "{asked:?}");
    assert_eq!(bench.fates().len(), 1);
    assert_eq!(bench.fates()[0].0, task);
    assert_eq!(bench.state(), PathState::Ready);
    bench.path.on_unit_was_reset(bench.now);
    bench.turn();
    assert!(bench.manage(None).is_empty(), "nothing is left");
}
