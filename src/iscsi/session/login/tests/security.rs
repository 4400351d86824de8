use super::*;
use crate::iscsi::chap::{decode_binary, encode_binary};
use crate::iscsi::error::{AuthenticationFailed, PeerMisbehaved};
use crate::iscsi::session::negotiated::Authentication;

fn mutual() -> ChapConfig {
    let secret = Secret::new(TARGET_SECRET).unwrap();
    chap().mutual("array1", secret).unwrap()
}

fn md5_only(chap: ChapConfig) -> SessionConfig {
    with_chap(chap.algorithms(&[ChapAlgorithm::Md5]).unwrap())
}

fn failed(step: Result<LoginStep, SessionError>) -> AuthenticationFailed {
    let error = step.unwrap_err();
    let SessionError::AuthenticationFailed(error) = error else {
        panic!("{error:?}");
    };
    error
}

/// Up to the point where the target has asked for CHAP and got the list of algorithms.
fn asked_for_chap(config: SessionConfig) -> Dialogue {
    Dialogue::start(config).then(false, &[("AuthMethod", "CHAP")])
}

/// Up to the initiator's response to a challenge of this text, by this algorithm.
fn challenged(config: SessionConfig, algorithm: &str, challenge: &str) -> Dialogue {
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
fn a_target_that_skips_chap_is_refused_unless_the_operator_allowed_it() {
    for pairs in [
        &[("AuthMethod", "None")][..],
        &[("AuthMethod", "Irrelevant")],
    ] {
        let error = failed(Dialogue::start(with_chap(chap())).answer(false, pairs));
        assert_eq!(error, AuthenticationFailed::Skipped);
    }
    let allowed = || with_chap(chap().allow_none(true));
    for (transit, pairs) in [
        (true, &[("AuthMethod", "None")][..]),
        (true, &[]),
        (false, &[("AuthMethod", "None")]),
    ] {
        let mut dialogue = Dialogue::start(allowed()).then(transit, pairs);
        if !transit {
            assert_eq!(dialogue.request.flags.stage, Stage::Security);
            dialogue = dialogue.then(true, &[]);
        }
        let negotiated = dialogue.done(&[]).negotiated;
        assert_eq!(negotiated.authentication, Authentication::None);
    }
}

#[test]
fn a_target_that_chooses_chap_and_leaves_the_stage_at_once_is_refused() {
    let config = with_chap(chap().allow_none(true));
    let error = failed(Dialogue::start(config).answer(true, &[("AuthMethod", "CHAP")]));
    assert_eq!(error, AuthenticationFailed::Skipped);
}

#[test]
fn a_target_cannot_leave_the_stage_with_its_challenge() {
    let dialogue = asked_for_chap(with_chap(chap()));
    let mut response = dialogue.response(false);
    response.flags.transit = Some(Stage::Operational);
    let error = dialogue.respond(response, &[]).unwrap_err();
    assert_eq!(error, PeerMisbehaved::StageTransition.into());
}

#[test]
fn a_target_that_demands_chap_where_none_is_configured_is_said_to() {
    for pairs in [&[("AuthMethod", "CHAP")][..], &[("AuthMethod", "Reject")]] {
        let error = failed(Dialogue::start(config()).answer(false, pairs));
        assert_eq!(error, AuthenticationFailed::CredentialsMissing);
    }
    let dialogue = Dialogue::start(config());
    let mut response = dialogue.response(false);
    response.status = LoginStatus::AUTHENTICATION_FAILURE;
    let error = failed(dialogue.respond(response, &[]));
    assert_eq!(error, AuthenticationFailed::CredentialsMissing);
}

#[test]
fn a_target_without_chap_is_said_to_have_no_common_method() {
    for word in ["Reject", "NotUnderstood"] {
        let error = Dialogue::start(with_chap(chap())).answer(false, &[("AuthMethod", word)]);
        assert_eq!(failed(error), AuthenticationFailed::NoCommonMethod);
    }
    let error = Dialogue::start(with_chap(chap())).answer(false, &[("AuthMethod", "KRB5")]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("AuthMethod=KRB5"), "{error}");
}

#[test]
fn an_algorithm_that_was_not_offered_is_refused() {
    for (number, named) in [("7", 7), ("4", 4), ("0x105", 0x105)] {
        let pairs = [("CHAP_A", number), ("CHAP_I", "1"), ("CHAP_C", "0x01")];
        let error = failed(asked_for_chap(md5_only(chap())).answer(false, &pairs));
        assert_eq!(error, AuthenticationFailed::AlgorithmNotOffered(named));
    }
}

/// LIO before Linux 3.15 and Synology accept nothing but CHAP_A=5: they refuse, or just close.
#[test]
fn a_target_that_fails_on_a_list_of_algorithms_is_to_be_tried_with_md5_alone() {
    let refuse = |dialogue: Dialogue, status| {
        let mut response = dialogue.response(false);
        response.status = status;
        dialogue.respond(response, &[]).unwrap_err()
    };
    let list = || asked_for_chap(with_chap(chap()));
    let reject = list().answer(false, &[("CHAP_A", "Reject")]).unwrap_err();
    for error in [
        refuse(list(), LoginStatus::AUTHENTICATION_FAILURE),
        refuse(list(), LoginStatus::INITIATOR_ERROR),
        list().login.on_closed().unwrap(),
        reject,
    ] {
        assert!(error.retry_with_md5_only(), "{error:?}");
        assert!(!error.needs_operator());
    }
    let retry = with_chap(chap()).with_md5_only().unwrap();
    assert_eq!(asked_for_chap(retry).says("CHAP_A").unwrap(), "5");

    let single = || asked_for_chap(md5_only(chap()));
    let error = refuse(single(), LoginStatus::AUTHENTICATION_FAILURE);
    assert!(!error.retry_with_md5_only() && error.needs_operator());
    assert_eq!(single().login.on_closed(), None);
    let error = refuse(single(), LoginStatus::NOT_FOUND);
    assert_eq!(error, SessionError::LoginRefused(LoginStatus::NOT_FOUND));
    let error = refuse(list(), LoginStatus::OUT_OF_RESOURCES);
    assert!(!error.retry_with_md5_only() && !error.needs_operator());
}

fn refused_after_response(
    config: SessionConfig,
    number: &str,
    status: LoginStatus,
) -> SessionError {
    let dialogue = challenged(config, number, "0x0102");
    assert_eq!(dialogue.login.on_closed(), None);
    let mut response = dialogue.response(false);
    response.status = status;
    dialogue.respond(response, &[]).unwrap_err()
}

/// Most targets answer 0201, some just 0200.
#[test]
fn a_wrong_secret_is_reported_as_one() {
    for config in [md5_only(chap()), md5_only(mutual())] {
        for status in [
            LoginStatus::AUTHENTICATION_FAILURE,
            LoginStatus::INITIATOR_ERROR,
        ] {
            let error = refused_after_response(config.clone(), "5", status);
            assert!(error.needs_operator() && !error.retry_with_md5_only());
            let text = error.to_string();
            assert!(text.contains("CHAP user name or secret"), "{text}");
        }
        let error = refused_after_response(config, "5", LoginStatus::OUT_OF_RESOURCES);
        let expected = SessionError::LoginRefused(LoginStatus::OUT_OF_RESOURCES);
        assert_eq!(error, expected);
    }
}

/// tgt 1.0.85 takes the number 7 for SHA-1 and refuses every SHA-256 response.
#[test]
fn a_target_that_refuses_our_response_by_another_algorithm_is_to_be_tried_with_md5_alone() {
    let status = LoginStatus::INITIATOR_ERROR;
    for config in [with_chap(chap()), with_chap(mutual())] {
        let error = refused_after_response(config.clone(), "7", status);
        assert!(error.retry_with_md5_only() && !error.needs_operator());
        let error = refused_after_response(config, "5", status);
        assert!(!error.retry_with_md5_only() && error.needs_operator());
    }
    let sha256 = [ChapAlgorithm::Sha256];
    let config = with_chap(chap().algorithms(&sha256).unwrap());
    let error = refused_after_response(config, "7", status);
    assert!(!error.retry_with_md5_only() && error.needs_operator());
}

/// tgt, where no account is bound to the target.
#[test]
fn a_refusal_before_our_name_was_sent_is_not_taken_for_a_wrong_secret() {
    let dialogue = Dialogue::start(with_chap(chap()));
    let mut response = dialogue.response(false);
    response.status = LoginStatus::AUTHENTICATION_FAILURE;
    let text = encode(&[("AuthMethod", "Reject")]);
    let error = failed(dialogue.respond(response, &text));
    assert_eq!(error, AuthenticationFailed::NoCommonMethod);
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
