use super::*;
use crate::iscsi::digest::Digests;
use crate::iscsi::error::{PeerIncompatible, PeerMisbehaved};
use crate::iscsi::session::config::DigestChoice;

/// What a target answers that agrees with everything.
pub(super) const AGREED: &[(&str, &str)] = &[
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
    ("MaxConnections", "1"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxBurstLength", "1048576"),
    ("FirstBurstLength", "262144"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    ("MaxOutstandingR2T", "1"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
    ("ErrorRecoveryLevel", "0"),
    ("MaxRecvDataSegmentLength", "65536"),
];

pub(super) fn misbehaved(result: Result<Negotiated, SessionError>) -> PeerMisbehaved {
    let error = result.unwrap_err();
    let SessionError::PeerMisbehaved(error) = error else {
        panic!("{error:?}");
    };
    error
}

#[test]
fn every_key_is_offered_once_in_one_request() {
    let dialogue = Dialogue::operational(config());
    let text = dialogue.text();
    let offered: Vec<_> = text.iter().collect();
    assert_eq!(dialogue.request.flags.stage, Stage::Operational);
    assert_eq!(dialogue.request.flags.transit, Some(Stage::FullFeature));
    let expected = [
        ("HeaderDigest", "None"),
        ("DataDigest", "None"),
        ("MaxConnections", "1"),
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("MaxBurstLength", "1048576"),
        ("FirstBurstLength", "262144"),
        ("DefaultTime2Wait", "2"),
        ("DefaultTime2Retain", "0"),
        ("MaxOutstandingR2T", "1"),
        ("DataPDUInOrder", "Yes"),
        ("DataSequenceInOrder", "Yes"),
        ("ErrorRecoveryLevel", "0"),
        ("MaxRecvDataSegmentLength", "262144"),
    ];
    assert_eq!(offered, expected);
}

#[test]
fn a_target_that_agrees_settles_what_was_offered() {
    let logged_in = Dialogue::operational(config()).done(AGREED);
    assert_eq!(
        logged_in.negotiated,
        Negotiated {
            digests: Digests::default(),
            max_recv_data_segment_length: 262_144,
            target_max_recv_data_segment_length: 65_536,
            initial_r2t: false,
            immediate_data: true,
            first_burst_length: 262_144,
            max_burst_length: 1_048_576,
            max_outstanding_r2t: 1,
            default_time2wait: 2,
            default_time2retain: 0,
            target_portal_group_tag: None,
            target_alias: None,
            tsih: 0x1234,
            authentication: crate::iscsi::session::negotiated::Authentication::None,
        }
    );
    assert_eq!(logged_in.cmd_sn, SerialNumber(1));
    assert_eq!(logged_in.exp_cmd_sn, SerialNumber(1));
    assert_eq!(logged_in.max_cmd_sn, SerialNumber(64));
    // The script's second response has StatSN ffffffff.
    assert_eq!(logged_in.exp_stat_sn, SerialNumber(0));
}

#[test]
fn all_four_combinations_of_initial_r2t_and_immediate_data_come_about() {
    for (offer, answer, result) in [
        ((false, true), ("No", "Yes"), (false, true)),
        ((false, true), ("Yes", "Yes"), (true, true)),
        ((false, true), ("No", "No"), (false, false)),
        ((false, true), ("Yes", "No"), (true, false)),
        ((true, false), ("Yes", "No"), (true, false)),
    ] {
        let (initial_r2t, immediate_data) = offer;
        let offer = Offer {
            initial_r2t,
            immediate_data,
            ..Offer::default()
        };
        let pairs = [("InitialR2T", answer.0), ("ImmediateData", answer.1)];
        let negotiated = negotiate(offer, &pairs).unwrap();
        let got = (negotiated.initial_r2t, negotiated.immediate_data);
        assert_eq!(got, result, "{offer:?} answered {answer:?}");
    }
}

#[test]
fn what_the_target_leaves_out_is_what_the_offer_decides_or_the_default() {
    let negotiated = negotiate(Offer::default(), &[]).unwrap();
    assert!(negotiated.initial_r2t && negotiated.immediate_data);
    assert_eq!(negotiated.max_burst_length, 262_144);
    assert_eq!(negotiated.first_burst_length, 65_536);
    assert_eq!(negotiated.target_max_recv_data_segment_length, 8192);
    assert_eq!(negotiated.default_time2wait, 2);
    assert_eq!(negotiated.default_time2retain, 20);
    assert_eq!(negotiated.max_outstanding_r2t, 1);
    let offer = Offer {
        immediate_data: false,
        ..Offer::default()
    };
    assert!(!negotiate(offer, &[]).unwrap().immediate_data);
}

#[test]
fn a_reserved_word_as_answer_leaves_the_default() {
    for word in ["Irrelevant", "Reject", "NotUnderstood"] {
        let negotiated = negotiate(
            Offer::default(),
            &[
                ("HeaderDigest", word),
                ("MaxOutstandingR2T", word),
                ("FirstBurstLength", word),
                ("InitialR2T", word),
                ("ErrorRecoveryLevel", word),
            ],
        )
        .unwrap();
        assert!(!negotiated.digests.header);
        assert_eq!(negotiated.max_outstanding_r2t, 1);
        assert_eq!(negotiated.first_burst_length, 65_536);
        assert!(negotiated.initial_r2t);
    }
}

#[test]
fn a_value_that_the_offer_does_not_permit_ends_the_login() {
    let offer = Offer {
        initial_r2t: true,
        immediate_data: false,
        ..Offer::default()
    };
    for (key, value) in [
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("MaxBurstLength", "2097152"),
        ("FirstBurstLength", "262145"),
        ("MaxOutstandingR2T", "2"),
        ("MaxConnections", "2"),
        ("ErrorRecoveryLevel", "1"),
        ("DataPDUInOrder", "No"),
        ("DataSequenceInOrder", "No"),
        ("HeaderDigest", "CRC32C"),
        ("DataDigest", "None,CRC32C"),
    ] {
        let error = misbehaved(negotiate(offer, &[(key, value)]));
        let expected = matches!(&error, PeerMisbehaved::OutsideOffer { key: k, .. } if *k == key);
        assert!(expected, "{key}={value}: {error:?}");
        assert_eq!(
            error.to_string(),
            format!("{key}={value} does not answer what was offered")
        );
    }
}

#[test]
fn a_value_out_of_its_range_ends_the_login() {
    for (key, value) in [
        ("MaxBurstLength", "511"),
        ("FirstBurstLength", "16777216"),
        ("MaxRecvDataSegmentLength", "511"),
        ("MaxRecvDataSegmentLength", "16777216"),
        ("MaxOutstandingR2T", "0"),
        ("MaxConnections", "65536"),
        ("DefaultTime2Wait", "3601"),
        ("DefaultTime2Retain", "-1"),
        ("ErrorRecoveryLevel", "3"),
        ("InitialR2T", "true"),
        ("TargetPortalGroupTag", "65536"),
        ("TargetPortalGroupTag", "one"),
    ] {
        let error = misbehaved(negotiate(Offer::default(), &[(key, value)]));
        let expected = matches!(&error, PeerMisbehaved::IllegalValue { key: k, .. } if *k == key);
        assert!(expected, "{key}={value}: {error:?}");
    }
}

#[test]
fn times_that_the_target_answers_as_its_own_are_taken_since_nothing_depends_on_them() {
    let pairs = [("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20")];
    let negotiated = negotiate(Offer::default(), &pairs).unwrap();
    assert_eq!(negotiated.default_time2wait, 0);
    assert_eq!(negotiated.default_time2retain, 20);
}

/// NetApp and IQstor refuse a login whose bursts are out of range even where they are irrelevant.
#[test]
fn bursts_are_offered_within_their_ranges_and_first_is_at_most_max() {
    for (first, max, offered) in [
        (1 << 20, 65_536, ("65536", "65536")),
        (0, 0, ("512", "512")),
        (u32::MAX, u32::MAX, ("16777215", "16777215")),
    ] {
        let offer = Offer {
            first_burst_length: first,
            max_burst_length: max,
            max_recv_data_segment_length: u32::MAX,
            immediate_data: false,
            initial_r2t: true,
            ..Offer::default()
        };
        let dialogue = Dialogue::operational(SessionConfig { offer, ..config() });
        let says = |key| dialogue.says(key).unwrap();
        assert_eq!(says("FirstBurstLength"), offered.0);
        assert_eq!(says("MaxBurstLength"), offered.1);
        assert_eq!(says("MaxRecvDataSegmentLength"), "16777215");
    }
}

#[test]
fn the_first_burst_never_exceeds_the_negotiated_maximum() {
    let pairs = [("MaxBurstLength", "8192"), ("FirstBurstLength", "65536")];
    let negotiated = negotiate(Offer::default(), &pairs).unwrap();
    assert_eq!(negotiated.max_burst_length, 8192);
    assert_eq!(negotiated.first_burst_length, 8192);
}

#[test]
fn digests_are_what_the_target_chose_from_the_list() {
    use DigestChoice::{Crc32c, None, PreferCrc32c, PreferNone};
    for (choice, offered, answer, on) in [
        (None, "None", "None", false),
        (Crc32c, "CRC32C", "CRC32C", true),
        (PreferCrc32c, "CRC32C,None", "CRC32C", true),
        (PreferCrc32c, "CRC32C,None", "None", false),
        (PreferNone, "None,CRC32C", "None", false),
        (PreferNone, "None,CRC32C", "CRC32C", true),
    ] {
        let offer = Offer {
            header_digest: choice,
            data_digest: None,
            ..Offer::default()
        };
        let dialogue = Dialogue::operational(SessionConfig { offer, ..config() });
        assert_eq!(dialogue.says("HeaderDigest").unwrap(), offered);
        let pairs = [("HeaderDigest", answer), ("DataDigest", "None")];
        let digests = dialogue.done(&pairs).negotiated.digests;
        let expected = Digests {
            header: on,
            data: false,
        };
        assert_eq!(digests, expected, "{choice:?} {answer}");
    }
}

#[test]
fn a_demanded_digest_that_the_target_does_not_do_needs_the_operator() {
    let offer = Offer {
        data_digest: DigestChoice::Crc32c,
        ..Offer::default()
    };
    for pairs in [
        &[("DataDigest", "None")][..],
        &[("DataDigest", "Reject")],
        &[("DataDigest", "NotUnderstood")],
        &[],
    ] {
        let error = negotiate(offer, pairs).unwrap_err();
        let expected = PeerIncompatible::DigestRefused("DataDigest");
        assert_eq!(error, expected.into(), "{pairs:?}");
        assert!(error.needs_operator());
    }
}

/// EMC VNX takes CRC32C in a discovery session and then drops the connection.
#[test]
fn a_discovery_session_offers_no_digests_and_nothing_that_concerns_data() {
    let offer = Offer {
        header_digest: DigestChoice::Crc32c,
        data_digest: DigestChoice::PreferCrc32c,
        ..Offer::default()
    };
    let kind = SessionKind::Discovery;
    let first = Dialogue::start(SessionConfig {
        offer,
        kind,
        ..config()
    });
    assert_eq!(first.says("SessionType").unwrap(), "Discovery");
    assert_eq!(first.says("TargetName"), None);
    let dialogue = first.then(true, &[("AuthMethod", "None")]);
    let text = dialogue.text();
    let offered: Vec<_> = text.iter().collect();
    let expected = [
        ("HeaderDigest", "None"),
        ("DataDigest", "None"),
        ("DefaultTime2Wait", "2"),
        ("DefaultTime2Retain", "0"),
        ("ErrorRecoveryLevel", "0"),
        ("MaxRecvDataSegmentLength", "262144"),
    ];
    assert_eq!(offered, expected);
    let dialogue = dialogue.then(false, &[("MaxBurstLength", "65536")]);
    assert_eq!(dialogue.says("MaxBurstLength").unwrap(), "Irrelevant");
    let negotiated = dialogue.done(&[("HeaderDigest", "None")]).negotiated;
    assert_eq!(negotiated.digests, Digests::default());
}
