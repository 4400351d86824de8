use super::operational::{AGREED, misbehaved};
use super::*;
use crate::iscsi::error::PeerMisbehaved;

#[test]
fn keys_that_the_target_volunteers_are_answered_by_their_rule() {
    let dialogue = Dialogue::operational(config()).then(
        false,
        &[
            ("TaskReporting", "FastAbort,RFC3720"),
            ("iSCSIProtocolLevel", "2"),
            ("IFMarker", "Yes"),
            ("OFMarker", "No"),
            ("IFMarkInt", "1~65535"),
            ("OFMarkInt", "2048"),
            ("X#NodeArchitecture", "SomeOS/1.0"),
            ("X-com.example.turbo", "Yes"),
            ("RDMAExtensions", "Yes"),
            ("Unheard", "NotUnderstood"),
        ],
    );
    let text = dialogue.text();
    let answers: Vec<_> = text.iter().collect();
    let expected = [
        ("TaskReporting", "RFC3720"),
        ("iSCSIProtocolLevel", "1"),
        ("IFMarker", "No"),
        ("OFMarker", "No"),
        ("IFMarkInt", "Reject"),
        ("OFMarkInt", "Reject"),
        ("X-com.example.turbo", "NotUnderstood"),
        ("RDMAExtensions", "NotUnderstood"),
    ];
    assert_eq!(answers, expected);
    assert_eq!(dialogue.request.flags.transit, Some(Stage::FullFeature));
    dialogue.done(&[]);
}

#[test]
fn a_key_that_the_target_offers_before_we_do_is_answered_and_not_offered_again() {
    let dialogue = Dialogue::start(config()).then(
        true,
        &[
            ("AuthMethod", "None"),
            ("MaxBurstLength", "65536"),
            ("HeaderDigest", "CRC32C,None"),
            ("MaxRecvDataSegmentLength", "131072"),
        ],
    );
    let text = dialogue.text();
    assert_eq!(text.get("MaxBurstLength"), Some("65536"));
    assert_eq!(text.get("HeaderDigest"), Some("None"));
    let count = |key| text.iter().filter(|(k, _)| *k == key).count();
    assert_eq!((count("MaxBurstLength"), count("HeaderDigest")), (1, 1));
    let negotiated = dialogue.done(&[]).negotiated;
    assert_eq!(negotiated.max_burst_length, 65_536);
    assert_eq!(negotiated.target_max_recv_data_segment_length, 131_072);
}

#[test]
fn an_unknown_key_in_the_last_response_is_ignored_a_negotiation_that_cannot_end_is_not() {
    assert!(negotiate(Offer::default(), &[("X-com.example.turbo", "Yes")]).is_ok());
    let error = misbehaved(negotiate(Offer::default(), &[("TaskReporting", "RFC3720")]));
    assert_eq!(error, PeerMisbehaved::KeyOutOfPlace("TaskReporting"));
}

#[test]
fn a_value_may_be_repeated_but_not_changed() {
    let settled = || Dialogue::operational(config()).then(false, AGREED);
    settled().done(AGREED);
    for (key, value) in [
        ("MaxBurstLength", "512"),
        ("MaxRecvDataSegmentLength", "512"),
        ("ImmediateData", "No"),
    ] {
        let error = settled().answer(true, &[(key, value)]).unwrap_err();
        let SessionError::PeerMisbehaved(PeerMisbehaved::KeyRepeated(repeated)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(repeated, key);
    }
}

#[test]
fn the_portal_group_may_be_zero_or_missing_and_is_reported_as_the_target_says() {
    for (pairs, group) in [
        (&[("TargetPortalGroupTag", "0")][..], Some(0)),
        (&[("TargetPortalGroupTag", "65535")], Some(65_535)),
        (&[], None),
    ] {
        let negotiated = negotiate(Offer::default(), pairs).unwrap();
        assert_eq!(negotiated.target_portal_group_tag, group);
    }
    let pairs = [("AuthMethod", "None"), ("TargetPortalGroupTag", "3")];
    let negotiated = Dialogue::start(config())
        .then(true, &pairs)
        .done(&[])
        .negotiated;
    assert_eq!(negotiated.target_portal_group_tag, Some(3));
}

#[test]
fn the_targets_alias_is_kept_without_control_characters() {
    let negotiated = negotiate(Offer::default(), &[("TargetAlias", "Array\x1b[31m 1")]).unwrap();
    assert_eq!(negotiated.target_alias.as_deref(), Some("Array[31m 1"));
}

#[test]
fn keys_of_other_phases_are_out_of_place() {
    for key in [
        "AuthMethod",
        "CHAP_A",
        "CHAP_R",
        "SendTargets",
        "SessionType",
        "InitiatorName",
    ] {
        let error = misbehaved(negotiate(Offer::default(), &[(key, "x")]));
        assert_eq!(error.to_string(), format!("{key} is not allowed here"));
    }
}
