//! Asynchronous messages, rejects, logout.

use super::*;

fn message(peer: &mut Peer, event: u8, parameters: [u16; 3]) -> AsyncMessage {
    AsyncMessage {
        lun: lun(),
        numbers: peer.consumed(),
        event,
        vendor_code: 3,
        parameters,
    }
}

fn tell(peer: &mut Peer, event: u8, parameters: [u16; 3], data: &[u8]) -> AsyncEvent {
    let message = message(peer, event, parameters);
    peer.send(message.encode(), data);
    let event = peer.event();
    let Event::Async(event) = event else {
        panic!("not asynchronous: {event:?}");
    };
    event
}

fn reject(peer: &mut Peer, reason: RejectReason, rejected: &Bhs) -> Result<(), SessionError> {
    let reject = Reject {
        reason,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    peer.try_send(reject.encode(), rejected.wire())
}

#[test]
fn every_asynchronous_event_is_told_with_its_parameters() {
    let mut peer = Peer::new(&Setup::default());
    let seconds = Duration::from_secs;
    let (time2wait, time2retain) = (seconds(2), seconds(9));
    let scsi = AsyncEvent::Scsi {
        lun: lun(),
        sense: Bytes::from_static(&[0x70, 0, 6]),
    };
    let segment = [0, 3, 0x70, 0, 6, 99, 99];
    assert_eq!(tell(&mut peer, 0, [0; 3], &segment), scsi);
    let logout = AsyncEvent::LogoutRequested { within: seconds(9) };
    assert_eq!(tell(&mut peer, 1, [0, 0, 9], &[]), logout);
    let dropped = AsyncEvent::ConnectionDropped {
        time2wait,
        time2retain,
    };
    assert_eq!(tell(&mut peer, 2, [0, 2, 9], &[]), dropped);
    let dropped = AsyncEvent::SessionDropped {
        time2wait,
        time2retain,
    };
    assert_eq!(tell(&mut peer, 3, [0, 2, 9], &[]), dropped);
    let renegotiate = AsyncEvent::Renegotiate { within: seconds(9) };
    assert_eq!(tell(&mut peer, 4, [0, 0, 9], &[]), renegotiate);
    for event in [6, 200, 255] {
        let other = AsyncEvent::Other {
            event,
            vendor_code: 3,
        };
        assert_eq!(tell(&mut peer, event, [0; 3], &[]), other);
    }
    assert!(peer.sent().is_empty());
}

#[test]
fn tasks_that_the_target_ends_for_another_initiator_fail_and_the_message_is_acknowledged() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.read(1, 512);
    let mut elsewhere = task(2, DataTransfer::None);
    elsewhere.lun = Lun::from_wire([0; 8]);
    peer.full().submit(now, elsewhere);
    peer.sent();
    let message = message(&mut peer, 5, [0; 3]);
    peer.send(message.encode(), &[]);
    let events = peer.events();
    let failed = matches!(events[0], Event::Failed(TaskId(1), TaskFailure::Terminated));
    assert!(failed && events.len() == 2, "{events:?}");
    assert_eq!(peer.full().outstanding(), 1);
    let acknowledgement = peer.sent_one().nop_out();
    assert_eq!((acknowledgement.itt, acknowledgement.ttt), (None, None));
    assert_eq!(acknowledgement.lun, lun());
    assert_eq!(acknowledgement.numbers.exp_stat_sn, peer.stat_sn);
}

#[test]
fn a_flood_of_asynchronous_messages_is_bounded() {
    let mut peer = Peer::new(&Setup::default());
    for _ in 0..1000 {
        let same = message(&mut peer, 1, [0, 0, 9]);
        peer.send(same.encode(), &[]);
    }
    assert_eq!(peer.events().len(), 1, "repetitions are told once");
    for parameter in 0..1000 {
        let different = message(&mut peer, 1, [0, 0, parameter]);
        peer.send(different.encode(), &[]);
        assert_eq!(peer.events().len(), 1, "what is looked at does not count");
    }
    let result = (0..1000).try_for_each(|parameter| {
        let different = message(&mut peer, 1, [0, 0, parameter]);
        peer.try_send(different.encode(), &[])
    });
    let error = PeerMisbehaved::Flood("asynchronous messages");
    assert_eq!(result, Err(error.into()));
    assert_eq!(peer.events().len(), limits::ASYNC_EVENTS_MAX);
}

#[test]
fn a_rejected_command_was_not_executed_and_its_number_is_filled_again() {
    let mut peer = Peer::new(&Setup::default());
    peer.submit(1, DataTransfer::In(512));
    let hole = peer.exp_cmd_sn;
    let rejected = peer.sent_one();
    // The target does not count the rejected command as received.
    peer.exp_cmd_sn = hole;
    reject(&mut peer, RejectReason::WaitingForLogout, &rejected.bhs).unwrap();
    let (id, failure) = peer.failure();
    assert_eq!(id, TaskId(1));
    assert_eq!(failure.disposition(), Disposition::Unsent);
    let plug = peer.sent_one().nop_out();
    assert!(!plug.immediate, "it has to fill a place in the order");
    assert_eq!(plug.numbers.cmd_sn, hole);
    let pong = NopIn {
        lun: Lun::from_wire([0; 8]),
        itt: plug.itt,
        ttt: None,
        numbers: peer.consumed(),
    };
    peer.send(pong.encode(), &[]);
    assert!(peer.events().is_empty());
    assert_eq!(peer.read(2, 512).numbers.cmd_sn, hole.next());
}

#[test]
fn a_rejected_command_that_the_target_counts_as_received_leaves_no_hole() {
    let mut peer = Peer::new(&Setup::default());
    peer.submit(1, DataTransfer::In(512));
    let rejected = peer.sent_one();
    reject(&mut peer, RejectReason::InvalidPduField, &rejected.bhs).unwrap();
    peer.failure();
    assert!(peer.sent().is_empty());
}

#[test]
fn a_target_that_rejects_everything_loses_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let hole = peer.exp_cmd_sn;
    let result = (0..40).try_for_each(|id| {
        peer.submit(id, DataTransfer::None);
        let rejected = peer.sent().remove(0);
        peer.exp_cmd_sn = hole;
        let rejected = reject(&mut peer, RejectReason::ProtocolError, &rejected.bhs);
        peer.sent();
        rejected
    });
    assert_eq!(result, Err(PeerMisbehaved::Flood("rejects").into()));
}

#[test]
fn a_rejected_data_out_is_left_to_the_targets_response() {
    let mut peer = Peer::new(&Setup::answers(&[
        ("InitialR2T", "No"),
        ("ImmediateData", "No"),
    ]));
    let sent = peer.write(1, &pattern(512));
    reject(&mut peer, RejectReason::DataDigestError, &sent[1].bhs).unwrap();
    assert!(peer.events().is_empty());
    peer.respond(sent[0].command().itt, 2, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
}

#[test]
fn a_reject_without_a_whole_header_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let pdu = Reject {
        reason: RejectReason::ProtocolError,
        numbers: peer.consumed(),
        data_sn: 0,
    };
    let error = peer.try_send(pdu.encode(), &[1; 47]).unwrap_err();
    assert!(matches!(
        error,
        SessionError::InvalidPdu(InvalidPdu::DataTooShort(_))
    ));
}

#[test]
fn a_logout_closes_the_session_and_brings_time2wait_from_its_answer() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.full().logout(now);
    peer.full().logout(now);
    assert_eq!(peer.full().free_slots(), 0, "nothing more is taken");
    let deadline = peer.session.poll_timeout().unwrap();
    assert_eq!(deadline.at, now + Duration::from_secs(5));
    let sent = peer.sent_one();
    let request = LogoutRequest::decode(&sent.bhs).unwrap();
    assert!(request.immediate);
    assert_eq!(request.reason, LogoutReason::CloseSession);
    let response = LogoutResponse {
        itt: request.itt,
        response: 0,
        numbers: peer.consumed(),
        time2wait: 6,
        time2retain: 0,
    };
    peer.send(response.encode(), &[]);
    let Event::LoggedOut { time2wait } = peer.event() else {
        panic!("not logged out");
    };
    assert_eq!(time2wait, Duration::from_secs(6));
    assert_eq!(peer.session.poll_timeout(), None);
    assert_eq!(
        peer.try_bytes(&[0xff; 100]),
        Ok(()),
        "nothing after it matters"
    );
}

#[test]
fn tasks_are_still_answered_between_the_logout_and_its_answer() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let now = peer.now;
    peer.full().logout(now);
    peer.respond(itt, 8, Residual::None);
    assert_eq!(peer.completion().0, TaskId(1));
}

#[test]
fn a_logout_that_is_not_answered_in_time_is_a_timeout() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.full().logout(now);
    let at = peer.session.poll_timeout().unwrap().at;
    let early = at - Duration::from_millis(1);
    assert_eq!(peer.session.handle_timeout(early), Ok(()));
    let error = SessionError::Timeout(SessionTimeout::Logout);
    assert_eq!(peer.session.handle_timeout(at), Err(error));
}

#[test]
fn a_rejected_logout_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let now = peer.now;
    peer.full().logout(now);
    let request = peer.sent_one();
    let result = reject(&mut peer, RejectReason::CommandNotSupported, &request.bhs);
    assert!(matches!(
        result,
        Err(SessionError::PeerMisbehaved(
            PeerMisbehaved::Rejected { .. }
        ))
    ));
}
