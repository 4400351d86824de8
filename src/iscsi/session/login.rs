//! The login phase (RFC 7143 section 6.3): a state machine from a fresh TCP connection to the full
//! feature phase.
//!
//! The initiator asks, the target answers. The first request says who we are and which
//! authentication methods we have. If the target chooses CHAP, algorithm, challenge and response
//! follow, and in mutual CHAP the target's response to our challenge. Then one request offers every
//! operational key; the target answers each by the key's rule and may offer keys of its own, which
//! are answered in the next request. When the target agrees to the transition to the full feature
//! phase, the login is done. At any point the target may refuse, or send us elsewhere.
//!
//! Beneath, `exchange` carries texts of any length over PDUs of bounded length in both directions;
//! above, `states` has one struct for each answer that may come next, and each consumes itself.
//! Digests are never used by login PDUs: they begin with the first PDU of the full feature phase.

#![deny(clippy::indexing_slicing)]

mod chap;
mod exchange;
mod negotiation;
mod peer;
mod states;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use self::exchange::{Exchange, Received};
use self::peer::Peer;
use self::states::{Ask, Expect, Next};
use super::config::{Entropy, SessionConfig};
use super::negotiated::LoggedIn;
use crate::iscsi::discovery;
use crate::iscsi::error::{LoginStatus, PeerMisbehaved, SessionError};
use crate::iscsi::keys::{Text, name};
use crate::iscsi::name::PortalAddr;
use crate::iscsi::pdu::login::{LoginRequest, LoginResponse};

/// A login that waits for the target's next response.
#[derive(Debug)]
pub struct Login {
    context: Context,
    expect: Expect,
}

/// What all states share.
#[derive(Debug)]
struct Context {
    config: Arc<SessionConfig>,
    entropy: Entropy,
    exchange: Exchange,
    peer: Peer,
}

/// What follows from a login response.
#[derive(Debug)]
pub enum LoginStep {
    /// Send this request with this text, then wait for its response.
    Send(Box<Login>, LoginRequest, Bytes),
    /// The full feature phase begins with the next PDU.
    Done(Box<LoggedIn>),
    /// The target is elsewhere: close the connection and log in there, from the start.
    Redirected {
        /// Where.
        to: PortalAddr,
        /// Whether the target moved for good. After a failure of the new portal, a temporary
        /// redirect is forgotten and the original portal is tried again.
        permanent: bool,
    },
}

impl Login {
    /// A login on a connection that was just opened, with the first request and its text.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, entropy: Entropy) -> (Self, LoginRequest, Bytes) {
        let mut context = Context {
            exchange: Exchange::new(config.isid),
            peer: Peer::new(&config),
            entropy,
            config,
        };
        let ask = states::begin(&context);
        let (request, text) = context
            .exchange
            .request(ask.stage, ask.transit, &ask.text)
            .expect("the first request is within the bound");
        let expect = ask.expect;
        (Self { context, expect }, request, text)
    }

    /// Takes a response with its data segment.
    ///
    /// # Errors
    /// Whatever ends the login; the connection is to be closed.
    pub fn on_response(
        mut self,
        response: LoginResponse,
        text: &[u8],
    ) -> Result<LoginStep, SessionError> {
        match response.status.class {
            0 => {}
            1 => return redirect(response.status, text),
            _ => return Err(self.expect.on_refusal(&self.context, response.status)),
        }
        let reply = match self.context.exchange.on_response(response, text)? {
            Received::Continue(request, text) => {
                return Ok(LoginStep::Send(Box::new(self), request, text));
            }
            Received::Complete(reply) => reply,
        };
        match self.expect.on_reply(&mut self.context, reply)? {
            Next::Done(logged_in) => Ok(LoginStep::Done(logged_in)),
            Next::Ask(ask) => {
                let Ask {
                    stage,
                    transit,
                    text,
                    expect,
                } = ask;
                let (request, text) = self.context.exchange.request(stage, transit, &text)?;
                self.expect = expect;
                Ok(LoginStep::Send(Box::new(self), request, text))
            }
        }
    }

    /// What it means that the target closed the connection now, if that says more than that it did.
    #[must_use]
    pub fn on_closed(&self) -> Option<SessionError> {
        self.expect.on_closed()
    }
}

/// Status class 1: the address stands in the text (RFC 7143 11.13.5). It has no portal group tag;
/// one that is there is ignored, as is a TargetName. Details other than 01 and 02 (some targets send
/// 00) count as temporary if there is an address to go to.
fn redirect(status: LoginStatus, text: &[u8]) -> Result<LoginStep, SessionError> {
    let text = Text::decode(text).map_err(PeerMisbehaved::Text)?;
    let address = text.get(name::TARGET_ADDRESS);
    let address = address.ok_or(PeerMisbehaved::KeyMissing(name::TARGET_ADDRESS))?;
    let (to, _) = discovery::parse_target_address(address).map_err(PeerMisbehaved::from)?;
    Ok(LoginStep::Redirected {
        to,
        permanent: status == LoginStatus::MOVED_PERMANENTLY,
    })
}
