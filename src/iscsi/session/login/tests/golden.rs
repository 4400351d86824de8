//! Logins that foreign targets accepted: our requests must stay what they were, byte for byte.

use super::*;
use crate::iscsi::digest::Digests;
use crate::iscsi::pdu::{BHS_LEN, Bhs};
use crate::iscsi::session::config::DigestChoice;
use crate::iscsi::session::negotiated::Authentication;

/// The PDUs of a capture: header, data segment without padding.
fn pdus(capture: &str) -> Vec<(bool, Bhs, Vec<u8>)> {
    let lines = capture.lines().filter(|line| !line.starts_with('#'));
    let pdu = |line: &str| {
        let (direction, hex) = line.split_once(' ').unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let bhs = Bhs::from_wire(bytes[..BHS_LEN].try_into().unwrap());
        let segment = bytes[BHS_LEN..][..bhs.data_len() as usize].to_vec();
        (direction == ">", bhs, segment)
    };
    lines.map(pdu).collect()
}

/// Logs in against the capture.
fn replay(target: &str, digest: DigestChoice, prefer: DigestChoice, capture: &str) -> Negotiated {
    let chap = ChapConfig::new("db1", Secret::new(b"initiatorsecret").unwrap()).unwrap();
    let chap = chap.algorithms(&[ChapAlgorithm::Md5]).unwrap();
    let secret = Secret::new(b"targetsecret1").unwrap();
    let chap = chap.mutual("array1", secret).unwrap();
    let config = SessionConfig {
        kind: SessionKind::Normal {
            target: IscsiName::new(target).unwrap(),
        },
        isid: Isid::derive(&["probe"]),
        offer: Offer {
            header_digest: prefer,
            data_digest: digest,
            ..Offer::default()
        },
        ..with_chap(chap)
    };
    let (login, request, segment) = Login::new(Arc::new(config), Entropy::new([9; 32]));
    let mut step = LoginStep::Send(Box::new(login), request, segment);
    for exchange in pdus(capture).chunks(2) {
        let [(true, asked, said), (false, answered, answer)] = exchange else {
            panic!("requests and responses alternate");
        };
        let LoginStep::Send(login, request, segment) = step else {
            panic!("the login ended early: {step:?}");
        };
        let mut bhs = request.encode();
        bhs.set_data_len(u32::try_from(segment.len()).unwrap());
        assert_eq!(bhs.wire(), asked.wire());
        assert_eq!(Text::decode(&segment), Text::decode(said));
        assert_eq!(segment, *said);
        let response = LoginResponse::decode(answered).unwrap();
        // Our encoder is the simulated target's: it must not differ from a foreign one.
        let mut encoded = response.encode();
        encoded.set_data_len(answered.data_len());
        assert_eq!(encoded.wire(), answered.wire());
        step = login.on_response(response, answer).unwrap();
    }
    let LoginStep::Done(logged_in) = step else {
        panic!("the login did not end: {step:?}");
    };
    logged_in.negotiated
}

#[test]
fn a_login_with_tgt_is_reproduced() {
    let capture = include_str!("golden/tgt-1.0.85.hex");
    let none = DigestChoice::None;
    let negotiated = replay("iqn.2003-01.com.example:chap", none, none, capture);
    let expected = Negotiated {
        digests: Digests::default(),
        max_recv_data_segment_length: 262_144,
        target_max_recv_data_segment_length: 8192,
        initial_r2t: true,
        immediate_data: true,
        first_burst_length: 65_536,
        max_burst_length: 262_144,
        max_outstanding_r2t: 1,
        default_time2wait: 2,
        default_time2retain: 0,
        target_portal_group_tag: Some(1),
        target_alias: None,
        tsih: 0x0600,
        authentication: Authentication::Chap {
            algorithm: ChapAlgorithm::Md5,
            mutual: true,
        },
    };
    assert_eq!(negotiated, expected);
}

#[test]
fn a_login_with_istgt_and_digests_and_a_challenge_of_1024_bytes_is_reproduced() {
    let capture = include_str!("golden/istgt-0.4.hex");
    let target = "iqn.2007-09.jp.ne.peach.istgt:disk1";
    let (must, prefer) = (DigestChoice::Crc32c, DigestChoice::PreferCrc32c);
    let negotiated = replay(target, must, prefer, capture);
    let both = Digests {
        header: true,
        data: true,
    };
    assert_eq!(negotiated.digests, both);
    assert_eq!(negotiated.target_alias.as_deref(), Some("Data Disk1"));
    assert_eq!(negotiated.target_portal_group_tag, Some(1));
    assert_eq!(negotiated.target_max_recv_data_segment_length, 262_144);
    assert_eq!(negotiated.max_burst_length, 1_048_576);
    assert!(negotiated.initial_r2t);
}

/// istgt answers `HeaderDigest=None` with `Reject` where it is told to use digests.
#[test]
fn a_rejected_offer_of_no_digest_leaves_no_digest() {
    let pairs = [("HeaderDigest", "Reject"), ("DataDigest", "Reject")];
    let negotiated = negotiate(Offer::default(), &pairs).unwrap();
    assert_eq!(negotiated.digests, Digests::default());
}
