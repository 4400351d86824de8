//! The daemon's state as the control socket tells it.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::control::Refusal;
use crate::control::events::{Event, EventsReport, PathEvents, VolumeEvent};
use crate::control::reload::ReloadReport;
use crate::control::report::{
    AccessReport, DaemonReport, Duty, FenceLevel, PathReport, PathState, SameReport, StatusReport,
    VolumeReport, VolumeState, VolumeTotals,
};
use crate::control::reservation::{ReservationDeed, ReservationReport};
use crate::engine::EngineStatus;
use crate::path::message::PathAccess;
use crate::path::{self, PathEvent, PathStatus};
use crate::volume::{self, DutyStatus, OutCause, RouteStatus};

use super::volume::Running;
use super::{Board, Daemon, clock, reload, reservation};
use crate::shell::control_task::StatusSource;

impl Board {
    fn find(&self, name: &str) -> Result<Arc<Running>, Refusal> {
        let volumes = self.volumes();
        let found = volumes.iter().find(|volume| volume.name() == name);
        found.cloned().ok_or_else(|| Refusal::NoSuchVolume {
            name: name.to_owned(),
            known: volumes.iter().map(|volume| volume.name()).collect(),
        })
    }
}

impl StatusSource for Board {
    async fn fail_back(&self, name: &str) -> Result<(), Refusal> {
        self.find(name)?
            .handle
            .fail_back()
            .await
            .ok_or(Refusal::Busy)
    }

    async fn status(&self) -> Result<StatusReport, Refusal> {
        let volumes = self.volumes();
        let statuses = volumes.iter().map(|volume| volume.handle.status());
        let statuses = futures::future::join_all(statuses).await;
        let volumes = volumes.iter().zip(statuses);
        Ok(StatusReport {
            daemon: DaemonReport {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_ms: millis(clock::now().saturating_duration_since(self.started)),
                initiator_name: self.daemon.initiator_name.clone(),
            },
            volumes: volumes
                .map(|(volume, status)| report(volume, status.as_ref()))
                .collect(),
        })
    }

    async fn events(&self, name: &str) -> Result<EventsReport, Refusal> {
        let volume = self.find(name)?;
        let events = volume.handle.events().await.ok_or(Refusal::Busy)?;
        let paths = events.paths.into_iter();
        Ok(EventsReport {
            volume: name.to_owned(),
            events: events.volume.into_iter().map(volume_event).collect(),
            paths: paths
                .map(|(name, events)| PathEvents {
                    name,
                    events: events.into_iter().map(event).collect(),
                })
                .collect(),
        })
    }

    async fn reservation(
        &self,
        name: &str,
        deed: ReservationDeed,
    ) -> Result<ReservationReport, Refusal> {
        reservation::reservation(self.find(name)?, deed).await
    }

    async fn reload(self: Arc<Self>, dry_run: bool) -> Result<ReloadReport, Refusal> {
        reload::reload(&self, dry_run).await
    }
}

/// As the protocol has it.
fn volume_event(event: volume::VolumeEvent) -> VolumeEvent {
    VolumeEvent {
        ago_ms: millis(event.ago),
        last_ago_ms: millis(event.last_ago),
        times: event.times,
        took_ms: event.took.map(millis),
        what: event.what,
        why: event.why,
    }
}

/// The same of a path's.
fn event(event: PathEvent) -> Event {
    Event {
        ago_ms: millis(event.ago),
        last_ago_ms: millis(event.last_ago),
        times: event.times,
        incarnation: event.incarnation.0,
        what: event.what,
        why: event.why,
    }
}

impl Daemon {
    /// The state of the daemon and of all its volumes.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub async fn report(&self) -> Result<StatusReport, Refusal> {
        self.board.status().await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// `status` is `None` for a volume that has ended.
fn report(running: &Running, status: Option<&EngineStatus>) -> VolumeReport {
    let config = &running.config();
    let volume = status.map(|status| &status.volume);
    let size = status.and_then(|status| status.size);
    let paths = match status {
        Some(status) => paths(running, status),
        None => config
            .paths
            .iter()
            .map(|path| path_report(path, None, None))
            .collect(),
    };
    VolumeReport {
        name: config.name.clone(),
        state: status.map_or(VolumeState::Stopping, volume_state),
        size_bytes: size.map(|(bytes, _)| bytes),
        block_size: size.map(|(_, block_size)| block_size),
        wwid: status.and_then(|status| status.wwid.clone()),
        fence: fence_level(config, status),
        reservation: volume
            .and_then(|volume| volume.key.as_ref())
            .map(reservation::of_status),
        lun_reset: config.fence.lun_reset,
        policy: config.policy.to_string(),
        read_only: config.export.read_only,
        exports: config.export.nbd.iter().map(ToString::to_string).collect(),
        clients: status.map_or(0, |status| count(status.clients)),
        clients_behind: status.map_or(0, |status| count(status.clients_behind)),
        ios_in_progress: volume.map_or(0, |volume| count(volume.ios)),
        commands_queued: volume.map_or(0, |volume| count(volume.queued)),
        writes_held: volume.map_or(0, |volume| count(volume.waiting)),
        ghosts: volume.map_or(0, |volume| count(volume.ghosts)),
        no_path_ms: volume.and_then(|volume| volume.no_path).map(millis),
        slow_ms: volume.and_then(|volume| volume.slow).map(millis),
        totals: status.map(totals).unwrap_or_default(),
        paths,
    }
}

/// The paths that are there, those that are about to go too.
fn paths(running: &Running, status: &EngineStatus) -> Vec<PathReport> {
    let both = status.paths.iter().zip(&status.volume.routes);
    let report = |(state, route): (&PathStatus, &RouteStatus)| {
        let config = running.memory.path(route.path)?;
        Some(path_report(&config, Some(state), Some(route)))
    };
    both.filter_map(report).collect()
}

fn volume_state(status: &EngineStatus) -> VolumeState {
    if status.stopping {
        VolumeState::Stopping
    } else if status.volume.failing {
        VolumeState::Failing
    } else if status.size.is_none() {
        // An administrator has to mend every single one.
        let hopeless = |path: &PathStatus| path.state == path::PathState::Disabled;
        if status.paths.iter().all(hopeless) {
            VolumeState::NoPath
        } else {
            VolumeState::Starting
        }
    } else if status.volume.no_path.is_some() {
        VolumeState::NoPath
    } else if status
        .paths
        .iter()
        .all(|path| path.state == path::PathState::Ready || path.removing)
    {
        VolumeState::Serving
    } else {
        VolumeState::Degraded
    }
}

fn fence_level(config: &config::Volume, status: Option<&EngineStatus>) -> FenceLevel {
    let siblings = status.map_or(&[][..], |status| &status.siblings);
    match (config.fence.reinstate, config.fence.quiesce) {
        (true, _) if !siblings.is_empty() && siblings.iter().all(|sibling| *sibling) => {
            FenceLevel::Reinstatement
        }
        _ if preempts(config, status) => FenceLevel::PreemptAbort,
        (true, _) if siblings.iter().any(|sibling| *sibling) => FenceLevel::PartlyReinstatement,
        (true, _) => FenceLevel::OwnPathOnly,
        (false, Some(_)) => FenceLevel::Quiesce,
        (false, None) => FenceLevel::None,
    }
}

/// Whether a lost path can be cut off by its key: it is configured, two paths are registered with keys of
/// their own, something is reserved for them, and the target knows how.
fn preempts(config: &config::Volume, status: Option<&EngineStatus>) -> bool {
    let key = status.and_then(|status| status.volume.key);
    config.fence.preempt_abort
        && key.is_some_and(|known| {
            let own = known.key.per_path && !known.key.preempted;
            let reserved = known.key.reserved.is_some() && !known.no_preempt_abort;
            own && reserved && known.registered > 1
        })
}

fn totals(status: &EngineStatus) -> VolumeTotals {
    let (volume, paths) = (&status.volume, &status.paths);
    let block_size = status.size.map_or(0, |(_, block_size)| block_size);
    let counters = &volume.counters;
    VolumeTotals {
        reads: counters.reads,
        writes: counters.writes,
        flushes: counters.flushes,
        trims: counters.trims,
        read_bytes: counters.read_blocks * u64::from(block_size),
        written_bytes: counters.written_blocks * u64::from(block_size),
        errors: counters.errors,
        retries: volume
            .routes
            .iter()
            .map(|route| route.counters.retries)
            .sum::<u64>()
            + counters.retries_removed,
        fenced: counters.fenced,
        quiesced: counters.quiesced,
        slowest_ms: millis(counters.slowest),
        hedges: counters.hedges,
        hedges_won: counters.hedges_won,
        hedges_wasted: counters.hedges_wasted,
        wasted_bytes: counters.wasted_bytes,
        aborts: paths.iter().map(|path| path.aborts).sum(),
        overtaken: counters.overtaken,
        lun_resets: paths.iter().map(|path| path.resets).sum(),
    }
}

fn path_report(
    config: &config::Path,
    state: Option<&PathStatus>,
    route: Option<&RouteStatus>,
) -> PathReport {
    let counters = route.map(|route| route.counters).unwrap_or_default();
    let rtt = state.and_then(|state| state.last_rtt);
    let duty = route.map_or((Duty::InUse, None), |route| duty(route.duty));
    PathReport {
        name: config.to_string(),
        portal: config.portal.to_string(),
        nic: config.nic.clone(),
        source: config.source.map(|source| source.to_string()),
        target: config.target.clone(),
        lun: config.lun.to_string(),
        state: state.map_or(PathState::Stopped, |state| path_state(state.state)),
        access: state.and_then(|state| state.access).map(access_report),
        same: state
            .and_then(|state| state.same.as_ref())
            .map(|basis| SameReport {
                by: basis.name().to_owned(),
                why: basis.to_string(),
            }),
        tier: route.and_then(|route| route.tier),
        why: state.map(|state| state.why.clone()).unwrap_or_default(),
        since_ms: state.map_or(0, |state| millis(state.since)),
        incarnation: state.map_or(0, |state| state.incarnation.0),
        fencing: state.is_some_and(|state| state.fencing),
        duty: duty.0,
        out_ms: duty.1.map(millis),
        ejections: counters.ejections,
        removing: state.is_some_and(|state| state.removing),
        in_flight: route.map_or(0, |route| u64::from(route.in_flight)),
        commands: counters.commands,
        bytes: counters.bytes,
        errors: counters.errors,
        retries: counters.retries,
        losses: counters.losses,
        aborts: state.map_or(0, |state| state.aborts),
        lun_resets: state.map_or(0, |state| state.resets),
        last_rtt_us: rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
    }
}

fn access_report(access: PathAccess) -> AccessReport {
    AccessReport {
        port_group: access.group,
        state: access.state.to_string(),
        preferred: access.preferred,
    }
}

/// What it is, and for how long if that is settled.
fn duty(status: DutyStatus) -> (Duty, Option<Duration>) {
    match status {
        DutyStatus::On => (Duty::InUse, None),
        DutyStatus::Rising => (Duty::SlowStart, None),
        DutyStatus::Out { cause, left } => match cause {
            OutCause::Gray => (Duty::Ejected, Some(left)),
            OutCause::Flapping => (Duty::HeldDown, Some(left)),
        },
        DutyStatus::OnTrial { .. } => (Duty::OnTrial, None),
    }
}

fn path_state(state: path::PathState) -> PathState {
    match state {
        path::PathState::Down => PathState::Down,
        path::PathState::Connecting => PathState::Connecting,
        path::PathState::LoggingIn => PathState::LoggingIn,
        path::PathState::Probing => PathState::Probing,
        path::PathState::Probation => PathState::Probation,
        path::PathState::Ready => PathState::Ready,
        path::PathState::Suspect => PathState::Suspect,
        path::PathState::Disabled => PathState::Disabled,
        path::PathState::Stopped => PathState::Stopped,
    }
}
