//! One iSCSI session of one connection at error recovery level 0, sans-IO.
//!
//! A session begins on a fresh TCP connection with the login ([`login`]); when that is done it is in
//! the full feature phase ([`FullFeature`]), and stays there until it logged out or failed. Any error
//! is final: level 0 recovers by a new session.

#![deny(clippy::indexing_slicing)]

pub mod config;
pub mod login;
pub mod negotiated;

mod event;
mod full;
mod table;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::error::{PeerMisbehaved, SessionError, SessionTimeout};
use super::framer::{Frame, Framer, SegmentLimits};
use super::outbox::Outbox;
use super::pdu::login::LoginResponse;
use super::pdu::{Bhs, DataIn, Opcode};
use super::tags::Itt;
use crate::deadline::Deadline;
use crate::ids::{Disposition, TaskId};
use crate::limits;
use crate::out_queue::OutQueue;
use crate::payload::Payload;
use config::{Entropy, SessionConfig};
use login::{Login, LoginStep};

pub use event::{
    AsyncEvent, Event, LoginSummary, TargetQuery, TaskFailure, TaskFunction, TaskProgress, TmfId,
};
pub use full::FullFeature;

/// An iSCSI session on a connected TCP stream.
///
/// Driver contract: after any `handle_*` or a command on [`FullFeature`], write what
/// [`Session::outgoing`] holds, drain [`Session::poll_event`], then read [`Session::poll_timeout`].
/// Time never goes backwards. After an error every later call returns the same error; the connection
/// is then to be closed and [`Session::into_lost`] to be called.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    framer: Framer,
    incoming: Incoming,
    phase: Phase,
    error: Option<SessionError>,
    last_received: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Login {
        /// `None` only after an error.
        login: Option<Login>,
        outbox: Outbox,
        until: Instant,
    },
    Redirected {
        event: Option<Event>,
        outbox: Outbox,
    },
    Full(Box<FullFeature>),
}

/// The PDU that is being received.
#[derive(Debug)]
enum Incoming {
    Nothing,
    /// Its data is collected.
    Control(Bhs, Payload),
    /// Its data goes to the task, or nowhere if the task ended.
    DataIn(DataIn, Option<Itt>),
}

impl Session {
    /// A session on a TCP connection that was just established; the first login request is queued.
    #[must_use]
    pub fn new(now: Instant, config: Arc<SessionConfig>, entropy: Entropy) -> Self {
        let (login, request, text) = Login::new(Arc::clone(&config), entropy);
        let mut outbox = Outbox::new();
        outbox.push(request.encode(), &text.into());
        let limits = SegmentLimits {
            data: config.offer.max_recv_data_segment_length,
            control: limits::CONTROL_SEGMENT_MAX,
        };
        Self {
            framer: Framer::new(limits),
            incoming: Incoming::Nothing,
            phase: Phase::Login {
                login: Some(login),
                outbox,
                until: now + config.login_timeout,
            },
            error: None,
            last_received: None,
            config,
        }
    }

    /// Takes what was received. Whole PDUs and pieces of Data-In are split off `input`; the rest is
    /// left for the next call.
    ///
    /// # Errors
    /// Whatever ends the session.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), SessionError> {
        self.check()?;
        if !input.is_empty() {
            self.last_received = Some(now);
        }
        if let Phase::Full(full) = &mut self.phase {
            full.note_sent(now);
        }
        while !self.is_over() {
            let step = match self.framer.next(input) {
                Ok(Some(frame)) => self.on_frame(now, frame),
                Ok(None) => return Ok(()),
                Err(invalid) => Err(invalid.into()),
            };
            self.keep(step)?;
        }
        input.clear();
        Ok(())
    }

    /// Acts on time passing: the login and the logout have limits; tasks and pings are their owner's.
    ///
    /// # Errors
    /// [`SessionError::Timeout`], or what ended the session before.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.check()?;
        let result = match &mut self.phase {
            Phase::Login { until, .. } if *until <= now => Err(SessionTimeout::Login.into()),
            Phase::Login { .. } | Phase::Redirected { .. } => Ok(()),
            Phase::Full(full) => full.handle_timeout(now),
        };
        self.keep(result)
    }

    /// The socket took bytes of [`Session::outgoing`]: dates the progress of the tasks they belong
    /// to. Any other call with a time does so too, later.
    pub fn handle_sent(&mut self, now: Instant) {
        if let Phase::Full(full) = &mut self.phase {
            full.note_sent(now);
        }
    }

    /// What is to be written to the socket.
    pub fn outgoing(&mut self) -> &mut OutQueue {
        match &mut self.phase {
            Phase::Login { outbox, .. } | Phase::Redirected { outbox, .. } => outbox.outgoing(),
            Phase::Full(full) => full.outbox_mut().outgoing(),
        }
    }

    /// The next event, oldest first.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        match &mut self.phase {
            Phase::Login { .. } => None,
            Phase::Redirected { event, .. } => event.take(),
            Phase::Full(full) => full.poll_event(),
        }
    }

    /// When [`Session::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        match &self.phase {
            _ if self.error.is_some() => None,
            Phase::Login { until, .. } => Some(Deadline::new(*until, "login")),
            Phase::Redirected { .. } => None,
            Phase::Full(full) => full.poll_timeout(),
        }
    }

    /// The commands of the full feature phase, while the session is in it: after
    /// [`Event::LoggedIn`], until an error.
    pub fn full_feature(&mut self) -> Option<&mut FullFeature> {
        match &mut self.phase {
            Phase::Full(full) if self.error.is_none() => Some(full),
            Phase::Full(_) | Phase::Login { .. } | Phase::Redirected { .. } => None,
        }
    }

    /// When the last bytes came from the target.
    #[must_use]
    pub fn last_received(&self) -> Option<Instant> {
        self.last_received
    }

    /// When the oldest ping was queued that is not answered.
    #[must_use]
    pub fn oldest_ping(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Full(full) => full.oldest_ping(),
            Phase::Login { .. } | Phase::Redirected { .. } => None,
        }
    }

    /// What it means that the target closed the connection now, if that says more than that it did:
    /// some targets refuse a login by closing.
    #[must_use]
    pub fn on_closed(&self) -> Option<SessionError> {
        match &self.phase {
            _ if self.error.is_some() => self.error.clone(),
            Phase::Login { login, .. } => login.as_ref().and_then(Login::on_closed),
            Phase::Redirected { .. } | Phase::Full(_) => None,
        }
    }

    /// Ends the session: every task that no event resolved, in the order of submission, with what is
    /// known of it. Drain [`Session::poll_event`] before.
    #[must_use]
    pub fn into_lost(self) -> Vec<(TaskId, Disposition)> {
        match self.phase {
            Phase::Login { .. } | Phase::Redirected { .. } => Vec::new(),
            Phase::Full(full) => full.into_lost(),
        }
    }

    fn check(&self) -> Result<(), SessionError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Remembers an error for ever.
    fn keep(&mut self, result: Result<(), SessionError>) -> Result<(), SessionError> {
        if let Err(error) = &result {
            self.error = Some(error.clone());
        }
        result
    }

    /// Whether nothing that the target still sends matters.
    fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Login { .. } => false,
            Phase::Redirected { .. } => true,
            Phase::Full(full) => full.is_closed(),
        }
    }

    fn on_frame(&mut self, now: Instant, frame: Frame) -> Result<(), SessionError> {
        match frame {
            Frame::Header(bhs, _) => {
                tracing::trace!(?bhs, "received");
                self.incoming = self.on_header(now, bhs)?;
            }
            Frame::Data(piece) => match (&mut self.incoming, &mut self.phase) {
                (Incoming::Control(_, data), _) => data.push(piece),
                (Incoming::DataIn(_, Some(itt)), Phase::Full(full)) => {
                    full.data_in(now, *itt, piece);
                }
                _ => {}
            },
            Frame::End => match std::mem::replace(&mut self.incoming, Incoming::Nothing) {
                Incoming::Nothing => {}
                Incoming::Control(bhs, data) => self.on_pdu(now, &bhs, &data)?,
                Incoming::DataIn(pdu, _) => {
                    if let Phase::Full(full) = &mut self.phase {
                        full.end_data_in(&pdu)?;
                    }
                }
            },
        }
        Ok(())
    }

    fn on_header(&mut self, now: Instant, bhs: Bhs) -> Result<Incoming, SessionError> {
        match &mut self.phase {
            Phase::Full(full) if bhs.opcode()? == Opcode::DataIn => {
                let pdu = DataIn::decode(&bhs)?;
                let sink = full.begin_data_in(now, &pdu, bhs.data_len())?;
                Ok(Incoming::DataIn(pdu, sink))
            }
            Phase::Full(_) | Phase::Login { .. } | Phase::Redirected { .. } => {
                Ok(Incoming::Control(bhs, Payload::new()))
            }
        }
    }

    fn on_pdu(&mut self, now: Instant, bhs: &Bhs, data: &Payload) -> Result<(), SessionError> {
        match &mut self.phase {
            Phase::Full(full) => full.handle_pdu(now, bhs, data),
            Phase::Redirected { .. } => Ok(()),
            Phase::Login { login, .. } => match (bhs.opcode()?, login.take()) {
                (Opcode::LoginResponse, Some(login)) => {
                    let step = login.on_response(LoginResponse::decode(bhs)?, &data.to_bytes())?;
                    self.on_login_step(step);
                    Ok(())
                }
                (opcode, _) => Err(PeerMisbehaved::UnexpectedPdu(opcode as u8).into()),
            },
        }
    }

    fn on_login_step(&mut self, step: LoginStep) {
        let Phase::Login { login, outbox, .. } = &mut self.phase else {
            return;
        };
        match step {
            LoginStep::Send(next, request, text) => {
                *login = Some(*next);
                outbox.push(request.encode(), &text.into());
            }
            LoginStep::Done(logged_in) => {
                // The last login response had no digests; the next PDU has (RFC 7143 6.1).
                self.framer.set_digests(logged_in.negotiated.digests);
                let outbox = std::mem::take(outbox);
                let full = FullFeature::new(*logged_in, outbox, self.config.logout_timeout);
                self.phase = Phase::Full(Box::new(full));
            }
            LoginStep::Redirected { to, permanent } => {
                self.phase = Phase::Redirected {
                    event: Some(Event::Redirected { to, permanent }),
                    outbox: std::mem::take(outbox),
                };
            }
        }
    }
}
