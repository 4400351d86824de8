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

use sha2::{Digest as _, Sha256};

use super::Context;
use super::exchange::Reply;
use super::peer::illegal;
use crate::iscsi::chap::{BINARY_LEN_MAX, ChapAlgorithm};
use crate::iscsi::chap::{constant_time_eq, decode_binary, encode_binary};
use crate::iscsi::error::Excerpt;
use crate::iscsi::error::{AuthenticationFailed, LoginStatus, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{IRRELEVANT, NOT_UNDERSTOOD, REJECT, Text, name, parse_number};
use crate::iscsi::pdu::login::Stage;
use crate::iscsi::session::config::{AuthConfig, ChapConfig, SessionKind};
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

/// The target's choice of an algorithm, and its challenge.
#[derive(Debug)]
pub(super) struct AwaitChallenge {
    offered: Vec<ChapAlgorithm>,
}

/// The target's response to our challenge.
#[derive(Debug)]
pub(super) struct AwaitProof {
    algorithm: ChapAlgorithm,
    identifier: u8,
    challenge: Vec<u8>,
    our_response: Vec<u8>,
}

/// The end of the security stage.
#[derive(Debug)]
pub(super) struct AwaitEnd {
    authentication: Authentication,
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

/// What a refusal of our response means: LIO, tgt and istgt answer a wrong secret with 0201, tgt a
/// response that is longer than it thinks with 0200.
fn credentials_refused(
    chap: &ChapConfig,
    algorithm: ChapAlgorithm,
    status: LoginStatus,
) -> SessionError {
    let here = [
        LoginStatus::AUTHENTICATION_FAILURE,
        LoginStatus::INITIATOR_ERROR,
    ];
    if !here.contains(&status) {
        return SessionError::LoginRefused(status);
    }
    let md5 = ChapAlgorithm::Md5;
    AuthenticationFailed::CredentialsRefused {
        status,
        md5_alone_untried: algorithm != md5 && chap.offered().contains(&md5),
    }
    .into()
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

fn offer_algorithms(chap: &ChapConfig, replies: Text) -> Next {
    let offered = chap.offered().to_vec();
    let numbers: Vec<String> = offered.iter().map(|a| a.number().to_string()).collect();
    let mut text = Text::new().with(name::CHAP_A, numbers.join(","));
    text.append(replies);
    Next::Ask(Ask {
        stage: Stage::Security,
        transit: None,
        text,
        expect: Expect::Challenge(AwaitChallenge { offered }),
    })
}

impl AwaitChallenge {
    fn on_reply(self, context: &mut Context, mut reply: Reply) -> Result<Next, SessionError> {
        let algorithm = reply.text.take(name::CHAP_A)?;
        let identifier = reply.text.take(name::CHAP_I)?;
        let challenge = reply.text.take(name::CHAP_C)?;
        context.peer.absorb(&reply.text)?;
        let Some(algorithm) = algorithm else {
            return Ok(ask_again(context, None, Expect::Challenge(self)));
        };
        let algorithm = self.chosen(&algorithm)?;
        let identifier = identifier.ok_or(PeerMisbehaved::KeyMissing(name::CHAP_I))?;
        let identifier = parse_number(&identifier)
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| illegal(name::CHAP_I, &identifier))?;
        let challenge = challenge.ok_or(PeerMisbehaved::KeyMissing(name::CHAP_C))?;
        let challenge = decode_binary(&challenge)
            .filter(|bytes| (1..=BINARY_LEN_MAX).contains(&bytes.len()))
            .ok_or(AuthenticationFailed::BadChallenge)?;
        respond(context, algorithm, identifier, &challenge)
    }

    fn chosen(&self, answer: &str) -> Result<ChapAlgorithm, SessionError> {
        if answer == REJECT {
            return Err(AuthenticationFailed::algorithms_refused(&self.offered).into());
        }
        let number = parse_number(answer).ok_or_else(|| illegal(name::CHAP_A, answer))?;
        ChapAlgorithm::from_number(u64::from(number))
            .filter(|algorithm| self.offered.contains(algorithm))
            .ok_or_else(|| AuthenticationFailed::AlgorithmNotOffered(number).into())
    }
}

/// Answers the target's challenge, and challenges the target if it must prove itself.
fn respond(
    context: &mut Context,
    algorithm: ChapAlgorithm,
    identifier: u8,
    challenge: &[u8],
) -> Result<Next, SessionError> {
    let AuthConfig::Chap(chap) = &context.config.auth else {
        return Err(AuthenticationFailed::CredentialsMissing.into());
    };
    let response = algorithm.response(identifier, chap.secret(), challenge);
    let mut text = Text::new()
        .with(name::CHAP_N, chap.username())
        .with(name::CHAP_R, encode_binary(&response));
    let expect = if chap.target().is_some() {
        let (own_identifier, own_challenge) = context.own_challenge(algorithm);
        if constant_time_eq(&own_challenge, challenge) {
            return Err(AuthenticationFailed::ReflectedChallenge.into());
        }
        text.push(name::CHAP_I, own_identifier);
        text.push(name::CHAP_C, encode_binary(&own_challenge));
        Expect::Proof(AwaitProof {
            algorithm,
            identifier: own_identifier,
            challenge: own_challenge,
            our_response: response,
        })
    } else {
        let mutual = false;
        let authentication = Authentication::Chap { algorithm, mutual };
        Expect::End(AwaitEnd { authentication })
    };
    text.append(context.peer.take_replies());
    Ok(Next::Ask(Ask {
        stage: Stage::Security,
        transit: Some(Stage::Operational),
        text,
        expect,
    }))
}

impl AwaitProof {
    fn on_reply(self, context: &mut Context, mut reply: Reply) -> Result<Next, SessionError> {
        let username = reply.text.take(name::CHAP_N)?;
        let response = reply.text.take(name::CHAP_R)?;
        context.peer.absorb(&reply.text)?;
        let (Some(username), Some(response)) = (username, response) else {
            if reply.transit {
                return Err(AuthenticationFailed::TargetSilent.into());
            }
            let transit = Some(Stage::Operational);
            return Ok(ask_again(context, transit, Expect::Proof(self)));
        };
        self.verify(context, &username, &response)?;
        let algorithm = self.algorithm;
        let mutual = true;
        let authentication = Authentication::Chap { algorithm, mutual };
        Ok(end_security(context, &reply, authentication))
    }

    fn verify(
        &self,
        context: &Context,
        username: &str,
        response: &str,
    ) -> Result<(), AuthenticationFailed> {
        let AuthConfig::Chap(chap) = &context.config.auth else {
            return Err(AuthenticationFailed::CredentialsMissing);
        };
        let target = chap.target().ok_or(AuthenticationFailed::TargetSilent)?;
        if !target.username.is_empty() && *target.username != *username {
            return Err(AuthenticationFailed::TargetName);
        }
        let response = decode_binary(response).ok_or(AuthenticationFailed::TargetResponse)?;
        if constant_time_eq(&response, &self.our_response) {
            return Err(AuthenticationFailed::ReflectedResponse);
        }
        let expected = self
            .algorithm
            .response(self.identifier, &target.secret, &self.challenge);
        if constant_time_eq(&response, &expected) {
            Ok(())
        } else {
            Err(AuthenticationFailed::TargetResponse)
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
fn ask_again(context: &mut Context, transit: Option<Stage>, expect: Expect) -> Next {
    Next::Ask(Ask {
        stage: Stage::Security,
        transit,
        text: context.peer.take_replies(),
        expect,
    })
}

/// Authentication is done: on to the operational stage, or ask the target to come along.
fn end_security(context: &mut Context, reply: &Reply, authentication: Authentication) -> Next {
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

impl Context {
    /// Identifier and challenge for the target, as long as the algorithm's response (RFC 1994 4.1
    /// wants them unpredictable and never repeated): a hash of this session's entropy.
    fn own_challenge(&self, algorithm: ChapAlgorithm) -> (u8, Vec<u8>) {
        let hash = Sha256::new()
            .chain_update(b"CHAP challenge")
            .chain_update(self.entropy.bytes())
            .finalize();
        let mut challenge = hash.to_vec();
        challenge.truncate(algorithm.response_len());
        let [identifier, ..] = *self.entropy.bytes();
        (identifier, challenge)
    }
}
