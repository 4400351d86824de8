use super::security::{asked_for_chap, challenged, failed, md5_only, mutual};
use super::*;
use crate::iscsi::error::{AuthenticationFailed, PeerMisbehaved};
use crate::iscsi::session::negotiated::Authentication;

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
