//! CHAP as the authenticator (RFC 7143 12.1.3): the target's side of the security stage.

use iiblockdaemon::iscsi::chap::{ChapAlgorithm, constant_time_eq, decode_binary, encode_binary};
use iiblockdaemon::iscsi::keys::Text;

use super::config::TargetAuth;
use crate::rng::Rng;

/// The initiator is not who it says, or does not play by the rules.
#[derive(Debug)]
pub(super) struct Refused(pub(super) &'static str);

/// What the target waits for next.
#[derive(Debug)]
pub(super) enum Chap {
    /// The algorithms that the initiator has.
    Algorithms,
    /// The answer to this challenge.
    Response {
        algorithm: ChapAlgorithm,
        identifier: u8,
        challenge: Vec<u8>,
    },
    /// Nothing: the initiator proved itself.
    Passed,
}

impl Chap {
    pub(super) fn has_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// Takes the CHAP keys of one request and gives those of the response.
    pub(super) fn take(
        &mut self,
        auth: &TargetAuth,
        rng: &mut Rng,
        text: &Text,
    ) -> Result<Text, Refused> {
        match self {
            Self::Algorithms => {
                let Some(offer) = text.get("CHAP_A") else {
                    return Ok(Text::new());
                };
                let algorithm = choose(auth, offer).ok_or(Refused("no common CHAP algorithm"))?;
                let identifier = rng.next_u64().to_le_bytes()[0];
                let mut challenge = vec![0; algorithm.response_len().max(16)];
                rng.fill(&mut challenge);
                let answer = Text::new()
                    .with("CHAP_A", algorithm.number())
                    .with("CHAP_I", identifier)
                    .with("CHAP_C", encode_binary(&challenge));
                *self = Self::Response {
                    algorithm,
                    identifier,
                    challenge,
                };
                Ok(answer)
            }
            Self::Response {
                algorithm,
                identifier,
                challenge,
            } => {
                let expected = algorithm.response(*identifier, &auth.secret, challenge);
                let response = text.get("CHAP_R").and_then(decode_binary);
                let response = response.ok_or(Refused("no CHAP_R"))?;
                if text.get("CHAP_N") != Some(&auth.user) || !constant_time_eq(&expected, &response)
                {
                    return Err(Refused("wrong CHAP name or secret"));
                }
                let answer = prove(*algorithm, auth, challenge, text)?;
                *self = Self::Passed;
                Ok(answer)
            }
            Self::Passed => Ok(Text::new()),
        }
    }
}

fn choose(auth: &TargetAuth, offer: &str) -> Option<ChapAlgorithm> {
    let mut offered = offer.split(',').filter_map(|number| number.parse().ok());
    offered.find_map(|number| {
        ChapAlgorithm::from_number(number).filter(|chosen| auth.algorithms.contains(chosen))
    })
}

/// The target's own proof, if the initiator challenged it.
fn prove(
    algorithm: ChapAlgorithm,
    auth: &TargetAuth,
    ours: &[u8],
    text: &Text,
) -> Result<Text, Refused> {
    let (Some(identifier), Some(challenge)) = (text.get("CHAP_I"), text.get("CHAP_C")) else {
        return Ok(Text::new());
    };
    let (name, secret) = auth
        .mutual
        .as_ref()
        .ok_or(Refused("mutual CHAP is not set up"))?;
    let identifier = identifier.parse().map_err(|_| Refused("CHAP_I"))?;
    let challenge = decode_binary(challenge).ok_or(Refused("CHAP_C"))?;
    if challenge == ours {
        return Err(Refused("the initiator reflects our challenge"));
    }
    let response = algorithm.response(identifier, secret, &challenge);
    Ok(Text::new()
        .with("CHAP_N", name)
        .with("CHAP_R", encode_binary(&response)))
}
