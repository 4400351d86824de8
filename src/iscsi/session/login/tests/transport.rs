use super::*;
use crate::iscsi::error::{PeerIncompatible, PeerMisbehaved, TextError};
use crate::limits::{LOGIN_EXCHANGES_MAX, LOGIN_REPLIES_MAX, TEXT_BYTES_MAX};

/// A long list of keys that nobody knows, each of which must be answered.
fn many_keys(count: usize) -> Vec<u8> {
    let text = (0..count).fold(Text::new(), |text, i| {
        text.with(&format!("X-com.example.a-rather-long-key-{i:06}"), "1")
    });
    text.encode()
}

/// COMSTAR drops a login whose task tag changes; CID, TSIH and CmdSN stay as well.
#[test]
fn all_requests_of_a_login_have_the_same_names_and_numbers() {
    let first = Dialogue::start(with_chap(chap()));
    let one = first.request;
    let second = first.then(false, &[("AuthMethod", "CHAP")]);
    let two = second.request;
    let third = second.then(
        false,
        &[("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x01")],
    );
    let three = third.request;
    let four = third.then(true, &[]).request;
    for request in [two, three, four] {
        assert_eq!(request.itt, one.itt);
        assert_eq!(request.isid, one.isid);
        assert_eq!((request.cid, request.tsih), (one.cid, 0));
        assert_eq!(request.cmd_sn, one.cmd_sn);
        assert_eq!((request.version_max, request.version_min), (0, 0));
    }
}

/// LIO starts StatSN anywhere in 32 bits.
#[test]
fn each_request_acknowledges_the_last_response_across_the_wrap() {
    let first = Dialogue::start(config());
    assert_eq!(first.stat_sn, SerialNumber(0xffff_fffe));
    let second = first.then(true, &[("AuthMethod", "None")]);
    assert_eq!(second.request.exp_stat_sn, SerialNumber(0xffff_ffff));
    let third = second.then(false, &[]);
    assert_eq!(third.request.exp_stat_sn, SerialNumber(0));
}

/// FreeNAS drops a login that names the initiator again.
#[test]
fn names_and_session_type_are_said_once() {
    let first = Dialogue::start(config());
    for key in ["InitiatorName", "TargetName", "SessionType"] {
        assert!(first.says(key).is_some(), "{key}");
    }
    assert_eq!(first.says("TargetName").unwrap(), TARGET);
    let second = first.then(false, &[]);
    assert!(second.text().is_empty());
    let third = second.then(true, &[("AuthMethod", "None")]);
    for key in ["InitiatorName", "TargetName", "SessionType", "AuthMethod"] {
        assert_eq!(third.says(key), None, "{key}");
    }
}

/// tgt compares names byte by byte.
#[test]
fn the_targets_name_travels_as_it_is_spelled() {
    let target = IscsiName::new("iqn.2000-01.com.synology:NAS.Target-1").unwrap();
    let kind = SessionKind::Normal { target };
    let dialogue = Dialogue::start(SessionConfig { kind, ..config() });
    let said = dialogue.says("TargetName").unwrap();
    assert_eq!(said, "iqn.2000-01.com.synology:NAS.Target-1");
}

#[test]
fn a_response_that_does_not_belong_to_the_request_ends_the_login() {
    type Spoil = fn(&mut LoginResponse);
    let mismatches: [(Spoil, SessionError); 6] = [
        (
            |r| r.itt = crate::iscsi::tags::Itt::new(77).unwrap(),
            PeerMisbehaved::Mismatch("InitiatorTaskTag").into(),
        ),
        (
            |r| r.isid = Isid::from_wire([9; 6]),
            PeerMisbehaved::Mismatch("ISID").into(),
        ),
        (
            |r| r.flags.stage = Stage::Operational,
            PeerMisbehaved::Mismatch("CSG").into(),
        ),
        (
            |r| r.flags.transit = Some(Stage::FullFeature),
            PeerMisbehaved::StageTransition.into(),
        ),
        (
            |r| {
                r.flags.continues = true;
                r.flags.transit = Some(Stage::Operational);
            },
            PeerMisbehaved::Continuation.into(),
        ),
        (|r| r.version_active = 1, PeerIncompatible::Version.into()),
    ];
    for (spoil, expected) in mismatches {
        let dialogue = Dialogue::start(config());
        let mut response = dialogue.response(false);
        spoil(&mut response);
        assert_eq!(dialogue.respond(response, &[]).unwrap_err(), expected);
    }
}

#[test]
fn text_that_is_cut_anywhere_over_several_responses_is_put_together() {
    let whole = encode(&[("MaxBurstLength", "65536"), ("TargetAlias", "array")]);
    for cut in 0..=whole.len() {
        let mut dialogue = Dialogue::operational(config());
        let mut response = dialogue.response(false);
        response.flags.continues = true;
        let stat_sn = dialogue.stat_sn.next();
        let step = dialogue.respond(response, &whole[..cut]).unwrap();
        dialogue = Dialogue::from_step(step, stat_sn);
        // RFC 7143 6.2: an empty request without T asks for the rest.
        assert!(dialogue.segment.is_empty());
        assert_eq!(dialogue.request.flags.transit, None);
        assert!(!dialogue.request.flags.continues);
        let rest = dialogue.response(false);
        let stat_sn = dialogue.stat_sn.next();
        let step = dialogue.respond(rest, &whole[cut..]).unwrap();
        dialogue = Dialogue::from_step(step, stat_sn);
        let negotiated = dialogue.done(&[]).negotiated;
        assert_eq!(negotiated.max_burst_length, 65_536);
        assert_eq!(negotiated.target_alias.as_deref(), Some("array"));
    }
}

#[test]
fn text_of_ours_that_exceeds_a_segment_is_split_over_requests() {
    let dialogue = Dialogue::operational(config());
    let response = dialogue.response(false);
    let stat_sn = dialogue.stat_sn.next();
    let keys = many_keys(500);
    let step = dialogue.respond(response, &keys).unwrap();
    let mut dialogue = Dialogue::from_step(step, stat_sn);
    let mut said = Vec::new();
    let mut requests = 0;
    while dialogue.request.flags.continues {
        assert_eq!(dialogue.segment.len(), 8192);
        assert_eq!(dialogue.request.flags.transit, None);
        said.extend_from_slice(&dialogue.segment);
        requests += 1;
        dialogue = dialogue.then(false, &[]);
    }
    said.extend_from_slice(&dialogue.segment);
    assert_eq!(dialogue.request.flags.transit, Some(Stage::FullFeature));
    assert!(requests >= 2, "{requests}");
    let text = Text::decode(&said).unwrap();
    assert_eq!(text.len(), 500);
    assert!(text.iter().all(|(_, value)| value == "NotUnderstood"));
    dialogue.done(&[]);
}

#[test]
fn a_flood_of_unknown_keys_ends_the_login() {
    let answer = |count| {
        let dialogue = Dialogue::operational(config());
        let response = dialogue.response(false);
        dialogue.respond(response, &many_keys(count))
    };
    assert!(answer(LOGIN_REPLIES_MAX).is_ok());
    let error = answer(LOGIN_REPLIES_MAX + 1).unwrap_err();
    assert_eq!(error, PeerMisbehaved::TooManyKeys.into());
}

#[test]
fn a_target_that_interrupts_our_text_breaks_the_protocol() {
    for continues in [true, false] {
        let dialogue = Dialogue::operational(config());
        let response = dialogue.response(false);
        let step = dialogue.respond(response, &many_keys(500)).unwrap();
        let dialogue = Dialogue::from_step(step, SerialNumber(0));
        assert!(dialogue.request.flags.continues);
        let mut response = dialogue.response(false);
        response.flags.continues = continues;
        let text = if continues { &b""[..] } else { b"A=1\0" };
        let error = dialogue.respond(response, text).unwrap_err();
        assert_eq!(error, PeerMisbehaved::Continuation.into());
    }
}

#[test]
fn a_text_that_never_ends_is_cut_off_at_the_bound() {
    let mut dialogue = Dialogue::operational(config());
    let chunk = vec![b'x'; 60_000];
    let mut received = 0;
    let error = loop {
        let mut response = dialogue.response(false);
        response.flags.continues = true;
        match dialogue.respond(response, &chunk) {
            Ok(step) => dialogue = Dialogue::from_step(step, SerialNumber(0)),
            Err(error) => break error,
        }
        received += chunk.len();
        assert!(received <= TEXT_BYTES_MAX);
    };
    assert_eq!(error, PeerMisbehaved::Text(TextError::TooLong).into());
}

#[test]
fn a_login_that_never_ends_is_given_up_at_the_bound() {
    let mut dialogue = Dialogue::start(config());
    let mut requests = 1;
    let error = loop {
        match dialogue.answer(false, &[]) {
            Ok(step) => dialogue = Dialogue::from_step(step, SerialNumber(0)),
            Err(error) => break error,
        }
        requests += 1;
        assert!(requests <= LOGIN_EXCHANGES_MAX);
    };
    assert_eq!(requests, LOGIN_EXCHANGES_MAX);
    assert_eq!(error, PeerMisbehaved::EndlessLogin.into());
    assert!(!error.needs_operator());
}

#[test]
fn malformed_text_ends_the_login() {
    for text in [
        &b"AuthMethod"[..],
        b"AuthMethod=None",
        b"\xff\0",
        b"=None\0",
    ] {
        let dialogue = Dialogue::start(config());
        let response = dialogue.response(true);
        let error = dialogue.respond(response, text).unwrap_err();
        let SessionError::PeerMisbehaved(PeerMisbehaved::Text(_)) = error else {
            panic!("{error:?}");
        };
    }
}
