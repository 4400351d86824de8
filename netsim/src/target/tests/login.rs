use iiblockdaemon::iscsi::chap::{ChapAlgorithm, Secret, decode_binary, encode_binary};
use iiblockdaemon::iscsi::pdu::login::Stage;

use super::super::*;
use super::initiator::{Initiator, NAME, secret, target};

fn names() -> Text {
    Text::new()
        .with("InitiatorName", "iqn.2026-11.com.example:test")
        .with("TargetName", NAME)
}

fn with_chap(mutual: Option<(String, Secret)>) -> Target {
    target(|config| {
        config.auth = Some(TargetAuth {
            user: "bob".to_owned(),
            secret: secret(),
            algorithms: vec![ChapAlgorithm::Md5, ChapAlgorithm::Sha256],
            mutual,
        });
    })
}

/// The CHAP exchange up to the answer to our response.
fn chap(target: &mut Target, secret: &Secret, more: Text) -> (LoginStatus, Text) {
    let now = crate::clock::now();
    let mut initiator = Initiator::connect(now, target, 0, 1);
    let security = Stage::Security;
    let offer = names().with("AuthMethod", "CHAP,None");
    let next = Some(Stage::Operational);
    let (response, text) = initiator.login(now, target, security, next, offer);
    assert_eq!(response.flags.transit, None, "not yet authenticated");
    assert_eq!(text.get("AuthMethod"), Some("CHAP"));
    assert_eq!(text.get("TargetPortalGroupTag"), Some("1"));
    let algorithms = Text::new().with("CHAP_A", "8,7,5");
    let (_, text) = initiator.login(now, target, security, None, algorithms);
    assert_eq!(text.get("CHAP_A"), Some("7"), "the first that both have");
    let identifier = text.get("CHAP_I").unwrap().parse().unwrap();
    let challenge = decode_binary(text.get("CHAP_C").unwrap()).unwrap();
    let response = ChapAlgorithm::Sha256.response(identifier, secret, &challenge);
    let mut answer = Text::new()
        .with("CHAP_N", "bob")
        .with("CHAP_R", encode_binary(&response));
    answer.append(more);
    let (response, text) = initiator.login(now, target, security, next, answer);
    if response.status == LoginStatus::SUCCESS {
        assert_eq!(response.flags.transit, next);
        let full = Some(Stage::FullFeature);
        let (last, _) = initiator.login(now, target, Stage::Operational, full, Text::new());
        assert_eq!(last.flags.transit, full);
        assert_ne!(last.tsih, 0);
    }
    (response.status, text)
}

#[test]
fn the_right_secret_passes_and_a_wrong_one_does_not() {
    let mut target = with_chap(None);
    let (status, _) = chap(&mut target, &secret(), Text::new());
    assert_eq!(status, LoginStatus::SUCCESS);
    let wrong = Secret::new(b"another twelve").unwrap();
    let (status, _) = chap(&mut target, &wrong, Text::new());
    assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
    assert_eq!(target.statistics().logins, 1);
    assert_eq!(target.statistics().logins_refused, 1);
}

#[test]
fn the_target_proves_itself_if_it_is_challenged() {
    let own = Secret::new(b"the target's own").unwrap();
    let mut target = with_chap(Some(("array".to_owned(), own.clone())));
    let challenge = [7; 16];
    let ask = Text::new()
        .with("CHAP_I", 200)
        .with("CHAP_C", encode_binary(&challenge));
    let (status, text) = chap(&mut target, &secret(), ask);
    assert_eq!(status, LoginStatus::SUCCESS);
    assert_eq!(text.get("CHAP_N"), Some("array"));
    let expected = ChapAlgorithm::Sha256.response(200, &own, &challenge);
    let response = decode_binary(text.get("CHAP_R").unwrap());
    assert_eq!(response, Some(expected));
}

#[test]
fn authentication_cannot_be_left_out_where_it_is_required() {
    let now = crate::clock::now();
    let mut target = with_chap(None);
    let mut initiator = Initiator::connect(now, &mut target, 0, 1);
    let (response, _) = initiator.log_in_again(now, &mut target, &[]);
    assert_eq!(response.status, LoginStatus::AUTHENTICATION_FAILURE);
    assert_eq!(target.is_over(initiator.id), Some(false));
    let mut initiator = Initiator::connect(now, &mut target, 0, 1);
    let offer = names().with("AuthMethod", "None");
    let (response, _) = initiator.login(now, &mut target, Stage::Security, None, offer);
    assert_eq!(response.status, LoginStatus::AUTHENTICATION_FAILURE);
}

#[test]
fn each_mistake_in_the_names_has_its_status() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let mut status = |text: Text| {
        let mut initiator = Initiator::connect(now, &mut target, 0, 1);
        let stage = Stage::Operational;
        initiator
            .login(now, &mut target, stage, None, text)
            .0
            .status
    };
    let initiator = Text::new().with("InitiatorName", "iqn.2026-11.com.example:test");
    assert_eq!(status(Text::new()), LoginStatus::MISSING_PARAMETER);
    assert_eq!(status(initiator.clone()), LoginStatus::MISSING_PARAMETER);
    let other = initiator
        .clone()
        .with("TargetName", "iqn.2026-11.com.example:x");
    assert_eq!(status(other), LoginStatus::NOT_FOUND);
    let kind = initiator.with("SessionType", "Odd");
    assert_eq!(status(kind), LoginStatus::SESSION_TYPE);
}

#[test]
fn a_portal_can_send_logins_elsewhere_or_refuse_them() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let redirect = PortalBehaviour {
        redirect: Some(("10.0.0.9:3260".to_owned(), false)),
        ..PortalBehaviour::default()
    };
    target.set_portal(1, redirect);
    let mut initiator = Initiator::connect(now, &mut target, 1, 1);
    let (response, text) = initiator.log_in_again(now, &mut target, &[]);
    assert_eq!(response.status, LoginStatus::MOVED_TEMPORARILY);
    assert_eq!(text.get("TargetAddress"), Some("10.0.0.9:3260"));
    target.set_behaviour(Behaviour {
        refuse_logins: Some(LoginStatus::OUT_OF_RESOURCES),
        ..Behaviour::default()
    });
    let mut initiator = Initiator::connect(now, &mut target, 0, 1);
    let (response, _) = initiator.log_in_again(now, &mut target, &[]);
    assert_eq!(response.status, LoginStatus::OUT_OF_RESOURCES);
}

#[test]
fn a_login_that_takes_too_long_is_dropped() {
    let now = crate::clock::now();
    let mut target = target(|_| {});
    let initiator = Initiator::connect(now, &mut target, 0, 1);
    let deadline = target.poll_timeout().unwrap();
    assert_eq!(deadline.at, now + LOGIN_TIMEOUT);
    target.handle_timeout(deadline.at);
    assert_eq!(target.is_over(initiator.id), Some(true));
    assert_eq!(target.poll_woken(), Some(initiator.id));
}
