use super::*;
use crate::iscsi::chap::{decode_binary, encode_binary};
use crate::iscsi::error::AuthenticationFailed;
use crate::iscsi::session::negotiated::Authentication;

pub(super) fn mutual() -> ChapConfig {
    let secret = Secret::new(TARGET_SECRET).unwrap();
    chap().mutual("array1", secret).unwrap()
}

pub(super) fn md5_only(chap: ChapConfig) -> SessionConfig {
    with_chap(chap.algorithms(&[ChapAlgorithm::Md5]).unwrap())
}

pub(super) fn failed(step: Result<LoginStep, SessionError>) -> AuthenticationFailed {
    let error = step.unwrap_err();
    let SessionError::AuthenticationFailed(error) = error else {
        panic!("{error:?}");
    };
    error
}

/// Up to the point where the target has asked for CHAP and got the list of algorithms.
pub(super) fn asked_for_chap(config: SessionConfig) -> Dialogue {
    Dialogue::start(config).then(false, &[("AuthMethod", "CHAP")])
}

/// Up to the initiator's response to a challenge of this text, by this algorithm.
pub(super) fn challenged(config: SessionConfig, algorithm: &str, challenge: &str) -> Dialogue {
    let pairs = [
        ("CHAP_A", algorithm),
        ("CHAP_I", "90"),
        ("CHAP_C", challenge),
    ];
    asked_for_chap(config).then(false, &pairs)
}

/// Up to the initiator's own challenge.
fn challenging() -> Dialogue {
    challenged(
        with_chap(mutual()),
        "7",
        "0x000102030405060708090a0b0c0d0e0f",
    )
}

/// The target's response to the initiator's challenge.
fn proof(dialogue: &Dialogue, secret: &[u8]) -> String {
    let identifier = dialogue.says("CHAP_I").unwrap().parse().unwrap();
    let challenge = decode_binary(&dialogue.says("CHAP_C").unwrap()).unwrap();
    let secret = Secret::new(secret).unwrap();
    encode_binary(&ChapAlgorithm::Sha256.response(identifier, &secret, &challenge))
}

#[test]
fn the_first_request_offers_the_methods_that_the_configuration_permits() {
    for (config, methods, transit) in [
        (config(), "None", Some(Stage::Operational)),
        (with_chap(chap()), "CHAP", None),
        (
            with_chap(chap().allow_none(true)),
            "CHAP,None",
            Some(Stage::Operational),
        ),
    ] {
        let dialogue = Dialogue::start(config);
        assert_eq!(dialogue.says("AuthMethod").unwrap(), methods);
        assert_eq!(dialogue.request.flags.stage, Stage::Security);
        assert_eq!(dialogue.request.flags.transit, transit);
    }
}

/// The responses were computed with Python's hashlib over identifier 90, secret and challenge.
#[test]
fn one_way_chap_answers_with_the_right_response_for_each_algorithm() {
    let challenge = "0x000102030405060708090a0b0c0d0e0f";
    for (number, algorithm, response) in [
        (
            "5",
            ChapAlgorithm::Md5,
            "0xe99e4f74cdd0ba3f2bb124b6d94db500",
        ),
        (
            "6",
            ChapAlgorithm::Sha1,
            "0x95a26e2d0112bc8222c3d7a9aea09ae9c1d35a11",
        ),
        (
            "7",
            ChapAlgorithm::Sha256,
            "0xff4bef4121e1b5c55927b175bb2f9c9091cd3849199ef111561a2dd40e3494bb",
        ),
        (
            "8",
            ChapAlgorithm::Sha3_256,
            "0x1c927ea46b9faeff9bfc7b8be9d955e170cdf75be128d4608469bb46143ea516",
        ),
    ] {
        let dialogue = challenged(with_chap(chap()), number, challenge);
        assert_eq!(dialogue.says("CHAP_N").unwrap(), "db1");
        assert_eq!(dialogue.says("CHAP_R").unwrap(), response);
        assert_eq!(dialogue.says("CHAP_C"), None);
        assert_eq!(dialogue.request.flags.transit, Some(Stage::Operational));
        let negotiated = dialogue.then(true, &[]).done(&[]).negotiated;
        let mutual = false;
        let expected = Authentication::Chap { algorithm, mutual };
        assert_eq!(negotiated.authentication, expected);
    }
}

#[test]
fn algorithms_are_offered_in_the_order_of_preference() {
    let dialogue = asked_for_chap(with_chap(chap()));
    assert_eq!(dialogue.says("CHAP_A").unwrap(), "8,7,6,5");
    use ChapAlgorithm::{Md5, Sha256};
    let chap = chap().algorithms(&[Md5, Sha256]).unwrap();
    let dialogue = asked_for_chap(with_chap(chap));
    assert_eq!(dialogue.says("CHAP_A").unwrap(), "5,7");
    assert_eq!(dialogue.request.flags.transit, None);
}

/// ctl and LIO send challenges of up to 1024 bytes, in either encoding.
#[test]
fn a_long_challenge_is_read_whole_in_hex_and_in_base64() {
    let bytes: Vec<u8> = (0..1024u16).map(|i| i.to_le_bytes()[0]).collect();
    let hex = encode_binary(&bytes);
    let upper = format!("0X{}", hex[2..].to_uppercase());
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    for text in [hex, upper, format!("0b{base64}")] {
        let dialogue = challenged(with_chap(chap()), "5", &text);
        assert_eq!(
            dialogue.says("CHAP_R").unwrap(),
            "0xd4238fcf799dc44ed8ca05e81a821133"
        );
    }
}

#[test]
fn a_challenge_that_cannot_be_read_ends_the_login() {
    let long = encode_binary(&[1; 1025]);
    for challenge in ["", "0x", "0b", "0xzz", "1234", &long] {
        let pairs = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", challenge)];
        let error = failed(asked_for_chap(with_chap(chap())).answer(false, &pairs));
        assert_eq!(error, AuthenticationFailed::BadChallenge);
    }
}

#[test]
fn an_incomplete_or_illegal_challenge_ends_the_login() {
    for pairs in [
        &[("CHAP_A", "5"), ("CHAP_I", "1")][..],
        &[("CHAP_A", "5"), ("CHAP_C", "0x01")],
        &[("CHAP_A", "5"), ("CHAP_I", "256"), ("CHAP_C", "0x01")],
        &[("CHAP_A", "md5"), ("CHAP_I", "1"), ("CHAP_C", "0x01")],
        &[("CHAP_A", "5"), ("CHAP_A", "5")],
    ] {
        let error = asked_for_chap(with_chap(chap())).answer(false, pairs);
        let error = error.unwrap_err();
        assert!(
            matches!(error, SessionError::PeerMisbehaved(_)),
            "{error:?}"
        );
    }
}

#[test]
fn mutual_chap_accepts_a_target_that_knows_its_secret() {
    let dialogue = challenging();
    let response = proof(&dialogue, TARGET_SECRET);
    let pairs = [("CHAP_N", "array1"), ("CHAP_R", &response)];
    let negotiated = dialogue.then(true, &pairs).done(&[]).negotiated;
    let expected = Authentication::Chap {
        algorithm: ChapAlgorithm::Sha256,
        mutual: true,
    };
    assert_eq!(negotiated.authentication, expected);
}

#[test]
fn mutual_chap_refuses_a_target_that_does_not_prove_itself() {
    let right = proof(&challenging(), TARGET_SECRET);
    let wrong = proof(&challenging(), b"some other secret");
    use AuthenticationFailed::{TargetName, TargetResponse, TargetSilent};
    for (pairs, error) in [
        (
            &[("CHAP_N", "array1"), ("CHAP_R", &wrong)][..],
            TargetResponse,
        ),
        (&[("CHAP_N", "array1"), ("CHAP_R", "0x")], TargetResponse),
        (&[("CHAP_N", "array1"), ("CHAP_R", "junk")], TargetResponse),
        (
            &[("CHAP_N", "array1"), ("CHAP_R", &right[..34])],
            TargetResponse,
        ),
        (&[("CHAP_N", "array2"), ("CHAP_R", &right)], TargetName),
        (&[("CHAP_N", "array1")], TargetSilent),
        (&[("CHAP_R", &right)], TargetSilent),
        (&[], TargetSilent),
    ] {
        let got = failed(challenging().answer(true, pairs));
        assert_eq!(got, error, "{pairs:?}");
        assert!(SessionError::from(got).needs_operator());
    }
}

#[test]
fn the_targets_name_is_not_compared_if_none_is_configured() {
    let chap = chap()
        .mutual("", Secret::new(TARGET_SECRET).unwrap())
        .unwrap();
    let dialogue = challenged(with_chap(chap), "7", "0x0102");
    let response = proof(&dialogue, TARGET_SECRET);
    dialogue.then(true, &[("CHAP_N", "whoever"), ("CHAP_R", &response)]);
}

#[test]
fn our_own_response_sent_back_is_refused() {
    let dialogue = challenging();
    let ours = dialogue.says("CHAP_R").unwrap();
    let pairs = [("CHAP_N", "array1"), ("CHAP_R", ours.as_str())];
    let error = failed(dialogue.answer(true, &pairs));
    assert_eq!(error, AuthenticationFailed::ReflectedResponse);
}

#[test]
fn our_own_challenge_sent_back_is_refused() {
    // With the same entropy the challenge is the same: what a reflecting target would have seen
    // on another connection.
    let seen = challenging().says("CHAP_C").unwrap();
    let pairs = [("CHAP_A", "7"), ("CHAP_I", "1"), ("CHAP_C", seen.as_str())];
    let error = failed(asked_for_chap(with_chap(mutual())).answer(false, &pairs));
    assert_eq!(error, AuthenticationFailed::ReflectedChallenge);
}

#[test]
fn our_challenge_depends_on_the_sessions_entropy_and_is_as_long_as_a_response() {
    let challenge = |seed: u8| {
        let config = Arc::new(with_chap(mutual()));
        let (login, request, segment) = Login::new(config, Entropy::new([seed; 32]));
        let stat_sn = SerialNumber(0);
        let dialogue = Dialogue {
            login,
            request,
            segment,
            stat_sn,
        };
        let dialogue = dialogue.then(false, &[("AuthMethod", "CHAP")]);
        let pairs = [("CHAP_A", "6"), ("CHAP_I", "1"), ("CHAP_C", "0x01")];
        let said = dialogue.then(false, &pairs).says("CHAP_C").unwrap();
        decode_binary(&said).unwrap()
    };
    assert_eq!(challenge(1).len(), ChapAlgorithm::Sha1.response_len());
    assert_ne!(challenge(1), challenge(2));
    assert_ne!(challenge(1), vec![1; 20]);
}

#[test]
fn a_target_that_says_nothing_yet_is_asked_again_for_the_same() {
    let dialogue = Dialogue::start(with_chap(chap())).then(false, &[("TargetAlias", "slow")]);
    assert!(dialogue.text().is_empty());
    assert_eq!(dialogue.request.flags.transit, None);
    let dialogue = dialogue.then(false, &[("AuthMethod", "CHAP")]);
    let dialogue = dialogue.then(false, &[]);
    assert!(dialogue.text().is_empty());
    let pairs = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x01")];
    let dialogue = dialogue.then(false, &pairs);
    assert!(dialogue.says("CHAP_R").is_some());
    let dialogue = dialogue.then(false, &[]);
    assert_eq!(dialogue.request.flags.stage, Stage::Security);
    assert_eq!(dialogue.request.flags.transit, Some(Stage::Operational));
    let dialogue = dialogue.then(true, &[]);
    assert_eq!(dialogue.request.flags.stage, Stage::Operational);
    assert_eq!(
        dialogue.done(&[]).negotiated.target_alias.as_deref(),
        Some("slow")
    );
}

#[test]
fn secrets_do_not_show_in_the_debug_form_of_a_login() {
    let shown = format!("{:?}", challenging().login);
    assert!(!shown.contains("secret\"") && !shown.contains("initiator secret"));
    assert!(shown.contains("Secret(..)"));
}
