//! Persistent reservations between the control socket and a volume.

use std::sync::Arc;

use crate::config;
use crate::control::Refusal;
use crate::control::reservation::{
    HeldReport, KeyReport, RegistrationReport, RegistrationState, ReservationDeed,
    ReservationReport,
};
use crate::scsi::reservation::{ReservationKey, ReservationType};
use crate::shell::volume_task::Told;
use crate::volume::{KeyStatus, Registered, RememberedKey, ReservationAsk, ReservationStatus};

use super::volume::Running;

/// Does what is asked for; what is to be remembered of it is written down before it is told.
pub(super) async fn reservation(
    running: Arc<Running>,
    deed: ReservationDeed,
) -> Result<ReservationReport, Refusal> {
    let ask = asked(&deed)?;
    let told: Told = running.handle.reservation(ask).await.ok_or(Refusal::Busy)?;
    let (status, names) = told.map_err(|why| Refusal::NotDone { why })?;
    let found = running.handle.online().borrow().clone();
    if let Some(Err(error)) = found.map(|found| running.memory.remember(&found)) {
        let why = format!("it is done, and cannot be remembered for the next start: {error}");
        return Err(Refusal::NotDone { why });
    }
    let mut paths: Vec<RegistrationReport> = Vec::new();
    for (path, name) in names {
        let member = status.paths.iter().find(|member| member.path == path);
        paths.extend(member.map(|member| RegistrationReport {
            name: name.clone(),
            key: member.key.map(|key| key.to_string()),
            state: match member.registered {
                Registered::Yes => RegistrationState::Registered,
                Registered::No => RegistrationState::NotRegistered,
                Registered::Down => RegistrationState::Down,
            },
            why: member.why.clone(),
        }));
    }
    Ok(report(&running.name(), &status, paths))
}

fn report(
    volume: &str,
    status: &ReservationStatus,
    paths: Vec<RegistrationReport>,
) -> ReservationReport {
    let registered = |path: &&RegistrationReport| path.state == RegistrationState::Registered;
    let count = paths.iter().filter(registered).count();
    ReservationReport {
        volume: volume.to_owned(),
        key: status.key.map(|key| key_report(key, count)),
        reservation: status.held.map(|(key, code)| HeldReport {
            key: key.to_string(),
            kind: match ReservationType::from_wire(code) {
                Some(kind) => kind.name().to_owned(),
                None => format!("type {code}"),
            },
        }),
        registered: status
            .keys
            .as_ref()
            .map(|keys| keys.iter().map(ToString::to_string).collect()),
        paths,
        notes: status.notes.clone(),
    }
}

/// For the status of all volumes.
pub(super) fn of_status(status: &KeyStatus) -> KeyReport {
    key_report(status.key, status.registered)
}

fn key_report(key: RememberedKey, registered: usize) -> KeyReport {
    KeyReport {
        key: key.key.to_string(),
        per_path: key.per_path,
        reserved: key.reserved.map(|kind| kind.name().to_owned()),
        preempted: key.preempted,
        registered: u64::try_from(registered).unwrap_or(u64::MAX),
    }
}

fn asked(deed: &ReservationDeed) -> Result<ReservationAsk, Refusal> {
    let impossible = |why: String| Refusal::NotDone { why };
    let key = |text: &str| {
        let key = config::reservation_key(text);
        key.map(ReservationKey)
            .map_err(|problem| impossible(problem.to_string()))
    };
    Ok(match deed {
        ReservationDeed::Show => ReservationAsk::Show,
        ReservationDeed::Register { key: text } => ReservationAsk::Register { key: key(text)? },
        ReservationDeed::Unregister => ReservationAsk::Unregister,
        ReservationDeed::Reserve { kind } => ReservationAsk::Reserve {
            kind: ReservationType::from_name(kind).ok_or_else(|| {
                let known = ReservationType::ALL.map(ReservationType::name);
                impossible(format!(
                    "\"{kind}\" is no type of reservation; there are: {}",
                    known.join(", ")
                ))
            })?,
        },
        ReservationDeed::Release => ReservationAsk::Release,
        ReservationDeed::Preempt { key: text, abort } => ReservationAsk::Preempt {
            key: key(text)?,
            abort: *abort,
        },
        ReservationDeed::Clear => ReservationAsk::Clear,
    })
}
