//! Logins against a scripted target.

mod golden;
mod operational;
mod properties;
mod refusals;
mod refused_chap;
mod security;
mod transport;
mod volunteered;

use std::time::Duration;

use super::*;
use crate::iscsi::chap::{ChapAlgorithm, Secret};
use crate::iscsi::isid::Isid;
use crate::iscsi::name::IscsiName;
use crate::iscsi::pdu::login::{Stage, StageFlags};
use crate::iscsi::serial::SerialNumber;
use crate::iscsi::session::config::{AuthConfig, ChapConfig, Offer, SessionKind};
use crate::iscsi::session::negotiated::Negotiated;

const TARGET: &str = "iqn.2003-01.com.example:array1";
const INITIATOR_SECRET: &[u8] = b"initiator secret";
const TARGET_SECRET: &[u8] = b"target's own secret";

fn config() -> SessionConfig {
    SessionConfig {
        initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").unwrap(),
        kind: SessionKind::Normal {
            target: IscsiName::new(TARGET).unwrap(),
        },
        isid: Isid::from_wire([0x80, 1, 2, 3, 4, 5]),
        auth: AuthConfig::None,
        offer: Offer::default(),
        login_timeout: Duration::from_secs(15),
        logout_timeout: Duration::from_secs(5),
    }
}

fn chap() -> ChapConfig {
    ChapConfig::new("db1", Secret::new(INITIATOR_SECRET).unwrap()).unwrap()
}

fn with_chap(chap: ChapConfig) -> SessionConfig {
    SessionConfig {
        auth: AuthConfig::Chap(chap),
        ..config()
    }
}

/// The initiator in a dialogue, seen from the target: what it asked last.
struct Dialogue {
    login: Login,
    request: LoginRequest,
    segment: Bytes,
    stat_sn: SerialNumber,
}

impl Dialogue {
    fn start(config: SessionConfig) -> Self {
        let entropy = Entropy::new([7; 32]);
        let (login, request, segment) = Login::new(Arc::new(config), entropy);
        Self {
            login,
            request,
            segment,
            stat_sn: SerialNumber(0xffff_fffe),
        }
    }

    /// What the initiator said; its text must be complete.
    fn text(&self) -> Text {
        assert!(!self.request.flags.continues);
        Text::decode(&self.segment).unwrap()
    }

    fn says(&self, key: &str) -> Option<String> {
        self.text().get(key).map(str::to_owned)
    }

    fn response(&self, transit: bool) -> LoginResponse {
        let asked = self.request.flags;
        LoginResponse {
            flags: StageFlags {
                stage: asked.stage,
                transit: asked.transit.filter(|_| transit),
                continues: false,
            },
            version_max: 0,
            version_active: 0,
            isid: self.request.isid,
            tsih: 0x1234,
            itt: self.request.itt,
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.request.cmd_sn,
            max_cmd_sn: self.request.cmd_sn.plus(63),
            status: LoginStatus::SUCCESS,
        }
    }

    fn respond(self, response: LoginResponse, segment: &[u8]) -> Result<LoginStep, SessionError> {
        self.login.on_response(response, segment)
    }

    fn answer(self, transit: bool, pairs: &[(&str, &str)]) -> Result<LoginStep, SessionError> {
        let response = self.response(transit);
        self.respond(response, &encode(pairs))
    }

    /// Answers and expects the dialogue to go on.
    fn then(self, transit: bool, pairs: &[(&str, &str)]) -> Self {
        let stat_sn = self.stat_sn.next();
        let step = self.answer(transit, pairs).unwrap();
        Self::from_step(step, stat_sn)
    }

    fn from_step(step: LoginStep, stat_sn: SerialNumber) -> Self {
        let LoginStep::Send(login, request, segment) = step else {
            panic!("the login does not go on: {step:?}");
        };
        Self {
            login: *login,
            request,
            segment,
            stat_sn,
        }
    }

    /// Answers and expects the end.
    fn done(self, pairs: &[(&str, &str)]) -> LoggedIn {
        let step = self.answer(true, pairs).unwrap();
        let LoginStep::Done(logged_in) = step else {
            panic!("the login is not over: {step:?}");
        };
        *logged_in
    }

    /// Past a security stage without authentication.
    fn operational(config: SessionConfig) -> Self {
        Self::start(config).then(true, &[("AuthMethod", "None")])
    }
}

fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = pairs
        .iter()
        .fold(Text::new(), |text, (key, value)| text.with(key, value));
    text.encode()
}

/// What a login without authentication settles if the target answers the offer with `pairs`.
fn negotiate(offer: Offer, pairs: &[(&str, &str)]) -> Result<Negotiated, SessionError> {
    let config = SessionConfig { offer, ..config() };
    let step = Dialogue::operational(config).answer(true, pairs)?;
    let LoginStep::Done(logged_in) = step else {
        panic!("the login is not over: {step:?}");
    };
    Ok(logged_in.negotiated)
}
