//! What an administrator can do about a session that failed.

use crate::iscsi::error::{AuthenticationFailed, LoginStatus, SessionError};

/// In words that follow the error; `None` if there is nothing to be done, or the error says it.
pub(super) fn advice(error: &SessionError) -> Option<&'static str> {
    const CREDENTIALS: &str =
        "check `username` and `secret_file` of the volume's auth, and the target's account";
    match error {
        SessionError::LoginRefused(LoginStatus::AUTHENTICATION_FAILURE) => Some(CREDENTIALS),
        SessionError::AuthenticationFailed(failure) => match failure {
            AuthenticationFailed::CredentialsMissing => {
                Some("add `auth` with `username` and `secret_file` to the volume")
            }
            AuthenticationFailed::NoCommonMethod => Some(
                "give the target an account for `username`, or remove `auth` from the volume if the target \
                 is to ask for none",
            ),
            AuthenticationFailed::CredentialsRefused { .. }
            | AuthenticationFailed::AlgorithmsRefused { .. } => Some(CREDENTIALS),
            AuthenticationFailed::TargetSilent
            | AuthenticationFailed::TargetName
            | AuthenticationFailed::TargetResponse
            | AuthenticationFailed::ReflectedResponse => Some(
                "check `target_username` and `target_secret_file` of the volume's auth, and what \
                 the target is set up to prove itself with",
            ),
            AuthenticationFailed::Skipped
            | AuthenticationFailed::AlgorithmNotOffered(_)
            | AuthenticationFailed::BadChallenge
            | AuthenticationFailed::ReflectedChallenge => None,
        },
        SessionError::LoginRefused(LoginStatus::NOT_FOUND) => {
            Some("correct `target` (`iibadm discover PORTAL` lists the names)")
        }
        SessionError::LoginRefused(LoginStatus::FORBIDDEN) => {
            Some("let the target's access list have our `initiator_name`")
        }
        SessionError::PeerIncompatible(_) => Some("correct the volume's `iscsi` or `auth`"),
        SessionError::LoginRefused(_)
        | SessionError::InvalidPdu(_)
        | SessionError::PeerMisbehaved(_)
        | SessionError::Timeout(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_accounts_is_not_blamed_on_the_secret() {
        let error = SessionError::from(AuthenticationFailed::NoCommonMethod);
        let advice = advice(&error).unwrap();
        assert!(
            advice.contains("remove `auth`") && !advice.contains("secret"),
            "{advice}"
        );
    }
}
