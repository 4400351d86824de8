//! The way into the full feature phase, and digests in it.

use super::*;
use crate::iscsi::session::config::DigestChoice;

const GOOD: u8 = 0;

#[test]
fn a_session_that_logged_in_says_so_and_gives_its_commands() {
    let mut peer = Peer::connected(&Setup::default());
    assert!(peer.session.full_feature().is_none());
    peer.answer_login(&[("AuthMethod", "None"), ("TargetPortalGroupTag", "0")], 0);
    assert!(peer.events().is_empty() && peer.session.full_feature().is_none());
    peer.answer_login(&[("MaxRecvDataSegmentLength", "4096")], 3);
    let Event::LoggedIn(summary) = peer.event() else {
        panic!("not logged in");
    };
    assert_eq!(summary.portal_group, Some(0), "zero is an ordinary group");
    assert_eq!(summary.tsih, 7);
    assert_eq!(peer.full().free_slots(), 3);
    assert_eq!(
        peer.full().negotiated().target_max_recv_data_segment_length,
        4096
    );
    assert_eq!(peer.session.poll_timeout(), None);
}

#[test]
fn the_first_command_has_the_number_of_the_login() {
    let mut peer = Peer::new(&Setup::default());
    let expected = peer.exp_cmd_sn;
    let command = peer.read(1, 512);
    assert_eq!(command.numbers.cmd_sn, expected);
    assert!(!command.immediate);
}

#[test]
fn a_login_that_takes_too_long_is_a_timeout() {
    let mut peer = Peer::connected(&Setup::default());
    let deadline = peer.session.poll_timeout().unwrap();
    assert_eq!(deadline.at, peer.now + Duration::from_secs(15));
    let early = deadline.at - Duration::from_millis(1);
    assert_eq!(peer.session.handle_timeout(early), Ok(()));
    let error = SessionError::Timeout(SessionTimeout::Login);
    assert_eq!(peer.session.handle_timeout(deadline.at), Err(error));
}

#[test]
fn a_redirect_is_reported_and_nothing_after_it_matters() {
    let mut peer = Peer::connected(&Setup::default());
    let (mut response, _) = peer.login_response(&[], 0);
    response.status = LoginStatus::MOVED_PERMANENTLY;
    response.flags.transit = None;
    let text = Text::new().with("TargetAddress", "10.0.0.9:3261").encode();
    peer.send(response.encode(), &text);
    let Event::Redirected { to, permanent } = peer.event() else {
        panic!("not redirected");
    };
    assert_eq!(
        (to.to_string().as_str(), permanent),
        ("10.0.0.9:3261", true)
    );
    assert_eq!(peer.try_bytes(&[0xff; 200]), Ok(()));
    assert!(peer.session.full_feature().is_none());
    assert_eq!(peer.session.poll_timeout(), None);
}

#[test]
fn a_pdu_of_the_full_feature_phase_has_no_place_in_a_login() {
    let mut peer = Peer::connected(&Setup::default());
    let nop = NopIn {
        lun: lun(),
        itt: None,
        ttt: None,
        numbers: TargetNumbers::default(),
    };
    let error = peer.try_send(nop.encode(), &[]).unwrap_err();
    assert_eq!(error, PeerMisbehaved::UnexpectedPdu(0x20).into());
}

fn with_digests() -> Setup {
    let mut setup = Setup::answers(&[
        ("HeaderDigest", "CRC32C"),
        ("DataDigest", "CRC32C"),
        ("MaxRecvDataSegmentLength", "8192"),
    ]);
    setup.offer.header_digest = DigestChoice::PreferCrc32c;
    setup.offer.data_digest = DigestChoice::PreferCrc32c;
    setup
}

#[test]
fn digests_begin_with_the_first_pdu_of_the_full_feature_phase_both_ways() {
    let mut peer = Peer::new(&with_digests());
    let all = Digests {
        header: true,
        data: true,
    };
    assert_eq!(peer.full().negotiated().digests, all);
    // The harness's framer verifies every digest that the session sends.
    let sent = peer.write(1, &pattern(1023));
    let itt = sent[0].command().itt;
    assert_eq!(sent[0].data, pattern(1023), "the padding is in the digest");
    peer.respond(itt, GOOD, Residual::None);
    peer.completion();
    let itt = peer.read(2, 515).itt;
    let mut data_in = peer.data_in(itt, 0, 0);
    data_in.status = Some(DataInStatus {
        status: GOOD,
        residual: Residual::None.into(),
    });
    data_in.numbers = peer.consumed();
    peer.send(data_in.encode(), &pattern(515));
    assert_eq!(peer.completion().1.data.to_bytes(), pattern(515));
}

#[test]
fn the_first_pdu_after_the_login_may_come_in_one_piece_with_the_last_login_response() {
    let mut peer = Peer::connected(&with_digests());
    peer.answer_login(&[("AuthMethod", "None"), ("TargetPortalGroupTag", "1")], 0);
    let (response, text) = peer.login_response(&with_digests().answers, 8);
    peer.outbox
        .push(response.encode(), &Bytes::from(text).into());
    let mut bytes = BytesMut::from(&peer.outbox.outgoing().take_all()[..]);
    peer.set_digests(Digests {
        header: true,
        data: true,
    });
    let ping = NopIn {
        lun: lun(),
        itt: None,
        ttt: Ttt::new(5),
        numbers: peer.numbers(),
    };
    peer.outbox.push(ping.encode(), &Payload::new());
    bytes.extend_from_slice(&peer.outbox.outgoing().take_all());
    peer.try_bytes(&bytes).unwrap();
    assert_eq!(peer.sent_one().nop_out().ttt, Ttt::new(5));
}

#[test]
fn a_wrong_header_digest_ends_the_session() {
    let mut peer = Peer::new(&with_digests());
    let nop = NopIn {
        lun: lun(),
        itt: None,
        ttt: Ttt::new(5),
        numbers: peer.numbers(),
    };
    peer.outbox.push(nop.encode(), &Payload::new());
    let mut bytes = peer.outbox.outgoing().take_all().to_vec();
    bytes[50] ^= 1;
    let error = peer.try_bytes(&bytes).unwrap_err();
    assert_eq!(error, InvalidPdu::HeaderDigest.into());
    assert!(peer.sent().is_empty(), "nothing of it was acted on");
}

#[test]
fn a_wrong_data_digest_ends_the_session_and_its_data_reaches_nobody() {
    let mut peer = Peer::new(&with_digests());
    let itt = peer.read(1, 512).itt;
    let mut data_in = peer.data_in(itt, 0, 0);
    data_in.status = Some(DataInStatus {
        status: GOOD,
        residual: Residual::None.into(),
    });
    data_in.numbers = peer.consumed();
    peer.outbox
        .push(data_in.encode(), &Bytes::from(pattern(512)).into());
    let mut bytes = peer.outbox.outgoing().take_all().to_vec();
    bytes[60] ^= 0x10;
    let error = peer.try_bytes(&bytes).unwrap_err();
    assert_eq!(error, InvalidPdu::DataDigest.into());
    assert!(peer.events().is_empty());
    let lost = peer.session.into_lost();
    assert_eq!(lost, [(TaskId(1), Disposition::Indeterminate)]);
}

#[test]
fn the_negotiated_digest_rules_and_not_the_configured_one() {
    let mut setup = with_digests();
    setup.answers = vec![("HeaderDigest", "None"), ("DataDigest", "None")];
    let mut peer = Peer::new(&setup);
    assert_eq!(peer.full().negotiated().digests, Digests::default());
    peer.read(1, 512);
}
