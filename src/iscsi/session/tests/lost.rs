//! What is known of tasks when the session is lost, and how far they are before.

use super::*;

#[test]
fn a_task_of_which_no_byte_was_sent_is_unsent_and_any_other_indeterminate() {
    let mut peer = Peer::new(&Setup::default());
    for id in [5, 3, 9] {
        peer.submit(id, DataTransfer::In(512));
    }
    // The socket took the first command and one byte of the second.
    peer.session.outgoing().advance(BHS_LEN + 1);
    let lost = peer.session.into_lost();
    let expected = [
        (TaskId(5), Disposition::Indeterminate),
        (TaskId(3), Disposition::Indeterminate),
        (TaskId(9), Disposition::Unsent),
    ];
    assert_eq!(lost, expected, "in the order of submission");
}

#[test]
fn a_task_right_behind_what_the_socket_took_is_unsent() {
    let mut peer = Peer::new(&Setup::default());
    peer.submit(1, DataTransfer::In(512));
    peer.submit(2, DataTransfer::In(512));
    peer.session.outgoing().advance(BHS_LEN);
    let sent = |peer: &mut Peer, id| peer.full().progress(TaskId(id)).unwrap().sent;
    assert!(sent(&mut peer, 1) && !sent(&mut peer, 2));
    let expected = [
        (TaskId(1), Disposition::Indeterminate),
        (TaskId(2), Disposition::Unsent),
    ];
    assert_eq!(peer.session.into_lost(), expected);
}

#[test]
fn lost_tasks_come_in_the_order_of_submission_whatever_their_tags() {
    let mut peer = Peer::new(&Setup::default());
    let tags: Vec<Itt> = (0..4).map(|id| peer.read(id, 512).itt).collect();
    for itt in [tags[2], tags[0]] {
        peer.respond(itt, 8, Residual::None);
        peer.completion();
    }
    peer.read(10, 512);
    peer.read(11, 512);
    let lost = peer.session.into_lost();
    let ids: Vec<u64> = lost.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 3, 10, 11]);
}

#[test]
fn a_resolved_task_is_not_lost_again() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    peer.respond(itt, 8, Residual::None);
    peer.completion();
    assert!(peer.session.into_lost().is_empty());
}

#[test]
fn a_task_whose_answer_was_held_back_by_an_abort_is_lost_with_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let now = peer.now;
    peer.full().manage(now, TaskFunction::AbortTask(TaskId(1)));
    peer.respond(itt, 8, Residual::None);
    let lost = peer.session.into_lost();
    assert_eq!(lost, [(TaskId(1), Disposition::Indeterminate)]);
}

#[test]
fn a_session_that_never_logged_in_has_nothing_to_lose() {
    let peer = Peer::connected(&Setup::default());
    assert!(peer.session.into_lost().is_empty());
}

#[test]
fn progress_is_what_the_socket_takes_and_what_the_target_sends() {
    let mut peer = Peer::new(&Setup::default());
    let start = peer.now;
    peer.submit(1, DataTransfer::In(1024));
    let second = Duration::from_secs(1);
    let progress = peer.full().progress(TaskId(1)).unwrap();
    assert!(!progress.sent);
    assert_eq!(
        (progress.submitted_at, progress.last_progress_at),
        (start, start)
    );

    peer.pass(second);
    let itt = peer.sent_one().command().itt;
    let now = peer.now;
    peer.session.handle_sent(now);
    let progress = peer.full().progress(TaskId(1)).unwrap();
    assert!(progress.sent);
    assert_eq!(progress.last_progress_at, start + second);

    peer.pass(second);
    let now = peer.now;
    peer.session.handle_sent(now);
    let progress = peer.full().progress(TaskId(1)).unwrap();
    assert_eq!(progress.last_progress_at, start + second, "nothing moved");

    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(512));
    let progress = peer.full().progress(TaskId(1)).unwrap();
    assert_eq!(progress.last_progress_at, start + second * 2);
    assert_eq!(progress.submitted_at, start);
    assert_eq!(peer.full().progress(TaskId(2)), None);
}

#[test]
fn a_large_write_that_trickles_out_is_progress() {
    let mut peer = Peer::new(&Setup::answers(&[
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
        ("MaxRecvDataSegmentLength", "8192"),
    ]));
    let itt = peer.write(1, &pattern(100_000))[0].command().itt;
    let r2t = peer.r2t(itt, 0, 0, 100_000);
    peer.send(r2t.encode(), &[]);
    for _ in 0..100 {
        peer.pass(Duration::from_secs(1));
        peer.session.outgoing().advance(1000);
        let now = peer.now;
        peer.session.handle_sent(now);
        let progress = peer.full().progress(TaskId(1)).unwrap();
        assert_eq!(progress.last_progress_at, now);
    }
}
