//! What a login expects next: one struct per expected answer, each consumed by it.
//!
//! ```text
//! AwaitMethod ── None ─────────────────────────────► AwaitOperational ──► logged in
//!      │                                                    ▲
//!      └─ CHAP ─► AwaitChallenge ── one way ─► AwaitEnd ────┤
//!                        └───────── mutual ──► AwaitProof ──┘  (over AwaitEnd if the target stays)
//! ```
//!
//! An answer that brings nothing yet and stays in the stage (T=0) is a partial response: the same
//! answer is expected again, and an empty request asks for it.

use super::Context;
use super::chap::{AwaitChallenge, AwaitProof, credentials_refused, offer_algorithms};
use super::exchange::Reply;
use crate::iscsi::error::Excerpt;
use crate::iscsi::error::{AuthenticationFailed, LoginStatus, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{IRRELEVANT, NOT_UNDERSTOOD, REJECT, Text, name};
use crate::iscsi::pdu::login::Stage;
use crate::iscsi::session::config::{AuthConfig, SessionKind};
use crate::iscsi::session::negotiated::{Authentication, LoggedIn};

/// What is expected.
#[derive(Debug)]
pub(super) enum Expect {
    Method(AwaitMethod),
    Challenge(AwaitChallenge),
    Proof(AwaitProof),
    End(AwaitEnd),
    Operational(AwaitOperational),
}

/// A request, and what is expected in answer to it.
pub(super) struct Ask {
    pub(super) stage: Stage,
    pub(super) transit: Option<Stage>,
    pub(super) text: Text,
    pub(super) expect: Expect,
}

/// What follows from an answer.
pub(super) enum Next {
    Ask(Ask),
    Done(Box<LoggedIn>),
}

/// The choice of an authentication method.
#[derive(Debug)]
pub(super) struct AwaitMethod {
    transit: Option<Stage>,
}

/// The end of the security stage.
#[derive(Debug)]
pub(super) struct AwaitEnd {
    pub(super) authentication: Authentication,
}

/// The rest of the operational negotiation.
#[derive(Debug)]
pub(super) struct AwaitOperational {
    authentication: Authentication,
}

/// The first request: who we are, said once (FreeNAS drops a login that says it again).
pub(super) fn begin(context: &Context) -> Ask {
    let config = &context.config;
    let mut text = Text::new().with(name::INITIATOR_NAME, &config.initiator_name);
    match &config.kind {
        SessionKind::Normal { target } => {
            text.push(name::SESSION_TYPE, "Normal");
            text.push(name::TARGET_NAME, target);
        }
        SessionKind::Discovery => text.push(name::SESSION_TYPE, "Discovery"),
    }
    let methods = match &config.auth {
        AuthConfig::None => "None",
        AuthConfig::Chap(chap) if chap.none_is_allowed() => "CHAP,None",
        AuthConfig::Chap(_) => "CHAP",
    };
    text.push(name::AUTH_METHOD, methods);
    // With CHAP as the only choice the stage cannot end here.
    let transit = (methods != "CHAP").then_some(Stage::Operational);
    Ask {
        stage: Stage::Security,
        transit,
        text,
        expect: Expect::Method(AwaitMethod { transit }),
    }
}

impl Expect {
    pub(super) fn on_reply(
        self,
        context: &mut Context,
        reply: Reply,
    ) -> Result<Next, SessionError> {
        match self {
            Self::Method(state) => state.on_reply(context, reply),
            Self::Challenge(state) => state.on_reply(context, reply),
            Self::Proof(state) => state.on_reply(context, reply),
            Self::End(state) => state.on_reply(context, &reply),
            Self::Operational(state) => state.on_reply(context, &reply),
        }
    }

    /// What a refusal by the target means at this point.
    pub(super) fn on_refusal(&self, context: &Context, status: LoginStatus) -> SessionError {
        let refused = SessionError::LoginRefused(status);
        match (self, &context.config.auth) {
            (Self::Challenge(state), _) if status.class == 2 => {
                let failure = AuthenticationFailed::algorithms_refused(&state.offered);
                let error = SessionError::from(failure);
                // Name and secret were not sent yet, so they cannot be what is wrong.
                let certain = status == LoginStatus::AUTHENTICATION_FAILURE;
                if certain || error.retry_with_md5_only() {
                    error
                } else {
                    refused
                }
            }
            (Self::Method(_), auth) if status == LoginStatus::AUTHENTICATION_FAILURE => {
                match auth {
                    AuthConfig::None => AuthenticationFailed::CredentialsMissing.into(),
                    AuthConfig::Chap(_) => AuthenticationFailed::NoCommonMethod.into(),
                }
            }
            (Self::Proof(AwaitProof { algorithm, .. }), AuthConfig::Chap(chap)) => {
                credentials_refused(chap, *algorithm, status)
            }
            (Self::End(AwaitEnd { authentication }), AuthConfig::Chap(chap)) => {
                match authentication {
                    Authentication::Chap { algorithm, .. } => {
                        credentials_refused(chap, *algorithm, status)
                    }
                    Authentication::None => refused,
                }
            }
            _ => refused,
        }
    }

    /// What it means that the target closed the connection at this point, if that says anything.
    pub(super) fn on_closed(&self) -> Option<SessionError> {
        let Self::Challenge(state) = self else {
            return None;
        };
        let error = SessionError::from(AuthenticationFailed::algorithms_refused(&state.offered));
        error.retry_with_md5_only().then_some(error)
    }
}

impl AwaitMethod {
    fn on_reply(self, context: &mut Context, mut reply: Reply) -> Result<Next, SessionError> {
        let method = reply.text.take(name::AUTH_METHOD)?;
        context.peer.absorb(&reply.text)?;
        let chap = match &context.config.auth {
            AuthConfig::None => None,
            AuthConfig::Chap(chap) => Some(chap),
        };
        match method.as_deref() {
            None if !reply.transit => {
                let transit = self.transit;
                Ok(ask_again(context, transit, Expect::Method(self)))
            }
            None | Some("None" | IRRELEVANT) => {
                if chap.is_some_and(|chap| !chap.none_is_allowed()) {
                    return Err(AuthenticationFailed::Skipped.into());
                }
                Ok(end_security(context, &reply, Authentication::None))
            }
            Some("CHAP") => {
                let chap = chap.ok_or(AuthenticationFailed::CredentialsMissing)?;
                if reply.transit {
                    return Err(AuthenticationFailed::Skipped.into());
                }
                Ok(offer_algorithms(chap, context.peer.take_replies()))
            }
            Some(REJECT) if chap.is_none() => Err(AuthenticationFailed::CredentialsMissing.into()),
            Some(REJECT | NOT_UNDERSTOOD) => Err(AuthenticationFailed::NoCommonMethod.into()),
            Some(other) => Err(PeerMisbehaved::OutsideOffer {
                key: name::AUTH_METHOD,
                value: Excerpt::new(other),
            }
            .into()),
        }
    }
}

impl AwaitEnd {
    fn on_reply(self, context: &mut Context, reply: &Reply) -> Result<Next, SessionError> {
        context.peer.absorb(&reply.text)?;
        Ok(end_security(context, reply, self.authentication))
    }
}

impl AwaitOperational {
    fn on_reply(self, context: &mut Context, reply: &Reply) -> Result<Next, SessionError> {
        context.peer.absorb(&reply.text)?;
        if !reply.transit {
            return Ok(Next::Ask(Ask {
                stage: Stage::Operational,
                transit: Some(Stage::FullFeature),
                text: context.peer.take_replies(),
                expect: Expect::Operational(self),
            }));
        }
        let logged_in = context
            .peer
            .finish(reply, &context.exchange, self.authentication)?;
        Ok(Next::Done(Box::new(logged_in)))
    }
}

/// The target stays in the stage and has not said yet what we wait for.
pub(super) fn ask_again(context: &mut Context, transit: Option<Stage>, expect: Expect) -> Next {
    Next::Ask(Ask {
        stage: Stage::Security,
        transit,
        text: context.peer.take_replies(),
        expect,
    })
}

/// Authentication is done: on to the operational stage, or ask the target to come along.
pub(super) fn end_security(
    context: &mut Context,
    reply: &Reply,
    authentication: Authentication,
) -> Next {
    if !reply.transit {
        let transit = Some(Stage::Operational);
        let expect = Expect::End(AwaitEnd { authentication });
        return ask_again(context, transit, expect);
    }
    let mut text = context.peer.take_replies();
    context.peer.negotiation.offer(&mut text);
    Next::Ask(Ask {
        stage: Stage::Operational,
        transit: Some(Stage::FullFeature),
        text,
        expect: Expect::Operational(AwaitOperational { authentication }),
    })
}
