//! Carries texts over login PDUs: splits ours, puts the target's together, and checks the headers.

use bytes::{Bytes, BytesMut};

use crate::iscsi::error::{PeerIncompatible, PeerMisbehaved, SessionError, TextError};
use crate::iscsi::isid::Isid;
use crate::iscsi::keys::{MAX_RECV_DATA_SEGMENT_LENGTH_DEFAULT, Text};
use crate::iscsi::pdu::login::{LoginRequest, LoginResponse, Stage, StageFlags};
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::tags::Itt;
use crate::limits::{LOGIN_EXCHANGES_MAX, TEXT_BYTES_MAX};

/// Longest text segment that a target must take before it declared another length.
const SEGMENT_MAX: usize = MAX_RECV_DATA_SEGMENT_LENGTH_DEFAULT as usize;

/// CmdSN of all login requests and of the first command.
const FIRST_CMD_SN: SerialNumber = SerialNumber(1);

/// The wire's side of a login.
#[derive(Debug)]
pub(super) struct Exchange {
    isid: Isid,
    exp_stat_sn: SerialNumber,
    requests: u32,
    stage: Stage,
    transit: Option<Stage>,
    last: StageFlags,
    outgoing: Bytes,
    incoming: BytesMut,
}

/// A complete answer of the target.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: Text,
    /// The target goes on to the stage that we asked for.
    pub(super) transit: bool,
    pub(super) response: LoginResponse,
}

pub(super) enum Received {
    /// To be sent: the rest of our text, or the request for the rest of the target's.
    Continue(LoginRequest, Bytes),
    Complete(Reply),
}

impl Exchange {
    pub(super) fn new(isid: Isid) -> Self {
        let stage = Stage::Security;
        Self {
            isid,
            exp_stat_sn: SerialNumber(0),
            requests: 0,
            stage,
            transit: None,
            last: StageFlags {
                stage,
                transit: None,
                continues: false,
            },
            outgoing: Bytes::new(),
            incoming: BytesMut::new(),
        }
    }

    pub(super) fn first_cmd_sn(&self) -> SerialNumber {
        FIRST_CMD_SN
    }

    pub(super) fn exp_stat_sn(&self) -> SerialNumber {
        self.exp_stat_sn
    }

    /// The first PDU of a request.
    pub(super) fn request(
        &mut self,
        stage: Stage,
        transit: Option<Stage>,
        text: &Text,
    ) -> Result<(LoginRequest, Bytes), SessionError> {
        self.stage = stage;
        self.transit = transit;
        self.outgoing = text.encode().into();
        self.next_segment()
    }

    fn next_segment(&mut self) -> Result<(LoginRequest, Bytes), SessionError> {
        let cut = self.outgoing.len().min(SEGMENT_MAX);
        let segment = self.outgoing.split_to(cut);
        let continues = !self.outgoing.is_empty();
        let transit = self.transit.filter(|_| !continues);
        Ok((self.pdu(transit, continues)?, segment))
    }

    /// The same task tag, CID, TSIH and CmdSN in all requests: COMSTAR drops a login whose tag changes.
    fn pdu(
        &mut self,
        transit: Option<Stage>,
        continues: bool,
    ) -> Result<LoginRequest, SessionError> {
        self.requests += 1;
        if self.requests > LOGIN_EXCHANGES_MAX {
            return Err(PeerMisbehaved::EndlessLogin.into());
        }
        self.last = StageFlags {
            stage: self.stage,
            transit,
            continues,
        };
        Ok(LoginRequest {
            flags: self.last,
            version_max: 0,
            version_min: 0,
            isid: self.isid,
            tsih: 0,
            itt: login_itt(),
            cid: 0,
            cmd_sn: FIRST_CMD_SN,
            exp_stat_sn: self.exp_stat_sn,
        })
    }

    /// A response whose status is success.
    pub(super) fn on_response(
        &mut self,
        response: LoginResponse,
        segment: &[u8],
    ) -> Result<Received, SessionError> {
        self.check(&response)?;
        self.exp_stat_sn = response.stat_sn.next();
        if !self.outgoing.is_empty() {
            // In the middle of our text the target has nothing to say yet (RFC 7143 6.2).
            if !segment.is_empty() || response.flags.continues {
                return Err(PeerMisbehaved::Continuation.into());
            }
            let (request, text) = self.next_segment()?;
            return Ok(Received::Continue(request, text));
        }
        if self.incoming.len() + segment.len() > TEXT_BYTES_MAX {
            return Err(PeerMisbehaved::Text(TextError::TooLong).into());
        }
        self.incoming.extend_from_slice(segment);
        if response.flags.continues {
            return Ok(Received::Continue(self.pdu(None, false)?, Bytes::new()));
        }
        let text = Text::decode(&self.incoming.split()).map_err(PeerMisbehaved::Text)?;
        Ok(Received::Complete(Reply {
            text,
            transit: response.flags.transit.is_some(),
            response,
        }))
    }

    fn check(&self, response: &LoginResponse) -> Result<(), SessionError> {
        let flags = response.flags;
        if response.version_active != 0 {
            return Err(PeerIncompatible::Version.into());
        }
        if response.itt != login_itt() {
            return Err(PeerMisbehaved::Mismatch("InitiatorTaskTag").into());
        }
        if response.isid != self.isid {
            return Err(PeerMisbehaved::Mismatch("ISID").into());
        }
        if flags.stage != self.stage {
            return Err(PeerMisbehaved::Mismatch("CSG").into());
        }
        if flags.continues && flags.transit.is_some() {
            return Err(PeerMisbehaved::Continuation.into());
        }
        if flags.transit.is_some() && flags.transit != self.last.transit {
            return Err(PeerMisbehaved::StageTransition.into());
        }
        Ok(())
    }
}

/// The task tag of all login requests.
fn login_itt() -> Itt {
    const { Itt::new(1).expect("1 is not the reserved tag") }
}
