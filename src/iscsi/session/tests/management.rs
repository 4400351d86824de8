//! Abort and reset, and what becomes of the tasks.

use super::*;

const GOOD: u8 = 0;

fn manage(peer: &mut Peer, function: TaskFunction) -> TmfId {
    let now = peer.now;
    peer.full().manage(now, function)
}

fn answer(peer: &mut Peer, itt: Itt, response: TmfResponse) {
    let pdu = TaskManagementResponse {
        itt,
        response,
        numbers: peer.consumed(),
    };
    peer.send(pdu.encode(), &[]);
}

fn is_answer(event: &Event, id: TmfId, response: TmfResponse) -> bool {
    matches!(event, Event::TaskManagement { id: i, response: r } if *i == id && *r == response)
}

#[test]
fn abort_task_names_the_task_by_tag_number_and_lun() {
    let mut peer = Peer::new(&Setup {
        window: 1,
        ..Setup::default()
    });
    let command = peer.read(1, 512);
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let request = peer.sent_one().management();
    assert!(request.immediate, "a full window does not hold it up");
    let expected = Function::AbortTask {
        lun: lun(),
        itt: command.itt,
        cmd_sn: command.numbers.cmd_sn,
    };
    assert_eq!(request.function, expected);
    assert_ne!(request.itt, command.itt);
    assert_eq!(request.numbers.cmd_sn, command.numbers.cmd_sn.next());
}

#[test]
fn an_aborted_task_is_reported_before_the_answer_to_the_abort() {
    for response in [TmfResponse::Complete, TmfResponse::TaskDoesNotExist] {
        let mut peer = Peer::new(&Setup::default());
        peer.read(1, 512);
        let id = manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
        let itt = peer.sent_one().management().itt;
        answer(&mut peer, itt, response);
        let events = peer.events();
        assert!(matches!(events[0], Event::Aborted(TaskId(1))));
        assert!(is_answer(&events[1], id, response));
        assert_eq!(peer.full().outstanding(), 0);
        assert!(peer.session.into_lost().is_empty());
    }
}

#[test]
fn until_the_abort_is_answered_the_tag_stays_reserved_and_data_for_it_is_swallowed() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one().management().itt;
    for id in 2..10 {
        assert_ne!(peer.read(id, 512).itt, itt);
    }
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    assert!(peer.events().is_empty());
    answer(&mut peer, abort, TmfResponse::Complete);
    assert!(matches!(peer.events()[0], Event::Aborted(TaskId(1))));
}

#[test]
fn r2ts_for_a_task_that_is_being_aborted_are_still_answered() {
    let mut peer = Peer::new(&Setup::answers(&[
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
    ]));
    let itt = peer.write(1, &pattern(1024))[0].command().itt;
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    peer.sent_one();
    let r2t = peer.r2t(itt, 0, 0, 1024);
    peer.send(r2t.encode(), &[]);
    assert_eq!(peer.sent_one().data, pattern(1024));
}

#[test]
fn a_task_that_is_answered_while_it_is_aborted_does_not_complete() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one().management().itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    peer.respond(itt, GOOD, Residual::None);
    assert!(peer.events().is_empty());
    answer(&mut peer, abort, TmfResponse::TaskDoesNotExist);
    assert!(matches!(peer.events()[0], Event::Aborted(TaskId(1))));
}

#[test]
fn a_refused_abort_lets_the_answer_through_that_came_meanwhile() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let id = manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one().management().itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    peer.respond(itt, GOOD, Residual::None);
    answer(&mut peer, abort, TmfResponse::NotSupported);
    let events = peer.events();
    let Event::Completed(TaskId(1), completion) = &events[0] else {
        panic!("not completed: {events:?}");
    };
    assert_eq!(completion.data.to_bytes(), pattern(512));
    assert!(is_answer(&events[1], id, TmfResponse::NotSupported));
}

#[test]
fn a_refused_abort_leaves_the_task_to_complete_later() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one().management().itt;
    answer(&mut peer, abort, TmfResponse::Other(99));
    assert_eq!(peer.events().len(), 1);
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    peer.respond(itt, GOOD, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
}

#[test]
fn an_abort_of_a_resolved_task_does_not_reach_the_target() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    peer.respond(itt, 8, Residual::None);
    peer.completion();
    let id = manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    assert!(peer.sent().is_empty());
    let event = peer.event();
    assert!(is_answer(&event, id, TmfResponse::TaskDoesNotExist));
}

#[test]
fn late_pdus_of_an_aborted_task_are_ignored() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one().management().itt;
    answer(&mut peer, abort, TmfResponse::Complete);
    peer.events();
    let reused = peer.read(2, 512).itt;
    assert_ne!(reused, itt);
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    let r2t = peer.r2t(itt, 0, 0, 512);
    peer.send(r2t.encode(), &[]);
    peer.respond(itt, GOOD, Residual::None);
    assert!(peer.events().is_empty() && peer.sent().is_empty());
    assert_eq!(peer.full().outstanding(), 1);
}

#[test]
fn aborts_beyond_the_bound_wait_and_a_reset_does_not() {
    let mut peer = Peer::new(&Setup::default());
    for id in 0..10 {
        peer.read(id, 512);
    }
    for id in 0..10 {
        manage(&mut peer, TaskFunction::AbortTask(TaskId(id)));
    }
    let aborts = peer.sent();
    assert_eq!(aborts.len(), limits::ABORTS_MAX);
    let reset = manage(&mut peer, TaskFunction::LogicalUnitReset(lun()));
    let request = peer.sent_one().management();
    assert_eq!(request.function, Function::LogicalUnitReset(lun()));
    // One abort is answered: the next goes out.
    let first = aborts[0].management().itt;
    answer(&mut peer, first, TmfResponse::Complete);
    assert_eq!(peer.sent().len(), 1);
    peer.events();
    // The reset ends all tasks; the aborts that still wait are answered once their turn comes.
    answer(&mut peer, request.itt, TmfResponse::Complete);
    let events = peer.events();
    let aborted = |event: &&Event| matches!(event, Event::Aborted(_));
    assert_eq!(events.iter().filter(aborted).count(), 9);
    assert!(
        events
            .iter()
            .any(|e| is_answer(e, reset, TmfResponse::Complete))
    );
    let second = aborts[1].management().itt;
    answer(&mut peer, second, TmfResponse::TaskDoesNotExist);
    let answered = peer.events().len();
    assert_eq!(answered, 6, "that one and five that never went out");
    assert!(peer.sent().is_empty());
}

#[test]
fn a_lun_reset_ends_the_tasks_that_were_there_before_it_and_no_others() {
    let mut peer = Peer::new(&Setup::default());
    let other_lun = Lun::from_wire([0; 8]);
    let now = peer.now;
    peer.read(1, 512);
    let mut elsewhere = task(2, DataTransfer::In(512));
    elsewhere.lun = other_lun;
    peer.full().submit(now, elsewhere);
    peer.sent_one();
    peer.read(3, 512);
    let id = manage(&mut peer, TaskFunction::LogicalUnitReset(lun()));
    let reset = peer.sent_one().management().itt;
    let later = peer.read(4, 512).itt;
    answer(&mut peer, reset, TmfResponse::Complete);
    let events = peer.events();
    assert!(matches!(events[0], Event::Aborted(TaskId(1))));
    assert!(matches!(events[1], Event::Aborted(TaskId(3))));
    assert!(is_answer(&events[2], id, TmfResponse::Complete));
    assert_eq!(events.len(), 3);
    peer.respond(later, 8, Residual::None);
    assert_eq!(peer.completion().0, TaskId(4));
    let lost = peer.session.into_lost();
    assert_eq!(lost, [(TaskId(2), Disposition::Indeterminate)]);
}

#[test]
fn a_task_that_completes_before_the_reset_is_answered_completes() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    manage(&mut peer, TaskFunction::LogicalUnitReset(lun()));
    let reset = peer.sent_one().management().itt;
    peer.respond(itt, 8, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
    answer(&mut peer, reset, TmfResponse::Complete);
    assert_eq!(peer.events().len(), 1);
}

#[test]
fn a_reset_that_failed_ends_no_task() {
    let mut peer = Peer::new(&Setup::default());
    peer.read(1, 512);
    let id = manage(&mut peer, TaskFunction::TargetWarmReset);
    let reset = peer.sent_one().management();
    assert_eq!(reset.function, Function::TargetWarmReset);
    answer(&mut peer, reset.itt, TmfResponse::AuthorizationFailed);
    let event = peer.event();
    assert!(is_answer(&event, id, TmfResponse::AuthorizationFailed));
    assert_eq!(peer.full().outstanding(), 1);
}

#[test]
fn a_target_reset_ends_the_tasks_of_all_units() {
    for function in [TaskFunction::TargetWarmReset, TaskFunction::TargetColdReset] {
        let mut peer = Peer::new(&Setup::default());
        let now = peer.now;
        peer.read(1, 512);
        let mut elsewhere = task(2, DataTransfer::In(512));
        elsewhere.lun = Lun::from_wire([9; 8]);
        peer.full().submit(now, elsewhere);
        manage(&mut peer, function);
        let reset = peer.sent()[1].management().itt;
        answer(&mut peer, reset, TmfResponse::Complete);
        assert_eq!(peer.events().len(), 3);
        assert_eq!(peer.full().outstanding(), 0);
    }
}

#[test]
fn a_rejected_abort_counts_as_refused() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let id = manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let abort = peer.sent_one();
    let reject = Reject {
        reason: RejectReason::ImmediateCommandReject,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    peer.send(reject.encode(), abort.bhs.wire());
    let event = peer.event();
    assert!(is_answer(&event, id, TmfResponse::Rejected));
    peer.respond(itt, 8, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
}

#[test]
fn two_aborts_of_one_task_end_it_once() {
    let mut peer = Peer::new(&Setup::default());
    peer.read(1, 512);
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    manage(&mut peer, TaskFunction::AbortTask(TaskId(1)));
    let aborts = peer.sent();
    for abort in &aborts {
        let itt = abort.management().itt;
        answer(&mut peer, itt, TmfResponse::TaskDoesNotExist);
    }
    let events = peer.events();
    let aborted = |event: &&Event| matches!(event, Event::Aborted(_));
    assert_eq!(
        (events.len(), events.iter().filter(aborted).count()),
        (3, 1)
    );
}
