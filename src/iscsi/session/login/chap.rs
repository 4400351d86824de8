//! CHAP in a login: algorithm, challenge, response, and in mutual CHAP the target's proof
//! (RFC 7143 12.1.3).

use sha2::{Digest as _, Sha256};

use super::Context;
use super::exchange::Reply;
use super::peer::illegal;
use super::states::{Ask, AwaitEnd, Expect, Next, ask_again, end_security};
use crate::iscsi::chap::{BINARY_LEN_MAX, ChapAlgorithm};
use crate::iscsi::chap::{constant_time_eq, decode_binary, encode_binary};
use crate::iscsi::error::{AuthenticationFailed, LoginStatus, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{REJECT, Text, name, parse_number};
use crate::iscsi::pdu::login::Stage;
use crate::iscsi::session::config::{AuthConfig, ChapConfig};
use crate::iscsi::session::negotiated::Authentication;

/// The target's choice of an algorithm, and its challenge.
#[derive(Debug)]
pub(super) struct AwaitChallenge {
    pub(super) offered: Vec<ChapAlgorithm>,
}

/// The target's response to our challenge.
#[derive(Debug)]
pub(super) struct AwaitProof {
    pub(super) algorithm: ChapAlgorithm,
    identifier: u8,
    challenge: Vec<u8>,
    our_response: Vec<u8>,
}

pub(super) fn offer_algorithms(chap: &ChapConfig, replies: Text) -> Next {
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
    pub(super) fn on_reply(
        self,
        context: &mut Context,
        mut reply: Reply,
    ) -> Result<Next, SessionError> {
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
    pub(super) fn on_reply(
        self,
        context: &mut Context,
        mut reply: Reply,
    ) -> Result<Next, SessionError> {
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

/// What a refusal of our response means: LIO, tgt and istgt answer a wrong secret with 0201, tgt a
/// response that is longer than it thinks with 0200.
pub(super) fn credentials_refused(
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
