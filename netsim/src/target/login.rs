//! Login as a target sees it (RFC 7143 6.3, 11.12, 11.13).

use std::sync::Arc;
use std::time::Instant;

use iiblockdaemon::iscsi::error::LoginStatus;
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::keys::Text;
use iiblockdaemon::iscsi::name::IscsiName;
use iiblockdaemon::iscsi::pdu::login::{LoginRequest, LoginResponse, Stage, StageFlags};
use iiblockdaemon::iscsi::serial::SerialNumber;
use iiblockdaemon::limits::TEXT_BYTES_MAX;

use super::chap::Chap;
use super::config::TargetConfig;
use super::parameters::{Answer, Parameters};
use crate::rng::Rng;

/// Status 020Ah: the TSIH names a session that does not exist (RFC 7143 11.13.5).
const NO_SUCH_SESSION: LoginStatus = LoginStatus::new(0x02, 0x0a);

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// SendTargets only.
    Discovery,
    /// SCSI.
    Normal,
}

/// A login that succeeded, but for its last response, which tells the TSIH.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) initiator: IscsiName,
    pub(super) isid: Isid,
    pub(super) kind: SessionKind,
    pub(super) parameters: Parameters,
    pub(super) cid: u16,
    pub(super) cmd_sn: SerialNumber,
    pub(super) stat_sn: SerialNumber,
    pub(super) response: LoginResponse,
    pub(super) text: Text,
}

/// What a login request leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// This response, and the login goes on.
    Respond(LoginResponse, Text),
    /// This response, and the connection is closed; with the reason for the log.
    Refuse(LoginResponse, Text, &'static str),
    /// The login is through.
    Establish(Box<Established>),
}

struct Refusal(LoginStatus, &'static str);

#[derive(Debug)]
enum Security {
    /// Nothing was said of authentication yet.
    Open,
    Chap(Chap),
    /// None was agreed on.
    None,
}

/// The login of one connection.
#[derive(Debug)]
pub(super) struct Login {
    config: Arc<TargetConfig>,
    group: u16,
    pub(super) began: Instant,
    rng: Rng,
    stage: Option<Stage>,
    text: Vec<u8>,
    initiator: Option<IscsiName>,
    kind: SessionKind,
    security: Security,
    parameters: Parameters,
    declared: bool,
    stat_sn: SerialNumber,
}

impl Login {
    pub(super) fn new(now: Instant, config: Arc<TargetConfig>, group: u16, mut rng: Rng) -> Self {
        let first = u32::try_from(rng.next_u64() >> 32).unwrap_or(0);
        Self {
            config,
            group,
            began: now,
            rng,
            stage: None,
            text: Vec::new(),
            initiator: None,
            kind: SessionKind::Normal,
            security: Security::Open,
            parameters: Parameters::default(),
            declared: false,
            stat_sn: SerialNumber(first),
        }
    }

    /// Takes one request with its data segment. `verdict` overrides: a status and text with which
    /// every login is answered.
    pub(super) fn take(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        verdict: Option<(LoginStatus, Text)>,
    ) -> Step {
        if let Some((status, text)) = verdict {
            let response = self.response(request, status, None);
            return Step::Refuse(response, text, "every login is answered so here");
        }
        match self.try_take(request, data) {
            Ok(step) => step,
            Err(Refusal(status, why)) => {
                let response = self.response(request, status, None);
                Step::Refuse(response, Text::new(), why)
            }
        }
    }

    fn try_take(&mut self, request: &LoginRequest, data: &[u8]) -> Result<Step, Refusal> {
        let mistake = |why| Refusal(LoginStatus::INITIATOR_ERROR, why);
        let first = self.stage.is_none();
        if request.version_min > 0 {
            return Err(Refusal(LoginStatus::UNSUPPORTED_VERSION, "version"));
        }
        if request.tsih != 0 {
            return Err(Refusal(NO_SUCH_SESSION, "TSIH of no session"));
        }
        if *self.stage.get_or_insert(request.flags.stage) != request.flags.stage {
            return Err(mistake("wrong stage"));
        }
        self.text.extend_from_slice(data);
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(mistake("text without end"));
        }
        if request.flags.continues {
            let response = self.response(request, LoginStatus::SUCCESS, None);
            return Ok(Step::Respond(response, Text::new()));
        }
        let text = Text::decode(&std::mem::take(&mut self.text));
        let text = text.map_err(|_| mistake("malformed text"))?;
        let mut answer = Text::new();
        if self.initiator.is_none() {
            self.take_names(&text)?;
            if self.kind == SessionKind::Normal {
                answer.push("TargetPortalGroupTag", self.group);
                if let Some(alias) = &self.config.alias {
                    answer.push("TargetAlias", alias);
                }
            }
        } else if !first && text.get("InitiatorName").is_some() {
            return Err(mistake("InitiatorName was sent twice"));
        }
        match request.flags.stage {
            Stage::Security => self.take_security(&text, &mut answer)?,
            Stage::Operational | Stage::FullFeature => self.take_operational(&text, &mut answer)?,
        }
        self.conclude(request, answer)
    }

    fn take_names(&mut self, text: &Text) -> Result<(), Refusal> {
        let missing = |why| Refusal(LoginStatus::MISSING_PARAMETER, why);
        let name = text
            .get("InitiatorName")
            .ok_or_else(|| missing("no InitiatorName"))?;
        let name = IscsiName::new(name)
            .map_err(|_| Refusal(LoginStatus::INITIATOR_ERROR, "InitiatorName"))?;
        self.initiator = Some(name);
        match text.get("SessionType") {
            Some("Discovery") => self.kind = SessionKind::Discovery,
            Some("Normal") | None => {
                let target = text
                    .get("TargetName")
                    .ok_or_else(|| missing("no TargetName"))?;
                let known = IscsiName::new(target).is_ok_and(|name| name == self.config.name);
                if !known {
                    return Err(Refusal(LoginStatus::NOT_FOUND, "another TargetName"));
                }
            }
            Some(_) => return Err(Refusal(LoginStatus::SESSION_TYPE, "SessionType")),
        }
        Ok(())
    }

    fn take_security(&mut self, text: &Text, answer: &mut Text) -> Result<(), Refusal> {
        if let Security::Chap(chap) = &mut self.security {
            let auth = self.config.auth.as_ref();
            let Some(auth) = auth else { return Ok(()) };
            let keys = chap
                .take(auth, &mut self.rng, text)
                .map_err(|refused| Refusal(LoginStatus::AUTHENTICATION_FAILURE, refused.0))?;
            answer.append(keys);
            return Ok(());
        }
        let Some(offer) = text.get("AuthMethod") else {
            return Ok(());
        };
        let offers = |method| offer.split(',').any(|offered| offered == method);
        if self.config.auth.is_some() && offers("CHAP") {
            answer.push("AuthMethod", "CHAP");
            self.security = Security::Chap(Chap::Algorithms);
            return Ok(());
        }
        if self.config.auth.is_some() || !offers("None") {
            let status = LoginStatus::AUTHENTICATION_FAILURE;
            return Err(Refusal(status, "no common authentication method"));
        }
        answer.push("AuthMethod", "None");
        self.security = Security::None;
        Ok(())
    }

    fn take_operational(&mut self, text: &Text, answer: &mut Text) -> Result<(), Refusal> {
        if !self.is_authenticated() {
            let status = LoginStatus::AUTHENTICATION_FAILURE;
            return Err(Refusal(status, "authentication was left out"));
        }
        let discovery = self.kind == SessionKind::Discovery;
        for (key, value) in text.iter() {
            if is_declaration(key) || matches!(value, "Reject" | "NotUnderstood" | "Irrelevant") {
                continue;
            }
            let wishes = &self.config.wishes;
            match self.parameters.take(wishes, discovery, key, value) {
                Answer::Value(value) => answer.push(key, value),
                Answer::None => {}
                Answer::Fatal => {
                    let why = "a digest that this target insists on was not offered";
                    return Err(Refusal(LoginStatus::INITIATOR_ERROR, why));
                }
            }
        }
        if !self.declared {
            self.declared = true;
            let ours = self.config.wishes.max_recv_data_segment_length;
            answer.push("MaxRecvDataSegmentLength", ours);
        }
        Ok(())
    }

    fn is_authenticated(&self) -> bool {
        match &self.security {
            Security::Open => self.config.auth.is_none(),
            Security::Chap(chap) => chap.has_passed(),
            Security::None => true,
        }
    }

    fn conclude(&mut self, request: &LoginRequest, answer: Text) -> Result<Step, Refusal> {
        // Out of the security stage only once authenticated: until then the wish to go on is refused.
        let next = request.flags.transit.filter(|_| self.is_authenticated());
        let response = self.response(request, LoginStatus::SUCCESS, next);
        match next {
            None => Ok(Step::Respond(response, answer)),
            Some(Stage::FullFeature) => {
                self.parameters.settle();
                let missing = Refusal(LoginStatus::MISSING_PARAMETER, "no InitiatorName");
                Ok(Step::Establish(Box::new(Established {
                    initiator: self.initiator.clone().ok_or(missing)?,
                    isid: request.isid,
                    kind: self.kind,
                    parameters: self.parameters.clone(),
                    cid: request.cid,
                    cmd_sn: request.cmd_sn,
                    stat_sn: self.stat_sn,
                    response,
                    text: answer,
                })))
            }
            Some(stage) if stage > request.flags.stage => {
                self.stage = Some(stage);
                Ok(Step::Respond(response, answer))
            }
            Some(_) => Err(Refusal(LoginStatus::INITIATOR_ERROR, "a stage backwards")),
        }
    }

    fn response(
        &mut self,
        request: &LoginRequest,
        status: LoginStatus,
        transit: Option<Stage>,
    ) -> LoginResponse {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        LoginResponse {
            flags: StageFlags {
                stage: request.flags.stage,
                transit,
                continues: false,
            },
            version_max: 0,
            version_active: 0,
            isid: request.isid,
            tsih: 0,
            itt: request.itt,
            stat_sn,
            exp_cmd_sn: request.cmd_sn,
            max_cmd_sn: request.cmd_sn.plus(self.config.queue_depth).previous(),
            status,
        }
    }
}

fn is_declaration(key: &str) -> bool {
    matches!(
        key,
        "InitiatorName" | "InitiatorAlias" | "TargetName" | "SessionType"
    )
}
