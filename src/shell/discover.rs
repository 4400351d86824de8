//! Discovery: which targets and units are behind a portal.
//!
//! One discovery session asks SendTargets; then one short normal session per target asks for its units.
//! These sessions carry an ISID of their own, so they end no path's session.

mod render;

use crate::iscsi::discovery::DiscoveredTarget;
use crate::iscsi::error::{AuthenticationFailed, LoginStatus, SessionError};
use crate::iscsi::isid::Isid;
use crate::iscsi::name::{IscsiName, PortalAddr};
use crate::iscsi::session::config::{AuthConfig, Offer, SessionConfig, SessionKind};
use crate::iscsi::session::{Event, TargetQuery};

use super::dial::Source;
use super::talk::{STEP_TIMEOUT, Talk};

pub use super::talk::{FoundUnit, TalkError};
pub use render::{AskedWith, toml};

/// Units that are asked per target.
const UNITS_MAX: usize = 256;

/// A target that SendTargets named.
#[derive(Debug)]
pub struct FoundTarget {
    /// Name, portals and groups.
    pub target: DiscoveredTarget,
    /// Its disks, or why they could not be asked for.
    pub units: Result<Vec<FoundUnit>, TalkError>,
}

/// What whoever asked can do about it, in words that follow the error; empty if the error says it, or nothing
/// helps.
#[must_use]
pub fn advice(error: &TalkError) -> &'static str {
    let TalkError::Session { error, .. } = error else {
        return "";
    };
    match error {
        SessionError::AuthenticationFailed(AuthenticationFailed::CredentialsMissing) => {
            "; give them with --username and --secret-file"
        }
        SessionError::AuthenticationFailed(
            AuthenticationFailed::CredentialsRefused { .. }
            | AuthenticationFailed::AlgorithmsRefused { .. },
        )
        | SessionError::LoginRefused(LoginStatus::AUTHENTICATION_FAILURE) => {
            "; check --username, the secret in the file, and the target's account"
        }
        SessionError::AuthenticationFailed(
            AuthenticationFailed::TargetSilent
            | AuthenticationFailed::TargetName
            | AuthenticationFailed::TargetResponse,
        ) => {
            "; check --target-username, the secret in its file, and what the target is set up to prove itself with"
        }
        SessionError::LoginRefused(LoginStatus::FORBIDDEN) => {
            "; let the target's access list have our name, or give one that it has with --initiator-name"
        }
        SessionError::AuthenticationFailed(_)
        | SessionError::LoginRefused(_)
        | SessionError::PeerIncompatible(_)
        | SessionError::InvalidPdu(_)
        | SessionError::PeerMisbehaved(_)
        | SessionError::Timeout(_) => "",
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Our iSCSI name.
    pub initiator_name: IscsiName,
    /// Credentials, for discovery and for the targets alike.
    pub auth: AuthConfig,
    /// Where connections leave from.
    pub source: Source,
}

impl Asker {
    async fn talk(&self, portal: &PortalAddr, kind: SessionKind) -> Result<Talk, TalkError> {
        let config = SessionConfig {
            initiator_name: self.initiator_name.clone(),
            kind,
            isid: Isid::derive(&["discover", &std::process::id().to_string()]),
            auth: self.auth.clone(),
            offer: Offer::default(),
            login_timeout: STEP_TIMEOUT,
            logout_timeout: STEP_TIMEOUT,
        };
        Talk::open(config, portal, &self.source).await
    }
}

/// The targets behind `portal`, with their units.
///
/// # Errors
/// If the portal does not answer SendTargets. A target that refuses its own login is listed with the reason.
pub async fn discover(asker: &Asker, portal: &PortalAddr) -> Result<Vec<FoundTarget>, TalkError> {
    // Many targets demand CHAP of normal sessions only, and then know no credentials here; no secret is
    // at stake.
    let lenient = Asker {
        auth: match asker.auth.clone() {
            AuthConfig::Chap(chap) => AuthConfig::Chap(chap.allow_none(true)),
            AuthConfig::None => AuthConfig::None,
        },
        ..asker.clone()
    };
    let mut talk = lenient.talk(portal, SessionKind::Discovery).await?;
    talk.session_mut(|session, now| session.send_targets(now, TargetQuery::All));
    let targets = loop {
        let event = talk.event().await?;
        if let Event::Targets(targets) = event {
            break targets;
        }
        if matches!(event, Event::TargetsRefused(_)) {
            let portal = portal.clone();
            return Err(TalkError::Refused { portal });
        }
    };
    talk.close().await;
    let mut found = Vec::new();
    for target in targets {
        let units = units(asker, portal, &target).await;
        found.push(FoundTarget { target, units });
    }
    Ok(found)
}

/// The disks of a target, over the portal that was asked.
async fn units(
    asker: &Asker,
    portal: &PortalAddr,
    target: &DiscoveredTarget,
) -> Result<Vec<FoundUnit>, TalkError> {
    let kind = SessionKind::Normal {
        target: target.name.clone(),
    };
    let mut talk = asker.talk(portal, kind).await?;
    let mut found = Vec::new();
    for lun in talk.report_luns().await?.into_iter().take(UNITS_MAX) {
        found.extend(talk.unit(lun).await?);
    }
    talk.close().await;
    Ok(found)
}
