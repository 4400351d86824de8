use super::*;
use crate::iscsi::error::PeerMisbehaved;

fn refused(status: LoginStatus, text: &[u8]) -> Result<LoginStep, SessionError> {
    let dialogue = Dialogue::start(config());
    let mut response = dialogue.response(false);
    response.status = status;
    // RFC 7143 11.13.5: nothing else in the header counts.
    response.stat_sn = SerialNumber(99);
    response.isid = Isid::from_wire([0; 6]);
    dialogue.respond(response, text)
}

#[test]
fn every_refusal_carries_its_status_whatever_the_rest_of_the_header_says() {
    for class in 2..=4 {
        for detail in 0..=0x10 {
            let status = LoginStatus::new(class, detail);
            let error = refused(status, b"garbage").unwrap_err();
            assert_eq!(
                error,
                match status {
                    LoginStatus::AUTHENTICATION_FAILURE =>
                        crate::iscsi::error::AuthenticationFailed::CredentialsMissing.into(),
                    _ => SessionError::LoginRefused(status),
                }
            );
        }
    }
}

/// Synology, right after a crash of the initiator: the old session still counts.
#[test]
fn a_target_out_of_service_or_resources_is_to_be_tried_again() {
    for status in [LoginStatus::UNAVAILABLE, LoginStatus::OUT_OF_RESOURCES] {
        assert!(!refused(status, &[]).unwrap_err().needs_operator());
    }
    let error = refused(LoginStatus::NOT_FOUND, &[]).unwrap_err();
    assert!(error.needs_operator());
    assert_eq!(
        error.to_string(),
        "the target refused the login: target not found: no target of this name at this portal \
         (status 0203h)"
    );
}

#[test]
fn both_kinds_of_redirect_are_read() {
    for (status, permanent) in [
        (LoginStatus::MOVED_TEMPORARILY, false),
        (LoginStatus::MOVED_PERMANENTLY, true),
        // Some targets use 0100.
        (LoginStatus::new(1, 0), false),
    ] {
        for (address, shown) in [
            ("10.0.0.7:3261", "10.0.0.7:3261"),
            ("10.0.0.7", "10.0.0.7:3260"),
            ("[2001:db8::7]:3260", "[2001:db8::7]:3260"),
            ("[fe80::7]", "[fe80::7]:3260"),
            ("array2.example.com", "array2.example.com:3260"),
            // There is no group tag in a redirect; one that is there does no harm.
            ("10.0.0.7:3260,1", "10.0.0.7:3260"),
        ] {
            // Some targets add the target's name.
            let text = encode(&[("TargetName", TARGET), ("TargetAddress", address)]);
            let step = refused(status, &text).unwrap();
            let LoginStep::Redirected { to, permanent: got } = step else {
                panic!("{step:?}");
            };
            assert_eq!((to.to_string().as_str(), got), (shown, permanent));
        }
    }
}

#[test]
fn a_redirect_may_come_after_chap() {
    let dialogue = Dialogue::start(with_chap(chap()))
        .then(false, &[("AuthMethod", "CHAP")])
        .then(
            false,
            &[("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x01")],
        );
    let mut response = dialogue.response(false);
    response.status = LoginStatus::MOVED_TEMPORARILY;
    let step = dialogue.respond(response, &encode(&[("TargetAddress", "10.0.0.7")]));
    assert!(matches!(step, Ok(LoginStep::Redirected { .. })), "{step:?}");
}

#[test]
fn a_redirect_to_nowhere_ends_the_login() {
    for text in [
        &b""[..],
        b"TargetName=iqn.2003-01.com.example:a\0",
        b"TargetAddress=\0",
        b"TargetAddress=0.0.0.0:3260\0",
        b"TargetAddress=10.0.0.7:0\0",
        b"TargetAddress=10.0.0.7",
    ] {
        let error = refused(LoginStatus::MOVED_TEMPORARILY, text).unwrap_err();
        assert!(matches!(error, SessionError::PeerMisbehaved(_)), "{error}");
    }
    let missing = refused(LoginStatus::MOVED_TEMPORARILY, b"").unwrap_err();
    assert_eq!(missing, PeerMisbehaved::KeyMissing("TargetAddress").into());
}
