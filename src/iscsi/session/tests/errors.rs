//! What ends a session, and that it stays ended.

use super::*;

#[test]
fn after_an_error_every_call_gives_the_same_error() {
    let mut peer = Peer::new(&Setup::default());
    peer.read(1, 512);
    let mut unknown = [0; BHS_LEN];
    unknown[0] = 0x3e;
    let error = peer.try_bytes(&unknown).unwrap_err();
    let nop = NopIn {
        lun: lun(),
        itt: None,
        ttt: Ttt::new(1),
        numbers: peer.numbers(),
    };
    assert_eq!(peer.try_send(nop.encode(), &[]), Err(error.clone()));
    assert_eq!(peer.session.handle_timeout(peer.now), Err(error.clone()));
    assert_eq!(peer.try_bytes(&[]), Err(error.clone()));
    assert!(peer.session.full_feature().is_none());
    assert_eq!(peer.session.poll_timeout(), None);
    assert_eq!(peer.session.on_closed(), Some(error));
    assert!(peer.sent().is_empty());
}

#[test]
fn unknown_and_misdirected_opcodes_end_the_session() {
    for opcode in 0..=0x3f_u8 {
        let from_targets = [0x20, 0x21, 0x22, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f];
        if from_targets.contains(&opcode) {
            continue;
        }
        let mut peer = Peer::new(&Setup::default());
        let mut bytes = [0; 48];
        bytes[0] = opcode;
        let error = peer.try_bytes(&bytes).unwrap_err();
        let expected = match Opcode::from_wire(opcode) {
            Some(_) => PeerMisbehaved::UnexpectedPdu(opcode).into(),
            None => InvalidPdu::UnexpectedOpcode(opcode).into(),
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_tag_that_was_never_sent_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    peer.read(1, 512);
    let itt = Itt::new(0x7777_0000).unwrap();
    let response = peer.response(itt, 0, Residual::None);
    let error = peer.try_send(response.encode(), &[]).unwrap_err();
    assert_eq!(error, PeerMisbehaved::UnknownTag(itt).into());
}

#[test]
fn the_reserved_tag_names_no_task() {
    for opcode in [Opcode::ScsiResponse, Opcode::DataIn, Opcode::LogoutResponse] {
        let mut peer = Peer::new(&Setup::default());
        let mut bhs = Bhs::new(opcode);
        bhs.set_itt(None);
        let error = peer.try_send(bhs, &[]).unwrap_err();
        assert_eq!(error, InvalidPdu::ReservedTag(opcode as u8).into());
    }
}

#[test]
fn an_answer_of_another_kind_than_the_question_ends_the_session() {
    let mut peer = Peer::new(&Setup::default());
    let itt = peer.read(1, 512).itt;
    let response = TaskManagementResponse {
        itt,
        response: TmfResponse::Complete,
        numbers: peer.consumed(),
    };
    let error = peer.try_send(response.encode(), &[]).unwrap_err();
    let expected = PeerMisbehaved::Mismatch("Initiator Task Tag");
    assert_eq!(error, expected.into());
}

#[test]
fn a_data_segment_is_as_long_as_we_declared_and_no_longer_padding_aside() {
    let mut setup = Setup::default();
    setup.offer.max_recv_data_segment_length = 1021;
    let mut peer = Peer::new(&setup);
    let itt = peer.read(1, 4096).itt;
    let data_in = peer.data_in(itt, 0, 0);
    peer.send(data_in.encode(), &pattern(1021));
    let data_in = peer.data_in(itt, 1, 1021);
    let error = peer.try_send(data_in.encode(), &pattern(1022)).unwrap_err();
    let expected = InvalidPdu::DataTooLong {
        opcode: 0x25,
        length: 1022,
        limit: 1021,
    };
    assert_eq!(error, expected.into());
}

#[test]
fn a_monstrous_segment_is_refused_by_its_header() {
    let mut peer = Peer::new(&Setup::default());
    let mut bhs = Bhs::new(Opcode::Reject);
    bhs.set_itt(None);
    bhs.set_data_len(0x00ff_ffff);
    let error = peer.try_bytes(bhs.wire()).unwrap_err();
    assert!(matches!(
        error,
        SessionError::InvalidPdu(InvalidPdu::DataTooLong { .. })
    ));
}
