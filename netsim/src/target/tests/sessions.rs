use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::pdu::login::Stage;
use iiblockdaemon::iscsi::pdu::{
    Function, LogoutReason, LogoutRequest, LogoutResponse, TaskManagementRequest,
    TaskManagementResponse, TmfResponse,
};
use iiblockdaemon::iscsi::tags::Itt;

use super::super::*;
use super::initiator::{BLOCK, Initiator, NAME, target};

const SECOND: Duration = Duration::from_secs(1);

fn slow(target: &mut Target) {
    let behaviour = PortalBehaviour {
        service_time: 10 * SECOND,
        ..PortalBehaviour::default()
    };
    target.set_portal(0, behaviour);
}

fn first_byte(target: &mut Target) -> u8 {
    target.unit(0).unwrap().peek(0, 1).unwrap()[0]
}

/// A session with a write that waits, and a target that treats it so when the session dies.
fn with_waiting_write(
    now: Instant,
    reinstatement: Reinstatement,
    orphans: Orphans,
) -> (Target, Initiator) {
    let mut target = target(|_| {});
    slow(&mut target);
    target.set_behaviour(Behaviour {
        reinstatement,
        orphans,
        ..Behaviour::default()
    });
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    initiator.write(now, &mut target, 0, &[7; BLOCK]);
    assert_eq!(target.outstanding(), 1);
    (target, initiator)
}

#[test]
fn a_login_with_the_same_name_in_the_same_group_ends_the_old_session_and_its_commands() {
    let now = crate::clock::now();
    let (mut target, old) = with_waiting_write(now, Reinstatement::Synchronous, Orphans::Terminate);
    Initiator::log_in(now, &mut target, 1, 1, &[]);
    assert_eq!(target.is_over(old.id), Some(true));
    target.disconnect(now, old.id);
    target.handle_timeout(now + 60 * SECOND);
    assert_eq!(first_byte(&mut target), 0);
    let statistics = target.statistics();
    assert_eq!((statistics.reinstated, statistics.terminated), (1, 1));
    assert_eq!(target.sessions().count(), 1);
}

#[test]
fn another_isid_or_another_group_is_another_session() {
    let now = crate::clock::now();
    let (mut target, old) = with_waiting_write(now, Reinstatement::Synchronous, Orphans::Terminate);
    Initiator::log_in(now, &mut target, 1, 2, &[]);
    Initiator::log_in(now, &mut target, 2, 1, &[]);
    assert_eq!(target.is_over(old.id), None);
    assert_eq!(target.sessions().count(), 3);
    target.handle_timeout(now + 10 * SECOND);
    assert_eq!(first_byte(&mut target), 7);
}

#[test]
fn synchronous_reinstatement_answers_the_login_once_the_orphans_have_executed() {
    let now = crate::clock::now();
    let orphans = Orphans::ExecuteAfter(30 * SECOND);
    let (mut target, _old) = with_waiting_write(now, Reinstatement::Synchronous, orphans);
    let mut new = Initiator::connect(now, &mut target, 1, 1);
    let names = Text::new()
        .with("InitiatorName", "iqn.2026-11.com.example:test")
        .with("TargetName", NAME);
    let full = Some(Stage::FullFeature);
    new.send_login(now, &mut target, Stage::Operational, full, &names);
    assert!(new.login_response(&mut target).is_none());
    let deadline = target.poll_timeout().unwrap();
    assert_eq!(deadline.at, now + 30 * SECOND);
    target.handle_timeout(deadline.at);
    assert_eq!(first_byte(&mut target), 7);
    let (response, _) = new.login_response(&mut target).unwrap();
    assert_eq!(response.flags.transit, full);
    assert_eq!(target.statistics().executed_late, 1);
}

#[test]
fn asynchronous_reinstatement_lets_a_ghost_overwrite_a_newer_write() {
    let now = crate::clock::now();
    let orphans = Orphans::ExecuteAfter(30 * SECOND);
    let (mut target, _old) = with_waiting_write(now, Reinstatement::Asynchronous, orphans);
    let mut new = Initiator::log_in(now, &mut target, 1, 1, &[]);
    new.write(now, &mut target, 0, &[8; BLOCK]);
    assert_eq!(new.response(&mut target).unwrap().status, 2, "nexus lost");
    new.write(now, &mut target, 0, &[8; BLOCK]);
    assert_eq!(new.response(&mut target).unwrap().status, 0);
    assert_eq!(first_byte(&mut target), 8);
    target.handle_timeout(now + 30 * SECOND);
    assert_eq!(first_byte(&mut target), 7, "the ghost");
}

#[test]
fn where_reinstatement_is_ignored_both_sessions_live() {
    let now = crate::clock::now();
    let (mut target, old) = with_waiting_write(now, Reinstatement::Ignored, Orphans::Terminate);
    Initiator::log_in(now, &mut target, 1, 1, &[]);
    assert_eq!(target.is_over(old.id), None);
    assert_eq!(target.sessions().count(), 2);
}

#[test]
fn the_commands_of_a_lost_connection_become_orphans_too() {
    let now = crate::clock::now();
    let orphans = Orphans::ExecuteAfter(SECOND);
    let (mut target, old) = with_waiting_write(now, Reinstatement::Synchronous, orphans);
    target.disconnect(now, old.id);
    target.handle_timeout(now + SECOND);
    assert_eq!(first_byte(&mut target), 0, "not before its time");
    target.handle_timeout(now + 10 * SECOND);
    assert_eq!(first_byte(&mut target), 7);
}

fn manage(
    now: Instant,
    target: &mut Target,
    initiator: &mut Initiator,
    function: Function,
) -> Option<TmfResponse> {
    let request = TaskManagementRequest {
        immediate: true,
        function,
        itt: initiator.itt(),
        numbers: iiblockdaemon::iscsi::pdu::InitiatorNumbers {
            cmd_sn: initiator.cmd_sn,
            ..Default::default()
        },
    };
    initiator.send(now, target, request.encode(), &[]);
    answer(target, initiator)
}

fn answer(target: &mut Target, initiator: &mut Initiator) -> Option<TmfResponse> {
    let (bhs, _) = initiator.receive(target)?;
    Some(TaskManagementResponse::decode(&bhs).unwrap().response)
}

#[test]
fn an_aborted_task_never_executes_and_is_never_answered() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    slow(&mut target);
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let cmd_sn = initiator.cmd_sn;
    let itt = initiator.write(now, &mut target, 0, &[7; BLOCK]);
    let lun = LunAddress::from_number(0).unwrap();
    let abort = |itt| Function::AbortTask { lun, itt, cmd_sn };
    let done = manage(now, &mut target, &mut initiator, abort(itt));
    assert_eq!(done, Some(TmfResponse::Complete));
    let again = manage(now, &mut target, &mut initiator, abort(itt));
    assert_eq!(again, Some(TmfResponse::TaskDoesNotExist));
    target.handle_timeout(now + 60 * SECOND);
    assert!(initiator.receive(&mut target).is_none());
    assert_eq!(first_byte(&mut target), 0);
}

#[test]
fn a_unit_reset_ends_the_tasks_of_all_sessions_and_waits_for_orphans() {
    let now = crate::clock::now();
    let orphans = Orphans::ExecuteAfter(5 * SECOND);
    let (mut target, dead) = with_waiting_write(now, Reinstatement::Asynchronous, orphans);
    target.disconnect(now, dead.id);
    let mut other = Initiator::log_in(now, &mut target, 0, 2, &[]);
    other.write(now, &mut target, 8, &[9; BLOCK]);
    let mut resetter = Initiator::log_in(now, &mut target, 1, 3, &[]);
    let lun = LunAddress::from_number(0).unwrap();
    let reset = Function::LogicalUnitReset(lun);
    assert_eq!(manage(now, &mut target, &mut resetter, reset), None);
    assert_eq!(target.outstanding(), 0);
    target.handle_timeout(now + 10 * SECOND);
    assert_eq!(
        first_byte(&mut target),
        7,
        "the orphan was at the disk already"
    );
    let done = answer(&mut target, &mut resetter);
    assert_eq!(done, Some(TmfResponse::Complete));
    let nowhere = Function::LogicalUnitReset(LunAddress::from_number(9).unwrap());
    let answer = manage(now, &mut target, &mut resetter, nowhere);
    assert_eq!(answer, Some(TmfResponse::LunDoesNotExist));
}

#[test]
fn a_frozen_portal_reads_writes_and_executes_nothing_until_it_thaws() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    slow(&mut target);
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    initiator.write(now, &mut target, 0, &[7; BLOCK]);
    while target.poll_woken().is_some() {}
    let frozen = PortalBehaviour {
        frozen: true,
        service_time: 10 * SECOND,
        ..PortalBehaviour::default()
    };
    target.set_portal(0, frozen);
    assert!(!target.wants_input(initiator.id));
    target.handle_timeout(now + 40 * SECOND);
    assert_eq!(first_byte(&mut target), 0);
    assert!(target.poll_timeout().is_none());
    while target.poll_woken().is_some() {}
    target.set_portal(0, PortalBehaviour::default());
    assert_eq!(
        target.poll_woken(),
        Some(initiator.id),
        "it is looked at again"
    );
    target.handle_timeout(now + 40 * SECOND);
    assert_eq!(first_byte(&mut target), 7);
    assert_eq!(initiator.response(&mut target).unwrap().status, 0);
}

#[test]
fn a_logout_is_answered_and_then_the_connection_closes() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let mut initiator = Initiator::log_in(now, &mut target, 0, 1, &[]);
    let logout = LogoutRequest {
        immediate: false,
        reason: LogoutReason::CloseSession,
        itt: Itt::new(99).unwrap(),
        cid: 0,
        numbers: initiator.numbers(),
    };
    initiator.send(now, &mut target, logout.encode(), &[]);
    let (bhs, _) = initiator.receive(&mut target).unwrap();
    let response = LogoutResponse::decode(&bhs).unwrap();
    assert_eq!((response.response, response.time2wait), (0, 2));
    assert_eq!(target.is_over(initiator.id), Some(false));
    assert_eq!(target.sessions().count(), 0);
}

#[test]
fn a_power_cycle_ends_sessions_and_orphans_alike() {
    let now = crate::clock::now();
    let orphans = Orphans::ExecuteAfter(SECOND);
    let (mut target, dead) = with_waiting_write(now, Reinstatement::Synchronous, orphans);
    target.disconnect(now, dead.id);
    let other = Initiator::log_in(now, &mut target, 1, 2, &[]);
    target.power_cycle(now, |_| true);
    assert_eq!(target.is_over(other.id), Some(true));
    assert_eq!(target.poll_timeout(), None);
    target.handle_timeout(now + 60 * SECOND);
    assert_eq!(first_byte(&mut target), 0);
    let mut new = Initiator::log_in(now, &mut target, 0, 2, &[]);
    target.set_portal(0, PortalBehaviour::default());
    new.write(now, &mut target, 0, &[1; BLOCK]);
    assert_eq!(new.response(&mut target).unwrap().status, 2, "power on");
}
